/**
 * Cilium's policies by the tables and sentences of its documentation (1.20, Documentation/security/policy: intro, layer3, layer4,
 * deny, host policies), each row what the text says of one flow. Nothing here knows the compiler.
 */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import { readManifests } from "../../cluster/manifests.js";
import { buildCluster } from "../../cluster/timeline.js";
import { CiliumSpec } from "./evaluate.js";
import { type CiliumSpecOptions, ciliumSpecOptions } from "./options.js";

const [SERVER, CLIENT, OTHER, FAR] = ["10.0.1.1", "10.0.2.1", "10.0.1.2", "10.0.2.2"];
const [N1, N2] = ["192.168.0.1", "192.168.0.2"];
const [WORLD, WORLD2] = ["203.0.113.9", "198.51.100.9"];
const [TCP, UDP, ICMP, ECHO] = [6, 17, 1, 8];

/** The server and `other` are on n1, the client and `far` on n2; `far` is in another namespace. */
const BASE = `
apiVersion: v1
kind: Node
metadata: {name: n1, labels: {role: edge}}
status: {addresses: [{type: InternalIP, address: ${N1}}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: ${N2}}]}
---
${pod("default", "server", "n1", SERVER, "ports: [{name: web, containerPort: 8080}]")}
${pod("default", "client", "n2", CLIENT)}
${pod("default", "other", "n1", OTHER)}
${pod("remote", "client", "n2", FAR)}
apiVersion: v1
kind: Namespace
metadata: {name: remote, labels: {team: far}}
---
apiVersion: v1
kind: Service
metadata: {name: picked, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: server}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: bare, namespace: default}
spec: {clusterIP: 10.96.0.2, ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: bare-1, namespace: default, labels: {kubernetes.io/service-name: bare}}
ports: [{port: 80, protocol: TCP}]
endpoints: [{addresses: [${WORLD}]}]
---
apiVersion: cilium.io/v2alpha1
kind: CiliumCIDRGroup
metadata: {name: partners, labels: {side: north}}
spec: {externalCIDRs: [203.0.113.0/24]}
`;

