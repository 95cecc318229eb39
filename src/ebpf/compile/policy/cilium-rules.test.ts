/**
 * Cilium's own policy objects at the level of map state: what each member means, by version where versions differ. The
 * question is always a packet; the answer is read from the compiled map by the reference lookup.
 */
import { describe, expect, it } from "vitest";
import { parseAddress, prefixContains } from "../../../cluster/address.js";
import { readManifests } from "../../../cluster/manifests.js";
import type { DNSNames } from "../../../cluster/names.js";
import { formatProblem, type Problem } from "../../../cluster/problem.js";
import { buildCluster } from "../../../cluster/timeline.js";
import { CILIUM_VERSIONS, ciliumOptions, type CiliumVersion } from "../../options.js";
import { freshNumbers } from "../numbers.js";
import { compilePolicies } from "../policies.js";
import { lookup } from "./naive-lookup.fixture.js";
import { EXPLICIT_AUTH, UNDECIDED_PORT } from "./values.js";

const pod = (namespace: string, name: string, node: number, last: number, port: number): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {app: ${name}, env: ${namespace}}}
spec: {nodeName: node-${node}, containers: [{name: c, ports: [{name: web, containerPort: ${port}}]}]}
status: {phase: Running, podIPs: [{ip: 10.244.${node}.${last}}]}`;
const node = (index: number): string => `
apiVersion: v1
kind: Node
metadata: {name: node-${index}, labels: {pool: p${index}}}
spec: {podCIDRs: [10.244.${index}.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.50.1${index}}]}`;
const BASE = [
  node(1), node(2), pod("shop", "a", 1, 10, 80), pod("shop", "b", 2, 11, 8080), pod("bank", "c", 2, 12, 80),
  "\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}",
  "\napiVersion: v1\nkind: Namespace\nmetadata: {name: bank, labels: {team: blue}}",
  "\napiVersion: v1\nkind: Service\nmetadata: {name: db, namespace: bank, labels: {kind: db}}\n"
    + "spec: {clusterIP: 10.96.0.1, selector: {app: c}, ports: [{port: 80}]}",
  "\napiVersion: v1\nkind: Service\nmetadata: {name: out, namespace: bank}\nspec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}",
  "\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n"
    + "metadata: {name: out-1, namespace: bank, labels: {kubernetes.io/service-name: out}}\n"
    + "addressType: IPv4\nendpoints: [{addresses: [203.0.113.7]}]\nports: []",
  "\napiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: partners, labels: {trust: low}}\n"
    + "spec: {externalCIDRs: [198.51.100.0/24]}",
];

const B = "10.244.2.11";
const C = "10.244.2.12";
const OWN_NODE = "192.168.50.11";
const OTHER_NODE = "192.168.50.12";
const WORLD = "203.0.113.7";
const PARTNER = "198.51.100.9";

interface Question {
  readonly version?: CiliumVersion;
  readonly options?: Record<string, unknown>;
  readonly names?: DNSNames;
}

/** A CiliumNetworkPolicy in shop for pod a, with this rule list. */
const policy = (rule: string): string => `
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: shop}
spec: {endpointSelector: {matchLabels: {app: a}}, ${rule}}`;
const clusterwide = (rule: string, selector = "endpointSelector: {matchLabels: {app: a}}"): string => `
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: w}
spec: {${selector}, ${rule}}`;

function compile(objects: readonly string[], { version = "1.20", options = {}, names }: Question = {}) {
  const { objects: read, problems: reading } = readManifests([{ name: "a.yaml", text: [...BASE, ...objects].join("\n---") }]);
  expect(reading.map(formatProblem)).toEqual([]);
  const cluster = buildCluster(read);
  const chosen = ciliumOptions(`cilium@${version}`, cluster, { "allow-localhost": "policy", ...options });
  const problems: Problem[] = [];
  const compiled = compilePolicies(cluster, chosen.options, problems, freshNumbers(), names ?? null);
  const identityOf = (text: string): number => {
    const address = parseAddress(text)!;
    const found = compiled.ipcache.filter((one) => (one.node === null || one.node === "node-1") && prefixContains(one.prefix, address));
    return found.reduce((best, one) => (one.prefix.length >= best.prefix.length ? one : best)).identity;
  };
  const at = (map: number, remote: string, direction: number, protocol: number, port: number): string => {
    const entries = compiled.endpoints.maps[map];
    const row = lookup(entries, identityOf(remote), direction, protocol, port, version);
    if (row < 0) return "none";
    const [proxy, auth] = [entries.proxyPort[row] ?? 0, entries.auth[row] ?? 0];
    if (proxy === UNDECIDED_PORT) return "undecided";
    if ((entries.precedence[row] & 0xff) === 255) return "deny";
    return (auth & ~EXPLICIT_AUTH) !== 0 ? "auth" : proxy === 0 ? "allow" : "redirect";
  };
  const mapOf = (name: string): number => compiled.endpoints.ofPod[cluster.pods.findIndex((one) => one.name === name)];
  return {
    compiled, lines: problems.map(formatProblem),
    /** May `remote` reach pod a? */
    from: (remote: string, port = 80, protocol = 6) => at(mapOf("a"), remote, 0, protocol, port),
    /** May pod a reach `remote`? */
    to: (remote: string, port = 80, protocol = 6) => at(mapOf("a"), remote, 1, protocol, port),
    hostFrom: (remote: string, port = 80, onNode = 0) => at(compiled.endpoints.ofNode[onNode], remote, 0, 6, port),
  };
}

/** Answers of all remotes, for a glance: a=pod b, c=pod c, o=own node, n=other node, w=world, p=partner; upper case where allowed. */
function reach(ask: (remote: string, port?: number, protocol?: number) => string, port = 80, protocol = 6): string {
  return ([["b", B], ["c", C], ["o", OWN_NODE], ["n", OTHER_NODE], ["w", WORLD], ["p", PARTNER]] as const)
    .map(([letter, remote]) => (ask(remote, port, protocol) === "allow" ? letter.toUpperCase() : letter)).join("");
}

describe("peers", () => {
  it.each<[string, string, string]>([
    ["a rule without members is a default deny", "ingress: [{}]", "bconwp"],
    ["an empty selector is the policy's namespace", "ingress: [{fromEndpoints: [{}]}]", "Bconwp"],
    ["an empty list selects nothing", "ingress: [{fromEndpoints: []}]", "bconwp"],
    ["a namespace named", "ingress: [{fromEndpoints: [{matchLabels: {io.kubernetes.pod.namespace: bank}}]}]", "bConwp"],
    ["a namespace named with its source",
      "ingress: [{fromEndpoints: [{matchLabels: {'k8s:io.kubernetes.pod.namespace': bank}}]}]", "bConwp"],
    ["a namespace by its labels", "ingress: [{fromEndpoints: [{matchLabels: {io.cilium.k8s.namespace.labels.team: blue}}]}]", "bConwp"],
    ["each item by itself", "ingress: [{fromEndpoints: [{matchLabels: {app: c}}, {matchLabels: {app: b}}]}]", "Bconwp"],
    ["an expression that only excludes stays in the namespace",
      "ingress: [{fromEndpoints: [{matchExpressions: [{key: app, operator: NotIn, values: [b]}]}]}]", "bconwp"],
    ["a reserved label is not scoped", "ingress: [{fromEndpoints: [{matchLabels: {'reserved:remote-node': ''}}]}]", "bcoNwp"],
    ["what only excludes a reserved label is everything else",
      "ingress: [{fromEndpoints: [{matchExpressions: [{key: 'reserved:host', operator: DoesNotExist}]}]}]", "BCoNWP"],
    ["world is no node and no pod", "ingress: [{fromEntities: [world]}]", "bconWP"],
    ["host is the own node", "ingress: [{fromEntities: [host]}]", "bcOnwp"],
    ["cluster", "ingress: [{fromEntities: [cluster]}]", "BCONwp"],
    ["all", "ingress: [{fromEntities: [all]}]", "BCONWP"],
    ["none", "ingress: [{fromEntities: [none]}]", "bconwp"],
    ["a CIDR is no pod and no node", "ingress: [{fromCIDR: [10.0.0.0/8, 192.168.0.0/16, 203.0.113.0/24]}]", "bconWp"],
    ["everything as a CIDR is world", "ingress: [{fromCIDR: [0.0.0.0/0]}]", "bconWP"],
    ["exceptions", "ingress: [{fromCIDRSet: [{cidr: 0.0.0.0/0, except: [198.51.100.0/25]}]}]", "bconWp"],
    ["a group by name", "ingress: [{fromCIDRSet: [{cidrGroupRef: partners}]}]", "bconwP"],
    ["a group that is not there", "ingress: [{fromCIDRSet: [{cidrGroupRef: nobody}]}]", "bconwp"],
    ["groups by labels", "ingress: [{fromCIDRSet: [{cidrGroupSelector: {matchLabels: {trust: low}}}]}]", "bconwP"],
    ["groups without an exception", "ingress: [{fromCIDRSet: [{cidrGroupRef: partners, except: [198.51.100.9/32]}]}]", "bconwp"],
    ["no section of the direction", "egress: [{}]", "BCONWP"],
  ])("%s", (_, rule, expected) => {
    expect(reach(compile([policy(rule)]).from)).toBe(expected);
  });

  it("a clusterwide policy's empty selector is every pod, and nothing else", () => {
    expect(reach(compile([clusterwide("ingress: [{fromEndpoints: [{}]}]")]).from)).toBe("BConwp");
  });

  it("a namespaced policy's subject is in its namespace, whatever the selector says", () => {
    const text = policy("ingress: [{}]").replace("app: a", "'k8s:io.kubernetes.pod.namespace': bank");
    expect(reach(compile([text]).from)).toBe("bconwp");
  });

  it("services: pods of the selector from 1.17, addresses without one, and any peer where ports meet none", () => {
    const byName = (name: string, ports = "") =>
      policy(`egress: [{toServices: [{k8sService: {serviceName: ${name}, namespace: bank}}]${ports}}]`);
    const ports = ", toPorts: [{ports: [{port: '80', protocol: TCP}]}]";
    expect(reach(compile([byName("db")]).to)).toBe("bConwp");
    expect(reach(compile([byName("db")], { version: "1.16" }).to)).toBe("bconwp");
    expect(reach(compile([byName("out")]).to)).toBe("bconWp");
    expect(reach(compile([byName("nobody")]).to)).toBe("bconwp");
    expect(reach(compile([byName("nobody", ports)]).to)).toBe("BCONWP");
    const selected = policy("egress: [{toServices: [{k8sServiceSelector: {selector: {matchLabels: {kind: db}}}}]}]");
    expect(reach(compile([selected]).to)).toBe("bConwp");
  });

  it("fromRequires narrows fromEndpoints of every rule, to 1.18", () => {
    const rules = policy("ingress: [{fromRequires: [{matchLabels: {app: b}}]}, {fromEndpoints: [{}]}, {fromEntities: [host]}]");
    const other = policy("ingress: [{fromRequires: [{matchLabels: {app: a}}]}, {fromEndpoints: [{}]}, {fromEntities: [host]}]");
    expect([rules, other].map((text) => reach(compile([text], { version: "1.18" }).from))).toEqual(["BcOnwp", "bcOnwp"]);
    const refused = compile([rules], { version: "1.19" });
    expect([reach(refused.from), refused.lines[0]]).toEqual(["BCONWP",
      expect.stringMatching(/found fromRequires; expected it only up to/)]);
  });

  it.each(CILIUM_VERSIONS)("a NetworkPolicy's namespaces that lack a label are pods alone where selectors are pinned: %s", (version) => {
    const text = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: np, namespace: shop}
spec:
  podSelector: {matchLabels: {app: a}}
  ingress: [{from: [{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [blue]}]}}]}]`;
    expect(reach(compile([text], { version }).from)).toBe(["1.19", "1.20"].includes(version) ? "Bconwp" : "BcONWP");
    expect(reach(compile([text], { version: "1.18", options: { "policy-default-local-cluster": true } }).from)).toBe("Bconwp");
  });
});

