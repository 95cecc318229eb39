"""Records what this machine's kernel does with random rules, for rule-ring.test.ts to compare with the model.

  rule-ring.py DIR SEED FRAMES FRONTEND     FRONTEND: legacy or nft; needs root, ip, iptables, ethtool, scapy

A node (a namespace of its own) with two links gets rules of both families that use every match and target, then frames
from another one and from a raw socket of its own. DIR gets: rules.v4 rules.v6 (what was loaded), saved.v4 saved.v6
(iptables-save -c afterwards), net.json (devices, addresses, routes), frames.jsonl (time in ns, link, bytes; link "out" is
the node's socket), seen.jsonl (link, bytes) of what left. Only these two namespaces are touched; they are deleted at the
end. Nothing the node hears answers by itself but netfilter and the routing: filter/INPUT drops all but UDP 5353, where a
silent socket listens.
"""
import ctypes, json, logging, os, random, re, socket, struct, subprocess, sys, threading, time
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (ICMP, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6TimeExceeded, IP, IPOption_NOP, IPv6,
    IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, PadN, SCTP, SCTPChunkAbort, SCTPChunkCookieAck, SCTPChunkData, SCTPChunkInit,
    SCTPChunkShutdownComplete, TCP, UDP, checksum)
sys.path.append(os.path.join(os.path.dirname(__file__), ".."))
from two_links import LINKS, down, inside, run, up

OUT, SEED, COUNT, FRONTEND = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
NODE, WORLD = f"tw-rule-node-{os.getpid()}", f"tw-rule-world-{os.getpid()}"
ROUTES = """10.3.0.0/24 via 10.2.0.2
10.96.0.0/24 via 10.2.0.2
fd00:96::/64 via fd00:2::2
10.6.0.0/24 via 10.2.0.2 mtu 1300
unreachable 10.9.0.0/24
blackhole 10.7.0.0/24
fd00:3::/64 via fd00:2::2
fd00:6::/64 via fd00:2::2 mtu 1300
unreachable fd00:9::/64
blackhole fd00:7::/64"""
MACS = ["02:00:00:00:01:02", "02:00:00:00:01:03"]
CHAINS = {"raw": ["PREROUTING", "OUTPUT"], "mangle": ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
          "filter": ["INPUT", "FORWARD", "OUTPUT"], "security": ["INPUT", "FORWARD", "OUTPUT"],
          "nat": ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]}
PORTS = [80, 80, 443, 1000, 5353, 7000, 7000, *range(7100, 7107), *range(7100, 7107), 7002, 7003, 7004, 7005, 7006]
libc = ctypes.CDLL(None, use_errno=True)
R = random.Random(SEED)
pick, chance = R.choice, lambda p: R.random() < p


