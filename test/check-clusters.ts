/**
 * Random clusters with services and NetworkPolicies of every form, each with a profile for either side, as the exhaustive
 * comparison of `check` takes them.
 */
import type { Cluster } from "../src/cluster/cluster.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildCluster } from "../src/cluster/timeline.js";
import type { ExhaustiveInput } from "../src/check/exhaustive.js";
import { inseparableIn } from "../src/check/inseparable.js";
import { readWasm } from "../src/cli/wasm.js";
import { assumedNetwork, buildPlane, parseProfile, policyDenial, type Profile, settingOf } from "../src/planes.js";
import { baseCluster, labels, NAMESPACE_LABELS, NAMESPACES, type Plain, POD_LABELS, PORT_NAMES, PORTS } from "./policy-ring/clusters.js";
import { policies } from "./policy-ring/policies.js";
import { Random } from "./policy-ring/random.js";

export interface Drawn {
  readonly cluster: Cluster;
  readonly current: Profile;
  readonly target: Profile;
}

const wasm = readWasm();
const CIDRS = ["10.244.0.0/16", "10.244.1.0/24", "192.168.50.0/24", "192.168.50.11/32", "0.0.0.0/0", "203.0.113.0/24", "10.244.2.16/28"];
const CURRENT = ["kube-proxy+npm", "kube-proxy+calico", "kube-proxy+spec", "kube-proxy"];
const WIDE_TARGET = ["cilium@1.16", "cilium@1.17", "cilium@1.18", "cilium@1.19", "cilium@1.20", "aks@1.31", "aks@1.34",
  "aks@1.34+host-routing"];
const TARGET = ["cilium@1.16", "cilium@1.18", "cilium@1.20", "aks@1.34"];

function selector(random: Random, from: Readonly<Record<string, readonly string[]>>): Plain {
  if (random.chance(25)) return {};
  const [first, second] = Object.keys(from);
  if (random.chance(60)) return { matchLabels: labels(random, { [first]: from[first], [second]: from[second] }, 60) };
  const key = random.pick(Object.keys(from));
  const operator = random.pick(["In", "NotIn", "Exists", "DoesNotExist"]);
  return { matchExpressions: [{ key, operator, ...(operator.endsWith("In") ? { values: [random.pick(from[key])] } : {}) }] };
}

function peer(random: Random): Plain {
  if (random.chance(35)) return { ipBlock: { cidr: random.pick(CIDRS) } };
  const pods = selector(random, POD_LABELS);
  if (random.chance(50)) return { podSelector: pods };
  return { namespaceSelector: selector(random, NAMESPACE_LABELS), ...(random.chance(50) ? { podSelector: pods } : {}) };
}

function port(random: Random): Plain {
  if (random.chance(25)) return { port: random.pick(PORT_NAMES), protocol: random.pick(["TCP", "UDP"]) };
  const first = random.pick(PORTS);
  return { port: first, protocol: random.pick(["TCP", "UDP"]), ...(random.chance(25) ? { endPort: first + random.below(30) } : {}) };
}

function rules(random: Random, peers: "from" | "to"): Plain[] {
  return Array.from({ length: random.below(3) }, () => ({
    ...(random.chance(80) ? { [peers]: Array.from({ length: 1 + random.below(2) }, () => peer(random)) } : {}),
    ...(random.chance(60) ? { ports: Array.from({ length: 1 + random.below(2) }, () => port(random)) } : {}),
  }));
}

function networkPolicy(random: Random, index: number): Plain {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `np${index}`, namespace: random.pick(NAMESPACES) },
    spec: { podSelector: selector(random, POD_LABELS), policyTypes: random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"],
      ["Ingress", "Egress"]]),
      ingress: rules(random, "from"), egress: rules(random, "to") } };
}

