/**
 * Random clusters for the policy ring: three nodes, pods on and off the host network, services, and NetworkPolicies
 * with every kind of peer, selector and port. Given as manifests, so that they take the product's own way in.
 */
import type { Cluster } from "../../src/cluster/cluster.js";
import { readManifests } from "../../src/cluster/manifests.js";
import { buildCluster } from "../../src/cluster/timeline.js";

export const NODES = ["n1", "n2", "n3"] as const;
export const OUTSIDE = ["203.0.113.9", "203.0.113.200", "198.18.0.1", "8.8.8.8"];
export const OUTSIDE6 = "2001:db8:9::9";
const PORTS = [53, 80, 443, 8080, 9090];
const PORT_NAMES = ["http", "dns", "alt"];
const PROTOCOLS = ["TCP", "TCP", "UDP", "SCTP"];
const POD_KEYS: Record<string, string[]> = { app: ["a", "b", "c"], tier: ["x", "y", ""], k: ["v"], zone: ["1", "2"] };
const NAMESPACE_KEYS: Record<string, string[]> = { team: ["red", "blue", "green"], env: ["dev", "prod"], old: [""],
  "kubernetes.io/metadata.name": ["ns0", "ns1", "ns2", "ns3"] };

/** xorshift32; never zero. */
export class Random {
  private state: number;

  constructor(seed: number) {
    this.state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x2545f491) | 1;
  }

  below(limit: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)];
  }

  some<T>(list: readonly T[], most: number): T[] {
    const left = [...list];
    return Array.from({ length: Math.min(list.length, this.below(most + 1)) }, () => left.splice(this.below(left.length), 1)[0]);
  }
}

export interface RandomCluster {
  readonly cluster: Cluster;
  readonly text: string;
  /** What was drawn, for the coverage that the ring prints. */
  readonly drawn: ReadonlyMap<string, number>;
}

type Plain = Record<string, unknown>;

export function randomCluster(seed: number): RandomCluster {
  const maker = new Maker(new Random(seed));
  const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: maker.items() }, null, 1);
  const { objects, problems } = readManifests([{ name: `cluster-${seed}`, text }]);
  const broken = problems.filter((problem) => problem.severity === "error");
  if (broken.length > 0) throw new Error(`random cluster ${seed}: ${broken[0].what}`);
  return { cluster: buildCluster(objects), text, drawn: maker.drawn };
}

class Maker {
  readonly drawn = new Map<string, number>();
  private readonly pods: { namespace: string; name: string; node: number; ip: string; host: boolean }[] = [];

  constructor(private readonly random: Random) {}

  items(): Plain[] {
    const { random } = this;
    const namespaces = [0, 1, 2, 3].map((number) => ({ apiVersion: "v1", kind: "Namespace",
      metadata: { name: `ns${number}`, labels: this.labels(NAMESPACE_KEYS, ["kubernetes.io/metadata.name"]) } }));
    const nodes = NODES.map((name, number) => ({ apiVersion: "v1", kind: "Node", metadata: { name },
      spec: { podCIDRs: [`10.244.${number + 1}.0/24`, `fd00:10:244:${number + 1}::/64`] },
      status: { addresses: [{ type: "InternalIP", address: `192.168.50.1${number + 1}` },
        { type: "InternalIP", address: `fd00:50::1${number + 1}` }] } }));
    const pods = Array.from({ length: 8 + random.below(7) }, (_, number) => this.pod(number));
    const services = [0, 1, 2, 3].flatMap((number) => this.service(number));
    const policies = Array.from({ length: 1 + random.below(8) }, (_, number) => this.policy(number));
    return [...namespaces, ...nodes, ...pods, ...services, ...policies, ...this.config()];
  }

  private note(what: string): void {
    this.drawn.set(what, (this.drawn.get(what) ?? 0) + 1);
  }

