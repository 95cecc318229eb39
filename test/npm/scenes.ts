/**
 * Situations in which Azure NPM decides something that its rules alone do not show: two nodes, three pods, a stranger,
 * policies, and who then reaches whom with which address. The real kernel is held against the same table (lab.test.ts).
 */
import type { Cluster } from "../../src/cluster/cluster.js";
import { readManifests } from "../../src/cluster/manifests.js";
import { buildCluster } from "../../src/cluster/timeline.js";
import { End as Ends } from "../../src/dataplane.js";
import { KUBE_PROXY_DEFAULTS } from "../../src/iptables/kubeproxy/config.js";
import { prefix } from "../../src/iptables/manifests.fixture.js";
import { npmProgram } from "../../src/iptables/npm/generate.js";
import { createIptablesPlane } from "../../src/iptables/plane.js";
import type { IptablesConfig } from "../../src/iptables/planeNode.js";
import { Sender } from "./probes.js";
import type { End } from "./route.js";

export const NODES = { n1: "192.168.50.11", n2: "192.168.50.12" } as const;
export const OUTSIDE = "192.168.50.99";
export const PODS = { client: ["n1", "10.244.1.20"], web1: ["n1", "10.244.1.10"], web2: ["n2", "10.244.2.10"] } as const;
type Host = keyof typeof PODS | keyof typeof NODES | "outside";

export interface Scene {
  readonly name: string;
  readonly policies: readonly string[];
  readonly first?: boolean;
  /** Another program's rules in FORWARD, behind all others. */
  readonly extra?: readonly string[];
  readonly keep?: boolean;
  /** `who -> where port`: the address seen there, or none. */
  readonly expect: Readonly<Record<string, string>>;
}

const DENY_WEB1 = "{podSelector: {matchLabels: {app: web1}}, policyTypes: [Ingress]}";
const DENY_WEB2 = "{podSelector: {matchLabels: {app: web2}}, policyTypes: [Ingress]}";
const ELSEWHERE = "{podSelector: {matchLabels: {app: nobody}}, policyTypes: [Ingress]}";
const from = (app: string, peers: string): string => `{podSelector: {matchLabels: {app: ${app}}}, ingress: [{from: [${peers}]}]}`;
const block = (address: string): string => `{ipBlock: {cidr: ${address}/32}}`;
/** Node ports 30081 and 30082 lead to web1 on n1 and web2 on n2. */
const LOCAL = "outside -> n1 30081";
const REMOTE = "outside -> n1 30082";

export const SCENES: readonly Scene[] = [
  { name: "no policy", policies: [], extra: [`-A FORWARD -d ${PODS.web1[1]} -p tcp --dport 80 -j DROP`],
    expect: { "client -> web1 8080": PODS.client[1], "client -> web2 8080": PODS.client[1], "client -> web1 80": "none",
      [LOCAL]: NODES.n1, [REMOTE]: NODES.n1 } },
  { name: "a policy for nobody: the last ACCEPT skips rules of FORWARD behind NPM's", policies: [ELSEWHERE],
    extra: [`-A FORWARD -d ${PODS.web1[1]} -p tcp --dport 80 -j DROP`],
    expect: { "client -> web1 8080": PODS.client[1], "client -> web1 80": PODS.client[1] } },
  { name: "pod to pod on one node and across", policies: [DENY_WEB1, from("web2", "{podSelector: {matchLabels: {app: client}}}")],
    expect: { "client -> web1 8080": "none", "client -> web2 8080": PODS.client[1], "web1 -> web2 8080": "none",
      "client -> 10.96.0.11 80": "none", "n1 -> web1 8080": NODES.n1, "n2 -> web1 8080": "none", "outside -> web1 8080": "none" } },
  { name: "node port, backend on the receiving node: KUBE-FORWARD accepts the mark first", policies: [DENY_WEB1],
    expect: { [LOCAL]: NODES.n1, "outside -> web1 8080": "none" } },
  { name: "node port, backend on another node: no mark on the wire, NPM drops", policies: [DENY_WEB2],
    expect: { [REMOTE]: "none", "outside -> n2 30082": NODES.n2 } },
  { name: "node port, backend on another node: the stranger's address is not seen", policies: [from("web2", block(OUTSIDE))],
    expect: { [REMOTE]: "none", "outside -> web2 8080": OUTSIDE } },
  { name: "node port, backend on another node: the receiving node's is", policies: [from("web2", block(NODES.n1))],
    expect: { [REMOTE]: NODES.n1, "outside -> web2 8080": "none" } },
  { name: "chain first: the mark decides nothing", policies: [DENY_WEB1, DENY_WEB2], first: true,
    expect: { [LOCAL]: "none", [REMOTE]: "none", "outside -> n2 30082": "none" } },
  { name: "chain first: the receiving node sees the stranger, the other the node", policies: [from("web1", block(OUTSIDE)),
    from("web2", block(OUTSIDE))], first: true, expect: { [LOCAL]: NODES.n1, [REMOTE]: "none", "outside -> n2 30082": NODES.n2 } },
  { name: "egress: own node and masqueraded services pass, other nodes do not",
    policies: ["{podSelector: {matchLabels: {app: client}}, policyTypes: [Egress]}"],
    expect: { "client -> n1 8080": PODS.client[1], "client -> n2 8080": "none", "client -> web1 8080": "none",
      "client -> 10.96.0.11 80": "none", "client -> n1 30081": NODES.n1, "client -> n1 30082": NODES.n1, "client -> n2 30082": "none" } },
  { name: "readings: a negative namespace selector matches strangers, NotIn of two values everyone",
    policies: [from("web1", "{namespaceSelector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}"),
      from("web2", "{namespaceSelector: {matchExpressions: "
        + "[{key: kubernetes.io/metadata.name, operator: NotIn, values: [default, other]}]}}")],
    expect: { "outside -> web1 8080": OUTSIDE, "client -> web1 8080": PODS.client[1], "client -> web2 8080": PODS.client[1] } },
  { name: "nothing again", policies: [], expect: { "client -> web1 8080": PODS.client[1] } },
  { name: "a new policy cuts no established connection", policies: [DENY_WEB1], keep: true,
    expect: { "held before": PODS.client[1], "held after": PODS.client[1], "client -> web1 8080": "none" } },
];

