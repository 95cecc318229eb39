"""Executes jobs on this machine's kernel for the kernel ring: rules in, frames in, what came out back.

  executor.py legacy|nft        needs root, ip, iptables, ipset, conntrack, ethtool, nsenter, nft

One JSON object a line on stdin, one JSON answer a line on stdout. The node and the world around it are two unnamed
network namespaces that die with this process. A frame written on the world's end of a link enters the node as if
received; a packet "of a process" is sent by a raw socket of the node. After each of them a barrier, an ARP probe that
the node answers without asking any table, says that all of its consequences are there: the kernel takes packets of
one CPU in order, and this process stays on one CPU. What reaches the node's own sockets is read by raw sockets.

Other packets of the node's stack would disturb the counters, so a separate nftables table drops, before any of
iptables' chains, the answers of sockets that do not exist (TCP resets, "protocol unreachable") and what the node tells
its links now and then (IGMP, MLD, neighbour discovery). UDP ports that are spoken to are held by sockets ("sinks").
"""
import ctypes, errno, json, os, select, signal, socket, struct, subprocess, sys, time

CLONE_NEWNET = 0x40000000
PACKET_IGNORE_OUTGOING, SOL_PACKET = 23, 263
IPV6_HDRINCL, IPV6_RECVPKTINFO, IPV6_PKTINFO = 36, 49, 50
ETH_ARP = 0x0806
UPPER = (socket.IPPROTO_TCP, socket.IPPROTO_UDP, 132)
QUIET = """table inet ring {
  chain output { type filter hook output priority -450;
    tcp flags & rst == rst drop
    icmp type destination-unreachable icmp code 2 drop
    icmpv6 type parameter-problem drop
    icmpv6 type { 130-137, 143 } drop
    ip protocol igmp drop
  }
}"""
libc = ctypes.CDLL(None, use_errno=True)


def new_namespace():
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def run(*command, text=None):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def hold_namespace():
    """A process that keeps the present namespace alive and has a number to name it by."""
    child = os.fork()
    if child == 0:
        libc.prctl(1, signal.SIGKILL)
        while True:
            signal.pause()
    return child


