/**
 * Random policies: first the fields a cluster shall have, each with the same chance, then rules that have them all. So any
 * two fields meet often. What the objects really have is counted from the objects (coverage.ts).
 */
import { labels, NAMESPACE_LABELS, NAMESPACES, type Plain, POD_LABELS, PORT_NAMES, PORTS, SERVICES } from "./clusters.js";
import { type Random, subset } from "./random.js";

const SECTIONS = ["ingress", "ingressDeny", "egress", "egressDeny"] as const;
type Section = typeof SECTIONS[number];
const ENTITIES = ["all", "world", "cluster", "host", "remote-node", "kube-apiserver", "health", "ingress", "init", "unmanaged", "none"];
const CIDRS = ["0.0.0.0/0", "203.0.113.0/24", "203.0.113.0/25", "198.18.0.0/15", "10.244.0.0/16", "192.168.50.0/24", "8.8.8.8/32",
  "172.16.0.0/12"];
const CIDRS6 = ["::/0", "2001:db8:9::/64", "fd00:244::/32"];
/** Members of a rule for the other end, and what else a rule may have. `-`: none. */
const L3 = ["-", "endpoints", "endpoints", "requires", "cidr", "cidrSet", "except", "cidrGroupRef", "cidrGroupSelector", "entities",
  "entities", "services", "fqdns", "groups", "nodes", "empty", "empty"] as const;
const L4 = ["-", "-", "port", "zero", "name", "range", "icmps", "http", "dns", "sni", "noPorts"] as const;

export interface PolicyOptions {
  readonly version: number;
  readonly v6: boolean;
  /** ClusterNetworkPolicy is read. */
  readonly tiers: boolean;
  /** Host policies are enforced. */
  readonly hosts: boolean;
  /** fromNodes and toNodes are; without, Cilium refuses the policy that has them. */
  readonly nodes: boolean;
}

export function policies(random: Random, options: PolicyOptions): Plain[] {
  const cilium = new CiliumMaker(random, options);
  return [
    ...(random.chance(45) ? Array.from({ length: 1 + random.below(2) }, (_, index) => networkPolicy(random, index, options.v6)) : []),
    ...(random.chance(85) ? cilium.objects() : []),
    ...(options.hosts ? Array.from({ length: 1 + random.below(2) }, (_, index) => cilium.hostPolicy(index)) : []),
    ...(options.tiers ? Array.from({ length: 1 + random.below(3) }, (_, index) => clusterNetworkPolicy(random, index, options.nodes)) : []),
  ];
}

class CiliumMaker {
  constructor(private readonly random: Random, private readonly options: PolicyOptions) {}

  objects(): Plain[] {
    const { random } = this;
    const rules = this.rules();
    const objects: Plain[] = [];
    for (let number = 0; rules.length > 0; number++) {
      const specs = Array.from({ length: random.chance(20) ? 2 : 1 }, () => rules.splice(0, 1 + random.below(3)))
        .filter((list) => list.length > 0).map((list) => this.spec(list));
      const clusterwide = random.chance(35);
      objects.push({
        apiVersion: "cilium.io/v2", kind: clusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
        metadata: { name: `c${number}`, ...(clusterwide ? {} : { namespace: random.pick(NAMESPACES) }) },
        ...(specs.length > 1 || random.chance(10) ? { specs } : { spec: specs[0] }),
      });
    }
    return objects;
  }

  /** Of nodes: of L7 rules those of DNS, which alone they may have, and no authentication. */
  hostPolicy(index: number): Plain {
    const { random } = this;
    const l4 = ["-", "-", "port", "zero", "range", "icmps", "name", "dns"] as const;
    const rules = Array.from({ length: 1 + random.below(4) }, () => {
      const { section, rule } = this.rule(random.pick(SECTIONS), random.pick(L3), random.pick(l4));
      delete rule.authentication;
      return { section, rule };
    });
    const { endpointSelector, ...spec } = this.spec(rules);
    return { apiVersion: "cilium.io/v2", kind: "CiliumClusterwideNetworkPolicy", metadata: { name: `h${index}` },
      spec: { nodeSelector: random.pick<Plain>([{}, { matchLabels: { zone: random.pick(["a", "b"]) } },
        { matchExpressions: [{ key: "zone", operator: "NotIn", values: ["a"] }] }]), ...spec } };
  }