def enter(namespace):
    """This thread's sockets belong to the namespace from now on."""
    with open(f"/run/netns/{namespace}") as file:
        if libc.setns(file.fileno(), 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")


def make_nfacct(name):
    """NFNL_MSG_ACCT_NEW with NFACCT_NAME."""
    wire = name.encode() + b"\0"
    attribute = struct.pack("HH", 4 + len(wire), 1) + wire + b"\0" * (-len(wire) % 4)
    body = struct.pack("BBH", 0, 0, 0) + attribute
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
    netlink.send(struct.pack("IHHII", 16 + len(body), 7 << 8, 0x405, 1, 0) + body)
    if struct.unpack("i", netlink.recv(4096)[16:20])[0]:
        sys.exit("nfacct object refused")


# ---- rules ------------------------------------------------------------------------------------------------------

class Rules:
    """Text for iptables-restore: for each match and target some rules, in chains that the kernel allows them in."""

    def __init__(self, family):
        self.family, self.lines, self.users = family, {(t, c): [] for t, cs in CHAINS.items() for c in cs}, []
        self.v4 = family == 4

    def address(self):
        return pick(["10.1.0.110", "10.1.0.130", "10.3.0.5", "10.2.0.10", "10.1.0.1", "10.96.0.1"] if self.v4 else
                    ["fd00:1::110", "fd00:1::130", "fd00:3::5", "fd00:2::10", "fd00:1::1", "fd00:96::1"])

    def net(self):
        return pick(["10.1.0.0/25", "10.1.0.128/255.255.255.128", "10.0.0.0/8", "10.3.0.5", "10.1.0.100/255.255.0.252"]
                    if self.v4 else ["fd00:1::/64", "fd00:1::100/120", "fd00:3::5", "fd00::/16"])

    def base(self, chain):
        """-s, -d, -i, -o, -p."""
        text = ""
        if chance(.3): text += f"{pick(['', '! '])}{pick(['-s', '--source', '-d', '--dst'])} {self.net()} "
        if chance(.15) and chain in ("PREROUTING", "INPUT", "FORWARD"):
            text += f"{pick(['', '! '])}{pick(['-i', '--in-interface'])} {pick(['a0', 'b0', 'a+', 'x+'])} "
        if chance(.15) and chain in ("FORWARD", "OUTPUT", "POSTROUTING"):
            text += f"{pick(['', '! '])}-o {pick(['a0', 'b0', 'b+'])} "
        return text

    def range(self):
        if self.v4:
            low = R.randint(100, 150)
            return f"10.1.0.{low}-10.1.0.{low + R.randint(0, 40)}"
        low = R.randint(0x100, 0x150)
        return f"fd00:1::{low:x}-fd00:1::{low + R.randint(0, 64):x}"

    def matches(self):
        """[(text, allowed chains or None, allowed tables or None)], each match and each option."""
        v4, bang = self.v4, lambda: pick(["", "! "])
        some = lambda a, b: R.randint(a, b)
        mark = lambda: pick(["0x1", "0x2/0x2", "0x0/0x4", "16/0xf0", "0x3/0x1"])
        port = lambda: pick(["80", "1:1000", ":443", "7000:", "5353"])
        l4 = lambda: pick(["tcp", "udp", "sctp", "dccp"])
        made = []
        add = lambda text, chains=None, tables=None: made.append((text, chains, tables))
        for _ in range(2):
            p = l4()
            add(f"-p {p} -m {p} {bang()}{pick(['--dport', '--destination-port'])} {port()}")
            add(f"-p {l4()} {bang()}--sport {port()}")
            add(f"-p tcp -m tcp {bang()}--tcp-flags {pick(['SYN,ACK', 'ALL', 'FIN,SYN,RST,ACK', 'RST'])} {pick(['SYN', 'ACK', 'NONE', 'RST'])}")
            add(f"-p {pick(['tcp', 'udp', 'sctp', 'dccp', 'udplite'])} -m multiport {bang()}{pick(['--dports', '--sports', '--ports'])} 80,443,7000:7103,20000:20400")
            add(f"-m mark {bang()}--mark {mark()}")
            add(f"-m connmark {bang()}--mark {mark()}", None, ["mangle", "filter", "security", "nat"])
            add(f"-m statistic --mode nth {bang()}--every {some(1, 6)} --packet 0")
            add(f"-m length {bang()}--length {pick(['0:100', '28', '40:1000', ':60', '1300:', '2000:9000', '48'])}")
            add(f"-m {'ttl' if v4 else 'hl'} {pick(['--ttl-eq', '! --ttl-eq', '--ttl-lt', '--ttl-gt'] if v4 else ['--hl-eq', '--hl-eq', '! --hl-eq', '--hl-lt', '--hl-gt'])} {pick([64, 64, 63, 63, 2, 254])}")
            add(f"-m tos {bang()}--tos {pick(['0x10', '0x10/0x3f', 'Minimize-Delay', '0xb8/0xfc', '8'])}")
            add(f"-m dscp {bang()}{pick(['--dscp 0x2e', '--dscp 0', '--dscp-class EF', '--dscp-class CS2', '--dscp 46', '--dscp-class AF21'])}")
            add(f"-m limit --limit {pick(['1/hour', '2/min', '3/hour', '30/day'])} --limit-burst {some(1, 40)}")
            add(f"-m recent --name {pick('XYZ')} {bang()}{pick(['--set', '--rcheck', '--update', '--remove'])}"
                f"{pick(['', ' --rdest', ' --rsource'])}")
            add(f"-m recent --name {pick('XYZ')} {bang()}{pick(['--rcheck', '--update'])} --seconds 300 --hitcount {some(1, 5)}{pick(['', ' --rttl', ' --reap'])}")
        add("-p tcp --dport http"); add("-p tcp --syn"); add("-p tcp ! --syn"); add(f"-p tcp -m tcp {bang()}--tcp-option {pick([2, 3, 8])}"); add("-p tcp -m tcp --tcp-option 2")
        for words in (["all", "any", "only"]):
            add(f"-p sctp -m sctp {bang()}--chunk-types {words} {pick(['DATA,INIT', 'INIT', 'DATA', 'DATA:Be,ABORT', 'ABORT:T', 'DATA,COOKIE_ACK', 'SHUTDOWN_COMPLETE:t'])}")
        add(f"-m iprange {bang()}--src-range {self.range()}"); add(f"-m iprange {bang()}--dst-range {pick(['10.3.0.5', '10.1.0.1-10.96.0.1'] if v4 else ['fd00:3::5', 'fd00:2::1-fd00:96::1'])}")
        add(f"-m iprange --dst-range {pick(['10.3.0.0-10.6.0.9', '10.96.0.1'] if v4 else ['fd00:3::-fd00:6::9', 'fd00:96::1'])}", ["PREROUTING"], ["raw", "mangle"])
        add(f"-m iprange --src-range {self.range()} ! --dst-range {self.range()}")
        for option in ("--physdev-in a0", "--physdev-out b0", "--physdev-is-in", "--physdev-is-out", "--physdev-is-bridged"):
            for not_ in ("", "! "):
                chains = ["FORWARD", "POSTROUTING"] if "out" in option or "bridged" in option else ["PREROUTING", "INPUT", "FORWARD"]
                add(f"-m physdev {not_}{option}", chains, ["mangle", "filter", "raw"])
        add("-m physdev ! --physdev-is-in ! --physdev-is-out ! --physdev-is-bridged ! --physdev-in x ! --physdev-out y", ["FORWARD"], ["filter", "mangle"])
        for u32 in (["0>>22&0x3C@0>>16=80,443:7003", "6&0xFF=6,17", "0&0xFFFF=40:120", "4&0x1FFF=0&&8>>24=64", "0>>22&0x3C@12>>26&0x3C@0=0:0xffffffff", "100=0:0xffffffff", "16=0x0a030005"]
                    if v4 else ["4&0xFFFF0000>>16=0:100", "40>>16=80,443:7003", "0<<4>>28=0:3", "1000=0:0xffffffff", "36=5"]):
            add(f'-m u32 {bang()}--u32 "{u32}"')
        for mac in MACS:
            add(f"-m mac {bang()}--mac-source {mac}", ["PREROUTING", "INPUT", "FORWARD"], ["raw", "mangle", "filter"])
        for kind in ("unicast", "broadcast", "multicast"):
            add(f"-m pkttype {bang()}--pkt-type {kind}", ["PREROUTING", "INPUT", "FORWARD"])
        add("-m pkttype --pkt-type multicast", ["PREROUTING"], ["raw", "mangle"])
        add("-m pkttype --pkt-type broadcast", ["PREROUTING"], ["raw", "mangle"])
        for not_ in ("", "! "):
            add(f"-p udp -m owner {not_}--socket-exists", ["OUTPUT"])
            for owner in ("--uid-owner 0", "--uid-owner 5-9", "--gid-owner root", "--socket-exists"):
                add(f"-m mark --mark 0x80000000/0x80000000 -m owner {not_}{owner}", ["POSTROUTING"], ["mangle"])
        add("-m mark --mark 0x80000000/0x80000000 -m owner ! --gid-owner 5 --suppl-groups", ["POSTROUTING"], ["mangle"])
        add("-m mark --mark 0x80000000/0x80000000 -m owner ! --uid-owner 1 ! --gid-owner 5", ["POSTROUTING"], ["mangle"])
        for options in ("", " --validmark --invert", " --loose", " --accept-local --invert", " --loose --accept-local --validmark", " --invert"):
            add(f"-m rpfilter{options}", ["PREROUTING"], ["raw", "mangle"])
        for side in ("--src-type", "--dst-type"):
            for kind in (["UNICAST", "LOCAL", "BROADCAST", "MULTICAST", "UNREACHABLE", "BLACKHOLE,PROHIBIT", "UNSPEC", "ANYCAST", "LOCAL,BROADCAST"]
                         if v4 else ["UNICAST", "LOCAL", "MULTICAST", "UNREACHABLE", "UNSPEC", "UNICAST,LOCAL", "LOCAL,ANYCAST", "UNICAST,UNREACHABLE"]):
                add(f"-m addrtype {bang()}{side} {kind}")
        add("-m addrtype --dst-type LOCAL --limit-iface-in", ["PREROUTING", "INPUT"]); add("-m addrtype ! --src-type LOCAL --limit-iface-out", ["OUTPUT", "FORWARD"])
        add("-m addrtype ! --dst-type LOCAL --limit-iface-in", ["PREROUTING"]); add("-m addrtype --dst-type LOCAL ! --src-type UNICAST")
        for state in ("NEW", "ESTABLISHED,RELATED", "INVALID", "UNTRACKED", "DNAT", "SNAT"):
            add(f"-m conntrack {bang()}--ctstate {state}", None, ["mangle", "filter", "security"])
        add(f"-m state {bang()}--state NEW,INVALID"); add("-m state --state ESTABLISHED")
        tracked = ["mangle", "filter", "security"]
        for option in (f"{bang()}--ctproto {pick(['tcp', 'udp', '17'])}", f"{bang()}--ctstatus {pick(['CONFIRMED', 'SEEN_REPLY', 'ASSURED,EXPECTED', 'CONFIRMED,SEEN_REPLY'])}",
                       "--ctdir ORIGINAL", "--ctdir REPLY", f"{bang()}--ctorigsrc {self.net().replace('/255.255.0.252', '/30')}", f"{bang()}--ctorigdst {self.address()}", f"{bang()}--ctreplsrc {self.address()}",
                       f"{bang()}--ctrepldst {self.address()}", f"{bang()}--ctorigsrcport 1:30000", f"{bang()}--ctorigdstport {port()}", f"{bang()}--ctreplsrcport {port()}",
                       f"{bang()}--ctrepldstport 1:30000", "--ctstatus NONE", "! --ctstatus NONE", f"--ctstate NEW --ctdir ORIGINAL --ctproto udp ! --ctorigdst {self.address()}"):
            add(f"-m conntrack {option}", None, tracked)
        add(f"-m statistic --mode random {bang()}--probability {pick(['1', '0', '1.0'])}")
        add("-m statistic --mode nth --every 3 --packet 2")
        mask = pick(["255.255.255.240", "255.255.0.0"]) if v4 else pick(["ffff:ffff:ffff:ffff::", "ffff::"])
        add(f"-m recent --name MASKED{self.family} --set --mask {mask}"); add(f"-m recent --name MASKED{self.family} --rcheck --hitcount 3 --mask {mask}")
        add("-m recent --name MANY --set"); add("-m recent --name MANY --update --hitcount 24")
        for kind in (["any", "echo-request", "8", "3/1", "destination-unreachable", "time-exceeded", "port-unreachable", "echo-reply"] if v4 else
                     ["echo-request", "128", "1/4", "time-exceeded", "destination-unreachable", "packet-too-big"]):
            add(f"-p {'icmp' if v4 else 'ipv6-icmp'} -m icmp{'' if v4 else '6'} {bang()}--icmp{'' if v4 else 'v6'}-type {kind}")
        add('-m comment --comment "said \\"so\\" & more"'); add("-m nfacct --nfacct-name ring")
        for protocol in ("tcp", "udp", "icmp", "47", "esp", "99", "all") if v4 else ("tcp", "udp", "ipv6-icmp", "47", "99", "all"):
            add(f"{bang() if protocol != 'all' else ''}-p {protocol}")
        if v4: add("-f"); add("! -f"); add("-p udp ! -f")
        return made

    def quiet_target(self, table, chain):
        """Targets that let the packet go on."""
        mark = pick(["--set-mark 0x1/0x3", "--or-mark 0x4", "--xor-mark 0x10", "--and-mark 0xffffffef", "--set-xmark 0x2/0xff"])
        choices = [f"MARK {mark}"] * 3 + [f'LOG --log-prefix "a b" --log-level {pick(["debug", "4", "info"])}', "LOG", "NFLOG --nflog-group 3 --nflog-prefix x",
                   f"AUDIT --type {pick(['accept', 'drop'])}"]
        if table != "raw":
            choices += [f"CONNMARK {pick(['--set-mark 0x1/0x3', '--or-mark 0x4', '--xor-mark 0x10', '--and-mark 0xfffffffe', '--set-xmark 0x5/0xf', '--save-mark', '--restore-mark --mask 0xf', '--save-mark --nfmask 0xf --ctmask 0xff', '--restore-mark --nfmask 0x3 --ctmask 0x7', '--set-xmark 0x3/0xf --left-shift-mark 2', '--save-mark --right-shift-mark 1', '--restore-mark --mask 0xf0 --right-shift-mark 4'])}"] * 3
        if table == "raw": choices += ["TRACE"] if FRONTEND == "legacy" else []
        if table == "mangle":
            ttl = "TTL" if self.v4 else "HL"
            low = ttl.lower()
            choices += [f"TOS {pick(['--set-tos 0x10', '--and-tos 0xf3', '--or-tos 0x4', '--xor-tos 0x8', '--set-tos 0x20/0xe0'])}", f"DSCP {pick(['--set-dscp 10', '--set-dscp-class EF'])}",
                        f"{ttl} --{low}-{pick(['set 60', 'dec 1', 'inc 3'])}", "CHECKSUM --checksum-fill"] * 2
            if chain in ("FORWARD", "OUTPUT", "POSTROUTING"): choices += ["CLASSIFY --set-class 1:10"]
        return pick(choices)

    def mss(self, chain):
        clamp = chain in ("FORWARD", "OUTPUT", "POSTROUTING") and chance(.6)
        return f"-p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS {'--clamp-mss-to-pmtu' if clamp else f'--set-mss {pick([500, 1000, 1400, 9000])}'}"

    def build(self):
        put = lambda table, chain, text: self.lines[table, chain].append(f"-A {chain} {text}".strip())
        if not self.v4:
            put("raw", "OUTPUT", "-p ipv6-icmp -m icmp6 --icmpv6-type 143 -j DROP")
        put("mangle", "PREROUTING", "-j MARK --set-xmark 0x80000000/0x80000000")
        for text, chains, tables in self.matches():
            table = pick(tables or ["raw", "mangle", "filter", "security"])
            while not set(CHAINS[table]) & set(chains or CHAINS[table]):
                table = pick(tables or ["raw", "mangle", "filter", "security"])
            chain = pick([c for c in CHAINS[table] if c in (chains or CHAINS[table])])
            target = f" -j {self.quiet_target(table, chain)}" if chance(.35) else ""
            extra = self.base(chain) if chance(.3) and not text.startswith("-p") else ""
            if "CHECKSUM" in target and "-p" in text: target = ""
            put(table, chain, extra + text + target)
            # Once more where all packets pass.
            if chance(.7):
                table = pick([t for t in (tables or ["mangle", "filter", "raw"]) if set(CHAINS[t]) & set(chains or CHAINS[t])])
                options = [c for c in CHAINS[table] if c in (chains or CHAINS[table])]
                wide = [c for c in options if c in ("PREROUTING", "FORWARD")]
                put(table, pick(wide or options), text)
        for chain in CHAINS["mangle"]:
            for _ in range(2):
                put("mangle", chain, self.mss(chain))
            for _ in range(6):
                put("mangle", chain, f"{self.base(chain)}-j {self.quiet_target('mangle', chain)}")
        for chain in CHAINS["raw"]:
            put("raw", chain, f"-p udp --dport 7006 -j {pick(['NOTRACK', 'CT --notrack'])}")
        for lines in self.lines.values():
            first = lines[:2]
            R.shuffle(lines)
            for line in first:
                if "icmpv6-type 143" in line or "0x80000000/0x80000000" in line and "-j MARK --set-x" in line:
                    lines.remove(line); lines.insert(0, line)
        self.users_chains()
        self.verdicts(put)
        self.nat(put)

    def users_chains(self):
        """Some rules move into chains of the user, with jumps, gotos and RETURN."""
        for (table, chain), lines in self.lines.items():
            if len(lines) < 12: continue
            name = f"U-{chain[:4]}"
            moved = [line.replace(f"-A {chain} ", f"-A {name} ", 1) for line in lines[6:12] if "0x80000000/0x80000000 -m owner" not in line]
            lines[6:12] = [line for line in lines[6:12] if "0x80000000/0x80000000 -m owner" in line] + [f"-A {chain} -j {name}", f"-A {chain} -p udp {'-j' if chain == 'INPUT' else pick(['-g', '-j'])} {name}2"]
            moved.insert(3, f"-A {name} -m statistic --mode nth --every 4 --packet 0 -j RETURN")
            self.users.append((table, name, moved))
            self.users.append((table, name + "2", [f"-A {name}2 -m mark --mark 1/1 -j RETURN", f"-A {name}2 -j MARK --xor-mark 2"]))

    def verdicts(self, put):
        rejects = (["icmp-net-unreachable", "icmp-host-unreachable", "icmp-proto-unreachable", "icmp-port-unreachable", "net-prohib", "icmp-host-prohibited", "icmp-admin-prohibited"] if self.v4
                   else ["no-route", "icmp6-adm-prohibited", "addr-unreach", "icmp6-port-unreachable", "policy-fail", "icmp6-reject-route"])
        for chain in ("INPUT", "FORWARD"):
            put("filter", chain, "-p tcp --dport 7000 -j REJECT --reject-with tcp-reset")
            for index, kind in enumerate(rejects):
                for protocol in ("udp", "tcp"):
                    put("filter", chain, f"-p {protocol} --dport {7100 + index} -j REJECT --reject-with {kind}")
            put("filter", chain, "-p sctp --dport 7002 -j REJECT")
            put("filter", chain, f"-p tcp --dport 7003 -j DROP")
        put("security", "FORWARD", "-p udp --dport 7004 -j DROP")
        put("mangle", "PREROUTING", "-p udp --dport 7005 -m statistic --mode nth --every 3 --packet 0 -j ACCEPT")
        put("filter", "INPUT", "-p udp --dport 5353 -j ACCEPT")
        put("filter", "INPUT", "-j DROP")
        # iptables-nft gives the security table priority 150, behind nat; the kernel's own, and legacy's, is 50.
        if FRONTEND == "nft": self.lines["security", "INPUT"] = []

    def nat(self, put):
        """The nat table sees the first packet of a connection only."""
        to = (lambda text: text) if self.v4 else (lambda text: text.replace("10.96.0.", "fd00:96::").replace("10.3.0.", "fd00:3::").replace("10.2.0.", "fd00:2::").replace("10.1.0.", "fd00:1::"))
        end = lambda text, port: f"{text}:{port}" if self.v4 else f"[{text}]:{port}"
        for chain in CHAINS["nat"]:
            for _ in range(3):
                put("nat", chain, f"{self.base(chain)}{pick(['', '-m statistic --mode nth --every 2 --packet 0 ', '-m addrtype --dst-type LOCAL ', '-m state --state NEW '])}-j {pick(['MARK --or-mark 0x40', 'LOG', 'CONNMARK --or-mark 0x20'])}")
        vip = to("10.96.0.")
        put("nat", "PREROUTING", f"-d {vip}1 -p tcp -m tcp --dport 80 -j DNAT --to-destination {end(to('10.3.0.5'), 8080)}")
        put("nat", "PREROUTING", f"-d {vip}1 -p udp -j DNAT --to-destination {to('10.3.0.5')}")
        put("nat", "PREROUTING", f"-d {vip}2 -p udp -j DNAT --to-destination {to('10.3.0.5')}-{to('10.3.0.12')} --persistent")
        put("nat", "PREROUTING", f"-d {vip}2 -p tcp -j DNAT --to-destination {to('10.3.0.5')}-{to('10.3.0.20')}")
        put("nat", "PREROUTING", f"-d {vip}3 -p udp -m udp --dport 7000:7010 -j DNAT --to-destination {end(to('10.3.0.6'), '9000-9005/7000')}")
        if self.v4: put("nat", "PREROUTING", f"-d {vip}4 -p udp -j REDIRECT --to-ports 5353")
        if self.v4: put("nat", "PREROUTING", f"-d {vip}4 -p tcp -j REDIRECT")
        put("nat", "OUTPUT", f"-d {vip}1 -p udp -j DNAT --to-destination {to('10.3.0.7')}")
        put("nat", "INPUT", f"-p udp --dport 5353 -j SNAT --to-source {to('10.1.0.99')}")
        put("nat", "POSTROUTING", f"-s {to('10.1.0.110')} -j MASQUERADE")
        put("nat", "POSTROUTING", f"-s {to('10.1.0.111')} -p udp -j SNAT --to-source {to('10.2.0.20')}-{to('10.2.0.29')}")
        put("nat", "POSTROUTING", f"-s {to('10.1.0.112')} -p udp -j SNAT --to-source {end(to('10.2.0.30') + '-' + to('10.2.0.39'), '1-65535')} --persistent")
        put("nat", "POSTROUTING", f"-s {to('10.1.0.113')} -p tcp -j SNAT --to-source {end(to('10.2.0.31'), '20000-65535')}")

    def text(self):
        out = []
        for table, chains in CHAINS.items():
            out.append(f"*{table}")
            out += [f":{chain} ACCEPT [0:0]" for chain in chains] + [f":{name} - [0:0]" for t, name, _ in self.users if t == table]
            for chain in chains: out += self.lines[table, chain]
            for t, _, lines in self.users: out += lines if t == table else []
            out.append("COMMIT")
        return "\n".join(out) + "\n"


# ---- frames -----------------------------------------------------------------------------------------------------

class Frames:
    """Random frames, each with the link it enters on; "out" is the node's own raw socket."""

    def __init__(self, macs):
        self.macs, self.frames, self.identification, self.port = macs, [], 0, 20000

    def add(self, link, packet, to=None):
        bytes_ = bytes(packet)
        ethertype = b"\x86\xdd" if bytes_[0] >> 4 == 6 else b"\x08\x00"
        source = bytes.fromhex(pick(MACS).replace(":", ""))
        self.frames.append((link, bytes_ if link == "out" else (to or self.macs[link]) + source + ethertype + bytes_))

    def header(self, family, source, target, **more):
        if family == 6: return IPv6(src=source, dst=target, **more)
        self.identification += 1
        return IP(src=source, dst=target, id=self.identification, **more)

    def upper(self, family, port):
        self.port += 1
        ports, payload = dict(sport=self.port, dport=port), R.randbytes(pick([0, 1, 20, 600, 1200]))
        kind = pick(["syn", "tcp", "udp", "udp", "udp", "sctp", "icmp", "icmp", "error", "other", "dccp", "udplite"])
        options = pick([[("MSS", 1460)], [("MSS", 1460), ("SAckOK", b"")], [("NOP", None)] * (1 if family == 4 else 2) + [("MSS", 800)], [], [("Timestamp", (1, 2))], [("WScale", 3)]])
        if kind == "syn": return kind, TCP(flags=pick(["S", "S", "S", "SA"]), seq=R.getrandbits(32), options=options, **ports) / (b"x" * pick([0, 0, 0, 5]))
        if kind == "tcp": return kind, TCP(flags=pick(["A", "PA", "R", "FA", ""]), seq=R.getrandbits(32), ack=R.getrandbits(32), options=options, **ports) / payload
        if kind == "udp": return kind, UDP(**ports) / payload
        if kind == "sctp":
            chunks = pick([[SCTPChunkInit(init_tag=5, a_rwnd=5000, n_out_streams=1, n_in_streams=1, init_tsn=1)], [SCTPChunkData(data=b"abcd", beginning=1, ending=pick([0, 1]))], [SCTPChunkData(data=b"abcd"), SCTPChunkAbort(TCB=pick([0, 1]))],
                           [SCTPChunkCookieAck(), SCTPChunkData(data=b"abc", beginning=1, ending=1)], [SCTPChunkShutdownComplete(TCB=pick([0, 1]))]])
            made = SCTP(tag=0 if isinstance(chunks[0], SCTPChunkInit) else 7, **ports)
            for chunk in chunks: made = made / chunk
            return kind, made
        if kind == "other": return kind, R.randbytes(pick([0, 3, 40]))
        if kind == "dccp": return kind, struct.pack("!HHBBHI", self.port, port, 4, 0, 0, 0) + R.randbytes(20)
        if kind == "udplite": return kind, struct.pack("!HHHH", self.port, port, 8, R.getrandbits(16)) + payload
        if kind == "icmp":
            return kind, (ICMP(type=pick([8, 8, 0, 13]), id=self.port) / payload if family == 4 else ICMPv6EchoRequest(id=self.port, data=payload))
        quoted = self.header(family, *(("10.3.0.5", "10.1.0.110") if family == 4 else ("fd00:3::5", "fd00:1::110"))) / UDP(sport=80, dport=999) / b"xx"
        return kind, (ICMP(type=pick([3, 11]), code=pick([0, 1, 3])) if family == 4 else pick([ICMPv6DestUnreach(code=4), ICMPv6TimeExceeded()])) / quoted

    PROTOCOL = {"other": [99, 47, 50], "dccp": [33], "udplite": [136]}

    def one(self):
        family = pick([4, 6])
        host = pick([110, 111, 112, 113, *R.choices(range(100, 151), k=6)])
        p = (lambda a, b: a) if family == 4 else (lambda a, b: b)
        source = f"10.1.0.{host}" if family == 4 else f"fd00:1::{host}"
        target = pick(["10.3.0.5", "10.3.0.5", "10.6.0.5", "10.9.0.5", "10.7.0.5", "10.2.0.10", "10.96.0.1", "10.96.0.2", "10.96.0.3", "10.96.0.4", "10.1.0.1", "10.2.0.1", "10.2.0.255"] if family == 4
                      else ["fd00:3::5", "fd00:3::5", "fd00:6::5", "fd00:9::5", "fd00:7::5", "fd00:2::10", "fd00:96::1", "fd00:96::2", "fd00:96::3", "fd00:96::4", "fd00:1::1", "fd00:2::1"])
        port = pick(PORTS)
        if target.endswith("96.0.3") or target.endswith("96::3"): port = R.randint(7000, 7010)
        link, to = pick(["a0"] * 9 + ["b0", "out"]), None
        if link == "b0":  # not back out of b0: IPv6 would send a redirect
            source = pick([source, p("10.3.0.77", "fd00:3::77"), p("10.2.0.130", "fd00:2::130")])
            target = pick([p("10.1.0.120", "fd00:1::120"), p("10.1.0.120", "fd00:1::120"), p("10.1.0.1", "fd00:1::1")])
        kind, upper = self.upper(family, port)
        if link == "out":
            source, target = p("10.2.0.1", "fd00:2::1"), p(pick(["10.3.0.5", "10.2.0.10", "10.96.0.1"]), pick(["fd00:3::5", "fd00:2::10", "fd00:96::1"]))
            if family == 6: return
        ttl = pick([64, 64, 64, 2, 255, 1 if link != "out" else 9])
        more = dict(ttl=ttl, tos=pick([0, 0, 0x10, 0xb8, 8, 3]), flags=pick(["DF", 0, 0])) if family == 4 else dict(hlim=ttl, tc=pick([0, 0, 0xb8, 0x10]))
        if kind in self.PROTOCOL: more["proto" if family == 4 else "nh"] = pick(self.PROTOCOL[kind])
        if family == 4 and chance(.05): more["options"] = [IPOption_NOP()] * 4
        header = self.header(family, source, target, **more)
        if family == 6 and kind not in self.PROTOCOL and chance(.08):
            header = header / pick([IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])])
        packet = header / upper
        if link != "out":
            if chance(.1): to = pick([b"\xff" * 6, b"\x01\0\x5e\0\0\x05" if family == 4 else b"\x33\x33\0\0\0\x05"])
            if chance(.05) and kind in ("tcp", "udp", "icmp"):
                packet = type(packet)(bytes(packet))
                raw = bytearray(bytes(packet)); raw[-1] ^= 0x55; packet = bytes(raw)
            if chance(.05): packet = bytes(packet) + b"\0" * R.randint(1, 6)
            if family == 4 and chance(.12) and kind == "udp" and to is None: return self.fragments(link, bytes(packet))
        self.add(link, packet, to)
        if kind in ("udp", "syn") and link == "a0" and to is None and chance(.5): self.answer(family, source, target, upper, kind)

    def fragments(self, link, raw):
        size = 400
        data = raw[20:] if raw[0] == 0x45 else b""
        if len(data) <= size: return self.add(link, raw)
        pieces = []
        for at in range(0, len(data), size):
            head = bytearray(raw[:20])
            piece = data[at:at + size]
            head[2:4] = struct.pack("!H", 20 + len(piece))
            head[6:8] = struct.pack("!H", (0x2000 if at + size < len(data) else 0) | at >> 3)
            head[10:12] = b"\0\0"
            head[10:12] = struct.pack("!H", checksum(bytes(head)))
            pieces.append(bytes(head) + piece)
        R.shuffle(pieces)
        for piece in pieces: self.add(link, piece)

    def answer(self, family, source, target, upper, kind):
        back = {"10.96.0.1": "10.3.0.5", "fd00:96::1": "fd00:3::5"}.get(target, target)
        if back == target and not target.startswith(("10.3.", "10.6.", "10.2.0.10", "fd00:3:", "fd00:6:", "fd00:2::10")): return
        header = self.header(family, back, source)
        port = 8080 if back != target and kind == "syn" and upper.dport == 80 else upper.dport
        made = UDP(sport=port, dport=upper.sport) / b"answer" if kind == "udp" else TCP(sport=port, dport=upper.sport, flags="SA", seq=9, ack=(upper.seq + 1) & 0xffffffff)
        self.add("b0", header / made)


