import { describe, expect, test } from "vitest";
import { parseAddress } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { evaluate, evaluateAddresses, type FlowEnd } from "./evaluate.js";
import { PolicyIndex } from "./policy-index.js";

const CLUSTER = `
apiVersion: v1
kind: Node
metadata: {name: n1}
status: {addresses: [{type: InternalIP, address: 192.168.0.1}]}
---
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {addresses: [{type: InternalIP, address: 192.168.0.2}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: n1, containers: [{ports: [{name: http, containerPort: 8080}]}]}
status: {podIP: 10.0.1.1}
---
apiVersion: v1
kind: Pod
metadata: {name: client, labels: {app: client}}
spec: {nodeName: n2}
status: {podIP: 10.0.2.1}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, labels: {app: client}}
spec: {nodeName: n2, hostNetwork: true}
status: {podIP: 192.168.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: ended, labels: {app: client}}
spec: {nodeName: n2}
status: {podIP: 10.0.2.9, phase: Succeeded}
`;

function cluster(...policies: string[]): Cluster {
  const manifests = policies.map((spec, number) => "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
    + `metadata: {name: p${number}}\nspec: ${spec}\n`);
  const text = [CLUSTER, ...manifests].join("---\n");
  const { objects, problems } = readManifests([{ name: "c.yaml", text }]);
  expect(problems).toEqual([]);
  return buildCluster(objects);
}

const pod = (name: string): FlowEnd => ({ pod: { namespace: "default", name } });
const ip = (text: string): FlowEnd => ({ ip: parseAddress(text)! });

function ask(policy: string | string[], source: FlowEnd, destination: FlowEnd, port = 8080,
  protocol = 6, ipBlockMatchesPods = true) {
  return evaluate(cluster(...[policy].flat()), { source, destination, port, protocol },
    { ipBlockMatchesPods })!;
}

const DENY = "{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress]}";
const FROM_CLIENT = `
  podSelector: {matchLabels: {app: web}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: x}}}]
  - from: [{ipBlock: {cidr: 172.16.0.0/12}}, {podSelector: {matchLabels: {app: client}}}]
    ports: [{port: 1}, {port: http}]`;

