import { describe, expect, test } from "vitest";
import { readManifests } from "../manifests.js";
import { formatProblem } from "../problem.js";
import { buildCluster, buildTimeline } from "../timeline.js";

function read(text: string) {
  const manifests = readManifests([{ name: "a.yaml", text }]);
  return { objects: manifests.objects, lines: manifests.problems.map(formatProblem) };
}

function policy(spec: string, kind = "CiliumNetworkPolicy"): string {
  const metadata = kind === "CiliumNetworkPolicy" ? "{name: p, namespace: shop}" : "{name: p}";
  return `apiVersion: cilium.io/v2\nkind: ${kind}\nmetadata: ${metadata}\nspec:\n${indent(spec)}\n`;
}

const indent = (text: string): string => text.split("\n").map((line) => `  ${line}`).join("\n");
const ingress = (rule: string): string => `endpointSelector: {}\ningress:\n- ${rule.split("\n").join("\n  ")}`;
const egress = (rule: string): string => `endpointSelector: {}\negress:\n- ${rule.split("\n").join("\n  ")}`;

describe("what is read", () => {
  test("every member, with paths and lines", () => {
    const { objects, lines } = read(`apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  endpointSelector:
    matchLabels: {"k8s:app": web, any:tier: front, plain: x}
    matchExpressions:
    - {key: reserved:init, operator: DoesNotExist}
  description: text
  labels: [{key: a}]
  log: {value: x}
  enableDefaultDeny: {ingress: false}
  ingress:
  - fromEndpoints:
    - {}
    toPorts:
    - ports:
      - {port: "80", endPort: 90, protocol: TCP}
      - {port: Http}
      - {port: "010", protocol: UDP}
  - {}
  ingressDeny:
  - fromEntities: [world, remote-node]
    icmps:
    - fields: [{type: 8}, {type: EchoReply, family: IPv6}, {type: "13"}]
  egress:
  - toCIDRSet:
    - {cidr: 10.1.2.3/8, except: [10.9.0.0/16]}
    - {cidrGroupRef: partners}
    - {cidrGroupSelector: {matchLabels: {team: a}}}
  - toServices:
    - {k8sService: {serviceName: db, namespace: data}}
    - {k8sServiceSelector: {selector: {matchLabels: {a: b}}}}
  - toFQDNs: [{matchName: example.com}, {matchPattern: "*.example.com"}]
  - toEndpoints: []
    authentication: {mode: required}
    toPorts:
    - ports: [{port: "443", protocol: TCP}]
      listener: {name: l, priority: 3, envoyConfig: {name: c}}
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{path: "/a.*", method: GET, headers: [X-A]}]}
  egressDeny:
  - toGroups: [{aws: {securityGroupsIds: [sg-1]}}]
`);
    expect(lines).toEqual([]);
    const [rule] = objects.ciliumPolicies[0].rules;
    expect(rule.where).toEqual({ file: "a.yaml", line: 4 });
    expect(rule.endpointSelector!.requirements).toEqual([
      { source: "k8s", key: "app", operator: "In", values: ["web"] },
      { source: "any", key: "tier", operator: "In", values: ["front"] },
      { source: "any", key: "plain", operator: "In", values: ["x"] },
      { source: "reserved", key: "init", operator: "DoesNotExist", values: [] },
    ]);
    expect(rule.enableDefaultDeny).toEqual({ ingress: false, egress: null });
    expect(rule.ingress.map(({ path, where }) => [path, where.line])).toEqual([["spec.ingress[0]", 14], ["spec.ingress[1]", 21]]);
    expect(rule.ingress[0].endpoints).toEqual([{ requirements: [] }]);
    expect(rule.ingress[0].toPorts![0].ports).toEqual([
      { port: 80, endPort: 90, protocol: "TCP" }, { port: "http", endPort: 0, protocol: "ANY" },
      { port: 8, endPort: 0, protocol: "UDP" },
    ]);
    expect(rule.ingress[1]).toMatchObject({ endpoints: null, cidr: null, entities: null, toPorts: null, icmps: null });
    expect(rule.ingressDeny[0].entities).toEqual(["world", "remote-node"]);
    expect(rule.ingressDeny[0].icmps![0].fields).toEqual([
      { family: "IPv4", type: 8 }, { family: "IPv6", type: 129 }, { family: "IPv4", type: 13 },
    ]);
    const [sets, services, fqdns, last] = rule.egress;
    expect(sets.cidrSet!.map((one) => [one.cidr?.text, one.cidrGroupRef, one.except.map(({ text }) => text)])).toEqual([
      ["10.0.0.0/8", null, ["10.9.0.0/16"]], [undefined, "partners", []], [undefined, null, []],
    ]);
    expect(sets.cidrSet![2].cidrGroupSelector!.requirements[0]).toMatchObject({ source: "cidrgroup", key: "team" });
    expect(services.services).toEqual([
      { k8sService: { serviceName: "db", namespace: "data" }, k8sServiceSelector: null },
      { k8sService: null, k8sServiceSelector: { namespace: "",
        selector: { requirements: [{ source: "any", key: "a", operator: "In", values: ["b"] }] } } },
    ]);
    expect(fqdns.fqdns).toEqual([{ matchName: "example.com", matchPattern: null }, { matchName: null, matchPattern: "*.example.com" }]);
    expect(last).toMatchObject({ endpoints: [], authentication: "required" });
    expect(last.toPorts!.map((one) => [one.listener?.priority, one.rules?.http?.length])).toEqual([[3, undefined], [undefined, 1]]);
    expect(rule.egressDeny[0].groups![0].aws!.securityGroupsIds).toEqual(["sg-1"]);
  });

  test("spec and specs, both kinds, CIDR groups of both versions", () => {
    const rule = "{nodeSelector: {}, ingress: [{}]}";
    const { objects, lines } = read(`apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: c}
spec: ${rule}
specs:
- {endpointSelector: {}, egress: [{}]}
- ${rule}
---
{apiVersion: cilium.io/v2alpha1, kind: CiliumCIDRGroup, metadata: {name: g, labels: {team: a}}, spec: {externalCIDRs: [10.0.0.0/8]}}
---
{apiVersion: cilium.io/v2, kind: CiliumCIDRGroup, metadata: {name: h}, spec: {externalCIDRs: []}}
`);
    expect(lines).toEqual([]);
    const [clusterwide] = objects.ciliumPolicies;
    expect(clusterwide.namespace).toBe("");
    expect(clusterwide.rules.map(({ path, where }) => [path, where.line])).toEqual([["spec", 4], ["specs[0]", 6], ["specs[1]", 7]]);
    expect(clusterwide.rules[2].ingress[0].path).toBe("specs[1].ingress[0]");
    expect(objects.cidrGroups.map((group) => [group.name, group.externalCIDRs.length, group.conditions.map(({ since }) => since)]))
      .toEqual([["g", 1, []], ["h", 0, [18]]]);
  });

  test("a policy of either kind reaches the cluster at every instant, and makes its namespace known", () => {
    const before = read("").objects;
    const after = read(policy(ingress("{}"))).objects;
    expect([...buildCluster(after).namespaces.keys()]).toEqual(["shop"]);
    const timeline = buildTimeline({ initial: before, changes: [{ atNs: 5n, kind: "objects", objects: after }] });
    expect(timeline.initial.ciliumPolicies).toEqual([]);
    const [change] = timeline.changes;
    expect(change.kind === "cluster" && change.cluster.ciliumPolicies.map(({ name }) => name)).toEqual(["p"]);
  });
});