describe("ports", () => {
  const from = "fromEntities: [all]";
  it.each<[string, string, [number, number, string][]]>([
    ["a rule with any port is not about ICMP", "toPorts: [{ports: [{port: '0'}]}]", [[6, 1, "allow"], [132, 9, "allow"], [1, 8, "none"]]],
    ["a rule about peers alone is", "", [[1, 8, "allow"], [47, 0, "allow"]]],
    ["an item without ports is about none", "toPorts: [{}]", [[6, 80, "none"]]],
    ["no item at all is as none", "toPorts: []", [[6, 80, "allow"]]],
    ["a range", "toPorts: [{ports: [{port: '80', endPort: 90, protocol: TCP}]}]",
      [[6, 79, "none"], [6, 90, "allow"], [6, 91, "none"], [17, 80, "none"]]],
    ["an end below the port is no range", "toPorts: [{ports: [{port: '80', endPort: 70, protocol: TCP}]}]",
      [[6, 80, "allow"], [6, 75, "none"]]],
    ["octal", "toPorts: [{ports: [{port: '0120'}]}]", [[6, 80, "allow"], [6, 120, "none"]]],
    ["a name of the subject", "toPorts: [{ports: [{port: WEB, protocol: TCP}]}]", [[6, 80, "allow"], [6, 8080, "none"]]],
    ["ICMP types", "icmps: [{fields: [{type: 8}, {type: EchoReply, family: IPv6}]}]",
      [[1, 8, "allow"], [1, 13, "none"], [58, 129, "allow"]]],
    ["ICMP type 0 is port 0, which is all of ICMP", "icmps: [{fields: [{type: EchoReply}]}]", [[1, 8, "allow"], [58, 1, "none"]]],
    ["VRRP", "toPorts: [{ports: [{port: '0', protocol: VRRP}]}]", [[112, 0, "allow"], [6, 80, "none"]]],
  ])("%s", (_, ports, cases) => {
    const { from: ask } = compile([policy(`ingress: [{${from}${ports === "" ? "" : `, ${ports}`}}]`)]);
    expect(cases.map(([protocol, port]) => ask(C, port, protocol))).toEqual(cases.map(([, , answer]) => answer));
  });

  it("ports without a peer are for any peer", () => {
    expect(reach(compile([policy("ingress: [{toPorts: [{ports: [{port: '80'}]}]}]")]).from)).toBe("BCONWP");
  });

  it("a name on egress is each destination's own from 1.20; before, it must mean one number", () => {
    const rule = policy("egress: [{toEndpoints: [{matchExpressions: [{key: 'k8s:io.kubernetes.pod.namespace', operator: Exists}]}], "
      + "toPorts: [{ports: [{port: web, protocol: TCP}]}]}]");
    const asked = (version: CiliumVersion) => [[B, 80], [B, 8080], [C, 80]].map(([remote, port]) =>
      compile([rule], { version }).to(remote as string, port as number));
    expect(asked("1.20")).toEqual(["none", "allow", "allow"]);
    expect(asked("1.19")).toEqual(["none", "none", "none"]);
  });
});

