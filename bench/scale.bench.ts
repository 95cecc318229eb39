/**
 * What policy takes for large clusters: identities, entries of endpoints' policy maps and their bytes as the nodes
 * would hold them, the time to compile, and how much is written again when one thing changes.
 *
 * Applications have labels of their own; a policy selects one application and admits two others at one port. Beside
 * those, one policy admits every pod of the namespace to one application: with many identities its endpoints need
 * more entries than a map holds.
 */
import { parseAddress } from "../src/cluster/address.js";
import type { Cluster, NetworkPolicy, Pod } from "../src/cluster/cluster.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { freshNumbers } from "../src/ebpf/compile/numbers.js";
import type { Numbers } from "../src/ebpf/compile/numbers.js";
import { type CompiledPolicies, compilePolicies } from "../src/ebpf/compile/policies.js";
import type { PolicyMap } from "../src/ebpf/compile/policy/endpoints.js";
import { type CiliumOptions, ciliumOptions } from "../src/ebpf/options.js";
import { cpuMs, type Figure, type Question, single } from "./bench.js";

const POLICIES = 10_000;
const NODES = 5_000;
const SHAPES = [
  { pods: 20_000, applications: 250 }, { pods: 20_000, applications: 10_000 },
  { pods: 100_000, applications: 250 }, { pods: 100_000, applications: 50_000 },
  { pods: 200_000, applications: 250 }, { pods: 200_000, applications: 50_000 },
];
/** The pod that changes: of an application that policies select and admit. */
const CHANGED = 2;
/** policy_key and policy_entry, ipcache_key and remote_endpoint_info: bytes of key and value. */
const POLICY_BYTES = 12 + 12;
const IPCACHE_BYTES = 24 + 24;

export const question: Question = {
  question: `What do ${POLICIES.toLocaleString("en")} policies take for 20K, 100K and 200K pods, with few and many identities?`,
  run: async () => SHAPES.flatMap(({ pods, applications }) => measure(pods, applications)),
};

function measure(pods: number, applications: number): Figure[] {
  const what = `${pods / 1000}K pods, ${applications.toLocaleString("en")} label sets`;
  const cluster = clusterOf(pods, applications);
  const { options } = ciliumOptions("cilium@1.20", cluster);
  const numbers = freshNumbers();
  const started = cpuMs();
  const compiled = compile(cluster, options, numbers);
  const ms = cpuMs() - started;
  const { maps, ofPod } = compiled.endpoints;
  let entries = 0;
  let most = 0;
  let overflowing = 0;
  for (const at of ofPod) {
    entries += maps[at].size;
    most = Math.max(most, maps[at].size);
    if (maps[at].overflow) overflowing++;
  }
  const distinct = maps.reduce((sum, map) => sum + map.size, 0);
  const figures = [
    single(`${what}: compiling policy, identities, ipcache`, ms, "ms", "CPU, one run"),
    single(`${what}: identities`, compiled.identities.all.filter(({ kind }) => kind === "pod").length, "identities"),
    single(`${what}: entries of all endpoints' maps`, entries, "entries",
      `the largest map ${most.toLocaleString("en")}; ${overflowing.toLocaleString("en")} endpoints above ${options["bpf-policy-map-max"].toLocaleString("en")}`),
    single(`${what}: bytes of those entries`, (entries * POLICY_BYTES) / 1e6, "MB", "keys and values, over all nodes"),
    single(`${what}: entries held here`, distinct, "entries", `${maps.length.toLocaleString("en")} distinct maps`),
    single(`${what}: ipcache of a node`, (compiled.ipcache.length * IPCACHE_BYTES) / 1e6, "MB", `${compiled.ipcache.length.toLocaleString("en")} entries`),
  ];
  for (const [change, changed] of changes(cluster)) {
    const from = cpuMs();
    const after = compile(changed, options, numbers);
    const took = cpuMs() - from;
    const { written, endpoints } = rewritten(cluster, compiled, changed, after);
    figures.push(single(`${what}: entries rewritten, ${change}`, written, "entries",
      `in the maps of ${endpoints.toLocaleString("en")} endpoints; compiled anew in ${Math.round(took).toLocaleString("en")} ms`));
  }
  return figures;
}

function compile(cluster: Cluster, options: CiliumOptions, numbers: Numbers): CompiledPolicies {
  return compilePolicies(cluster, options, [], numbers);
}