describe("what is refused, with its line", () => {
  test.each<[string, string, number, RegExp]>([
    ["no selector", "ingress: [{}]", 4, /exactly one of endpointSelector and nodeSelector; the API server/],
    ["both selectors", "endpointSelector: {}\nnodeSelector: {}\ningress: [{}]", 4, /exactly one of/],
    ["nodeSelector in a namespace", "nodeSelector: {}\ningress: [{}]", 5, /ClusterwideNetworkPolicy only; Cilium would/],
    ["two L3 members", ingress("fromEndpoints: [{}]\nfromEntities: [world]"), 7, /fromEndpoints and fromEntities in one rule/],
    ["two L3 members of a deny", "endpointSelector: {}\negressDeny:\n- toCIDR: [10.0.0.0/8]\n  toServices: [{}]", 7,
      /toCIDR and toServices/],
    ["FQDNs and CIDR", egress("toFQDNs: [{matchName: a.b}]\ntoCIDR: [10.0.0.0/8]"), 7, /toCIDR and toFQDNs/],
    ["toPorts and icmps", ingress("toPorts: [{ports: [{port: '80'}]}]\nicmps: [{fields: [{type: 8}]}]"), 7, /expected two rules/],
    ["a bare address", ingress("fromCIDR: [10.0.0.1]"), 7, /found "10.0.0.1", expected a CIDR/],
    ["leading zeros", ingress("fromCIDR: [10.0.0.01/32]"), 7, /expected a CIDR/],
    ["cidrSet of two kinds", ingress("fromCIDRSet:\n- {cidr: 10.0.0.0/8, cidrGroupRef: a}"), 8, /exactly one of cidr/],
    ["cidrSet of none", ingress("fromCIDRSet:\n- {except: [10.0.0.0/8]}"), 8, /exactly one of cidr/],
    ["except outside", ingress("fromCIDRSet:\n- cidr: 10.0.0.0/8\n  except: [11.0.0.0/16]"), 9, /inside 10\.0\.0\.0\/8/],
    ["except of the other family", ingress("fromCIDRSet:\n- cidr: 10.0.0.0/8\n  except: [fd00::/64]"), 9, /inside/],
    ["an entity that is none", ingress("fromEntities: [nodes]"), 7, /found "nodes", expected all or world/],
    ["an entity of the code that the schema has not", ingress("fromEntities: [world-ipv4]"), 7, /world-ipv4/],
    ["a port out of range", ingress("toPorts:\n- ports: [{port: '65536'}]"), 8, /found port "65536"/],
    ["a port in no base", ingress("toPorts:\n- ports: [{port: '08'}]"), 8, /found port "08"/],
    ["a number for a port", ingress("toPorts:\n- ports: [{port: 80}]"), 8, /found 80, expected text/],
    ["a name of sixteen", ingress("toPorts:\n- ports: [{port: abcdefghijklmnop}]"), 8, /at most 15/],
    ["forty-one ports", ingress(`toPorts:\n- ports: [${Array(41).fill("{port: '1'}").join(", ")}]`), 8, /found 41 ports/],
    ["ICMP as a protocol", ingress("toPorts:\n- ports: [{port: '8', protocol: ICMP}]"), 8, /found "ICMP"/],
    ["a lower-case protocol", ingress("toPorts:\n- ports: [{port: '8', protocol: tcp}]"), 8, /found "tcp"/],
    ["a GRE port", ingress("toPorts:\n- ports: [{port: '8', protocol: GRE}]"), 8, /protocol GRE/],
    ["DNS on ingress", ingress("toPorts:\n- ports: [{port: '53'}]\n  rules: {dns: [{matchPattern: '*'}]}"), 9, /DNS rules on ingress/],
    ["DNS with a range", egress("toPorts:\n- ports: [{port: '53', endPort: 54}]\n  rules: {dns: [{matchPattern: '*'}]}"), 8,
      /range of ports/],
    ["HTTP on UDP", egress("toPorts:\n- ports: [{port: '80', protocol: UDP}]\n  rules: {http: [{}]}"), 8, /protocol: TCP/],
    ["HTTP on any protocol", egress("toPorts:\n- ports: [{port: '80'}]\n  rules: {http: [{}]}"), 8, /protocol: TCP/],
    ["HTTP on port 0", egress("toPorts:\n- ports: [{port: '0', protocol: TCP}]\n  rules: {http: [{}]}"), 8, /with port 0/],
    ["rules of no kind", egress("toPorts:\n- ports: [{port: '80'}]\n  rules: {}"), 9, /exactly one of http/],
    ["a bad expression", egress("toPorts:\n- ports: [{port: '80', protocol: TCP}]\n  rules: {http: [{path: '('}]}"), 9, /RE2/],
    ["look-ahead", egress("toPorts:\n- ports: [{port: '80', protocol: TCP}]\n  rules: {http: [{path: 'a(?=b)'}]}"), 9, /RE2/],
    ["serverNames with L7", egress("toPorts:\n- ports: [{port: '80', protocol: TCP}]\n  serverNames: [a.b]\n  rules: {http: [{}]}"), 9,
      /terminatingTLS/],
    ["a listener on ingress", ingress("toPorts:\n- ports: [{port: '80'}]\n  listener: {name: l, envoyConfig: {name: c}}"), 9,
      /on egress only/],
    ["a listener's priority", egress("toPorts:\n- ports: [{port: '80'}]\n  listener: {name: l, priority: 101, envoyConfig: {name: c}}"),
      9, /1 to 100/],
    ["an ICMP type's name of the other family", ingress("icmps:\n- fields: [{type: PacketTooBig}]"), 8, /found "PacketTooBig"/],
    ["the ICMP name with the schema's typing error", ingress("icmps:\n- fields: [{type: ExtendedEchoReply}]"), 8, /ExtendedEchoReply/],
    ["both of an FQDN", egress("toFQDNs: [{matchName: a, matchPattern: b}]"), 7, /exactly one of matchName/],
    ["characters of a name", egress("toFQDNs: [{matchName: '*.a'}]"), 7, /found "\*\.a"/],
    ["an authentication mode", ingress("authentication: {mode: mutual}"), 7, /found "mutual"/],
    ["no authentication mode", ingress("authentication: {}"), 7, /found "", expected disabled/],
    ["two sources in a key", "endpointSelector: {matchLabels: {'k8s:any:a': b}}\ningress: [{}]", 5, /at most one source/],
    ["In without values", ingress("fromEndpoints: [{matchExpressions: [{key: a, operator: In}]}]"), 7, /at least one with In/],
    ["Exists with values", ingress("fromEndpoints: [{matchExpressions: [{key: a, operator: Exists, values: [b]}]}]"), 7,
      /none with Exists/],
  ])("%s", (_, spec, line, what) => {
    const { objects, lines } = read(policy(spec));
    expect(objects.ciliumPolicies).toEqual([]);
    expect(lines[0]).toMatch(new RegExp(`^a\\.yaml:${line}: error: CiliumNetworkPolicy shop/p: `));
    expect(lines[0]).toMatch(what);
    expect(lines[0]).toMatch(/would refuse the CiliumNetworkPolicy, so it is not used$/);
  });

  test("what a rule for nodes may not have", () => {
    const l7 = "toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{}]}}]";
    const { objects, lines } = read(policy(`nodeSelector: {}\negress:\n- ${l7}`, "CiliumClusterwideNetworkPolicy"));
    expect(objects.ciliumPolicies).toEqual([]);
    expect(lines[0]).toMatch(/a rule for nodes/);
  });

  test.each<[string, string]>([
    ["empty lists beside a full one", ingress("fromEndpoints: []\nfromCIDR: [10.0.0.0/8]")],
    ["a named protocol with a service's ports", egress("toServices: []\ntoPorts: [{ports: [{port: '0x10'}]}]")],
    ["underscores in a number", ingress("toPorts: [{ports: [{port: '1_000'}]}]")],
    ["DNS over any protocol", egress("toPorts: [{ports: [{port: '53'}], rules: {dns: [{matchPattern: '*'}]}}]")],
    ["no HTTP rule at all", egress("toPorts: [{ports: [{port: '0'}], rules: {http: []}}]")],
  ])("%s is taken", (_, spec) => {
    const { objects, lines } = read(policy(spec));
    expect(lines).toEqual([]);
    expect(objects.ciliumPolicies).toHaveLength(1);
  });
});