describe("verdicts", () => {
  it.each(CILIUM_VERSIONS)("a deny wins over an allow, of either kind of object: %s", (version) => {
    const allow = policy("ingress: [{fromEndpoints: [{}]}, {toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]");
    const { from, compiled } = compile([allow, clusterwide("ingressDeny: [{fromEndpoints: [{matchLabels: {app: b}}]}]")], { version });
    expect([from(B), from(B, 81), from(C), from(C, 81)]).toEqual(["deny", "deny", "allow", "none"]);
    expect(compiled.endpoints.maps.some(({ shadowed }) => shadowed.length > 0)).toBe(true);
  });

  it("a deny alone leaves nothing allowed, unless enableDefaultDeny is off", () => {
    const rule = "ingressDeny: [{fromEndpoints: [{}]}]";
    expect(reach(compile([policy(rule)]).from)).toBe("bconwp");
    const open = `${rule}, enableDefaultDeny: {ingress: false}`;
    for (const version of CILIUM_VERSIONS) expect(reach(compile([policy(open)], { version }).from)).toBe("bCONWP");
    expect(reach(compile([policy(open)], { options: { "enable-non-default-deny-policies": false } }).from)).toBe("bconwp");
    expect(reach(compile([policy(open), policy("ingress: [{fromEntities: [world]}]").replace("name: p", "name: q")]).from)).toBe("bconWP");
  });

  it("1.16 turns the allow of an exception to a denied prefix into a deny; later versions do not", () => {
    const rules = policy("ingress: [{fromCIDR: [198.51.100.0/25]}], "
      + "ingressDeny: [{fromCIDRSet: [{cidr: 198.51.100.0/24, except: [198.51.100.0/25]}]}]");
    expect(CILIUM_VERSIONS.map((version) => compile([rules], { version }).from(PARTNER)))
      .toEqual(["deny", "allow", "allow", "allow", "allow"]);
  });

  it("enforcement modes", () => {
    const ask = (mode: string, objects: string[] = [], version: CiliumVersion = "1.20") =>
      reach(compile(objects, { version, options: { "enable-policy": mode, "allow-localhost": "auto" } }).from);
    expect([ask("default"), ask("never", [policy("ingress: [{}]")]), ask("default", [policy("ingress: [{}]")])])
      .toEqual(["BCONWP", "BCONWP", "bcOnwp"]);
    // 1.20 adds the rule for the own node only beside others.
    expect([ask("always", [], "1.19"), ask("always")]).toEqual(["bcOnwp", "bconwp"]);
  });

  it("L7 rules, TLS names and listeners redirect; conflicts leave the endpoint open", () => {
    const port = "ports: [{port: '80', protocol: TCP}]";
    const l7 = `toPorts: [{${port}, rules: {http: [{path: /x}]}}]`;
    const both = compile([policy(`ingress: [{fromEndpoints: [{}], ${l7}}, {fromEndpoints: [{}], toPorts: [{${port}}]}]`)]);
    expect([both.from(B), both.from(B, 81), both.from(C)]).toEqual(["redirect", "none", "none"]);
    const egress = compile([policy(`egress: [{toEntities: [world], toPorts: [{${port}, serverNames: [a.b]}]}]`)]);
    expect(egress.to(WORLD)).toBe("redirect");
    const none = compile([policy(`ingress: [{fromEndpoints: [{}], toPorts: [{${port}, rules: {http: []}}]}]`)]);
    expect(none.from(B)).toBe("allow");
    const listener = (name: string) => `toPorts: [{${port}, listener: {name: ${name}, priority: 7, envoyConfig: {name: e}}}]`;
    const conflict = compile([policy(`egress: [{toEndpoints: [{}], ${listener("l")}}, {toEndpoints: [{}], ${listener("m")}}]`)]);
    expect([conflict.to(B), conflict.from(WORLD)]).toEqual(["undecided", "undecided"]);
    const off = compile([policy(`ingress: [{${l7}}]`)], { options: { "enable-l7-proxy": false } });
    expect([off.from(B), off.lines[0]]).toEqual(["allow", expect.stringMatching(/found L7 rules; expected option enable-l7-proxy/)]);
  });

  it("authentication is asked for where a rule says so, and handed on to narrower ports of the peer", () => {
    const rules = policy("ingress: [{fromEndpoints: [{}], authentication: {mode: required}}, "
      + "{fromEndpoints: [{matchLabels: {app: b}}], toPorts: [{ports: [{port: '80', protocol: TCP}]}]}, "
      + "{fromEndpoints: [{matchLabels: {app: b}}], authentication: {mode: disabled}, toPorts: [{ports: [{port: '81', protocol: TCP}]}]}]");
    for (const version of ["1.17", "1.18", "1.19", "1.20"] as const) {
      const { from } = compile([rules], { version });
      expect([version, from(B), from(B, 81), from(B, 82), from(WORLD)]).toEqual([version, "auth", "allow", "auth", "none"]);
    }
    expect(compile([rules], { version: "1.16" }).from(B)).toBe("undecided");
  });
});

