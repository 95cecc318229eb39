"""Two nodes, pods and a stranger as network namespaces, with rules and sets given: who reaches whom, on the real kernel.

  lab.py < lab.json > outcomes.json      needs root, ip, iptables-legacy, ipset, conntrack

lab.json: {"nodes": {name: {"address", "pods": {name: address}}}, "outside": address, "scenes": [scene]}
scene: {"name", "keep": bool, "nodes": {name: {"sets", "rules", "extra": [iptables arguments]}},
        "probes": [{"name", "from", "to", "port"}], "held": {"from", "to", "port"} | null}
Every host answers TCP on ports 80 and 8080 with the address it sees. An outcome is that address, or "none". A scene
that keeps changes the rules under open connections; `held` opens one before and asks again on it after the change.
Only namespaces whose names start with npm-lab- are touched; they are deleted at the end.
"""
import json, os, subprocess, sys, time

LAB = json.load(sys.stdin)
PREFIX = f"npm-lab-{os.getpid()}-"
SERVER = """
import socket, threading
def serve(port):
    server = socket.create_server(("0.0.0.0", port), reuse_port=False)
    while True:
        peer, address = server.accept()
        threading.Thread(target=talk, args=(peer, address[0]), daemon=True).start()
def talk(peer, address):
    while peer.recv(16):
        peer.sendall(address.encode())
for port in (80, 8080):
    threading.Thread(target=serve, args=(port,)).start()
"""
CLIENT = """
import socket, sys
try:
    peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=.8)
    for _ in range(int(sys.argv[3])):
        peer.sendall(b"?")
        print(peer.recv(64).decode(), flush=True)
        if _ + 1 < int(sys.argv[3]):
            sys.stdin.readline()
except OSError:
    print("none", flush=True)
"""


def run(*command, text=None, check=True):
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    return done.stdout


def inside(name, *command, **more):
    return run("ip", "netns", "exec", PREFIX + name, *command, **more)


def python(name, code, *arguments):
    return subprocess.Popen(["ip", "netns", "exec", PREFIX + name, sys.executable, "-c", code, *arguments],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def ip(name, *words):
    run("ip", "-n", PREFIX + name, *words)


def names():
    pods = [pod for node in LAB["nodes"].values() for pod in node["pods"]]
    return ["lan", "outside", *LAB["nodes"], *pods]


def down():
    for name in names():
        run("ip", "netns", "del", PREFIX + name, check=False)


def link(name, device, peer, peer_device):
    run("ip", "link", "add", device, "netns", PREFIX + name, "type", "veth", "peer", "name", peer_device, "netns", PREFIX + peer)
    ip(name, "link", "set", device, "up")
    ip(peer, "link", "set", peer_device, "up")


def up():
    for name in names():
        run("ip", "netns", "add", PREFIX + name)
        ip(name, "link", "set", "lo", "up")
    ip("lan", "link", "add", "br0", "type", "bridge")
    ip("lan", "link", "set", "br0", "up")
    hosts = {"outside": LAB["outside"], **{name: node["address"] for name, node in LAB["nodes"].items()}}
    for name, address in hosts.items():
        link(name, "eth0", "lan", f"l{name}"[:15])
        ip("lan", "link", "set", f"l{name}"[:15], "master", "br0")
        ip(name, "addr", "add", f"{address}/24", "dev", "eth0")
    for name, node in LAB["nodes"].items():
        inside(name, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
               "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.eth0.send_redirects=0")
        for pod, address in node["pods"].items():
            link(pod, "eth0", name, f"v{pod}")
            ip(pod, "addr", "add", f"{address}/32", "dev", "eth0")
            mac = json.loads(run("ip", "-n", PREFIX + name, "-j", "link", "show", f"v{pod}"))[0]["address"]
            ip(pod, "route", "add", "169.254.1.1", "dev", "eth0")
            ip(pod, "neigh", "add", "169.254.1.1", "lladdr", mac, "dev", "eth0", "nud", "permanent")
            ip(pod, "route", "add", "default", "via", "169.254.1.1")
            ip(name, "route", "add", f"{address}/32", "dev", f"v{pod}")
            for other in hosts:
                if other != name:
                    ip(other, "route", "add", f"{address}/32", "via", node["address"])


def load(scene):
    for name, node in scene["nodes"].items():
        if not scene["keep"]:
            inside(name, "iptables-legacy-restore", text="*filter\nCOMMIT\n*nat\nCOMMIT\n")
            inside(name, "ipset", "flush", check=False)
            inside(name, "ipset", "destroy", check=False)
        inside(name, "ipset", "restore", text=node["sets"])
        inside(name, "iptables-legacy-restore", text=node["rules"])
        for extra in node["extra"]:
            inside(name, "iptables-legacy", *extra.split())
        if not scene["keep"]:
            inside(name, "conntrack", "-F", check=False)


def play(scene):
    held, outcomes = scene["held"], {}
    if held:
        client = python(held["from"], CLIENT, held["to"], str(held["port"]), "2")
        outcomes["held before"] = client.stdout.readline().strip()
    load(scene)
    if held:
        client.stdin.write("\n")
        client.stdin.flush()
        outcomes["held after"] = client.stdout.readline().strip()
        client.stdin.close()
        client.wait(5)
    clients = {probe["name"]: python(probe["from"], CLIENT, probe["to"], str(probe["port"]), "1") for probe in scene["probes"]}
    for name, client in clients.items():
        outcomes[name] = client.communicate(timeout=10)[0].strip()
    return outcomes


down()
servers = []
try:
    up()
    servers = [python(name, SERVER) for name in names() if name != "lan"]
    time.sleep(.7)
    print(json.dumps({scene["name"]: play(scene) for scene in LAB["scenes"]}))
finally:
    for server in servers:
        server.kill()
        server.wait()
    down()
