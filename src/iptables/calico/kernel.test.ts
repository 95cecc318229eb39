/**
 * Real connections through this machine's kernel with the generated rules and sets loaded: who reaches whom, and whose
 * address the server sees, must be what the plane says of the same packets. A node (a namespace) has two pods
 * behind devices named as Calico names them, and an uplink to the world.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAddress, parsePrefix } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import { readManifests } from "../../cluster/manifests.js";
import { readNodeFacts } from "../../cluster/node-facts.js";
import { buildCluster } from "../../cluster/timeline.js";
import { End } from "../../dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { generatedRules } from "../planeNode.js";
import { CALICO_DEFAULTS } from "./config.js";
import { calicoProgram } from "./generate.js";
import { vethName } from "./names.js";
import { calicoPlane, Prober } from "./probe.fixture.js";
import { node as nodeObject } from "./random.fixture.js";

const [NODE, WORLD, WEB, CLIENT] = ["node", "world", "web", "client"].map((name) => `calico-${name}-${process.pid}`);
const ADDRESS: Readonly<Record<string, string>> = {
  [NODE]: "192.0.2.1", [WORLD]: "203.0.113.9", [WEB]: "10.244.1.10", [CLIENT]: "10.244.1.20",
};
const LOAD_BALANCER = "198.51.100.10";
const CONFIG = { ...CALICO_DEFAULTS, assumedPools: [{ cidr: parsePrefix("10.244.0.0/16")!, natOutgoing: true }] };
const WEB_DEVICE = vethName("cali", "blue", "web");
const CLIENT_DEVICE = vethName("cali", "red", "client");

/** Listens on every port given and tells each peer its own address, once for every line. */
const SERVER = `
import selectors, socket, sys
sel = selectors.DefaultSelector()
for port in sys.argv[1:]:
    s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("0.0.0.0", int(port))); s.listen(); sel.register(s, selectors.EVENT_READ, True)
print("ready", flush=True)
while True:
    for key, _ in sel.select():
        if key.data is True:
            peer, address = key.fileobj.accept(); peer.sendall(address[0].encode() + b"\\n")
            sel.register(peer, selectors.EVENT_READ, address[0])
        else:
            try:
                data = key.fileobj.recv(100)
                if data: key.fileobj.sendall(key.data.encode() + b"\\n")
            except OSError: data = b""
            if not data: sel.unregister(key.fileobj); key.fileobj.close()
`;
const CONNECT = `
import socket, sys
s = socket.socket(); s.settimeout(.5); s.bind((sys.argv[1], 0))
try:
    s.connect((sys.argv[2], int(sys.argv[3]))); print(s.makefile().readline().strip())
except OSError as error: print("none")
`;
/** Connects, says so, waits for a line, and tells whether the connection still carries data. */
const HOLD = `
import socket, sys
s = socket.socket(); s.settimeout(5); s.bind((sys.argv[1], 0)); s.connect((sys.argv[2], int(sys.argv[3])))
f = s.makefile(); f.readline(); print("ready", flush=True); sys.stdin.readline()
try: s.sendall(b"x"); print(f.readline().strip(), flush=True)
except OSError: print("none", flush=True)
`;

const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const script = "ipset list -n && iptables-legacy-restore --version && iptables-nft-restore --version && ip -V";
  return spawnSync("unshare", ["-n", "sh", "-c", script]).status === 0 && spawnSync(python, ["--version"]).status === 0;
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but connections through the kernel cannot be made here");
}

const ingress = (rules: readonly object[]): object => policy("Ingress", { ingress: rules });
const egress = (rules: readonly object[]): object => policy("Egress", { egress: rules });
const block = (cidr: string, ...except: string[]): object => ({ from: [{ ipBlock: { cidr, except } }] });
const pods = (labels: object): object => ({ podSelector: { matchLabels: labels }, namespaceSelector: {} });

const SITUATIONS: readonly (readonly [string, readonly object[]])[] = [
  ["no policy", []],
  ["ingress denied", [ingress([])]],
  ["ingress from the load balancer's client", [ingress([block("203.0.113.9/32")])]],
  ["ingress from the node's address", [ingress([block("192.0.2.1/32")])]],
  ["ingress from all but the client pod's range", [ingress([block("0.0.0.0/0", "10.244.1.16/28")])]],
  ["ingress from pods by label, at a named port", [ingress([{ from: [pods({ app: "client" })], ports: [{ port: "web" }] }])]],
  ["ingress at a number or a name", [ingress([{ ports: [{ port: 8081 }, { port: "web" }, { port: 9000, endPort: 9009 }] }])]],
  ["egress denied", [egress([])]],
  ["egress to the node only", [egress([{ to: [{ ipBlock: { cidr: "192.0.2.0/24" } }] }])]],
  ["egress to a pod by label", [egress([{ to: [pods({ app: "client" })] }])]],
];