describe("what is not known", () => {
  const rule = policy("egress: [{toFQDNs: [{matchName: Api.Example.com}, {matchPattern: '*.cdn.example.com'}], "
    + "toPorts: [{ports: [{port: '443'}]}]}]");
  const names = (complete: boolean): DNSNames => ({ complete, addresses: new Map([
    ["api.example.com", [parseAddress(WORLD)!]], ["a.cdn.example.com", [parseAddress("198.51.100.1")!]],
    ["a.b.cdn.example.com", [parseAddress(PARTNER)!]] ]) });

  it("names without addresses leave the world open on their ports, and nothing else", () => {
    const { to } = compile([rule]);
    expect([to(WORLD, 443), to(WORLD, 80), to(B, 443)]).toEqual(["undecided", "none", "none"]);
    const denied = compile([rule, clusterwide("egressDeny: [{toCIDR: [203.0.113.0/24]}]")]);
    expect([denied.to(WORLD, 443), denied.to(PARTNER, 443)]).toEqual(["deny", "undecided"]);
    const allowed = compile([rule, clusterwide("egress: [{toEntities: [world]}]")]);
    expect(allowed.to(WORLD, 443)).toBe("allow");
  });

  it("known names are their addresses", () => {
    const known = compile([rule], { names: names(true) });
    expect([known.to(WORLD, 443), known.to("198.51.100.1", 443), known.to(PARTNER, 443)]).toEqual(["allow", "allow", "none"]);
    expect(compile([rule], { names: names(false) }).to(PARTNER, 443)).toBe("undecided");
  });

  it("a map over its limit is open, or locked down by option", () => {
    const full = { "bpf-policy-map-max": 1 };
    const rules = policy("ingress: [{fromEntities: [cluster]}]");
    expect(compile([rules], { options: full }).from(B)).toBe("undecided");
    const lock = { ...full, "enable-endpoint-lockdown-on-policy-overflow": true };
    expect(CILIUM_VERSIONS.map((version) => compile([rules], { version, options: lock }).from(B)))
      .toEqual(["undecided", "deny", "deny", "deny", "deny"]);
  });
});

