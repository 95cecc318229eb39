"""Records what this machine's kernel does with random packets, for kernel.test.ts to compare with the model.

  kernel-ring.py DIR SEED COUNT      needs root, ip, iptables, conntrack, tcpdump, ethtool, scapy

A node (a namespace of its own) with two links is fed frames from another one: whole packets, fragments in any
order with duplicates and gaps, IPv4 options, wrong checksums, answers and ICMP errors, for destinations that are
forwarded, DNATed, rejected, unreachable, too big, local. DIR gets the files of a lab run with one case, T01. Only
these two namespaces are touched; they are deleted at the end.

The kernel limits ICMP errors of routes to five per source and second, so sources are many. Local sockets never
answer: INPUT drops what they would hear.
"""
import json, logging, os, random, signal, struct, subprocess, sys, time
logging.getLogger("scapy").setLevel(logging.ERROR)
from scapy.all import (Ether, ICMP, ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IP,
    IPOption_LSRR, IPOption_NOP, IPOption_Router_Alert, IPOption_RR, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop,
    PadN, TCP, UDP, checksum)
from two_links import LINKS, down, inside, run, up

OUT, SEED, COUNT = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
NODE, WORLD = f"tw-ring-node-{os.getpid()}", f"tw-ring-world-{os.getpid()}"
ROUTES = """10.3.0.0/24 via 10.2.0.2
10.6.0.0/24 via 10.2.0.2 mtu 1300
unreachable 10.9.0.0/24
prohibit 10.8.0.0/24
blackhole 10.7.0.0/24
fd00:3::/64 via fd00:2::2
fd00:6::/64 via fd00:2::2 mtu 1300
unreachable fd00:9::/64
prohibit fd00:8::/64
blackhole fd00:7::/64"""
TARGETS4 = ["10.3.0.5", "10.6.0.5", "10.9.0.5", "10.8.0.5", "10.7.0.5", "10.2.0.10", "10.96.0.1", "10.96.0.1",
            "10.200.0.1", "10.1.0.1", "10.2.0.1", "10.1.0.10", "224.0.0.5", "10.2.0.255", "255.255.255.255",
            "127.0.0.1", "0.0.0.0"]
TARGETS6 = ["fd00:3::5", "fd00:6::5", "fd00:9::5", "fd00:8::5", "fd00:7::5", "fd00:2::10", "fd00:96::1",
            "fd00:96::1", "fd00:200::1", "fd00:1::1", "fd00:2::1"]
ODD_SOURCES4 = ["10.200.0.9", "127.0.0.1", "0.0.0.0", "10.2.0.1", "224.0.0.1", "10.3.0.77"]
ODD_SOURCES6 = ["fd00:200::9", "fe80::9", "::1", "fd00:3::77"]
REJECTS = {4: ["icmp-port-unreachable", "icmp-host-unreachable", "icmp-admin-prohibited", "icmp-net-unreachable"],
           6: ["icmp6-port-unreachable", "icmp6-no-route", "icmp6-adm-prohibited", "icmp6-addr-unreachable"]}
PORTS = [80, 7000, 7001, 7002, 7003, 7004, 9999]
INJECT = """
import socket, sys, time
sockets = {}
for line in sys.stdin:
    link, frame = line.split()
    if link not in sockets:
        sockets[link] = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        sockets[link].bind(("w" + link, 0))
    sockets[link].send(bytes.fromhex(frame))
    time.sleep(.0015)
"""


def rules(family):
    service, backend, masqueraded, mask = (("10.96.0.1", "10.3.0.5", "10.1.0.177", 32) if family == 4
                                           else ("fd00:96::1", "fd00:3::5", "fd00:1::177", 128))
    text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
    for chain in ("INPUT", "FORWARD"):
        text += f"-A {chain} -p tcp -m tcp --dport 7000 -j REJECT --reject-with tcp-reset\n"
        for index, kind in enumerate(REJECTS[family]):
            for protocol in ("tcp", "udp"):
                text += f"-A {chain} -p {protocol} -m {protocol} --dport {7001 + index} -j REJECT --reject-with {kind}\n"
    text += "-A FORWARD -m conntrack --ctstate INVALID -j DROP\n"
    for match in ("tcp", "udp", "icmp" if family == 4 else "ipv6-icmp -m icmp6 --icmpv6-type echo-request"):
        text += f"-A INPUT -p {match} -j DROP\n"
    text += "COMMIT\n*nat\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"))
    bracketed = f"[{backend}]" if family == 6 else backend
    for protocol in ("tcp", "udp"):
        match = f"-A PREROUTING -d {service}/{mask} -p {protocol} -m {protocol}"
        text += f"{match} --dport 80 -j DNAT --to-destination {bracketed}:8080\n"
        text += f"{match} --dport 7000:7005 -j DNAT --to-destination {backend}\n"
    return text + f"-A POSTROUTING -s {masqueraded}/{mask} -j MASQUERADE\nCOMMIT\n"