describe("evaluate", () => {
  test("a default deny names the policies that made it, with their lines", () => {
    const { allowed, ingress, egress } = ask([DENY, DENY], pod("client"), pod("web"));
    expect([allowed, egress]).toEqual([false, { isolated: false, verdict: "allow", by: [] }]);
    expect(ingress).toMatchObject({ isolated: true, verdict: "deny", by: [
      { object: "default/p0", where: { file: "c.yaml" },
        rule: expect.stringMatching(/^policyTypes Ingress/) },
      { object: "default/p1" }] });
    expect(ingress.by[1].where!.line).toBe(ingress.by[0].where!.line + 5);
  });

  test("an allow names the rules that match, with peer, port and line", () => {
    const { allowed, ingress } = ask([DENY, FROM_CLIENT], pod("client"), pod("web"));
    expect(allowed).toBe(true);
    expect(ingress.by).toMatchObject([{ object: "default/p1", rule: "ingress[1].from[1] ports[1]" }]);
    expect(ingress.by[0].where!.line).toBeGreaterThan(30);
  });

  test.each<[string, string | string[], FlowEnd, FlowEnd, number, number, boolean]>([
    ["a named port is the destination pod's", FROM_CLIENT, pod("client"), pod("web"), 8081, 6, false],
    ["a named port has a protocol", FROM_CLIENT, pod("client"), pod("web"), 8080, 17, false],
    ["a pod that ended is a stranger", FROM_CLIENT, ip("10.0.2.9"), pod("web"), 8080, 6, false],
    ["a host-network pod is its node: no label matches it", FROM_CLIENT, pod("agent"), pod("web"), 8080, 6,
      false],
    ["its own node reaches a pod", DENY, { node: "n1" }, pod("web"), 8080, 6, true],
    ["another node does not", DENY, { node: "n2" }, pod("web"), 8080, 6, false],
    ["a pod reaches its own node", "{podSelector: {}, policyTypes: [Egress]}", pod("web"), { node: "n1" }, 1,
      6, true],
    ["a pod does not reach another node", "{podSelector: {}, policyTypes: [Egress]}", pod("web"),
      { node: "n2" }, 1, 6, false],
    ["a pod reaches itself", "{podSelector: {}, policyTypes: [Egress, Ingress]}", pod("web"), pod("web"), 1,
      6, true],
    ["a rule with ports does not match ICMP", "{podSelector: {}, ingress: [{ports: [{}]}]}", pod("client"),
      pod("web"), 0, 1, false],
    ["a rule without ports matches ICMP", "{podSelector: {}, ingress: [{}]}", pod("client"), pod("web"), 0,
      1, true],
    ["both directions must allow", "{podSelector: {}, policyTypes: [Egress]}", pod("client"), pod("web"),
      8080, 6, false],
    ["strangers are not isolated", "{podSelector: {}, policyTypes: [Egress]}", ip("1.1.1.1"), pod("web"),
      8080, 6, true],
  ])("%s", (_, policy, source, destination, port, protocol, allowed) => {
    expect(ask(policy, source, destination, port, protocol).allowed).toBe(allowed);
  });

  test("whether ipBlock matches pods is an option, and no option for nodes and strangers", () => {
    const any = "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}";
    for (const matches of [true, false]) {
      expect(ask(any, pod("client"), pod("web"), 1, 6, matches).allowed).toBe(matches);
      expect(ask(any, ip("198.51.100.1"), pod("web"), 1, 6, matches).allowed).toBe(true);
      expect(ask(any, { node: "n2" }, pod("web"), 1, 6, matches).allowed).toBe(true);
    }
  });

  test("no such pod or node is no answer", () => {
    const options = { ipBlockMatchesPods: true };
    expect(evaluate(cluster(), { source: pod("gone"), destination: pod("web"), port: 1, protocol: "TCP" },
      options)).toBeNull();
    expect(evaluate(cluster(),
      { source: { node: "gone" }, destination: pod("web"), port: 1, protocol: "TCP" }, options)).toBeNull();
  });
});

describe("evaluateAddresses", () => {
  test("an address that two running pods claim is undecided, never allowed", () => {
    const twin = [CLUSTER,
      "apiVersion: v1\nkind: Pod\nmetadata: {name: twin}\nspec: {nodeName: n2}\nstatus: {podIP: 10.0.2.1}\n",
      `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: ${FROM_CLIENT}\n`,
    ].join("---\n");
    const index = new PolicyIndex(buildCluster(readManifests([{ name: "c", text: twin }]).objects),
      { ipBlockMatchesPods: true });
    const [web, shared] = ["10.0.1.1", "10.0.2.1"].map((text) => parseAddress(text)!);
    const answer = evaluateAddresses(index, shared, web, 6, 8080);
    expect(answer)
      .toMatchObject({ allowed: false, ingress: { verdict: "undecided" }, egress: { verdict: "undecided" } });
    expect(evaluateAddresses(index, web, shared, 6, 8080))
      .toMatchObject({ allowed: false, ingress: { verdict: "undecided" } });
  });

  test("addresses of a node's devices are the node's", () => {
    const base = cluster(DENY);
    const nodes = base.nodes
      .map((node) => ({ ...node, facts: { ...node.facts, devices: node.facts.devices.map((device) =>
      (device.kind === "uplink" ? { ...device, addresses: [...device.addresses,
        { address: parseAddress(node.name === "n1" ? "10.0.1.254" : "10.0.2.254")!, length: 32 }] }
          : device)) } }));
    const index = new PolicyIndex({ ...base, nodes }, { ipBlockMatchesPods: true });
    const web = parseAddress("10.0.1.1")!;
    expect(evaluateAddresses(index, parseAddress("10.0.1.254")!, web, 6, 1).allowed).toBe(true);
    expect(evaluateAddresses(index, parseAddress("10.0.2.254")!, web, 6, 1).allowed).toBe(false);
  });
});
