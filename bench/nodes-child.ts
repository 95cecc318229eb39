/**
 * The measured process of nodes.bench.ts: an iptables plane over a large cluster, connections through services on a
 * few of its nodes, then a change of one EndpointSlice. Prints one JSON line of figures: MB and ms of CPU.
 */
import { createIptablesPlane } from "../src/iptables/plane.js";
import { KUBE_PROXY_DEFAULTS } from "../src/iptables/kubeproxy/config.js";
import { End, FrameBlock, StepResults } from "../src/dataplane.js";
import { clusterIp, clusterOf, nodesOf, podIp, PODS, segment, withChangedSlice } from "./services.js";

const [nodes, services, touched, local] = process.argv.slice(2).map(Number);
const cpuMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
const cluster = clusterOf({ nodes, services, local });
const read = { ms: cpuMs(), mb: process.resourceUsage().maxRSS / 1000 };
const plane = createIptablesPlane({
  name: "bench", profile: "kube-proxy", cluster, epochNs: 0n, seed: 1,
  config: { kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: [PODS] },
    masquerade: { agent: "cni", clusterCIDR: [PODS], nonMasqueradeCIDRs: [], randomFully: false } },
});
// What they lead to is on these nodes too: a node is built when a packet comes to it.
const between = Array.from({ length: services }, (_, service) => service).filter((service) =>
  nodesOf(service, nodes).every((node) => node < touched));
const results = new StepResults(64);
let arrived = 0;

/** A connection of a pod of the node to each of some services. */
function traffic(node: number, round: number): void {
  const block = new FrameBlock(64, 1 << 14);
  const device = cluster.nodes[node].facts.devices.find(({ kind }) => kind === "pod")!.index;
  const number = plane.nodes.indexOf(`node-${node}`);
  for (let index = 0; index < 64; index++) {
    const bytes = segment(podIp(node, 1), clusterIp(between[(index + node) % between.length]), 10_000 + round * 64 + index, 2);
    block.push(bytes, 0, bytes.length, bytes.length, 0x0800, 0, number, device, round * 1e9);
  }
  plane.step(block, results);
  for (let row = 0; row < block.count; row++) if (results.end[row] === End.Delivered) arrived++;
}

const started = cpuMs();
const each: number[] = [];
for (let node = 0; node < touched; node++) {
  const before = cpuMs();
  traffic(node, 1);
  each.push(cpuMs() - before);
}
const built = cpuMs() - started;
const peak = process.resourceUsage().maxRSS / 1000;
let now = cluster;
const changes: number[] = [];
for (let round = 0; round < 5; round++) {
  now = withChangedSlice(now, 10 + round);
  const before = cpuMs();
  plane.change(now, round * 1e9);
  changes.push(cpuMs() - before);
  for (let node = 0; node < touched; node++) traffic(node, 2 + round);
}
const changed = process.resourceUsage().maxRSS / 1000;
process.stdout.write(`${JSON.stringify({ read, built, each, peak, changes, changed, arrived })}\n`);