class Frames:
    """Random frames, each with the link it enters on."""

    def __init__(self, macs):
        self.macs, self.frames, self.identification = macs, [], 0

    def add(self, link, packet, limit):
        bytes_ = bytes(packet)
        if len(bytes_) <= limit:
            ethertype = b"\x86\xdd" if bytes_[0] >> 4 == 6 else b"\x08\x00"
            self.frames.append((link, self.macs[link] + b"\x02\0\0\0\x01\x02" + ethertype + bytes_))

    def header(self, family, source, target, **more):
        if family == 6:
            return IPv6(src=source, dst=target, **more)
        self.identification += 1
        return IP(src=source, dst=target, id=self.identification, **more)

    def pieces(self, packet):
        """The packet as fragments: shuffled, with a duplicate, with one missing, or as they are."""
        raw = bytes(packet)
        six = raw[0] >> 4 == 6
        header = 40 if six else (raw[0] & 15) * 4
        largest, uneven, df = random.choice([200, 800, 1000, 1232]), random.random() < .5, random.choice([0, 0, 1, 2])
        self.identification += 1
        offset, made = 0, []
        while offset < len(raw) - header:
            size = random.randint(1, largest // 8) * 8 if uneven else largest // 8 * 8
            data = raw[header + offset:header + offset + size]
            more = header + offset + size < len(raw)
            head = bytearray(raw[:header])
            if six:
                head[4:7] = struct.pack("!HB", 8 + len(data), 44)
                data = struct.pack("!BBHI", raw[6], 0, offset | more, self.identification) + data
            else:
                flag = 0x4000 if df == 1 or (df == 2 and random.random() < .5) else 0
                head[2:4] = struct.pack("!H", header + len(data))
                head[6:8] = struct.pack("!H", flag | (0x2000 if more else 0) | offset >> 3)
                head[10:12] = b"\0\0"
                head[10:12] = struct.pack("!H", checksum(bytes(head)))
            made.append(bytes(head) + data)
            offset += size
        change = random.random()
        if change < .35:
            random.shuffle(made)
        elif change < .5:
            made.insert(random.randrange(len(made)), random.choice(made))
        elif change < .55 and len(made) > 1:
            made.pop(random.randrange(len(made)))
        return made

    def one(self):
        family = random.choice([4, 4, 4, 6, 6])
        host = random.randint(100, 249)
        odd = random.random() < .1
        source = random.choice(ODD_SOURCES4 if family == 4 else ODD_SOURCES6) if odd else (
            f"10.1.0.{host}" if family == 4 else f"fd00:1::{host}")
        target = random.choice(TARGETS4 if family == 4 else TARGETS6)
        fragmented = random.random() < .3
        size = random.choice([100, 1000, 2000, 4000, 8000] if fragmented else [0, 1, 20, 600, 1200, 1300, 1372, 1400, 1440])
        ttl = random.choice([64, 64, 64, 64, 2, 1, 0, 255])
        port, payload = random.choice(PORTS), random.randbytes(size)
        kind = random.choice(["segment", "udp", "udp", "syn", "icmp"])
        ports = dict(sport=random.randint(1024, 65000), dport=port)
        if family == 4:
            more = dict(ttl=ttl, tos=random.choice([0, 0, 0x10, 0xb8, 0x2e, 3]), flags=random.choice(["DF", 0, 0]))
            if fragmented:
                more["flags"] = 0
            if random.random() < .05:
                more["options"] = random.choice([[IPOption_NOP()] * 4, [IPOption_Router_Alert()],
                    [IPOption_RR(length=11, routers=["0.0.0.0"] * 2), IPOption_NOP()],
                    [IPOption_LSRR(length=7, routers=["10.3.0.5"]), IPOption_NOP()]])
        else:
            more = dict(hlim=ttl, tc=random.choice([0, 0, 0xb8, 2]), fl=random.choice([0, 5]))
        header = self.header(family, source, target, **more)
        if kind == "syn":
            upper = TCP(flags="S", seq=random.getrandbits(32), **ports)
        elif kind == "segment":
            upper = TCP(flags=random.choice(["A", "PA", "SA", "R", "FA", "S"]), seq=random.getrandbits(32),
                        ack=random.getrandbits(32), **ports) / payload
        elif kind == "udp":
            upper = UDP(**ports) / payload
        elif random.random() < .5:
            upper = (ICMP(type=random.choice([8, 8, 0, 13]), id=host) if family == 4
                     else ICMPv6EchoRequest(id=host, data=payload)) / (payload if family == 4 else b"")
        else:
            quoted = self.header(family, target, source) / UDP(sport=80, dport=999) / b"xx"
            upper = (ICMP(type=random.choice([3, 11, 12, 5]), code=random.choice([0, 1, 3])) if family == 4
                     else random.choice([ICMPv6DestUnreach(code=4), ICMPv6TimeExceeded()])) / quoted
        if family == 6 and not fragmented and random.random() < .05:
            header = header / random.choice([IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])])
        packet = header / upper
        if family == 4 and not fragmented and random.random() < .04:
            packet = IP(bytes(packet))
            packet.chksum = 0x1234
        for piece in self.pieces(packet) if fragmented and size > 40 else [packet]:
            self.add("a0", piece, 1500)
        if kind in ("udp", "syn") and not fragmented and random.random() < .6:
            self.answer(family, source, target, ports, kind, getattr(upper, "seq", 0))

    def answer(self, family, source, target, ports, kind, sequence):
        """What the other side sends back by b0: an answer, perhaps in fragments, and an error about the packet."""
        service = target in ("10.96.0.1", "fd00:96::1")
        backend = target if not service else "10.3.0.5" if family == 4 else "fd00:3::5"
        port = 8080 if service and ports["dport"] == 80 else ports["dport"]
        header = (self.header(4, backend, source, flags=random.choice(["DF", 0])) if family == 4
                  else self.header(6, backend, source, hlim=random.choice([64, 1])))
        if kind == "syn":
            self.add("b0", header / TCP(sport=port, dport=ports["sport"], flags="SA", seq=5, ack=(sequence + 1) & 0xffffffff), 1400)
            seen = TCP(sport=ports["sport"], dport=port, flags="S", seq=sequence)
        else:
            packet = header / UDP(sport=port, dport=ports["sport"]) / bytes(random.choice([10, 500, 1300]))
            for piece in self.pieces(packet) if random.random() < .4 else [packet]:
                self.add("b0", piece, 1400)
            seen = UDP(sport=ports["sport"], dport=port) / b"xx"
        if random.random() < .5:
            quoted = self.header(family, source, backend) / seen
            router, error = (("10.2.0.2", random.choice([ICMP(type=3, code=4, nexthopmtu=1300), ICMP(type=3, code=1),
                ICMP(type=11)])) if family == 4 else ("fd00:2::2", random.choice([ICMPv6PacketTooBig(mtu=1300),
                ICMPv6DestUnreach(code=3), ICMPv6TimeExceeded()])))
            self.add("b0", self.header(family, router, source) / error / quoted, 1400)


