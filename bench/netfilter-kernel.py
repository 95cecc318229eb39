"""Times new flows through rules in this machine's kernel, for netfilter-kernel.bench.ts.

  netfilter-kernel.py RULES COUNT RUNS RESTORE ADDRESS…      needs root, ip and RESTORE (iptables-legacy-restore)

A namespace tw-bench-node forwards what comes in from tw-bench-world over one veth, out over another, whose far end
throws it away: the frames are for another station. The kernel handles a frame within the call that sends it, so the
CPU time of this process has all of it. Prints JSON: ms to load the rules; ns per SYN, each from a port of its own, a figure a run, without rules
and to each ADDRESS with them. Ends with an error where not every SYN came out. Only these two namespaces are
touched; they are deleted at the end.
"""
import json, os, socket, struct, subprocess, sys, time

RULES, COUNT, RUNS, RESTORE, ADDRESSES = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5:]
NODE, WORLD = "tw-bench-node", "tw-bench-world"
SETUP = f"""ip netns add {NODE}
ip netns add {WORLD}
ip -n {NODE} link add in0 address 02:00:00:00:00:01 type veth peer name out0 netns {WORLD}
ip -n {NODE} link add sink0 type veth peer name drop0 netns {WORLD}
ip -n {NODE} link set in0 up
ip -n {WORLD} link set out0 up
ip -n {WORLD} link set drop0 up
ip -n {NODE} link set sink0 up
ip -n {NODE} address add 10.1.0.1/16 dev in0
ip -n {NODE} address add 10.2.0.1/16 dev sink0
ip -n {NODE} neighbour add 10.2.0.2 lladdr 02:00:00:00:00:09 nud permanent dev sink0
ip -n {NODE} route add 10.96.0.0/12 via 10.2.0.2
ip -n {NODE} route add 10.128.0.0/9 via 10.2.0.2
ip netns exec {NODE} sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.in0.rp_filter=0"""
PAST = 2  # runs for warming up


def run(command):
    done = subprocess.run(command.split(), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.stderr.strip()[:500]}")
    return done.stdout


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def syn(source, destination, port):
    source, destination = socket.inet_aton(source), socket.inet_aton(destination)
    tcp = struct.pack("!HHIIBBHHH", port, 80, 1, 0, 0x50, 2, 0xFFFF, 0, 0)
    tcp = tcp[:16] + struct.pack("!H", checksum(source + destination + struct.pack("!HH", 6, 20) + tcp)) + tcp[18:]
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 40, 0, 0x4000, 64, 6, 0) + source + destination
    ip = ip[:10] + struct.pack("!H", checksum(ip)) + ip[12:]
    return bytes.fromhex("020000000001020000000002") + b"\x08\x00" + ip + tcp


def sent():
    return json.loads(run(f"ip -n {NODE} -s -j link show sink0"))[0]["stats64"]["tx"]["packets"]


def measure(out, destination, client):
    """ns a SYN, a figure a run; each run has clients of its own, so that every SYN is a new flow."""
    figures = []
    for number in range(RUNS + PAST):
        frames = [syn(f"10.1.{client}.{number + 2}", destination, 1024 + at) for at in range(COUNT)]
        before = sent()
        began = time.process_time_ns()
        for frame in frames:
            out.send(frame)
        took = time.process_time_ns() - began
        if sent() - before < COUNT:
            sys.exit(f"of {COUNT} SYNs to {destination} {sent() - before} came out")
        if number >= PAST:
            figures.append(took / COUNT)
    return figures


def main():
    for command in SETUP.splitlines():
        run(command)
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    with open(f"/run/netns/{WORLD}") as world:
        os.setns(world.fileno(), 0) if hasattr(os, "setns") else setns(world.fileno())
    out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    out.bind(("out0", 0))
    os.setns(home, 0) if hasattr(os, "setns") else setns(home)
    bare = measure(out, ADDRESSES[0], 10)
    began = time.monotonic()
    with open(RULES) as text:
        done = subprocess.run(["ip", "netns", "exec", NODE, RESTORE], stdin=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{RESTORE}: {done.stderr.strip()[:500]}")
    loading = (time.monotonic() - began) * 1e3
    flows = [measure(out, address, 20 + at) for at, address in enumerate(ADDRESSES)]
    print(json.dumps({"loading": loading, "bare": bare, "flows": flows}))


def setns(descriptor):
    """os.setns came with Python 3.12."""
    import ctypes
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, 0) != 0:
        sys.exit("setns failed")


def delete():
    for name in (NODE, WORLD):
        subprocess.run(["ip", "netns", "del", name], capture_output=True)


delete()
try:
    main()
finally:
    delete()