class Executor:
    def __init__(self, front_end):
        self.front_end = front_end
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        new_namespace()
        self.world = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.world.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.world.setsockopt(socket.SOL_SOCKET, 33, 1 << 24)
        self.world.setblocking(False)
        self.holder = hold_namespace()
        new_namespace()
        self.sequence, self.sinks, self.macs = 0, {}, {}

    # ---- set up ----

    def setup(self, job):
        """devices: name, index, mac, worldMac, mtu; commands: lines for `ip -batch`; sysctls; barrier: device and address."""
        self.sysctl(job)
        run("ip", "link", "set", "lo", "up")
        nsenter = ["nsenter", "-t", str(self.holder), "-n"]
        run(*nsenter, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        for device in job["devices"]:
            name = device["name"]
            run("ip", "link", "add", name, "index", str(device["index"]), "address", device["mac"], "mtu", str(device["mtu"]),
                "type", "veth", "peer", "name", "w-" + name, "address", device["worldMac"], "netns", str(self.holder))
            run("ethtool", "-K", name, "tx", "off", "tso", "off", "gso", "off", "gro", "off")
            run(*nsenter, "ip", "link", "set", "w-" + name, "mtu", "65535", "up")
            run("ip", "link", "set", name, "up")
            self.macs[name] = bytes.fromhex((device["mac"] + ":" + device["worldMac"]).replace(":", ""))
        run("ip", "-batch", "-", text="\n".join(job["commands"]) + "\n")
        run("nft", "-f", "-", text=QUIET)
        for name in job["nfacct"]:
            make_counter(name)
        self.barrier_device = job["barrier"][0]
        self.barrier_address = socket.inet_aton(job["barrier"][1])
        self.raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.raw6.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        self.poll = select.epoll()
        self.local = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            for protocol in (*UPPER, socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6):
                one = socket.socket(family, socket.SOCK_RAW, protocol)
                one.setblocking(False)
                if family == socket.AF_INET6:
                    one.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
                self.local[one.fileno()] = (one, family, protocol)
                self.poll.register(one.fileno(), select.EPOLLIN)
        self.settle()
        dumps = {"link": "-d link", "addr": "addr", "route4": "route show table all", "route6": "-6 route show table all",
                 "neigh": "neigh"}
        return {key: json.loads(run("ip", "-j", *command.split()) or "[]") for key, command in dumps.items()}

    def settle(self):
        """Waits until the kernel's own announcements of addresses (MLD) are over."""
        quiet = time.monotonic() + .3
        while time.monotonic() < quiet:
            time.sleep(.02)
            seen = False
            while True:
                try:
                    frame, _ = self.world.recvfrom(2048)
                    seen = True
                except BlockingIOError:
                    break
            if seen:
                quiet = time.monotonic() + .3
        self.read_local()

    def sysctl(self, job):
        for name, value in job["sysctls"].items():
            with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
                file.write(value)
        return {}

    # ---- rules ----

    def tool(self, family, what):
        return f"ip{'6' if family == 6 else ''}tables-{self.front_end}-{what}"

    def load(self, job):
        """texts: [family, text]; noflush: kube-proxy's way. An error is answered, not raised."""
        try:
            for family, text in job["texts"]:
                run(self.tool(family, "restore"), *(["--noflush", "--counters"] if job["noflush"] else []), text=text)
        except RuntimeError as error:
            return {"error": str(error)}
        return {"error": ""}

    def sets(self, job):
        run("ipset", "flush")
        run("ipset", "restore", "-exist", text=job["text"])
        return {}

    def clear(self, _job):
        """No rules, no sets, no connections, and so no lists of `recent`."""
        empty = "".join(f"*{table}\nCOMMIT\n" for table in ("raw", "mangle", "nat", "filter"))
        for family in (4, 6):
            run(self.tool(family, "restore"), text=empty)
        # A list of sets holds on to its members.
        run("ipset", "flush")
        run("ipset", "destroy")
        run("conntrack", "-F")
        for one in self.sinks.values():
            one.close()
        self.sinks = {}
        return {}

    def save(self, _job):
        return {"texts": [run(self.tool(family, "save"), "-c") for family in (4, 6)]}

    def conntrack(self, job):
        """What `conntrack` prints with these arguments; nothing found is no error."""
        done = subprocess.run(["conntrack", *job["arguments"]], capture_output=True, text=True)
        return {"text": done.stdout, "status": done.returncode}

    def now(self, _job):
        return {"t": time.monotonic_ns()}

    def sink(self, job):
        for port in job["ports"]:
            if port in self.sinks:
                continue
            one = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            one.bind(("::", port))
            self.sinks[port] = one
        return {}

    # ---- packets ----

    def frames(self, job):
        """items: [device, packet as hex]; the device "" is a process. Answers: time, left, local, errno for each."""
        return {"results": [self.frame(device, bytes.fromhex(packet)) for device, packet in job["items"]]}

    def frame(self, device, packet):
        six = packet[0] >> 4 == 6
        failed = ""
        now = time.monotonic_ns()
        if device == "":
            try:
                if six:
                    self.raw6.sendto(packet, (socket.inet_ntop(socket.AF_INET6, packet[24:40]), 0))
                else:
                    self.raw4.sendto(packet, (socket.inet_ntoa(packet[16:20]), 0))
            except OSError as error:
                failed = errno.errorcode.get(error.errno, str(error.errno))
            # What comes back over the loopback device may queue up behind one barrier.
            left = self.barrier() + self.barrier()
        else:
            ethertype = b"\x86\xdd" if six else b"\x08\x00"
            self.world.sendto(self.macs[device] + ethertype + packet, ("w-" + device, 0))
            left = self.barrier()
        return {"t": now, "left": left, "local": self.read_local(), "errno": failed}

    def barrier(self):
        """Everything that leaves the node until it answers an ARP probe (RFC 5227) for its own address."""
        self.sequence += 1
        asker = struct.pack("!HI", 0x02bb, self.sequence)
        probe = b"\xff" * 6 + asker + struct.pack("!HHHBBH", ETH_ARP, 1, 0x800, 6, 4, 1) + asker + bytes(10) + self.barrier_address
        self.world.sendto(probe, ("w-" + self.barrier_device, 0))
        left, deadline = [], time.monotonic() + 5
        while True:
            try:
                frame, where = self.world.recvfrom(65600)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeError("the node does not answer the barrier")
                select.select([self.world], [], [], 1)
                continue
            ethertype = struct.unpack_from("!H", frame, 12)[0]
            if ethertype == ETH_ARP:
                if frame[:6] == asker:
                    return left
            elif ethertype in (0x800, 0x86dd) and not discovery(frame[14:]):
                left.append([where[0][2:], frame[14:].hex()])

    def read_local(self):
        found = []
        while True:
            ready = self.poll.poll(0)
            if not ready:
                return found
            for number, _ in ready:
                one, family, protocol = self.local[number]
                try:
                    packet, more, _, source = one.recvmsg(65600, 128)
                except BlockingIOError:
                    continue
                if family == socket.AF_INET6:
                    packet = six_header(packet, more, source, protocol) + packet
                if not discovery(packet):
                    found.append(packet.hex())


def six_header(payload, ancillary, source, protocol):
    """A raw socket of IPv6 hides the header: what is known of it, the rest zero."""
    target = next(data[:16] for level, kind, data in ancillary if kind == IPV6_PKTINFO)
    origin = socket.inet_pton(socket.AF_INET6, source[0].split("%")[0])
    return struct.pack("!IHBB", 0x60000000, len(payload), protocol, 0) + origin + target


def discovery(packet):
    """Neighbour discovery and MLD, which are the node's own concern; MLD comes behind a hop-by-hop header."""
    if packet[0] >> 4 != 6:
        return False
    at = 48 if packet[6] == 0 else 40
    return (packet[40] if packet[6] == 0 else packet[6]) == 58 and (packet[at] in (130, 131, 132, 143) or 133 <= packet[at] <= 137)


def make_counter(name):
    """`nfacct add NAME` by netlink: NFNL_SUBSYS_ACCT, NFNL_MSG_ACCT_NEW, NFACCT_NAME."""
    text = name.encode() + b"\0"
    attribute = struct.pack("HH", 4 + len(text), 1) + text
    attribute += bytes(-len(attribute) % 4)
    message = struct.pack("IHHII", 20 + len(attribute), 7 << 8, 1 | 4 | 0x400 | 0x200, 1, 0) + bytes(4) + attribute
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as link:
        link.send(message)
        answer = link.recv(4096)
    code = struct.unpack_from("i", answer, 16)[0]
    if code not in (0, -errno.EEXIST, -errno.EBUSY):
        raise OSError(-code, "nfacct")


def main():
    executor = Executor(sys.argv[1])
    operations = {name: getattr(executor, name) for name in ("setup", "sysctl", "load", "sets", "clear", "save", "conntrack", "sink", "now", "frames")}
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(operations[job["operation"]](job), separators=(",", ":")), flush=True)


main()