/** From, to, port: what is tried in each situation. */
const TRIES: readonly (readonly [string, string, number])[] = [
  [CLIENT, ADDRESS[WEB], 8080], [CLIENT, ADDRESS[WEB], 8081], [NODE, ADDRESS[WEB], 8080], [WORLD, LOAD_BALANCER, 80],
  [WORLD, ADDRESS[WEB], 8080], [WEB, ADDRESS[CLIENT], 8080], [WEB, ADDRESS[NODE], 9000], [WEB, ADDRESS[WORLD], 9000],
  // Through the service to itself.
  [WEB, "10.0.0.10", 80],
];

describe.skipIf(!present)("a real kernel (needs root, network namespaces, ipset, iptables legacy and nft, python3)", () => {
  const children: Child[] = [];
  let folder = "";

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "twinplane-calico-"));
    down();
    up();
    const servers = [[WEB, ["8080", "8081"]], [CLIENT, ["8080"]], [NODE, ["9000"]], [WORLD, ["9000"]]] as const;
    for (const [namespace, ports] of servers) {
      const child = new Child(namespace, SERVER, ports);
      children.push(child);
      expect(await child.line()).toBe("ready");
    }
  }, 60_000);

  afterAll(() => {
    for (const child of children) child.process.kill();
    down();
    if (folder !== "") rmSync(folder, { recursive: true });
  });

  it.each(["legacy", "nft"])("agrees about connections, rules loaded by iptables-%s", (variant) => {
    const wrong: string[] = [];
    let reached = 0;
    let refused = 0;
    for (const [name, policies] of SITUATIONS) {
      const cluster = clusterOf(policies);
      load(cluster, variant, folder);
      const prober = new Prober(calicoPlane(cluster, CONFIG), cluster);
      for (const [from, to, port] of TRIES) {
        const fate = prober.send({ source: parseAddress(ADDRESS[from])!, destination: parseAddress(to)!, protocol: "TCP", port,
          at: { node: "n1", from: starts(from) } });
        const delivered = fate.end === End.Delivered || fate.end === End.Left;
        const plane = delivered ? fate.seenSource : "none";
        // A rule that drops does so every time; one try may be lost on a busy machine.
        let kernel = connect(from, to, port, 0.4);
        if (kernel === "none" && delivered) kernel = connect(from, to, port, 5);
        if (delivered) reached++;
        else refused++;
        if (plane !== kernel) wrong.push(`${name}: ${from} > ${to}:${port}: kernel ${kernel}, plane ${plane} ${fate.reason}`);
      }
      unload(variant);
    }
    console.log(`${variant}: ${reached} connections made, ${refused} not`);
    expect(wrong).toEqual([]);
    expect(reached).toBeGreaterThan(30);
    expect(refused).toBeGreaterThan(20);
  }, 180_000);

  it("an established connection goes on under a policy that denies new ones", async () => {
    load(clusterOf([]), "legacy", folder);
    const child = new Child(CLIENT, HOLD, [ADDRESS[CLIENT], ADDRESS[WEB], "8080"]);
    children.push(child);
    expect(await child.line()).toBe("ready");
    load(clusterOf([ingress([])]), "legacy", folder);
    expect(connect(CLIENT, ADDRESS[WEB], 8080, 0.5)).toBe("none");
    child.process.stdin!.write("go\n");
    expect(await child.line()).toBe(ADDRESS[CLIENT]);
    unload("legacy");
  }, 60_000);
});

function starts(from: string): "process" | "uplink" | { pod: string } {
  return from === NODE ? "process" : from === WORLD ? "uplink" : { pod: from === WEB ? "blue/web" : "red/client" };
}

function policy(type: string, rules: object): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { namespace: "blue", name: "web" },
    spec: { podSelector: {}, policyTypes: [type], ...rules } };
}