describe("nodes and identities", () => {
  it("a rule for nodes is for the host endpoints its labels select, and for no pod", () => {
    const rule = clusterwide("ingress: [{fromEntities: [remote-node]}]", "nodeSelector: {matchLabels: {pool: p1}}");
    const { from, hostFrom, compiled } = compile([rule], { options: { "enable-host-firewall": true, "allow-localhost": "auto" } });
    expect([reach(from), reach((remote) => hostFrom(remote)), reach((remote) => hostFrom(remote, 80, 1))])
      .toEqual(["BCONWP", "bcoNwp", "BCONWP"]);
    expect(compiled.endpoints.maps[compiled.endpoints.ofNode[0]].policies).toEqual(["CiliumClusterwideNetworkPolicy w"]);
    expect([...compile([rule]).compiled.endpoints.ofNode]).toEqual([-1, -1]);
  });

  it("nodes are selected by their labels where an option gives them identities", () => {
    const nodes = policy("ingress: [{fromNodes: [{matchLabels: {pool: p2}}]}]");
    const on = { "enable-node-selector-labels": true };
    for (const version of CILIUM_VERSIONS) expect(reach(compile([nodes], { version, options: on }).from)).toBe("bcoNwp");
    expect(reach(compile([policy("ingress: [{fromNodes: [{matchLabels: {pool: p1}}]}]")], { options: on }).from)).toBe("bconwp");
    expect(reach(compile([policy("ingress: [{fromEntities: [cluster]}]")], { options: on }).from)).toBe("BCONwp");
    const refused = compile([nodes]);
    expect([reach(refused.from), refused.lines[0]]).toEqual(["BCONWP", expect.stringMatching(/option enable-node-selector-labels/)]);
  });

  it("the API server's node is that too, also as a pod's own", () => {
    const slice = (address: string) => `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
addressType: IPv4
endpoints: [{addresses: [${address}]}]
ports: []`;
    const rule = policy("ingress: [{fromEntities: [kube-apiserver]}]");
    expect([OWN_NODE, OTHER_NODE, WORLD].map((address) => reach(compile([rule, slice(address)]).from)))
      .toEqual(["bcOnwp", "bcoNwp", "bconWp"]);
  });

  it("the option labels decides what identities are made of", () => {
    const rule = policy("ingress: [{fromEndpoints: [{matchLabels: {env: shop}}]}]");
    const count = (labels: string) => compile([rule], { options: { labels } }).compiled.identities.all
      .filter(({ kind }) => kind === "pod").length;
    expect([count(""), count("k8s:!app"), count("k8s:env k8s:app"), count("k8s:env")]).toEqual([3, 3, 3, 3]);
    expect(compile([rule]).from(B)).toBe("allow");
    expect(compile([rule], { options: { labels: "k8s:!env" } }).from(B)).toBe("none");
    // With a list that includes something, all else is left out; the subject's own label too.
    expect(compile([rule], { options: { labels: "k8s:env" } }).from(WORLD)).toBe("allow");
    expect(compile([], { options: { labels: "k8s:(" } }).lines[0]).toMatch(/option labels has "k8s:\("/);
  });
});

