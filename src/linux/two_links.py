"""A node with two links on this machine's kernel, for the recorders that feed it random frames.

The node and the world its links lead to are network namespaces; every neighbour is permanent, so that no ARP or neighbour
discovery is in the way. Links are a0 (10.1.0.0/24, fd00:1::/64, MTU 1500) and b0 (10.2.0.0/24, fd00:2::/64, MTU 1400); the
world's ends are wa0 and wb0. Needs root, ip and ethtool.
"""
import subprocess, sys

LINKS = {"a0": (1, 1500), "b0": (2, 1400)}
SYSCTLS = """net.ipv4.ip_forward=1 net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
net.ipv6.conf.default.router_solicitations=0 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0
net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.default.send_redirects=0
net.ipv4.icmp_ratemask=0 net.ipv6.icmp.ratelimit=0"""


def up(node, world, hosts, routes):
    """hosts: last parts of addresses that each link has a neighbour for; routes: lines of `ip route add` in the node."""
    for namespace in (node, world):
        run("ip", "netns", "add", namespace)
        run("ip", "-n", namespace, "link", "set", "lo", "up")
    inside(world, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
    inside(node, "sysctl", "-qw", *SYSCTLS.split())
    batch = []
    for link, (number, mtu) in LINKS.items():
        run("ip", "link", "add", link, "netns", node, "type", "veth", "peer", "name", "w" + link, "netns", world)
        for namespace, name in ((node, link), (world, "w" + link)):
            inside(namespace, *f"ethtool -K {name} tx off rx off tso off gso off gro off".split(), check=False)
            run("ip", "-n", namespace, "link", "set", name, "up")
        batch += [f"link set {link} mtu {mtu}", f"addr add 10.{number}.0.1/24 dev {link}",
                  f"addr add fd00:{number}::1/64 dev {link} nodad"]
        for host in hosts:
            for address in (f"10.{number}.0.{host}", f"fd00:{number}::{host}"):
                batch.append(f"neigh add {address} lladdr 02:00:00:00:0{number}:02 dev {link} nud permanent")
    run("ip", "-n", node, "-batch", "-", text="\n".join(batch) + "\n")
    for route in routes.splitlines():
        run("ip", "-n", node, *(["-6"] if ":" in route else []), "route", "add", *route.split())


def down(node, world):
    for namespace in (node, world):
        run("ip", "netns", "del", namespace, check=False)


def inside(namespace, *command, **more):
    return run("ip", "netns", "exec", namespace, *command, **more)


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}\n{text or ''}")
    return done.stdout