/** With what the node itself says of its devices and routes. */
function clusterOf(policies: readonly object[]): Cluster {
  const pod = (namespace: string, name: string, ip: string): object => ({ apiVersion: "v1", kind: "Pod",
    metadata: { namespace, name, labels: { app: name } },
    spec: { nodeName: "n1", containers: [{ name: "c", ports: [{ name: "web", containerPort: 8080 }] }] },
    status: { phase: "Running", podIPs: [{ ip }] } });
  const service = { apiVersion: "v1", kind: "Service", metadata: { namespace: "blue", name: "web" },
    spec: { type: "LoadBalancer", clusterIP: "10.0.0.10", ports: [{ port: 80, targetPort: 8080, nodePort: 30080 }] },
    status: { loadBalancer: { ingress: [{ ip: LOAD_BALANCER }] } } };
  const slice = { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
    metadata: { namespace: "blue", name: "web-x", labels: { "kubernetes.io/service-name": "web" } }, ports: [{ port: 8080 }],
    endpoints: [{ addresses: [ADDRESS[WEB]], nodeName: "n1" }] };
  const items = [nodeObject("n1", 1), pod("blue", "web", ADDRESS[WEB]), pod("red", "client", ADDRESS[CLIENT]), service, slice,
    ...policies];
  const { objects } = readManifests([{ name: "kernel.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items }) }]);
  const said = [["-d", "link"], ["addr"], ["-4", "route", "show", "table", "all"], ["neigh"]]
    .map((words) => ({ name: words.join(" "), text: inside(NODE, "ip", "-j", ...words) || "[]" }));
  const { facts } = readNodeFacts(said, "n1", objects);
  expect(facts?.devices.filter((device) => device.kind === "pod").map((device) => device.name).sort())
    .toEqual([CLIENT_DEVICE, WEB_DEVICE].sort());
  return buildCluster(objects, new Map([["n1", facts!]]));
}

function load(cluster: Cluster, variant: string, folder: string): void {
  const made = generatedRules(cluster, cluster.nodes[0], 4, { kubeProxy: KUBE_PROXY_DEFAULTS, masquerade: { agent: "none" },
    programs: [calicoProgram(CONFIG)] });
  unload(variant);
  writeFileSync(join(folder, "sets"), made.sets);
  writeFileSync(join(folder, "rules"), made.text);
  inside(NODE, "ipset", "restore", "-file", join(folder, "sets"));
  inside(NODE, `iptables-${variant}-restore`, join(folder, "rules"));
}

/** No rule and no set; connections stay. */
function unload(variant: string): void {
  const empty = ["raw", "mangle", "filter", "nat"]
    .map((table) => `iptables-${variant} -t ${table} -F; iptables-${variant} -t ${table} -X`);
  inside(NODE, "sh", "-c", [...empty, "ipset destroy"].join("\n"));
}

function up(): void {
  for (const namespace of [NODE, WORLD, WEB, CLIENT]) {
    run("ip", "netns", "add", namespace);
    run("ip", "-n", namespace, "link", "set", "lo", "up");
  }
  const link = (name: string, far: string, farName: string): void => {
    run("ip", "link", "add", name, "netns", NODE, "type", "veth", "peer", "name", farName, "netns", far);
    run("ip", "-n", NODE, "link", "set", name, "up");
    run("ip", "-n", far, "link", "set", farName, "up");
  };
  inside(NODE, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0");
  link("eth0", WORLD, "eth0");
  run("ip", "-n", NODE, "addr", "add", "192.0.2.1/24", "dev", "eth0");
  run("ip", "-n", WORLD, "addr", "add", "192.0.2.9/24", "dev", "eth0");
  run("ip", "-n", WORLD, "addr", "add", `${ADDRESS[WORLD]}/32`, "dev", "lo");
  for (const range of ["10.244.1.0/24", `${LOAD_BALANCER}/32`]) run("ip", "-n", WORLD, "route", "add", range, "via", "192.0.2.1");
  run("ip", "-n", NODE, "route", "add", "default", "via", "192.0.2.9");
  for (const [namespace, device] of [[WEB, WEB_DEVICE], [CLIENT, CLIENT_DEVICE]]) {
    link(device, namespace, "eth0");
    inside(NODE, "sysctl", "-qw", `net.ipv4.conf.${device}.proxy_arp=1`, `net.ipv4.neigh.${device}.proxy_delay=0`);
    run("ip", "-n", NODE, "route", "add", `${ADDRESS[namespace]}/32`, "dev", device, "scope", "link");
    run("ip", "-n", namespace, "addr", "add", `${ADDRESS[namespace]}/32`, "dev", "eth0");
    run("ip", "-n", namespace, "route", "add", "169.254.1.1", "dev", "eth0", "scope", "link");
    run("ip", "-n", namespace, "route", "add", "default", "via", "169.254.1.1", "dev", "eth0");
  }
}

function down(): void {
  for (const namespace of [NODE, WORLD, WEB, CLIENT]) spawnSync("ip", ["netns", "del", namespace]);
}

function inside(namespace: string, ...command: readonly string[]): string {
  return run("ip", "netns", "exec", namespace, ...command);
}

function run(...[command, ...words]: readonly [string, ...string[]]): string {
  const done = spawnSync(command, words, { encoding: "utf8" });
  if (done.status !== 0) throw new Error(`${command} ${words.join(" ")}: ${done.stderr}`);
  return done.stdout;
}

/** Connects and says whose address the server saw; `none` where it did not answer. */
function connect(from: string, to: string, port: number, seconds: number): string {
  return inside(from, python, "-c", CONNECT, ADDRESS[from], to, String(port), String(seconds)).trim();
}

/** A process, and the lines it prints. */
class Child {
  readonly process: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  constructor(namespace: string, script: string, words: readonly string[]) {
    this.process = spawn("ip", ["netns", "exec", namespace, python, "-c", script, ...words],
      { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface(this.process.stdout!)[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.lines.next();
    return done === true ? "ended" : value;
  }
}