describe("ClusterNetworkPolicy", () => {
  const object = (tier: string, rules: string): string => `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: ${tier.toLowerCase()}}
spec: {tier: ${tier}, priority: 5, subject: {pods: {namespaceSelector: {}, podSelector: {matchLabels: {app: a}}}}, ${rules}}`;
  const on = { "enable-k8s-cluster-network-policy": true };
  const admin = object("Admin", "ingress: [{action: Pass, from: [{namespaces: {matchLabels: {team: red}}}]}, "
    + "{action: Deny, from: [{namespaces: {}}]}]");
  const baseline = object("Baseline", "ingress: [{action: Accept, from: [{namespaces: {}}]}]");

  it("is read by 1.20 with its option, and is a Problem elsewhere", () => {
    expect(reach(compile([admin, baseline], { options: on }).from)).toBe("BcONWP");
    expect(reach(compile([admin, policy("ingress: [{fromEntities: [world]}]")], { options: on }).from)).toBe("bconWP");
    for (const version of CILIUM_VERSIONS) {
      const { from, lines } = compile([admin], { version, options: version === "1.20" ? {} : on });
      expect([reach(from), lines[0]]).toEqual(["BCONWP", expect.stringMatching(/ClusterNetworkPolicy admin is not evaluated/)]);
    }
  });

  it("prefixes of its networks are no pods", () => {
    const rule = object("Admin", "egress: [{action: Deny, to: [{networks: [10.0.0.0/8, 203.0.113.0/24]}]}]");
    const { to } = compile([rule], { options: on });
    expect([to(B), to(WORLD), to(PARTNER)]).toEqual(["allow", "deny", "allow"]);
  });
});

