"""A node on the real kernel, driven packet by packet: two links join a namespace with rules to one without.

The first line on standard input is a JSON object: {"name", "links": {"a0": {"mac", "peer", "mtu", "addresses": [],
"neighbours": []}}, "sysctls": {}, "routes": []}. Then one JSON list a line, one JSON answer a line:

    ["inject", link, hex, tags]  the frames that left, in order: [[link, hex], …]; the link layer is not in them;
                               `tags` in hex stand before the packet's EtherType
    ["run", [argv …], stdin]   {"status", "out", "err"} of a command in the node's namespace
    ["sleep", seconds]         null

Frames enter on the far end of a link and are read there. No ARP or neighbour discovery is needed: every neighbour is
permanent. When a frame is through is told by another one, untracked and known by its destination, that is injected
behind it: both go through one queue of one CPU.
"""
import ctypes
import json
import os
import socket
import subprocess
import sys
import time

libc = ctypes.CDLL(None, use_errno=True)


def run(*argv, text=None):
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


def must(*argv, text=None):
    done = run(*argv, text=text)
    if done["status"]:
        raise SystemExit(f"{' '.join(argv)}: {done['err']}")
    return done["out"]


def checksum(data):
    total = sum(int.from_bytes(data[at:at + 2], "big") for at in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


class Lab:
    def __init__(self, setup):
        self.setup = setup
        self.node, self.world = setup["name"] + "-node", setup["name"] + "-world"
        self.sockets, self.count = {}, 0

    def up(self):
        for namespace in (self.node, self.world):
            must("ip", "netns", "add", namespace)
            must("ip", "-n", namespace, "link", "set", "lo", "up")
        must("ip", "netns", "exec", self.world, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
             "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0")
        must("ip", "netns", "exec", self.node, "sysctl", "-qw", *[f"{key}={value}" for key, value in self.setup["sysctls"].items()])
        batch = []
        for link, facts in self.setup["links"].items():
            must("ip", "link", "add", link, "netns", self.node, "address", facts["mac"], "type", "veth",
                 "peer", "name", "w" + link, "netns", self.world, "address", facts["peer"])
            for namespace, name in ((self.node, link), (self.world, "w" + link)):
                run("ip", "netns", "exec", namespace, "ethtool", "-K", name, *"tx off rx off tso off gso off gro off".split())
                must("ip", "-n", namespace, "link", "set", name, "mtu", str(facts["mtu"]), "up")
            batch += [f"addr add {address} dev {link}{' nodad' if ':' in address else ''}" for address in facts["addresses"]]
            batch += [f"neigh add {address} lladdr {facts['peer']} dev {link} nud permanent" for address in facts["neighbours"]]
        batch += [f"{'-6 ' if ':' in route else ''}route add {route}" for route in self.setup["routes"]]
        for line in batch:
            must("ip", "-n", self.node, *line.split())
        self.open()

    def open(self):
        """AF_PACKET sockets keep the namespace they were made in."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.world}", os.O_RDONLY)
        if libc.setns(there, 0x40000000):
            raise SystemExit("setns failed")
        for link in self.setup["links"]:
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            made.bind(("w" + link, 0))
            self.sockets[link] = made
        libc.setns(home, 0x40000000)

    def frame(self, link, packet, tags=b""):
        facts = self.setup["links"][link]
        mac = bytes.fromhex(facts["mac"].replace(":", "")), bytes.fromhex(facts["peer"].replace(":", ""))
        return mac[0] + mac[1] + tags + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet

    def barrier(self):
        """Goes in by the first link and out by the second."""
        self.count = (self.count + 1) & 0xffff
        head = bytearray(b"\x45\0\0\x1c" + self.count.to_bytes(2, "big") + b"\0\0\x40\x11\0\0\xc6\x12\0\1\xc6\x12\0\2")
        head[10:12] = checksum(head).to_bytes(2, "big")
        return bytes(head) + b"\0\x09\0\x09\0\x08\0\0"

    def inject(self, link, packet, tags):
        links = list(self.sockets)
        self.sockets[link].send(self.frame(link, packet, tags))
        barrier = self.barrier()
        self.sockets[links[0]].send(self.frame(links[0], barrier))
        found, deadline, through = [], time.monotonic() + 2, False
        while not through:
            for name, sock in self.sockets.items():
                while True:
                    try:
                        data, address = sock.recvfrom(70000, socket.MSG_DONTWAIT)
                    except BlockingIOError:
                        break
                    if address[2] == socket.PACKET_OUTGOING or data[12:14] not in (b"\x08\0", b"\x86\xdd"):
                        continue
                    packet = data[14:]
                    if packet[12:20] == barrier[12:20]:
                        through = packet[4:6] == barrier[4:6]
                    else:
                        found.append([name, packet.hex()])
            if time.monotonic() > deadline:
                return {"error": "the barrier did not come through"}
        return found

    def down(self):
        for namespace in (self.node, self.world):
            run("ip", "netns", "del", namespace)


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    lab = Lab(json.loads(sys.stdin.readline()))
    lab.down()
    try:
        lab.up()
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            command, *rest = json.loads(line)
            if command == "inject":
                answer = lab.inject(rest[0], bytes.fromhex(rest[1]), bytes.fromhex(rest[2]))
            elif command == "run":
                answer = run("ip", "netns", "exec", lab.node, *rest[0], text=rest[1])
            elif command == "sleep":
                answer = time.sleep(rest[0])
            print(json.dumps(answer), flush=True)
    finally:
        lab.down()


main()