def record(frames, case):
    capture = subprocess.Popen(["ip", "netns", "exec", NODE, "tcpdump", "-i", "any", "-s", "0", "-B", "32768", "-U", "-Z", "root",
        "--time-stamp-precision=nano", "-y", "LINUX_SLL2", "-w", f"{case}/node1.any.pcap"], stderr=subprocess.DEVNULL)
    with open(f"{case}/node1.ct-events.txt", "wb") as events_file:
        events = subprocess.Popen(["ip", "netns", "exec", NODE, "conntrack", "-E", "-b", "33554432", "-o", "timestamp,extended,id"],
                                  stdout=events_file, stderr=subprocess.DEVNULL)
        time.sleep(1.5)
        started = time.time_ns()
        inside(WORLD, sys.executable, "-c", INJECT, text="".join(f"{link} {frame.hex()}\n" for link, frame in frames))
        time.sleep(.5)
        capture.send_signal(signal.SIGINT)
        capture.wait(10)
        events.terminate()
        events.wait(5)
    return started


def main():
    random.seed(SEED)
    case = f"{OUT}/T01"
    os.makedirs(case, exist_ok=True)
    down(NODE, WORLD)
    try:
        up(NODE, WORLD, [2, 10, *range(100, 250)], ROUTES)
        for family, tool in ((4, "iptables-restore"), (6, "ip6tables-restore")):
            open(f"{OUT}/node1.v{family}.rules", "w").write(rules(family))
            inside(NODE, tool, text=rules(family))
        facts = dict(link="-d link", addr="addr", route4="route show table all", route6="-6 route show table all", neigh="neigh")
        known = {key: json.loads(run("ip", "-n", NODE, "-j", *command.split()) or "[]") for key, command in facts.items()}
        json.dump(known, open(f"{OUT}/node1.net.json", "w"))
        open(f"{OUT}/cluster.yaml", "w").write("apiVersion: v1\nkind: Node\nmetadata: {name: node1}\n"
            "status: {addresses: [{type: InternalIP, address: 10.2.0.1}]}\n")
        macs = {link["ifname"]: bytes.fromhex(link["address"].replace(":", "")) for link in known["link"]}
        frames = Frames(macs)
        for _ in range(COUNT):
            frames.one()
        json.dump(dict(started=record(frames.frames, case)), open(f"{OUT}/meta.json", "w"))
    finally:
        down(NODE, WORLD)


main()
