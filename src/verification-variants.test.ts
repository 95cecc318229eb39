/** Verification of dumps whose lines differ from the generated ones in what objects cannot say. */
import { describe, expect, it } from "vitest";
import { readManifests } from "./cluster/manifests.js";
import { buildTimeline } from "./cluster/timeline.js";
import { generatedRules } from "./iptables/planeNode.js";
import { parseRuleSet } from "./linux/netfilter/rule-set.js";
import { assumedNetwork, iptablesConfig } from "./planes.js";
import { differences, type VerifiedDump } from "./report/verify.js";
import { verifyDumps } from "./verification.js";

const MANIFESTS = `
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDRs: [10.0.0.0/24]}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: red}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: web, labels: {app: web, tier: front}}
spec:
  nodeName: n1
  containers: [{name: c, ports: [{containerPort: 80, hostPort: 8080}, {containerPort: 53, hostPort: 53, protocol: UDP}]}]
status: {podIP: 10.0.0.10}
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: db, labels: {app: db}}
spec: {nodeName: n1, containers: [{name: c, ports: [{containerPort: 80, hostPort: 9090}]}]}
status: {podIP: 10.0.0.11}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: web}
spec:
  podSelector: {matchLabels: {app: web, tier: front}}
  policyTypes: [Ingress, Egress]
  ingress: [{from: [{podSelector: {matchLabels: {app: db}}, namespaceSelector: {matchLabels: {team: red}}}], ports: [{port: 80}]}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {namespace: shop, name: db}
spec: {podSelector: {matchLabels: {app: db}}, policyTypes: [Ingress]}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: kube-system, name: azure-ip-masq-agent-config}
data: {ip-masq-agent: "nonMasqueradeCIDRs: [10.0.0.0/8]\\nmasqLinkLocal: true\\n"}
`;

const { objects } = readManifests([{ name: "x.yaml", text: MANIFESTS }]);
const { initial: cluster } = buildTimeline({ initial: objects, facts: new Map() });
const network = assumedNetwork(cluster, { masqueradeAgent: "ip-masq-agent" }, []);
const made = generatedRules(cluster, cluster.nodes[0], 4, iptablesConfig(network, "kube-proxy+npm")).text;
const saved = parseRuleSet(made, "generated", 4).rules.save(false);

function verified(text: string): VerifiedDump {
  return verifyDumps(cluster, network, {}, new Map([["n1", { v4: { file: "n1.txt", text }, v6: null, sets: null }]]))[0];
}

function swapped(text: string, line: RegExp, change: (line: string) => string): string {
  const after = text.split("\n").map((one) => (line.test(one) ? change(one) : one)).join("\n");
  expect(after).not.toBe(text);
  return after;
}

/** The order of two neighbouring lines of a chain. */
function exchanged(text: string, line: RegExp): string {
  const lines = text.split("\n");
  const at = lines.findIndex((one, index) => line.test(one) && line.test(lines[index + 1]));
  expect(at).toBeGreaterThan(0);
  return [...lines.slice(0, at), lines[at + 1], lines[at], ...lines.slice(at + 2)].join("\n");
}

function same(text: string): readonly (readonly [string, number])[] {
  const found = verified(text);
  expect([...found.notGenerated, ...found.notInDump, ...found.outOfOrder].map((one) => one.text)).toEqual([]);
  expect(found.reproduced).toBe(found.lines);
  return found.variants;
}

it("what was generated is reproduced without a variant", () => expect(same(saved)).toEqual([]));

describe("ip-masq-agent's comment", () => {
  it("may have quotes in it or not", () => {
    const bare = swapped(saved, /^-A POSTROUTING .*ip-masq-agent/, (line) => line.replaceAll('\\"', ""));
    expect(same(bare)).toEqual([["comment with or without quotes in it (ip-masq-agent)", 1]]);
  });

  it("with another text is another", () => {
    expect(differences(verified(swapped(saved, /^-A POSTROUTING .*ip-masq-agent/, (line) => line.replace("ensure", "")))))
      .toBeGreaterThan(0);
  });
});

describe("portmap's chains", () => {
  const ids = (text: string): string => {
    const names = new Map([...new Set(text.match(/CNI-DN-[0-9a-f]+/g))]
      .map((name, index) => [name, `CNI-DN-${String(index).repeat(21)}`]));
    expect(names.size).toBe(2);
    return text.replace(/CNI-DN-[0-9a-f]+/g, (name) => names.get(name) ?? "")
      .replace(/id: \\"[^"]*\\"/g, 'id: \\"0123456789abcdef\\"');
  };

  it("have the names of containers, in the order of their starts", () => {
    const lines = ids(saved).split("\n").filter((line) => /CNI-DN-\d|dnat name/.test(line) && line.startsWith("-A")).length;
    expect(same(ids(saved))).toEqual([["name of a container (portmap)", lines]]);
    expect(same(exchanged(ids(saved), /^-A CNI-HOSTPORT-DNAT /))).toEqual([["name of a container (portmap)", lines]]);
  });

  it("that lead elsewhere, or are led to for other ports, are others", () => {
    for (const [line, from, to] of [[/to-destination 10.0.0.10:80/, "10.0.0.10:80", "10.0.0.10:81"],
      [/^-A CNI-HOSTPORT-DNAT .*9090/, "9090", "9091"]] as const) {
      const found = verified(swapped(ids(saved), line, (one) => one.replace(from, to)));
      expect([found.notGenerated.length > 0, found.notInDump.length > 0]).toEqual([true, true]);
    }
    const crossed = swapped(ids(saved), /^-A CNI-HOSTPORT-DNAT /,
      (line) => line.replace(/CNI-DN-([01])+/, (name) => `CNI-DN-${(name.endsWith("0") ? "1" : "0").repeat(21)}`));
    expect(differences(verified(crossed))).toBeGreaterThan(0);
  });
});

describe("Azure NPM's sets", () => {
  const SETS = / -m set --match-set (\S+) (src|dst) -m set --match-set (\S+) (src|dst)/;

  it("stand in any order, and so do policies", () => {
    const other = swapped(saved, SETS, (line) => line.replace(SETS, " -m set --match-set $3 $4 -m set --match-set $1 $2")
      .replace(/-(TO|FROM)-([^"]+?)-AND-([^"]+?)(-IN-|-ON-|")/, "-$1-$3-AND-$2$4"));
    expect(same(other).map(([name]) => name)).toEqual(["order of IP sets (Azure NPM)"]);
    expect(same(exchanged(saved, /^-A AZURE-NPM-INGRESS -.* -j AZURE-NPM-INGRESS-/))).toEqual([]);
  });

  it("of the other side, or others, make another rule; what must stand last stands last", () => {
    for (const change of [(line: string) => line.replace(/ (src|dst) /, (text) => (text === " src " ? " dst " : " src ")),
      (line: string) => line.replace(/azure-npm-\d/, "azure-npm-x"),
      (line: string) => line.replace("--match-set", "! --match-set")]) {
      expect(differences(verified(swapped(saved, SETS, change)))).toBeGreaterThan(0);
    }
    expect(verified(exchanged(saved, /^-A AZURE-NPM-INGRESS /)).outOfOrder.length).toBe(0);
    const lines = saved.split("\n");
    const drop = lines.findIndex((line) => line.startsWith("-A AZURE-NPM-INGRESS ") && line.includes("DROP-ON"));
    const moved = [...lines.slice(0, drop - 1), lines[drop], lines[drop - 1], ...lines.slice(drop + 1)].join("\n");
    expect(verified(moved).outOfOrder).toHaveLength(1);
  });
});