  /** One rule at least for each member that was chosen. */
  private rules(): { section: Section; rule: Plain }[] {
    const { random } = this;
    const sections = subset(random, SECTIONS, 50, 1);
    const [l3, l4] = [subset(random, L3, 30, 1), subset(random, L4, 30, 1)];
    const count = Math.max(l3.length, l4.length, sections.length);
    const rules = Array.from({ length: count }, (_, index) => this.rule(sections[index % sections.length], l3[index % l3.length],
      l4[index % l4.length]));
    return random.chance(35) ? [...rules, ...this.against(random.pick(rules))] : rules;
  }

  /** A rule of the other verdict for the same peers, with other ports: one of them is often the wider. */
  private against({ section, rule }: { section: Section; rule: Plain }): { section: Section; rule: Plain }[] {
    const { toPorts, icmps, authentication, toFQDNs, ...peers } = rule;
    // What toServices says of ports differs between versions.
    if (peers.toServices !== undefined || (toFQDNs !== undefined && Object.keys(peers).length === 0)) return [];
    const other = (section.endsWith("Deny") ? section.slice(0, -4) : `${section}Deny`) as Section;
    const ports = this.ports(this.random.pick(["-", "port", "zero", "range", "range"]));
    return Object.keys({ ...peers, ...ports }).length === 0 ? [] : [{ section: other, rule: { ...peers, ...ports } }];
  }

  private rule(wanted: Section, l3: typeof L3[number], l4: typeof L4[number]): { section: Section; rule: Plain } {
    const { random } = this;
    const section = sectionFor(l3, wanted);
    const peers = this.peers(l3, section.startsWith("ingress") ? "from" : "to");
    // Before 1.20, toServices goes with no ports; L7 is not for denies, DNS not for ingress.
    const alone = l3 === "services" && this.options.version < 20;
    const proxied = l4 === "http" || l4 === "dns" || l4 === "sni";
    const plain = proxied && (section.endsWith("Deny") || (l4 === "dns" && section === "ingress")) ? "port" : l4;
    const rule = { ...peers, ...(alone ? {} : this.ports(plain)) };
    if (!section.endsWith("Deny") && random.chance(4)) rule.authentication = { mode: random.pick(["required", "disabled"]) };
    return { section, rule };
  }

  private spec(list: readonly { section: Section; rule: Plain }[]): Plain {
    const { random } = this;
    const spec: Plain = { endpointSelector: random.chance(25) ? {} : this.selector(false) };
    for (const { section, rule } of list) spec[section] = [...(spec[section] as Plain[] ?? []), rule];
    if (random.chance(30)) {
      spec.enableDefaultDeny = Object.fromEntries(subset(random, ["ingress", "egress"], 60, 1).map((one) => [one, random.chance(30)]));
    }
    return spec;
  }

  private peers(l3: typeof L3[number], word: "from" | "to"): Plain {
    const { random } = this;
    const few = <T>(make: () => T): T[] => Array.from({ length: 1 + random.below(2) }, make);
    const unique = (list: readonly string[]): string[] => [...new Set(list)];
    const cidr = (): string => random.pick(this.options.v6 && random.chance(40) ? CIDRS6 : CIDRS);
    const set = (items: readonly Plain[]): Plain => ({ [`${word}CIDRSet`]: items });
    switch (l3) {
      case "-": return {};
      case "empty": return { [random.pick([`${word}Endpoints`, `${word}CIDR`, `${word}Entities`, `${word}CIDRSet`])]: [] };
      case "endpoints": return { [`${word}Endpoints`]: few(() => (random.chance(15) ? {} : this.selector(true))) };
      case "requires": return this.options.version > 18 ? { [`${word}Endpoints`]: [{}] }
        : { [`${word}Requires`]: [this.selector(true)], ...(random.chance(60) ? { [`${word}Endpoints`]: [this.selector(true)] } : {}) };
      case "cidr": return { [`${word}CIDR`]: unique(few(cidr)) };
      case "cidrSet": return set(few(() => ({ cidr: cidr() })));
      case "except": return set([{ cidr: "0.0.0.0/0", except: unique(few(() => random.pick(CIDRS.slice(1)))) }]);
      case "cidrGroupRef": return set([{ cidrGroupRef: random.pick(["north", "south", "nowhere"]),
        ...(random.chance(30) ? { except: [random.pick(CIDRS.slice(1))] } : {}) }]);
      case "cidrGroupSelector": return this.options.version < 17 ? set([{ cidrGroupRef: "north" }])
        : set([{ cidrGroupSelector: { matchLabels: { side: random.pick(["north", "south"]) } } }]);
      case "entities": return { [`${word}Entities`]: unique(few(() => random.pick(ENTITIES))) };
      case "services": return { toServices: few(() => this.service()) };
      case "fqdns": return { toFQDNs: few(() => random.pick<Plain>([{ matchName: random.pick(["example.com", "API.Example.com",
        "example.org."]) }, { matchPattern: random.pick(["*.example.com", "*", "**.example.com", "api.*", "*.*", "ex*.org",
        "x.api.**"]) }])) };
      case "groups": return { [`${word}Groups`]: [{ aws: { region: "eu-central-1" } }] };
      case "nodes": return this.options.nodes || random.chance(10) ? { [`${word}Nodes`]: [{ matchLabels: { zone: random.pick(["a",
        "b"]) } }] } : {};
    }
  }

