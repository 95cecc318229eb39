import { describe, expect, it } from "vitest";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { parseProfile, type Profile } from "../planes.js";
import { detectCurrent, profileHints } from "./detect.js";
import { flagsOf } from "./flags.js";

const NODES = ["n1", "n2"].map((name, index) => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDR: 10.244.${index + 1}.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.50.${11 + index}}]}`);

function pod(name: string, node: number, labels: string, ports: string, more = ""): string {
  return `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: default, labels: ${labels}}
spec: {nodeName: n${node}, containers: [{name: c, ports: ${ports}}]${more}}
status: {podIP: 10.244.${node}.${20 + name.charCodeAt(0) - 97}}`;
}

const PODS = [
  pod("a", 1, "{app: web, tier: front}", "[{name: http, containerPort: 8080}]"),
  pod("b", 2, "{app: db, tier: back}", "[{name: http, containerPort: 9090}]"),
  pod("c", 2, "{app: job, tier: back}", "[]"),
];

function policy(spec: string): string {
  return `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: default}
spec: ${spec}`;
}

const SERVICE = (spec: string, port = 8080): string[] => [`
apiVersion: v1
kind: Service
metadata: {name: s, namespace: default}
spec: {clusterIP: 10.96.0.9, ports: [{port: 80, targetPort: ${port}, nodePort: 30080}], ${spec}}`, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
addressType: IPv4
metadata: {name: s-1, namespace: default, labels: {kubernetes.io/service-name: s}}
ports: [{port: ${port}, protocol: TCP}]
endpoints: [{addresses: [10.244.1.20], conditions: {ready: true}}]`];