# ---- recording ---------------------------------------------------------------------------------------------------

def record(frames, groups):
    """Sends, each frame after what the one before caused, and takes what comes back."""
    enter(WORLD)
    doors, ears, seen, stop = {}, {}, [], threading.Event()
    for link in LINKS:
        doors[link] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        doors[link].bind(("w" + link, 0))
        ears[link] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        ears[link].bind(("w" + link, 3))
        ears[link].setsockopt(socket.SOL_SOCKET, 33, 1 << 26)
        ears[link].settimeout(.2)
    def listen(link):
        while True:
            try: bytes_, address = ears[link].recvfrom(65536)
            except TimeoutError:
                if stop.is_set(): return
                continue
            if address[2] != 4 and bytes_[12:14] in (b"\x08\0", b"\x86\xdd"): seen.append((link, bytes_[14:].hex()))
    threads = [threading.Thread(target=listen, args=(link,), daemon=True) for link in LINKS]
    for thread in threads: thread.start()
    enter(NODE)
    own = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    silent = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)]
    silent[1].setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    silent[0].bind(("0.0.0.0", 5353)); silent[1].bind(("::", 5353))
    times = []
    for number, (link, bytes_) in enumerate(frames):
        times.append(time.time_ns())
        try: own.sendto(bytes_, (socket.inet_ntoa(bytes_[16:20]), 0)) if link == "out" else doors[link].send(bytes_)
        except PermissionError: pass  # a rule dropped it
        time.sleep(.1 if number in groups else .0004)
    time.sleep(.4)
    stop.set()
    for thread in threads: thread.join()
    return times, seen