describe("what depends on Cilium's version or options is noted", () => {
  test.each<[string, string, object]>([
    ["a rule without rules", "endpointSelector: {}\ningress: []", { until: 16 }],
    ["fromRequires", ingress("fromRequires: [{}]"), { until: 18 }],
    ["cidrGroupSelector", ingress("fromCIDRSet: [{cidrGroupSelector: {}}]"), { since: 17 }],
    ["toServices with toPorts", egress("toServices: [{}]\ntoPorts: [{ports: [{port: '1'}]}]"), { since: 17 }],
    ["a wide except", ingress("fromCIDRSet: [{cidr: 10.0.0.0/16, except: [10.0.1.0/8]}]"), { until: 19 }],
    ["VRRP", ingress("toPorts: [{ports: [{port: '0', protocol: VRRP}]}]"), { since: 19 }],
    ["ESP", ingress("toPorts: [{ports: [{port: '0', protocol: ESP}]}]"), { since: 20 }],
    ["no port", ingress("toPorts: [{ports: [{protocol: TCP}]}]"), { since: 19, option: "enable-extended-ip-protocols" }],
    ["icmps", ingress("icmps: [{fields: [{type: 8}]}]"), { option: "enable-icmp-rules" }],
    ["nodes", ingress("fromNodes: [{}]"), { option: "enable-node-selector-labels" }],
    ["L7 rules", ingress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {http: [{}]}}]"), { option: "enable-l7-proxy" }],
    ["Kafka", egress("toPorts: [{ports: [{port: '80', protocol: TCP}], rules: {kafka: []}}]"), { until: 19 }],
  ])("%s", (_, spec, condition) => {
    const { objects, lines } = read(policy(spec));
    expect(lines).toEqual([]);
    expect(objects.ciliumPolicies[0].conditions).toMatchObject([condition]);
    const { where, found, path } = objects.ciliumPolicies[0].conditions[0];
    expect([where.line, found.length, path.startsWith("spec")]).toEqual([expect.any(Number), expect.any(Number), true]);
  });

  test("HTTP over a range of ports", () => {
    const rule = ingress("toPorts: [{ports: [{port: '80', endPort: 90, protocol: TCP}], rules: {http: [{}]}}]");
    expect(read(policy(rule)).objects.ciliumPolicies[0].conditions.map(({ since, option }) => since ?? option))
      .toEqual(["enable-l7-proxy", 17]);
  });
});