/** What the plane says of each of the scene's probes that it can judge: `[probe, outcome]`. */
export function planeSays(scene: Scene): [string, string][] {
  const { cluster, config } = inputs(scene);
  const plane = createIptablesPlane({ name: "current", profile: "kube-proxy+npm", cluster, epochNs: 0n, seed: 1, config });
  const sender = new Sender(plane, cluster);
  // The rules of another program are not the plane's; what is held open is the kernel's to show.
  const judged = Object.keys(scene.expect)
    .filter((probe) => !probe.startsWith("held") && !(scene.extra !== undefined && probe.endsWith(" 80")));
  return judged.map((probe) => {
    const [who, , where, port] = probe.split(" ");
    const { end, reason, source } = sender.send({
      source: endOf(who as Host), backend: endOf("web1"), port: 0, protocol: "TCP", at: atOf(where),
      entry: { kind: "direct", local: false, address: addressOf(where), port: Number(port), node: null },
    });
    if (end === Ends.Delivered) return [probe, source];
    return [probe, end === Ends.Dropped && reason.startsWith("filter/AZURE-NPM") ? "none" : `${end} ${reason}`];
  });
}

export function inputs({ policies, first }: Scene): { cluster: Cluster; config: IptablesConfig } {
  const documents = [
    ...["default", "other"].map((name) => "apiVersion: v1\nkind: Namespace\n"
      + `metadata: {name: ${name}, labels: {kubernetes.io/metadata.name: ${name}}}`),
    ...Object.entries(NODES).map(([name, address], number) => `apiVersion: v1\nkind: Node\nmetadata: {name: ${name}}\n`
      + `spec: {podCIDRs: [10.244.${number + 1}.0/24]}\nstatus: {addresses: [{type: InternalIP, address: ${address}}]}`),
    ...Object.entries(PODS).map(([name, [node, ip]]) => "apiVersion: v1\nkind: Pod\n"
      + `metadata: {namespace: default, name: ${name}, labels: {app: ${name}}}\nspec: {nodeName: ${node}}\nstatus: {podIP: ${ip}}`),
    ...[1, 2].flatMap((number) => [`apiVersion: v1\nkind: Service\nmetadata: {namespace: default, name: s${number}}\n`
      + `spec: {type: NodePort, clusterIP: 10.96.0.1${number}, ports: [{port: 80, targetPort: 8080, nodePort: 3008${number}}]}`,
    "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\n"
      + `metadata: {namespace: default, name: s${number}-1, labels: {kubernetes.io/service-name: s${number}}}\nports: [{port: 8080}]\n`
      + `endpoints: [{addresses: [10.244.${number}.10], nodeName: n${number}}]`]),
    ...policies.map((spec, number) => "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
      + `metadata: {namespace: default, name: p${number}}\nspec: ${spec}`),
  ];
  const { objects, problems } = readManifests([{ name: "lab.yaml", text: documents.join("\n---\n") }]);
  if (problems.some((problem) => problem.severity === "error")) throw new Error(problems[0].what);
  const clusterCIDR = [prefix("10.244.0.0/16")];
  return { cluster: buildCluster(objects), config: { kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR }, masquerade: { agent: "none" },
    programs: [npmProgram({ PlaceAzureChainFirst: first === true })] } };
}

export function addressOf(host: string): string {
  if (host in NODES) return NODES[host as keyof typeof NODES];
  if (host in PODS) return PODS[host as keyof typeof PODS][1];
  return host === "outside" ? OUTSIDE : host;
}

function endOf(host: Host): End {
  if (host === "outside") return { kind: "outside", address: OUTSIDE, node: null };
  if (host in NODES) return { kind: "node", address: addressOf(host), node: host };
  return { kind: "pod", address: addressOf(host), node: PODS[host as keyof typeof PODS][0] };
}

/** The node at which a stranger's packet for this host arrives. */
function atOf(host: string): string {
  return host in PODS ? PODS[host as keyof typeof PODS][0] : host;
}
