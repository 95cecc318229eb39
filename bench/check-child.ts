/**
 * The measured process of check.bench.ts: every class of pairs of a large cluster through both planes. Prints one JSON line:
 * ms of CPU for making the packets and in all, packets, what was undecided, and peak memory in MB.
 */
import type { Cluster } from "../src/cluster/cluster.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { compareAll } from "../src/check/exhaustive.js";
import { inseparableIn } from "../src/check/inseparable.js";
import { readWasm } from "../src/cli/wasm.js";
import { assumedNetwork, buildPlane, parseProfile, policyDenial, type Profile, settingOf } from "../src/planes.js";

const [currentText, kinds, pods, policies] = [process.argv[2], process.argv[3], Number(process.argv[4]), Number(process.argv[5])];
const NODES = 200;
const MOST = 1_000_000;
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

function profile(text: string): Profile {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

/**
 * An application for each policy, with replicas on nodes of their own, which admits two others at one port or may call two
 * others at it, or both; a service for each application.
 */
function clusterOf(): Cluster {
  const nodeOf = (pod: number): number => (pod + 37 * Math.floor(pod / policies)) % NODES;
  const ip = (pod: number): string => `10.1.${nodeOf(pod)}.${Math.floor(pod / NODES) + 1}`;
  const app = (index: number): { app: string } => ({ app: `app-${index % policies}` });
  const items: object[] = [];
  for (let node = 0; node < NODES; node++) {
    items.push({ apiVersion: "v1", kind: "Node", metadata: { name: `node-${node}` }, spec: { podCIDRs: [`10.1.${node}.0/24`] },
      status: { addresses: [{ type: "InternalIP", address: `192.168.0.${node + 1}` }] } });
  }
  const backends = Array.from({ length: policies }, (): object[] => []);
  for (let pod = 0; pod < pods; pod++) {
    items.push({ apiVersion: "v1", kind: "Pod", metadata: { name: `pod-${pod}`, namespace: "default", labels: app(pod) },
      spec: { nodeName: `node-${nodeOf(pod)}`, containers: [{ name: "c", ports: [{ containerPort: 8080, name: "web" }] }] },
      status: { podIPs: [{ ip: ip(pod) }] } });
    backends[pod % policies].push({ addresses: [ip(pod)], nodeName: `node-${nodeOf(pod)}`, conditions: { ready: true } });
  }
  for (let index = 0; index < policies; index++) {
    items.push({ apiVersion: "v1", kind: "Service", metadata: { name: `service-${index}`, namespace: "default" },
      spec: { clusterIP: `10.96.${index >> 8}.${index & 255}`, selector: app(index), ports: [{ port: 80, targetPort: 8080 }] } });
    items.push({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4", ports: [{ port: 8080, protocol: "TCP" }],
      metadata: { name: `service-${index}-1`, namespace: "default", labels: { "kubernetes.io/service-name": `service-${index}` } },
      endpoints: backends[index] });
    const types = kinds === "both" ? ["Ingress", "Egress"] : [kinds === "ingress" || index % 2 === 0 ? "Ingress" : "Egress"];
    const ports = [{ port: 8080, protocol: "TCP" }];
    const peers = (...steps: readonly number[]): object[] => steps.map((step) => ({ podSelector: { matchLabels: app(index + step) } }));
    items.push({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: `policy-${index}`, namespace: "default" },
      spec: { podSelector: { matchLabels: app(index) }, policyTypes: types,
        ...(types.includes("Ingress") ? { ingress: [{ ports, from: peers(1, 7) }] } : {}),
        // Of its two, one admits it where both ends have policies; the other does not.
        ...(types.includes("Egress") ? { egress: [{ ports, to: peers(policies - 1, 3) }] } : {}) } });
  }
  return buildTimeline({ initial: readManifests([{ name: "cluster.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items }) }])
    .objects }).initial;
}

const cluster = clusterOf();
const [current, target] = [profile(currentText), profile("aks@1.34")];
const network = assumedNetwork(cluster, {}, []);
const wasm = readWasm();
const started = cpuMs();
let made = 0;
const found = compareAll({
  cluster, prefixes: [...network.clusterCidrs, ...network.nonMasqueradeCidrs], special: new Set(), most: MOST, reduceAbove: 1000,
  currentHasPolicy: current.policyEngine, settings: [settingOf(current, cluster, network), settingOf(target, cluster, network)],
  inseparable: inseparableIn(cluster, [current, target], network), planesOf: (some) => {
    if (made === 0) made = cpuMs() - started;
    const inputs = { cluster: some, epochNs: 0n, wasm, network, seed: 1, traced: false, udpCleanup: true };
    return { planes: [buildPlane("current", current, inputs), buildPlane("target", target, inputs)], denies: policyDenial(some, target) };
  } });
process.stdout.write(`${JSON.stringify({ made, all: cpuMs() - started, packets: found.classes,
  composed: found.composed, podClasses: found.podClasses,
  undecided: found.undecided.reduce((sum, { classes }) => sum + classes, 0), changes: found.groups.length,
  peak: process.resourceUsage().maxRSS / 1000 })}\n`);
