/**
 * Clusters whose pods have addresses of the nodes' network (Azure CNI's node subnet): nobody masquerades a pod on its way to
 * another node, which then takes it for a pod. Every pair that fares otherwise has a name.
 */
import { describe, expect, it } from "vitest";
import { compareAll } from "../src/check/exhaustive.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildCluster } from "../src/cluster/timeline.js";
import { inputOf, profile } from "./check-clusters.js";

type Plain = Readonly<Record<string, unknown>>;

const object = (kind: string, name: string, rest: Plain, namespace = "default"): Plain => ({
  apiVersion: kind === "EndpointSlice" ? "discovery.k8s.io/v1" : kind === "NetworkPolicy" ? "networking.k8s.io/v1" : "v1",
  kind, metadata: { name, ...(kind === "Node" ? {} : { namespace }), ...(rest["metadata"] as Plain | undefined) },
  ...Object.fromEntries(Object.entries(rest).filter(([field]) => field !== "metadata")) });

/** @param kept what ip-masq-agent leaves alone @param ranges of the load balancer */
function cluster(pods: readonly string[], podCIDR: ((node: number) => string) | null, kept: string, ranges: readonly string[], more: readonly Plain[] = []) {
  const nodes = [4, 35, 66].map((last, index) => object("Node", `node${index + 1}`, {
    spec: podCIDR === null ? {} : { podCIDR: podCIDR(index), podCIDRs: [podCIDR(index)] },
    status: { addresses: [{ type: "InternalIP", address: `10.224.0.${last}` }] } }));
  const made = pods.map((ip, index) => object("Pod", `pod${index}`, { metadata: { labels: { app: index < 2 ? "web" : "client" } },
    spec: { nodeName: `node${index + 1}`, containers: [] }, status: { phase: "Running", podIP: ip, podIPs: [{ ip }] } }));
  const slice = (service: string, backends: readonly number[]): Plain => object("EndpointSlice", `${service}-1`, {
    metadata: { labels: { "kubernetes.io/service-name": service } }, addressType: "IPv4", ports: [{ port: 8080, protocol: "TCP" }],
    endpoints: backends.map((at) => ({ addresses: [pods[at]], nodeName: `node${at + 1}`, conditions: { ready: true } })) });
  const service = (name: string, last: number, spec: Plain, status: Plain = {}): Plain => object("Service", name, {
    spec: { clusterIP: `10.0.0.${last}`, selector: { app: "web" }, ...spec }, status });
  const { objects } = readManifests([{ name: "cluster", text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [
    ...nodes, ...made, slice("local", [0]), slice("both", [0, 1]), slice("limited", [0]),
    service("local", 20, { type: "NodePort", externalTrafficPolicy: "Local", ports: [{ port: 80, targetPort: 8080, nodePort: 31576 }] }),
    service("both", 21, { type: "NodePort", externalTrafficPolicy: "Local", ports: [{ port: 80, targetPort: 8080, nodePort: 31577 }] }),
    service("limited", 22, { type: "LoadBalancer", externalTrafficPolicy: "Cluster", loadBalancerSourceRanges: ranges,
      ports: [{ port: 80, targetPort: 8080, nodePort: 31578 }] }, { loadBalancer: { ingress: [{ ip: "20.103.7.8" }] } }),
    object("NetworkPolicy", "web", { spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"],
      ingress: [{ from: [{ ipBlock: { cidr: "10.224.0.0/16" } }, { podSelector: {} }] }] } }),
    object("ConfigMap", "azure-ip-masq-agent-config-reconciled", {
      data: { "ip-masq-agent-reconciled": `nonMasqueradeCIDRs:\n- ${kept}\nmasqLinkLocal: true\n` } }, "kube-system"),
    { apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration", clusterCIDR: podCIDR === null ? "10.224.0.0/16"
      : "10.244.0.0/16", detectLocalMode: "ClusterCIDR" },
    ...more.length === 0 ? [] : [...more, slice("outer", [0]), service("outer", 23, { externalIPs: ["198.51.100.9"],
      externalTrafficPolicy: "Local", ports: [{ port: 80, targetPort: 8080 }] })],
  ] }) }]);
  return buildCluster(objects);
}

const nodeSubnet = (ranges: readonly string[]) => cluster(["10.224.0.5", "10.224.0.36", "10.224.0.67"], null, "10.224.0.0/12", ranges);
const overlay = (ranges: readonly string[]) => cluster(["10.244.0.5", "10.244.1.5", "10.244.2.5"], (node) => `10.244.${node}.0/24`,
  "10.244.0.0/16", ranges);

/** With a service at an external IP whose traffic policies differ, and clients that may send to pods alone. */
const outer = cluster(["10.244.0.5", "10.244.1.5", "10.244.2.5"], (node) => `10.244.${node}.0/24`, "10.244.0.0/16", [], [
  object("NetworkPolicy", "client", { spec: { podSelector: { matchLabels: { app: "client" } }, policyTypes: ["Egress"],
    egress: [{ to: [{ podSelector: {} }] }] } })]);

/** Names by change, of pods alone. */
function namesOf(from: ReturnType<typeof cluster>, current: string, target: string): Set<string> {
  const { groups } = compareAll(inputOf({ cluster: from, current: profile(current), target: profile(target) }));
  return new Set(groups.map(({ id, change }) => `${change}: ${id}`));
}

const CASES: readonly [string, ReturnType<typeof cluster>, string, string, readonly string[]][] = [
  ["a Local node port on a node without endpoint", nodeSubnet([]), "kube-proxy", "cilium@1.18", ["newly denied: SVC-ETPLOCAL-NOLOCAL"]],
  ["the same with Calico", nodeSubnet([]), "kube-proxy+calico", "aks@1.34", ["newly denied: SVC-ETPLOCAL-NOLOCAL", "other source: NAT-MASQ-SET"]],
  ["balanced at the pod", nodeSubnet([]), "kube-proxy", "cilium@1.20", ["other: PROTO-HOPS", "other source: NAT-MASQ-SET"]],
  ["with Azure NPM", nodeSubnet([]), "kube-proxy+npm", "aks@1.34", ["newly denied: SVC-ETPLOCAL-NOLOCAL"]],
  ["a range that the pod's own node brings it into", overlay(["10.224.0.0/16"]), "kube-proxy+npm", "aks@1.34",
    ["newly denied: POL-IPBLOCK-NODE"]],
  ["a range that the pod's own node takes it out of", overlay(["10.244.0.0/16"]), "kube-proxy", "aks@1.34",
    ["newly denied: SVC-LBSRCRANGES"]],
  ["an external IP that Cilium has no frontend for", outer, "kube-proxy+calico", "cilium@1.18", ["newly denied: SVC-EXTIP-SCOPES"]],
];

describe("every pair has a name", () => {
  it.each(CASES)("%s", (_name, from, current, target, expected) => {
    const names = namesOf(from, current, target);
    expect([...names].filter((one) => one.includes("UNEXPLAINED"))).toEqual([]);
    for (const one of expected) expect([...names]).toContain(one);
  });
});