  private service(): Plain {
    const { random } = this;
    const namespace = random.chance(80) ? { namespace: random.pick(NAMESPACES) } : {};
    if (random.chance(40)) {
      return { k8sServiceSelector: { selector: { matchLabels: { kind: random.pick(SERVICES) } }, ...namespace } };
    }
    return { k8sService: { serviceName: random.pick(SERVICES), ...namespace } };
  }

  private ports(l4: typeof L4[number]): Plain {
    const { random } = this;
    const protocol = random.pick(["TCP", "UDP", "ANY", "SCTP", undefined]);
    const number = String(random.pick(PORTS));
    switch (l4) {
      case "-": return {};
      case "noPorts": return { toPorts: [{ ports: [] }] };
      case "port": return { toPorts: [{ ports: Array.from({ length: 1 + random.below(2) }, () => ({ port: String(random.pick(PORTS)),
        protocol })) }] };
      case "zero": return { toPorts: [{ ports: [{ port: "0", protocol }] }] };
      case "name": return { toPorts: [{ ports: [{ port: random.pick(PORT_NAMES), protocol: random.pick(["TCP", "UDP", "ANY"]) }] }] };
      case "range": return { toPorts: [{ ports: [{ port: random.pick(["1", "80", "440", "8000"]), endPort: random.pick([443, 8080, 9090,
        65535]), protocol }] }] };
      case "icmps": return { icmps: [{ fields: [{ type: random.pick([8, 13, "EchoRequest"]), family: "IPv4" },
        ...(this.options.v6 && random.chance(50) ? [{ type: 128, family: "IPv6" }] : [])] }] };
      case "http": return { toPorts: [{ ports: [{ port: number, protocol: "TCP" }], rules: { http: [{ method: "GET" }] } }] };
      case "dns": return { toPorts: [{ ports: [{ port: "53", protocol: "ANY" }], rules: { dns: [{ matchPattern: "*" }] } }] };
      case "sni": return { toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], serverNames: ["example.com"] }] };
    }
  }

  /** @param peer it may name a namespace, or something reserved */
  private selector(peer: boolean): Plain {
    const { random } = this;
    if (peer && random.chance(8)) return { matchLabels: { [`reserved:${random.pick(["host", "remote-node", "world", "kube-apiserver"])}`]: "" } };
    const named: [string, string][] = peer && random.chance(25)
      ? [random.pick<[string, string]>([["k8s:io.kubernetes.pod.namespace", random.pick(NAMESPACES)],
        ["io.cilium.k8s.namespace.labels.team", random.pick(NAMESPACE_LABELS.team)],
        ["io.kubernetes.pod.namespace", random.pick(NAMESPACES)]])] : [];
    const prefix = (): string => random.pick(["", "", "k8s:", "any:"]);
    if (random.chance(50)) {
      const own = Object.entries(labels(random, POD_LABELS, 22)).map(([key, value]): [string, string] => [`${prefix()}${key}`, value]);
      return { matchLabels: Object.fromEntries([...own, ...named]) };
    }
    return { ...(named.length > 0 ? { matchLabels: Object.fromEntries(named) } : {}), matchExpressions: [expression(random, prefix())] };
  }
}

/** Services and names are of what goes out; a denying rule has no names. */
function sectionFor(l3: typeof L3[number], wanted: Section): Section {
  if (l3 === "fqdns") return "egress";
  if (l3 === "services") return wanted.endsWith("Deny") ? "egressDeny" : "egress";
  return wanted;
}

function expression(random: Random, prefix = ""): Plain {
  const key = random.pick(Object.keys(POD_LABELS).slice(0, 4));
  const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
  return { key: `${prefix}${key}`, operator, ...(operator.endsWith("In") ? { values: subset(random, POD_LABELS[key], 50, 1) } : {}) };
}