/** One thing changed each: a pod of a known kind more, a pod with another label, a policy that admits somebody else. */
function changes(cluster: Cluster): [string, Cluster][] {
  const { pods, networkPolicies } = cluster;
  const newcomer: Pod = { ...pods[CHANGED], name: "newcomer", ips: [addressOf(pods.length)] };
  const relabelled: Pod = { ...pods[CHANGED], labels: { ...pods[CHANGED].labels, version: "2" } };
  // The last round of policies admits somebody whom no other admits.
  const policy = networkPolicies[networkPolicies.length - 1];
  const edited: NetworkPolicy = { ...policy, ingress: policy.ingress.map((rule) => ({
    ...rule, peers: rule.peers!.slice(0, 1) })) };
  return [
    ["a pod is added", { ...cluster, pods: [...pods, newcomer] }],
    ["a pod gets a label", { ...cluster, pods: pods.map((pod, index) => index === CHANGED ? relabelled : pod) }],
    ["a policy admits one application less", { ...cluster, networkPolicies: networkPolicies.map((one) => one === policy ? edited : one) }],
  ];
}

/** Entries that are new, gone or other, over the maps of all endpoints: what agents write. */
function rewritten(before: Cluster, from: CompiledPolicies, after: Cluster, to: CompiledPolicies): { written: number; endpoints: number } {
  const known = new Map(before.pods.map((pod, index) => [pod.name, from.endpoints.ofPod[index]]));
  const seen = new Map<string, number>();
  let written = 0;
  let endpoints = 0;
  after.pods.forEach((pod, index) => {
    const old = known.get(pod.name) ?? -1;
    const now = to.endpoints.ofPod[index];
    const pair = `${old} ${now}`;
    let count = seen.get(pair);
    if (count === undefined) {
      count = difference(old < 0 ? null : from.endpoints.maps[old], to.endpoints.maps[now]);
      seen.set(pair, count);
    }
    written += count;
    if (count > 0) endpoints++;
  });
  return { written, endpoints };
}

function difference(before: PolicyMap | null, after: PolicyMap): number {
  const entries = new Map<string, number>();
  if (before !== null) for (let row = 0; row < before.identity.length; row++) entries.set(`${before.identity[row]} ${before.traffic[row]}`, before.precedence[row]);
  let count = 0;
  for (let row = 0; row < after.identity.length; row++) {
    const key = `${after.identity[row]} ${after.traffic[row]}`;
    if (entries.get(key) !== after.precedence[row]) count++;
    entries.delete(key);
  }
  return count + entries.size;
}

/** Pods are made from one that was read, since reading is not what is measured. */
function clusterOf(pods: number, applications: number): Cluster {
  const { initial } = buildTimeline({ initial: readManifests([{ name: "scale.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [
    { apiVersion: "v1", kind: "Node", metadata: { name: "node-0" }, status: { addresses: [{ type: "InternalIP", address: "192.168.0.1" }] } },
    { apiVersion: "v1", kind: "Pod", metadata: { name: "pod-0", namespace: "default" },
      spec: { nodeName: "node-0", containers: [{ name: "c", ports: [{ containerPort: 8080, name: "web" }] }] },
      status: { phase: "Running", podIPs: [{ ip: "10.0.0.1" }] } },
    policy(0, ["app-1", "app-7"]), policy(1, null),
  ] }) }]).objects });
  const [pod] = initial.pods;
  const [some, all] = initial.networkPolicies;
  const selecting = (template: NetworkPolicy, index: number): NetworkPolicy => ({ ...template, name: `policy-${index}`,
    podSelector: { matchLabels: { app: `app-${index % applications}` }, matchExpressions: [] },
    ingress: template.ingress.map((rule) => ({ ...rule, peers: rule.peers!.map((peer, at) => template === all ? peer
      : { ...peer, podSelector: { matchLabels: { app: `app-${(index + 1 + 6 * at + Math.floor(index / applications)) % applications}` }, matchExpressions: [] } }) })) });
  return { ...initial,
    pods: Array.from({ length: pods }, (_, index) => ({ ...pod, name: `pod-${index}`, nodeName: `node-${index % NODES}`,
      labels: { app: `app-${index % applications}` }, ips: [addressOf(index)] })),
    networkPolicies: [selecting(all, 0), ...Array.from({ length: POLICIES - 1 }, (_, index) => selecting(some, index + 1))] };
}

function policy(index: number, peers: readonly string[] | null): object {
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `policy-${index}`, namespace: "default" },
    spec: { podSelector: { matchLabels: { app: `app-${index}` } }, policyTypes: ["Ingress"], ingress: [{
      from: peers === null ? [{ podSelector: {} }] : peers.map((app) => ({ podSelector: { matchLabels: { app } } })),
      ports: [{ port: 8080, protocol: "TCP" }] }] } };
}

function addressOf(index: number) {
  const address = parseAddress(`10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`);
  if (address === null) throw new Error("no address");
  return address;
}