def main():
    os.makedirs(OUT, exist_ok=True)
    down(NODE, WORLD)
    try:
        up(NODE, WORLD, [2, 10, *range(100, 160)], ROUTES)
        subprocess.run(["ip", "netns", "exec", NODE, sys.executable, "-c", "pass"])
        done = threading.Thread(target=lambda: (enter(NODE), make_nfacct("ring"))); done.start(); done.join()
        for family in (4, 6):
            rules = Rules(family)
            rules.build()
            open(f"{OUT}/rules.v{family}", "w").write(rules.text())
            inside(NODE, f"ip{'' if family == 4 else '6'}tables-{FRONTEND}-restore", text=rules.text())
        facts = dict(link="-d link", addr="addr", route4="route show table all", route6="-6 route show table all", neigh="neigh")
        known = {key: json.loads(run("ip", "-n", NODE, "-j", *command.split()) or "[]") for key, command in facts.items()}
        json.dump(known, open(f"{OUT}/net.json", "w"))
        frames = Frames({link["ifname"]: bytes.fromhex(link["address"].replace(":", "")) for link in known["link"]})
        while len(frames.frames) < COUNT: frames.one()
        times, seen = record(frames.frames, set(range(0, len(frames.frames), 60)))
        with open(f"{OUT}/frames.jsonl", "w") as file:
            for at, (link, bytes_) in zip(times, frames.frames): file.write(json.dumps([at, link, bytes_.hex()]) + "\n")
        with open(f"{OUT}/seen.jsonl", "w") as file:
            for one in seen: file.write(json.dumps(one) + "\n")
        for family in (4, 6):
            open(f"{OUT}/saved.v{family}", "w").write(inside(NODE, f"ip{'' if family == 4 else '6'}tables-{FRONTEND}-save", "-c"))
    finally:
        down(NODE, WORLD)


main()