function pod(namespace: string, name: string, node: string, ip: string, ports = ""): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: ${namespace}, labels: {app: ${name}}}
spec: {nodeName: ${node}, containers: [{name: c${ports === "" ? "" : `, ${ports}`}}]}
status: {phase: Running, podIPs: [{ip: ${ip}}]}
---`;
}

function clusterOf(...policies: string[]): Cluster {
  const { objects, problems } = readManifests([{ name: "test.yaml", text: [BASE, ...policies].join("\n---\n") }]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return buildCluster(objects);
}

/** A policy for the server. */
function policy(rules: string, subject = "{matchLabels: {app: server}}", kind = "CiliumNetworkPolicy", name = "p"): string {
  const selector = subject.startsWith("node") ? subject : `endpointSelector: ${subject}`;
  const namespace = kind === "CiliumNetworkPolicy" ? ", namespace: default" : "";
  return `apiVersion: cilium.io/v2\nkind: ${kind}\nmetadata: {name: ${name}${namespace}}\n`
    + `spec: {${selector}, ${rules}}\n`;
}

const DEFAULTS = { "enable-policy": "default", "allow-localhost": "auto", "enable-ipv4": true, "cluster-name": "default",
  "enable-icmp-rules": true, "enable-l7-proxy": true, "enable-non-default-deny-policies": true };

function says(policies: readonly string[], from: string, to: string, port = 80, protocol = TCP,
  more: Readonly<Record<string, unknown>> = {}, version = 20, names: Partial<CiliumSpecOptions> = {}): string {
  const spec = new CiliumSpec(clusterOf(...policies), { ...ciliumSpecOptions(version, { ...DEFAULTS, ...more }), ...names });
  const { allowed, egress, ingress } = spec.evaluate(parseAddress(from)!, parseAddress(to)!, protocol, port);
  return [egress, ingress].some(({ verdict }) => verdict === "undecided") ? "undecided" : allowed ? "allowed" : "denied";
}

describe("deny.rst: allow and deny policies of one pod", () => {
  const L4 = (port: number): string => `{toPorts: [{ports: [{port: "${port}", protocol: TCP}]}]}`;
  const L3 = "{fromEndpoints: [{matchLabels: {app: client}}]}";
  const L7 = '{toPorts: [{ports: [{port: "80", protocol: TCP}], rules: {http: [{method: GET}]}}]}';
  const allows = policy(`ingress: [${L7}, ${L4(80)}, ${L4(81)}, ${L3}]`, undefined, undefined, "allow");
  const denies = (rules: string): string => policy(`ingressDeny: [${rules}]`, undefined, undefined, "deny");
  /** Columns of its table: the policies, and what becomes of curl to 81 and 80 and of ping. */
  it.each<[string, readonly string[], readonly string[]]>([
    ["allows alone", [allows], ["allowed", "allowed", "allowed"]],
    ["a deny of port 80", [allows, denies(L4(80))], ["allowed", "denied", "allowed"]],
    ["a deny of the client", [allows, denies(L3)], ["denied", "denied", "denied"]],
    ["both denies", [allows, denies(`${L4(80)}, ${L3}`)], ["denied", "denied", "denied"]],
    ["a deny of port 80 alone", [denies(L4(80))], ["denied", "denied", "denied"]],
  ])("%s", (_, policies, [to81, to80, ping]) => {
    expect([says(policies, CLIENT, SERVER, 81), says(policies, CLIENT, SERVER, 80), says(policies, CLIENT, SERVER, ECHO, ICMP)])
      .toEqual([to81, to80, ping]);
  });

  it("takes precedence over a clusterwide policy and a NetworkPolicy as well", () => {
    const network = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: all, namespace: default}\n"
      + "spec: {podSelector: {}, ingress: [{}]}\n";
    const wide = policy("ingress: [{fromEntities: [all]}]", "{}", "CiliumClusterwideNetworkPolicy", "wide");
    expect(says([network, wide], CLIENT, SERVER)).toBe("allowed");
    expect(says([network, wide, denies(L3)], CLIENT, SERVER)).toBe("denied");
    expect(says([network, wide, policy("ingressDeny: [{fromEntities: [cluster]}]", "{}", "CiliumClusterwideNetworkPolicy", "shut")],
      CLIENT, SERVER)).toBe("denied");
  });
});

describe("intro.rst: enforcement", () => {
  const ingress = policy("ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]");
  it.each<[string, readonly string[], string, string, string, Record<string, unknown>?]>([
    ["no policy: everything is allowed", [], OTHER, SERVER, "allowed"],
    ["a rule for ingress closes it", [ingress], OTHER, SERVER, "denied"],
    ["and what it says stays open", [ingress], CLIENT, SERVER, "allowed"],
    ["egress stays as it was", [ingress], SERVER, OTHER, "allowed"],
    ["a pod that no rule selects is open", [ingress], SERVER, CLIENT, "allowed"],
    ["an empty rule allows nothing, and closes", [policy("ingress: [{}]")], CLIENT, SERVER, "denied"],
    ["enableDefaultDeny: false adds and does not close", [policy("enableDefaultDeny: {ingress: false}, ingress: [{fromEndpoints: [{}]}]")],
      WORLD, SERVER, "allowed"],
    ["another policy closes it all the same", [ingress, policy("enableDefaultDeny: {ingress: false}, ingress: [{fromEndpoints: [{}]}]",
      "{}", "CiliumNetworkPolicy", "more")], WORLD, SERVER, "denied"],
    ["always: without a policy nothing", [], CLIENT, SERVER, "denied", { "enable-policy": "always" }],
    ["never: nothing is enforced", [ingress], OTHER, SERVER, "allowed", { "enable-policy": "never" }],
    ["the own node is let in", [ingress], N1, SERVER, "allowed"],
    ["another node is not", [ingress], N2, SERVER, "denied"],
    ["allow-localhost=policy: nor is the own", [ingress], N1, SERVER, "denied", { "allow-localhost": "policy" }],
    ["a deny of the host wins over that", [policy("ingressDeny: [{fromEntities: [host]}]")], N1, SERVER, "denied"],
    ["a pod is not let to its own node", [policy("egress: [{toEndpoints: [{}]}]")], SERVER, N1, "denied"],
  ])("%s", (_, policies, from, to, wanted, options = {}) => {
    expect(says(policies, from, to, 80, TCP, options)).toBe(wanted);
  });
});

describe("layer3.rst: peers", () => {
  it.each<[string, string, string, string, string?]>([
    ["{} is every pod of the policy's namespace", "ingress: [{fromEndpoints: [{}]}]", OTHER, "allowed"],
    ["and of no other", "ingress: [{fromEndpoints: [{}]}]", FAR, "denied"],
    ["nor the world", "ingress: [{fromEndpoints: [{}]}]", WORLD, "denied"],
    ["in a clusterwide policy it is every pod", "ingress: [{fromEndpoints: [{}]}]", FAR, "allowed", "CiliumClusterwideNetworkPolicy"],
    ["and no node", "ingress: [{fromEndpoints: [{}]}]", N2, "denied", "CiliumClusterwideNetworkPolicy"],
    ["a label is of the policy's namespace", "ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]", FAR, "denied"],
    ["but where a namespace is named",
      "ingress: [{fromEndpoints: [{matchLabels: {k8s:io.kubernetes.pod.namespace: remote}}]}]", FAR, "allowed"],
    ["or one of its labels", "ingress: [{fromEndpoints: [{matchLabels: {io.cilium.k8s.namespace.labels.team: far}}]}]", FAR, "allowed"],
    ["items of a list are alternatives",
      "ingress: [{fromEndpoints: [{matchLabels: {app: none}}, {matchLabels: {app: client}}]}]", CLIENT, "allowed"],
    ["labels of one item are not", "ingress: [{fromEndpoints: [{matchLabels: {app: client, tier: x}}]}]", CLIENT, "denied"],
    ["NotIn holds where the key is missing",
      "ingress: [{fromEndpoints: [{matchExpressions: [{key: tier, operator: NotIn, values: [x]}]}]}]",
      CLIENT, "allowed"],
    ["an empty list selects nobody", "ingress: [{fromEndpoints: []}]", CLIENT, "denied"],
    ["entity all", "ingress: [{fromEntities: [all]}]", WORLD, "allowed"],
    ["entity world", "ingress: [{fromEntities: [world]}]", WORLD, "allowed"],
    ["is no node", "ingress: [{fromEntities: [world]}]", N2, "denied"],
    ["and no pod", "ingress: [{fromEntities: [world]}]", CLIENT, "denied"],
    ["entity cluster: pods", "ingress: [{fromEntities: [cluster]}]", FAR, "allowed"],
    ["and nodes", "ingress: [{fromEntities: [cluster]}]", N2, "allowed"],
    ["not the world", "ingress: [{fromEntities: [cluster]}]", WORLD, "denied"],
    ["entity remote-node", "ingress: [{fromEntities: [remote-node]}]", N2, "allowed"],
    ["entity host is not another node", "ingress: [{fromEntities: [host]}]", N2, "denied"],
    ["entity none", "ingress: [{fromEntities: [none]}]", CLIENT, "denied"],
    ["a CIDR is of the world", "ingress: [{fromCIDR: [203.0.113.0/24]}]", WORLD, "allowed"],
    ["and not beyond itself", "ingress: [{fromCIDR: [203.0.113.0/24]}]", WORLD2, "denied"],
    ["it does not mean pods", "ingress: [{fromCIDR: [10.0.0.0/8]}]", CLIENT, "denied"],
    ["nor nodes", "ingress: [{fromCIDR: [192.168.0.0/24]}]", N2, "denied"],
    ["0.0.0.0/0 is the world", "ingress: [{fromCIDR: [0.0.0.0/0]}]", WORLD2, "allowed"],
    ["an exception is left out", "ingress: [{fromCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.8/29]}]}]", WORLD, "denied"],
    ["and comes back by another rule",
      "ingress: [{fromCIDRSet: [{cidr: 203.0.113.0/24, except: [203.0.113.8/29]}, {cidr: 203.0.113.9/32}]}]",
      WORLD, "allowed"],
    ["a group by its name", "ingress: [{fromCIDRSet: [{cidrGroupRef: partners}]}]", WORLD, "allowed"],
    ["by its labels", "ingress: [{fromCIDRSet: [{cidrGroupSelector: {matchLabels: {side: north}}}]}]", WORLD, "allowed"],
    ["one that is not there is nobody", "ingress: [{fromCIDRSet: [{cidrGroupRef: nowhere}]}]", WORLD, "denied"],
  ])("%s", (_, rules, from, wanted, kind = "CiliumNetworkPolicy") => {
    expect(says([policy(rules, undefined, kind)], from, SERVER)).toBe(wanted);
  });

  it.each<[string, string, string, string]>([
    ["a service with a selector is its pods",
      "egress: [{toServices: [{k8sService: {serviceName: picked, namespace: default}}]}]", SERVER, "allowed"],
    ["and no others", "egress: [{toServices: [{k8sService: {serviceName: picked, namespace: default}}]}]", OTHER, "denied"],
    ["one without is its endpoints", "egress: [{toServices: [{k8sService: {serviceName: bare, namespace: default}}]}]", WORLD, "allowed"],
    ["and not others", "egress: [{toServices: [{k8sService: {serviceName: bare, namespace: default}}]}]", WORLD2, "denied"],
    ["groups of a cloud are not among the objects", "egress: [{toGroups: [{aws: {region: eu}}]}]", WORLD, "undecided"],
    ["and are no pods", "egress: [{toGroups: [{aws: {region: eu}}]}]", SERVER, "denied"],
  ])("%s", (_, rules, to, wanted) => {
    expect(says([policy(rules, "{matchLabels: {app: client}}")], CLIENT, to)).toBe(wanted);
  });

  it("policy-cidr-match-mode=nodes: a CIDR means nodes too, but not all addresses", () => {
    const nodes = { "policy-cidr-match-mode": "nodes" };
    expect(says([policy("ingress: [{fromCIDR: [192.168.0.0/24]}]")], N2, SERVER, 80, TCP, nodes)).toBe("allowed");
    expect(says([policy("ingress: [{fromCIDR: [0.0.0.0/0]}]")], N2, SERVER, 80, TCP, nodes)).toBe("denied");
  });

  it("names: those known open their addresses, others are closed or not known", () => {
    const rules = [policy("egress: [{toFQDNs: [{matchName: example.com}]}]", "{matchLabels: {app: client}}")];
    const domainNames = new Map([[WORLD, ["example.com"]], [SERVER, ["example.com"]]]);
    const to = (address: string, names: Partial<CiliumSpecOptions>): string => says(rules, CLIENT, address, 443, TCP, {}, 20, names);
    expect([to(WORLD, { domainNames }), to(WORLD2, { domainNames }), to(WORLD2, { domainNames, moreNames: true }), to(WORLD2, {}),
      to(SERVER, { domainNames })]).toEqual(["allowed", "denied", "undecided", "undecided", "denied"]);
  });

  it("fromRequires narrows what others allow, up to 1.18", () => {
    const rules = [policy("ingress: [{fromRequires: [{matchLabels: {tier: x}}]}]"),
      policy("ingress: [{fromEndpoints: [{}]}, {fromEntities: [world]}]", undefined, undefined, "open")];
    expect([says(rules, OTHER, SERVER, 80, TCP, {}, 18), says(rules, WORLD, SERVER, 80, TCP, {}, 18)]).toEqual(["denied", "allowed"]);
  });
});

describe("layer4.rst: ports", () => {
  const ports = (list: string): string => policy(`ingress: [{toPorts: [{ports: [${list}]}]}]`);
  it.each<[string, string, number, number, string]>([
    ["a port of its protocol", '{port: "80", protocol: TCP}', 80, TCP, "allowed"],
    ["not another protocol", '{port: "80", protocol: TCP}', 80, UDP, "denied"],
    ["ANY, or none, is each", '{port: "80"}', 80, UDP, "allowed"],
    ["not ICMP", '{port: "80", protocol: ANY}', ECHO, ICMP, "denied"],
    ["a range has its ends", '{port: "80", endPort: 90, protocol: TCP}', 90, TCP, "allowed"],
    ["and no more", '{port: "80", endPort: 90, protocol: TCP}', 91, TCP, "denied"],
    ["0 is every port", '{port: "0", protocol: TCP}', 65535, TCP, "allowed"],
    ["a name is the container's port", "{port: web, protocol: TCP}", 8080, TCP, "allowed"],
    ["of its protocol", "{port: web, protocol: UDP}", 8080, UDP, "denied"],
    ["a name that the pod has not is none", "{port: api, protocol: TCP}", 8080, TCP, "denied"],
  ])("%s", (_, list, port, protocol, wanted) => {
    expect(says([ports(list)], CLIENT, SERVER, port, protocol)).toBe(wanted);
  });

  it("peers and ports of one rule must both match; rules are alternatives", () => {
    const both = policy('ingress: [{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]');
    expect([says([both], CLIENT, SERVER), says([both], CLIENT, SERVER, 81), says([both], OTHER, SERVER)])
      .toEqual(["allowed", "denied", "denied"]);
    const two = policy('ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}, {toPorts: [{ports: [{port: "80", protocol: TCP}]}]}]');
    expect([says([two], CLIENT, SERVER, 81), says([two], OTHER, SERVER)]).toEqual(["allowed", "allowed"]);
  });

  it("icmps name types, and nothing else", () => {
    const rules = [policy("ingress: [{icmps: [{fields: [{type: 8, family: IPv4}]}]}]")];
    expect([says(rules, CLIENT, SERVER, ECHO, ICMP), says(rules, CLIENT, SERVER, 13, ICMP), says(rules, CLIENT, SERVER)])
      .toEqual(["allowed", "denied", "denied"]);
  });

  it("a rule without ports allows every protocol", () => {
    expect(says([policy("ingress: [{fromEndpoints: [{}]}]")], CLIENT, SERVER, ECHO, ICMP)).toBe("allowed");
  });
});

describe("host policies", () => {
  const FIREWALL = { "enable-host-firewall": true };
  const edge = policy('ingress: [{fromEntities: [cluster]}, {toPorts: [{ports: [{port: "22", protocol: TCP}]}]}]',
    "nodeSelector: {matchLabels: {role: edge}}", "CiliumClusterwideNetworkPolicy", "host");
  it.each<[string, string, string, number, string, Record<string, unknown>?]>([
    ["is judged by its sender", WORLD, N1, 80, "denied"],
    ["and its port", WORLD, N1, 22, "allowed"],
    ["pods and nodes are the cluster's", CLIENT, N1, 80, "allowed"],
    ["so is the other node", N2, N1, 80, "allowed"],
    ["what it sends has no rule, and is open", N1, WORLD, 80, "allowed"],
    ["a node that no rule selects is open", WORLD, N2, 80, "allowed"],
    ["pods are not hosts", WORLD, SERVER, 80, "allowed"],
    ["without enable-host-firewall nothing is", WORLD, N1, 80, "allowed", {}],
  ])("%s", (_, from, to, port, wanted, options = FIREWALL) => {
    expect(says([edge], from, to, port, TCP, options)).toBe(wanted);
  });

  it("knows no exception for the node's own traffic: what it may send to its pods a rule says", () => {
    const shut = policy("egress: [{toEntities: [world]}]", "nodeSelector: {}", "CiliumClusterwideNetworkPolicy", "out");
    expect([says([shut], N1, SERVER, 80, TCP, FIREWALL), says([shut], N1, WORLD, 80, TCP, FIREWALL)]).toEqual(["denied", "allowed"]);
  });
});
