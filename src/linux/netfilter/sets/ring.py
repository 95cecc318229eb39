"""Asks this machine's kernel what IP sets and rules do, for kernel.test.ts to compare with the model.

  ring.py probe      prints the types of sets that the kernel and ipset know, one a line
  ring.py run        needs root; reads JSON, prints JSON

`run` takes {"rounds": [...], "lines": [...]}.

A round is {"tool": "legacy" | "nft", "sets", "rules4", "rules6", "wait", "groups": [{"family", "frames": [[link, hex]]}]}:
the texts are loaded in a namespace of its own, `wait` seconds later the frames go in, group by group, from two links
(a0, a01) towards a third (b0). The first rule of *raw counts every frame. The answer has what the tools
said, for each group the counters of the family's rules, {table: [[packets, bytes], ...]} in the order of the text, and
at the end `ipset save` and `iptables-save`.

A line is the text of one `ipset restore`: the answer has the exit code, what was said, and `ipset save`.
"""
import ctypes, json, os, socket, subprocess, sys, time

NODE, WORLD = f"tw-sets-node-{os.getpid()}", f"tw-sets-world-{os.getpid()}"
LIBC = ctypes.CDLL(None, use_errno=True)
TYPES = ["hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:ip,port,ip", "hash:ip,port,net", "hash:net,net",
         "hash:net,port,net", "hash:ip,mark", "hash:net,iface", "bitmap:port range 0-9", "bitmap:ip range 10.0.0.0/24", "list:set"]


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done


def down():
    for namespace in (NODE, WORLD):
        run("ip", "netns", "del", namespace, check=False)


def enter(namespace):
    """This process moves: what it starts is inside."""
    with open(f"/run/netns/{namespace}") as place:
        if LIBC.setns(place.fileno(), 0):
            sys.exit(f"setns {namespace}")


def up():
    for namespace in (NODE, WORLD):
        run("ip", "netns", "add", namespace)
    batch = []
    for number, link in enumerate(("a0", "a01", "b0"), 1):
        run("ip", "link", "add", link, "netns", NODE, "type", "veth", "peer", "name", "w" + link, "netns", WORLD)
        run("ip", "-n", WORLD, "link", "set", "w" + link, "up")
        batch += [f"link set {link} address 02:00:00:00:00:0{number}", f"link set {link} up",
                  f"addr add 172.30.{number}.1/24 dev {link}", f"addr add fd30:{number}::1/64 dev {link} nodad"]
    batch += ["neigh add 172.30.3.2 lladdr 02:00:00:00:03:02 dev b0 nud permanent",
              "neigh add fd30:3::2 lladdr 02:00:00:00:03:02 dev b0 nud permanent"]
    sysctls = ("net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 "
               "net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv6.conf.all.accept_dad=0 "
               "net.ipv4.icmp_ratemask=0 net.ipv4.conf.a0.rp_filter=0 net.ipv4.conf.a01.rp_filter=0").split()
    run("ip", "netns", "exec", WORLD, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    run("ip", "-n", NODE, "-batch", "-", text="\n".join(batch) + "\n")
    run("ip", "netns", "exec", NODE, "sysctl", "-qw", *sysctls)
    run("ip", "-n", NODE, "route", "add", "default", "via", "172.30.3.2", "dev", "b0")
    run("ip", "-n", NODE, "-6", "route", "add", "default", "via", "fd30:3::2", "dev", "b0")


def counters(tool, family):
    """Of one family: {table: [[packets, bytes], ...]}."""
    tables, table = {}, None
    for line in run(f"{'ip6' if family == 6 else 'ip'}tables-{tool}-save", "-c").stdout.splitlines():
        if line.startswith("*"):
            table = tables.setdefault(line[1:], [])
        elif line.startswith("["):
            table.append([int(number) for number in line[1:line.index("]")].split(":")])
    return tables


def settled(tool, family, frames):
    """Counters once the first rule of *raw, which counts all, has seen so many frames."""
    for _ in range(400):
        if counters(tool, family)["raw"][0][0] >= frames:
            time.sleep(.001)
            return counters(tool, family)
        time.sleep(.005)
    sys.exit(f"{frames} IPv{family} frames were sent, {counters(tool, family)['raw'][0][0]} were seen")


def one_round(case):
    enter(WORLD)
    sockets = {}
    for link in ("a0", "a01"):
        sockets[link] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sockets[link].bind(("w" + link, 0))
    enter(NODE)
    loaded = run("ipset", "restore", text=case["sets"], check=False)
    started = time.time()
    said = [loaded.stderr]
    for name, key in (("iptables", "rules4"), ("ip6tables", "rules6")):
        said.append(run(f"{name}-{case['tool']}-restore", text=case[key], check=False).stderr)
    said = [text for text in said if text and not text.startswith("# Warning")]
    if said:
        return dict(said=said, before=0, after=0, groups=[], saved="", rules=[])
    time.sleep(case["wait"])
    before = time.time() - started
    groups, sent = [], {4: 0, 6: 0}
    for group in case["groups"]:
        for link, frame in group["frames"]:
            number = "1" if link == "a0" else "2"
            kind = "86dd" if group["family"] == 6 else "0800"
            sockets[link].send(bytes.fromhex(f"02000000000{number}020000000102{kind}{frame}"))
            time.sleep(.0003)
        sent[group["family"]] += len(group["frames"])
        groups.append(settled(case["tool"], group["family"], sent[group["family"]]))
    saved = run("ipset", "save").stdout
    rules = [run(f"{name}-{case['tool']}-save").stdout for name in ("iptables", "ip6tables")]
    return dict(said=said, before=before, after=time.time() - started, groups=groups, saved=saved, rules=rules)


def one_text(text):
    if LIBC.unshare(0x40000000):
        sys.exit("unshare(CLONE_NEWNET)")
    done = run("ipset", "restore", text=text, check=False)
    return dict(code=done.returncode, said=done.stderr, saved=run("ipset", "save").stdout)


def inside(work):
    """Runs in a process of its own, in fresh namespaces."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        try:
            with open(write, "w") as out:
                json.dump(work(), out)
            os._exit(0)
        except BaseException as fault:
            print(fault, file=sys.stderr, flush=True)
            os._exit(1)
    os.close(write)
    with open(read) as text:
        answer = text.read()
    if os.waitpid(child, 0)[1] != 0:
        raise SystemExit(1)
    return json.loads(answer)


def in_node(work):
    down()
    try:
        up()
        return inside(work)
    finally:
        down()


def probe():
    enter(NODE)
    return [kind.split()[0] for kind in TYPES if run("ipset", "create", "t-" + str(TYPES.index(kind)), *kind.split(), check=False).returncode == 0]


def main():
    if sys.argv[1] == "probe":
        print("\n".join(in_node(probe)))
        return
    case = json.load(sys.stdin)
    rounds = [in_node(lambda one=one: one_round(one)) for one in case["rounds"]]
    lines = inside(lambda: [one_text(text) for text in case["lines"]])
    json.dump(dict(rounds=rounds, lines=lines), sys.stdout)


main()