/** Services with some of the pods behind them, of whatever namespace, at ports that policies name; some with a port of nodes. */
function services(random: Random, items: readonly Plain[]): Plain[] {
  const pods = items.filter(({ kind, spec }) => kind === "Pod" && (spec as Plain).hostNetwork !== true);
  return ["one", "two", "three"].flatMap((name, index) => {
    const namespace = random.pick(NAMESPACES);
    const target = random.pick([80, 8080, 9090]);
    const open = random.chance(40) ? { type: "NodePort", ports: [{ port: 80, targetPort: target, nodePort: 30080 + index }] }
      : { ports: [{ port: random.pick([80, target]), targetPort: target }] };
    const endpoints = pods.filter(() => random.chance(40)).map(({ metadata, spec, status }) => ({
      addresses: [(status as { podIPs: { ip: string }[] }).podIPs[0].ip], nodeName: (spec as Plain).nodeName, conditions: { ready: true },
      targetRef: { kind: "Pod", ...(metadata as Plain) } }));
    return [
      { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec: { clusterIP: `10.96.1.${10 + index}`, ...open } },
      { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
        metadata: { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } },
        ports: [{ port: target, protocol: "TCP" }], endpoints },
    ];
  });
}

/** Services of every kind, with either traffic policy, some without endpoints, some for a few ranges of clients. */
function anyServices(random: Random, items: readonly Plain[]): Plain[] {
  const pods = items.filter(({ kind, spec }) => kind === "Pod" && (spec as Plain).hostNetwork !== true);
  return ["four", "five", "six"].flatMap((name, index) => {
    const namespace = random.pick(NAMESPACES);
    const target = random.pick([80, 8080, 9090]);
    const type = random.pick(["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"]);
    const policy = (): string => random.pick(["Local", "Cluster"]);
    const nodePort = type === "ClusterIP" ? {} : { nodePort: 30090 + index };
    const spec = { clusterIP: `10.96.2.${10 + index}`, type, ports: [{ port: 80, targetPort: target, ...nodePort }],
      internalTrafficPolicy: policy(), ...(type === "ClusterIP" ? {} : { externalTrafficPolicy: policy() }),
      ...(random.chance(25) ? { externalIPs: [`198.51.100.${10 + index}`] } : {}),
      ...(type === "LoadBalancer" && random.chance(30) ? { loadBalancerSourceRanges: [random.pick(CIDRS)] } : {}) };
    const status = type === "LoadBalancer" ? { status: { loadBalancer: { ingress: [{ ip: `198.51.100.${20 + index}` }] } } } : {};
    const endpoints = random.chance(15) ? [] : pods.filter(() => random.chance(25)).map(({ metadata, spec: own, status: known }) => ({
      addresses: [(known as { podIPs: { ip: string }[] }).podIPs[0].ip], nodeName: (own as Plain).nodeName, conditions: { ready: true },
      targetRef: { kind: "Pod", ...(metadata as Plain) } }));
    return [
      { apiVersion: "v1", kind: "Service", metadata: { name, namespace }, spec, ...status },
      { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
        metadata: { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } },
        ports: [{ port: target, protocol: "TCP" }], endpoints },
    ];
  });
}

/** @param wide with services of every kind */
export function draw(number: number, wide = false): Drawn {
  const random = new Random(number);
  const base = baseCluster(random);
  const drawn = Array.from({ length: 2 + random.below(5) }, (_, index) => networkPolicy(random, index));
  const others = random.chance(25) ? policies(random, { version: 16, v6: false, tiers: false, nodes: false, hosts: false }) : [];
  const { objects } = readManifests([{ name: "cluster", text: JSON.stringify({ apiVersion: "v1", kind: "List",
    items: [...base.items, ...services(random, base.items), ...drawn, ...others, ...(wide ? anyServices(random, base.items) : [])] }) }]);
  return { cluster: buildCluster(objects), current: profile(random.pick(CURRENT)), target: profile(random.pick(wide ? WIDE_TARGET : TARGET)) };
}

export function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

export function inputOf({ cluster, current, target }: Drawn): ExhaustiveInput {
  const network = assumedNetwork(cluster, {}, []);
  return { cluster, prefixes: [...network.clusterCidrs, ...network.nonMasqueradeCidrs], special: new Set(), most: 1_000_000, reduceAbove: 0,
    currentHasPolicy: current.policyEngine, settings: [settingOf(current, cluster, network), settingOf(target, cluster, network)],
    inseparable: inseparableIn(cluster, [current, target], network), planesOf: (some) => {
      const inputs = { cluster: some, epochNs: 0n, wasm, network, seed: 1, traced: false, udpCleanup: true };
      return { planes: [buildPlane("current", current, inputs), buildPlane("target", target, inputs)], denies: policyDenial(some, target) };
    } };
}