function plainSelector(random: Random): Plain {
  if (random.chance(20)) return {};
  return random.chance(60) ? { matchLabels: labels(random, POD_LABELS, 22) } : { matchExpressions: [expression(random)] };
}

function namespaceSelector(random: Random): Plain {
  if (random.chance(20)) return { matchExpressions: [{ key: random.pick(["team", "env"]), ...random.pick<Plain>([{ operator: "Exists" },
    { operator: "DoesNotExist" }, { operator: "NotIn", values: [random.pick(["one", "dev"])] }]) }] };
  return random.chance(25) ? {} : { matchLabels: random.chance(40)
    ? { "kubernetes.io/metadata.name": random.pick(NAMESPACES) } : { team: random.pick(NAMESPACE_LABELS.team) } };
}

function networkPolicy(random: Random, index: number, v6: boolean): Plain {
  const peer = (): Plain => random.pick<() => Plain>([
    () => ({ podSelector: plainSelector(random) }), () => ({ namespaceSelector: namespaceSelector(random) }),
    () => ({ podSelector: plainSelector(random), namespaceSelector: namespaceSelector(random) }),
    () => ({ ipBlock: { cidr: random.pick(v6 && random.chance(40) ? CIDRS6 : CIDRS) } }),
    () => ({ ipBlock: { cidr: "0.0.0.0/0", except: [random.pick(CIDRS.slice(1))] } }),
  ])();
  const port = (): Plain => random.pick<Plain>([{}, { protocol: random.pick(["TCP", "UDP", "SCTP"]) },
    { port: random.pick(PORTS), protocol: random.pick(["TCP", "UDP"]) }, { port: random.pick(PORT_NAMES), protocol: random.pick(["TCP",
      "UDP"]) },
    { port: 80, endPort: random.pick([443, 8080, 9090]) }]);
  const rules = (word: string): Plain[] => Array.from({ length: random.below(3) }, () => ({
    ...(random.chance(80) ? { [word]: Array.from({ length: 1 + random.below(2) }, peer) } : {}),
    ...(random.chance(60) ? { ports: Array.from({ length: 1 + random.below(2) }, port) } : {}) }));
  const types = random.chance(60) ? { policyTypes: subset(random, ["Ingress", "Egress"], 60, 1) } : {};
  const [ingress, egress] = [rules("from"), rules("to")];
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `np${index}`, namespace: random.pick(NAMESPACES) },
    spec: { podSelector: plainSelector(random), ...types, ...(random.chance(80) ? { ingress } : {}), ...(random.chance(60)
      ? { egress } : {}) } };
}

function clusterNetworkPolicy(random: Random, index: number, nodes: boolean): Plain {
  const pods = (): Plain => (random.chance(50) ? { namespaces: namespaceSelector(random) }
    : { pods: { namespaceSelector: namespaceSelector(random), podSelector: plainSelector(random) } });
  const networks = (): Plain => ({ networks: subset(random, CIDRS, 30, 1) });
  const protocol = (named: boolean): Plain => (named && random.chance(25) ? { destinationNamedPort: random.pick(PORT_NAMES) }
    : { [random.pick(["tcp", "tcp", "udp", "sctp"])]: { destinationPort: random.chance(60) ? { number: random.pick(PORTS) }
      : { range: { start: 80, end: random.pick([443, 8080]) } } } });
  const rule = (word: "from" | "to"): Plain => {
    const outside = word === "to" && random.chance(nodes ? 60 : 35);
    const others = (): Plain => (nodes && random.chance(70) ? { nodes: { matchLabels: { zone: "a" } } } : networks());
    const protocols = Array.from({ length: 1 + random.below(2) }, () => protocol(!outside));
    return { action: random.pick(["Accept", "Deny", "Pass"]), [word]: [outside ? others() : pods(), ...(random.chance(20)
      ? [pods()] : [])],
      ...(random.chance(60) ? { protocols } : {}) };
  };
  const rules = (word: "from" | "to", most: number): Plain[] => Array.from({ length: random.below(most) }, () => rule(word))
    .flatMap((one) => (random.chance(40) ? [one, { ...one, action: random.pick(["Accept", "Deny"]), ...(random.chance(30)
      ? { protocols: undefined } : {}) }] : [one]));
  return { apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy", metadata: { name: `k${index}` },
    spec: { tier: random.pick(["Admin", "Baseline"]), priority: random.below(3), subject: pods(), ingress: rules("from", 4),
      egress: rules("to", 3) } };
}