  private config(): Plain[] {
    const { random } = this;
    const lite = random.chance(3);
    const first = random.chance(15);
    this.note(lite ? "NPM Lite" : first ? "chain first" : "chain behind");
    if (!lite && !first && random.chance(80)) return [];
    return [{ apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "kube-system", name: "azure-npm-config" },
      data: { "azure-npm.json": JSON.stringify({ Toggles: { EnableV2NPM: true, PlaceAzureChainFirst: first, EnableNPMLite: lite } }) } }];
  }

  private labels(keys: Record<string, string[]>, not: readonly string[] = []): Record<string, string> {
    const { random } = this;
    return Object.fromEntries(Object.entries(keys).filter(([key]) => !not.includes(key) && random.chance(60))
      .map(([key, values]) => [key, random.pick(values)]));
  }

  private pod(number: number): Plain {
    const { random } = this;
    const node = random.below(NODES.length);
    const host = random.chance(12);
    const namespace = `ns${random.below(4)}`;
    const ip = host ? `192.168.50.1${node + 1}` : `10.244.${node + 1}.${10 + number}`;
    const six = host ? `fd00:50::1${node + 1}` : `fd00:10:244:${node + 1}::${10 + number}`;
    const phase = random.pick(["Running", "Running", "Running", "Running", "Pending", "Succeeded"]);
    const v6First = !host && random.chance(2);
    this.note(host ? "host-network pod" : v6First ? "pod with IPv6 first" : `${phase} pod`);
    if (host || phase !== "Succeeded") this.pods.push({ namespace, name: `p${number}`, node, ip, host });
    const names = random.some(PORT_NAMES, 3);
    const sidecar = random.chance(10);
    if (sidecar) this.note("pod with a sidecar's ports");
    const container = { name: "c", restartPolicy: "Always", ports: names.map((name) => (
      { name, containerPort: random.pick(PORTS), protocol: random.pick(PROTOCOLS) })) };
    return {
      apiVersion: "v1", kind: "Pod", metadata: { namespace, name: `p${number}`, labels: this.labels(POD_KEYS) },
      spec: { nodeName: NODES[node], hostNetwork: host, [sidecar ? "initContainers" : "containers"]: [container] },
      status: { phase, podIPs: (v6First ? [six, ip] : [ip, six]).map((one) => ({ ip: one })) },
    };
  }

  private service(number: number): Plain[] {
    const { random } = this;
    const backends = random.some(this.pods, 3);
    if (backends.length === 0) return [];
    const type = random.pick(["ClusterIP", "NodePort", "LoadBalancer"]);
    const policy = random.pick(["Cluster", "Cluster", "Local"]);
    const protocol = random.pick(PROTOCOLS);
    const metadata = { namespace: "ns0", name: `s${number}` };
    this.note(`service ${type} ${policy}`);
    return [{
      apiVersion: "v1", kind: "Service", metadata,
      spec: { type, clusterIP: `10.96.0.${10 + number}`, ports: [{ port: 80, protocol, targetPort: random.pick(PORTS),
        ...(type === "ClusterIP" ? {} : { nodePort: 30000 + number }) }],
      ...(type === "ClusterIP" ? {} : { externalTrafficPolicy: policy }) },
      ...(type === "LoadBalancer" ? { status: { loadBalancer: { ingress: [{ ip: `198.51.100.${10 + number}` }] } } } : {}),
    }, {
      apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { namespace: "ns0", name: `s${number}-1`, labels: { "kubernetes.io/service-name": `s${number}` } },
      ports: [{ port: random.pick(PORTS), protocol }],
      endpoints: backends.map((pod) => ({ addresses: [pod.ip], nodeName: NODES[pod.node],
        targetRef: { kind: "Pod", namespace: pod.namespace, name: pod.name } })),
    }];
  }

  private policy(number: number): Plain {
    const { random } = this;
    const types = random.pick([undefined, [], ["Ingress"], ["Egress"], ["Ingress", "Egress"], ["Egress", "Ingress"]]);
    const rules = (peers: string): unknown => {
      const count = random.pick([-1, 0, 1, 1, 2, 3]);
      return count < 0 ? undefined : Array.from({ length: count }, () => this.rule(peers));
    };
    this.note(`policyTypes ${types === undefined ? "absent" : types.join("+") || "empty"}`);
    return {
      apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
      metadata: { namespace: `ns${random.below(4)}`, name: `np${number}` },
      spec: { podSelector: random.chance(40) ? {} : this.selector(POD_KEYS, "subject"), policyTypes: types,
        ingress: rules("from"), egress: rules("to") },
    };
  }

  private rule(peers: string): Plain {
    const { random } = this;
    const rule: Plain = {};
    if (random.chance(85)) rule[peers] = random.chance(6) ? [] : Array.from({ length: 1 + random.below(3) }, () => this.peer());
    if (random.chance(65)) rule.ports = random.chance(6) ? [] : Array.from({ length: 1 + random.below(3) }, () => this.port());
    this.note(`rule ${rule[peers] === undefined ? "no peers" : "peers"}, ${rule.ports === undefined ? "no ports" : "ports"}`);
    return rule;
  }

  private peer(): Plain {
    const { random } = this;
    const kind = random.below(5);
    this.note(["peer pods", "peer namespaces", "peer both", "peer ipBlock", "peer ipBlock"][kind]);
    const pods = (): Plain => (random.chance(15) ? {} : this.selector(POD_KEYS, "pods"));
    const namespaces = (): Plain => (random.chance(20) ? {} : this.selector(NAMESPACE_KEYS, "namespaces"));
    if (kind === 0) return { podSelector: pods() };
    if (kind === 1) return { namespaceSelector: namespaces() };
    if (kind === 2) return { podSelector: pods(), namespaceSelector: namespaces() };
    return { ipBlock: this.block() };
  }

  private selector(keys: Record<string, string[]>, what: string): Plain {
    const { random } = this;
    const selector: Plain = {};
    const names = Object.keys(keys);
    if (random.chance(60)) selector.matchLabels = Object.fromEntries(random.some(names, 2).map((key) => [key, random.pick(keys[key])]));
    if (random.chance(55)) {
      selector.matchExpressions = random.some([...names, "absent"], 2).map((key) => {
        const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
        const values = random.some([...(keys[key] ?? []), "none"], 3);
        const takes = operator === "In" || operator === "NotIn";
        this.note(`${what} ${operator}${takes ? ` of ${values.length > 1 ? "several" : "one"}` : ""}`);
        return takes ? { key, operator, values: values.length === 0 ? ["none"] : values } : { key, operator };
      });
    }
    return selector;
  }

  private block(): Plain {
    const { random } = this;
    if (random.chance(2)) {
      this.note("ipBlock IPv6");
      return { cidr: "fd00::/8" };
    }
    const addresses = [...this.pods.map((pod) => pod.ip), ...OUTSIDE, "192.168.50.11", "192.168.50.12", "192.168.50.13"];
    const cidr = random.pick(["0.0.0.0/0", "0.0.0.0/0", "10.244.0.0/16", "10.244.1.0/24", "10.0.0.0/8", "192.168.50.0/24",
      "203.0.113.0/24", `${random.pick(addresses)}/32`, `${random.pick(addresses)}/${8 + random.below(25)}`]);
    const length = Number(cidr.split("/")[1]);
    const inside = addresses.filter((address) => sharesBits(address, cidr.split("/")[0], length));
    if (length === 32 || inside.length === 0 || random.chance(50)) {
      this.note(length === 0 ? "ipBlock 0.0.0.0/0" : "ipBlock");
      return { cidr };
    }
    const except = Array.from({ length: 1 + random.below(3) }, () => (
      `${random.pick(inside)}/${random.chance(15) ? length + 1 : length + 1 + random.below(32 - length)}`));
    this.note(length === 0 ? "ipBlock 0.0.0.0/0 with except" : "ipBlock with except");
    return { cidr, except };
  }

  private port(): Plain {
    const { random } = this;
    const protocol = random.chance(30) ? {} : { protocol: random.pick(PROTOCOLS) };
    const kind = random.below(6);
    this.note(["port of any number", "port number", "port number", "port range", "named port", "named port"][kind]);
    if (kind === 0) return protocol;
    if (kind < 3) return { ...protocol, port: random.pick(PORTS) };
    if (kind === 3) {
      const port = random.pick(PORTS);
      return { ...protocol, port, endPort: port + random.below(500) };
    }
    return { ...protocol, port: random.pick(PORT_NAMES) };
  }
}

function sharesBits(a: string, b: string, length: number): boolean {
  const number = (text: string): number => text.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
  const unit = 2 ** (32 - length);
  return Math.floor(number(a) / unit) === Math.floor(number(b) / unit);
}