function found(documents: readonly string[], options: Record<string, unknown> = {}): string[] {
  const { objects, problems } = readManifests([{ name: "cluster.yaml", text: [...NODES, ...PODS, ...documents].join("\n---") }]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  const { flags } = flagsOf(buildCluster(objects), { profile: "cilium@1.18", version: "1.18", options });
  for (const { where } of flags) expect(where).toMatchObject({ file: "cluster.yaml", line: expect.any(Number) });
  return flags.map(({ id, pods, examples }) => `${id} ${pods} ${examples.join(" ")}`);
}

const INGRESS = (rule: string, selector = "{matchLabels: {app: web}}"): string => policy(`{podSelector: ${selector}, ingress: [${rule}]}`);
const EGRESS = (rule: string, selector = "{matchLabels: {app: web}}"): string =>
  policy(`{podSelector: ${selector}, policyTypes: [Egress], egress: [${rule}]}`);
/** Egress that is not all flags the own node, too. */
const NODE = "POL-LOCALNODE-EGRESS 1 default/a";

describe("the validator's five checks, where something differs", () => {
  it.each<[string, string[], string[]]>([
    ["a range of ports is read", [INGRESS("{ports: [{port: 80, endPort: 90}]}")], []],
    ["a block outside the cluster", [INGRESS("{from: [{ipBlock: {cidr: 203.0.113.0/24}}]}")], []],
    ["a block over pods", [INGRESS("{from: [{ipBlock: {cidr: 10.244.2.0/24}}]}")], ["POL-IPBLOCK-POD 1 default/a"]],
    ["a block over pods that a selector admits too", [INGRESS("{from: [{ipBlock: {cidr: 10.244.2.0/24}}, {podSelector: {}}]}")], []],
    ["a block over pods of which a selector admits some",
      [INGRESS("{from: [{ipBlock: {cidr: 10.244.2.0/24}}, {podSelector: {matchLabels: {app: db}}}]}")], ["POL-IPBLOCK-POD 1 default/a"]],
    ["a block whose hole is the pods", [INGRESS("{from: [{ipBlock: {cidr: 10.244.2.0/24, except: [10.244.2.0/25]}}]}")], []],
    ["a block over a node", [INGRESS("{from: [{ipBlock: {cidr: 192.168.50.11/32}}]}")], ["POL-IPBLOCK-NODE 1 default/a"]],
    ["a block over a pod range without pods", [INGRESS("{from: [{ipBlock: {cidr: 10.244.3.0/24}}]}"), `
apiVersion: v1
kind: Node
metadata: {name: n3}
spec: {podCIDR: 10.244.3.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.50.13}]}`], ["POL-IPBLOCK-POD 1 default/a"]],
    ["a policy that selects no pod", [INGRESS("{from: [{ipBlock: {cidr: 10.244.2.0/24}}]}", "{matchLabels: {app: none}}")], []],
    ["a policy that selects by matchExpressions", [INGRESS("{from: [{ipBlock: {cidr: 10.244.1.0/24}}]}",
      "{matchExpressions: [{key: tier, operator: In, values: [back]}]}")], ["POL-IPBLOCK-POD 2 default/b default/c"]],
    ["an ingress name of several numbers is each pod's own", [INGRESS("{ports: [{port: http}]}", "{}")], []],
    ["an ingress name without a number", [INGRESS("{ports: [{port: metrics}]}")], ["POL-NAMEDPORT 1 default/a"]],
    ["an egress name of one number", [EGRESS("{to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}")], [NODE]],
    ["an egress name of several numbers", [EGRESS("{to: [{podSelector: {}}], ports: [{port: http}]}")],
      ["POL-NAMEDPORT 1 default/a", NODE]],
    ["an egress name of another protocol", [EGRESS("{to: [{podSelector: {}}], ports: [{port: http, protocol: UDP}]}")],
      ["POL-NAMEDPORT 1 default/a", NODE]],
    ["egress to everything", [EGRESS("{}")], []],
    ["egress to nothing", [EGRESS("")], [NODE]],
    ["egress to nothing, and another policy that allows everything", [EGRESS(""), EGRESS("{}", "{}").replace("name: p", "name: q")], []],
    ["egress with DNS on the node", [EGRESS(""), pod("d", 1, "{k8s-app: node-local-dns}", "[]", ", hostNetwork: true")],
      [NODE, "POL-LOCALDNS 1 default/a"]],
    ["a node port whose backend is isolated", [INGRESS("{from: [{podSelector: {}}]}"), ...SERVICE("type: NodePort")],
      ["POL-LB-INGRESS 1 default/a"]],
    ["a node port whose backend admits anyone there", [INGRESS("{ports: [{port: http}]}"), ...SERVICE("type: NodePort")], []],
    ["a node port whose backend admits anyone elsewhere", [INGRESS("{ports: [{port: 9}]}"), ...SERVICE("type: NodePort")],
      ["POL-LB-INGRESS 1 default/a"]],
    ["a node port of policy Local", [INGRESS("{from: [{podSelector: {}}]}"), 
      ...SERVICE("type: NodePort, externalTrafficPolicy: Local")], []],
    ["a cluster address alone", [INGRESS("{from: [{podSelector: {}}]}"), ...SERVICE("type: ClusterIP")], []],
  ])("%s", (_, documents, expected) => {
    expect(found(documents)).toEqual(expected);
  });

  it("blocks match nodes where Cilium is told so", () => {
    expect(found([INGRESS("{from: [{ipBlock: {cidr: 192.168.50.0/24}}]}")], { "policy-cidr-match-mode": "nodes" })).toEqual([]);
  });
});

describe("what the cluster has now", () => {
  const daemonSet = (name: string, image = "x"): string => `
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: ${name}, namespace: kube-system}
spec: {template: {spec: {containers: [{name: c, image: ${image}}]}}}`;
  it.each<[string, string[], string]>([
    ["nothing shows it", [], "kube-proxy"],
    ["Azure NPM", [daemonSet("azure-npm")], "kube-proxy+npm"],
    ["Azure NPM's pods", [pod("z", 1, "{k8s-app: azure-npm}", "[]")], "kube-proxy+npm"],
    ["Calico", [daemonSet("calico-node")], "kube-proxy+calico"],
    ["Cilium of a version", [daemonSet("cilium", "mcr.microsoft.com/containernetworking/cilium/cilium:v1.17.9-260112")], "cilium@1.17"],
    ["Cilium without a version", [daemonSet("cilium")], "cilium@1.20"],
  ])("%s", (_, documents, profile) => {
    const { objects } = readManifests([{ name: "cluster.yaml", text: [...NODES, ...PODS, ...documents].join("\n---") }]);
    expect(detectCurrent(buildCluster(objects), ["1.16", "1.17", "1.18", "1.19", "1.20"]).profile).toBe(profile);
  });

  const aks = NODES.map((node) => node.replace("metadata: {", "metadata: {labels: {kubernetes.azure.com/cluster: MC}, ")
    .replace("status: {", "status: {nodeInfo: {kubeletVersion: v1.33.2}, "));
  const isolating = policy("{podSelector: {}, policyTypes: [Ingress]}");
  it.each<[string, string[], string, string, RegExp[]]>([
    ["an engine that is not compared", [daemonSet("azure-npm"), isolating], "kube-proxy", "aks@1.33",
      [/--current kube-proxy\+npm compares/]],
    ["an engine without policies", [daemonSet("azure-npm")], "kube-proxy+npm", "aks@1.33", [/no policy is among the objects/]],
    ["nodes of AKS", [isolating], "kube-proxy", "cilium@1.20", [/Kubernetes 1\.33: .* --target aks@1\.33/]],
    ["an engine, its policies, AKS", [daemonSet("azure-npm"), isolating], "kube-proxy+npm", "aks@1.33", []],
  ])("what is compared is not what there is: %s", (_, documents, current, target, expected) => {
    const { objects } = readManifests([{ name: "cluster.yaml", text: [...aks, ...PODS, ...documents].join("\n---") }]);
    const hints = profileHints(buildCluster(objects), parseProfile(current) as Profile, parseProfile(target) as Profile, ["1.20"]);
    expect(hints.map(({ what }) => what)).toEqual(expected.map((one) => expect.stringMatching(one)));
  });
});