it("a rule that a wildcard makes needless has no entry, and is remembered with what covers it", () => {
  const ports = "toPorts: [{ports: [{port: '80', protocol: TCP}]}]";
  for (const version of CILIUM_VERSIONS) {
    const { compiled } = compile([policy(`ingress: [{fromEndpoints: [{}], ${ports}}, {${ports}}]`)], { version });
    const map = compiled.endpoints.maps.find(({ policies }) => policies.length > 0)!;
    const rule = (cookie: number) => compiled.endpoints.cookies.get(cookie)![0].rule;
    expect(map.shadowed.map(({ cookie, by }) => [rule(cookie), rule(by)]))
      .toEqual([["spec.ingress[0].fromEndpoints[0]", "spec.ingress[1]"]]);
    expect([...map.cookie].map(rule)).not.toContain("spec.ingress[0].fromEndpoints[0]");
  }
});

it("every entry says its rule", () => {
  const { compiled } = compile([policy("ingress: [{fromEndpoints: [{matchLabels: {app: b}}]}], egressDeny: [{toCIDR: [203.0.113.0/24]}]")]);
  const map = compiled.endpoints.maps.find(({ policies }) => policies.length > 0)!;
  const texts = [...map.cookie].map((cookie) => compiled.endpoints.cookies.get(cookie)!
    .map(({ object, rule }) => `${object} ${rule}`).join());
  expect(texts.sort()).toEqual(["CiliumNetworkPolicy shop/p spec.egressDeny[0].toCIDR[0]",
    "CiliumNetworkPolicy shop/p spec.ingress[0].fromEndpoints[0]"]);
  const because = (cookie: number) => compiled.endpoints.cookies.get(cookie)![0];
  expect([because(map.denyIngress), because(map.denyEgress)].map(({ object, rule }) => `${object} ${rule}`))
    .toEqual(["CiliumNetworkPolicy shop/p ingress", "CiliumNetworkPolicy shop/p egress"]);
});
