/**
 * The command line's main jobs for programs: what the user has read goes in as text and bytes, a report comes out as
 * plain data. Reads none of your files. Mistakes in the inputs are problems in the report; a wrong call throws, and so does a
 * cluster whose kube-proxy runs in a mode that is not modelled.
 *
 *     const report = await compare({ manifests: [{ name: "cluster.yaml", text }], current: "kube-proxy+npm", target: "aks@1.34",
 *       captures: [{ name: "node1.pcap", node: "node1", bytes }] });
 */
import type { NodeFacts } from "./cluster/cluster.js";
import { parsePrefix, type Prefix } from "./cluster/address.js";
import { readManifests } from "./cluster/manifests.js";
import { readNodeFacts } from "./cluster/node-facts.js";
import type { Problem } from "./cluster/problem.js";
import type { NamedText } from "./cluster/source-text.js";
import { buildTimeline } from "./cluster/timeline.js";
import type { JudgedListener } from "./compare/judged.js";
import { readWasm } from "./cli/wasm.js";
import { version } from "./cli/version.js";
import { assumedNetwork, kubeProxyRefusal, parseProfile, type Profile } from "./planes.js";
import { LEAST_JUDGED, type Report } from "./report/report.js";
import { runSession } from "./session.js";

export interface CaptureGiven {
  /** As it is called in the report. */
  readonly name: string;
  /** Name of the node where it was taken. */
  readonly node: string;
  /** Device, where it is of one and does not say so itself. */
  readonly device?: string;
  /** pcap or pcapng, whole or in pieces. */
  readonly bytes: Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

export interface CompareGiven {
  /** YAML or JSON of Kubernetes objects. */
  readonly manifests: readonly NamedText[];
  /** Output of `ip -j` and `sysctl -a` by node name; without it devices and routes are assumed. */
  readonly nodeFacts?: Readonly<Record<string, readonly NamedText[]>>;
  readonly captures: readonly CaptureGiven[];
  /** Profiles by name; kube-proxy and cilium@1.20 where they are not given. */
  readonly current?: string;
  readonly target?: string;
  readonly clusterCIDRs?: readonly string[];
  readonly nonMasqueradeCIDRs?: readonly string[];
  /** Pins the first packet of each flow to the recorded backend, where each side could have chosen it. */
  readonly followCapture?: boolean;
  /** ms in which copies of one packet may lie apart; 50 by default. */
  readonly copyWindow?: number;
  /** 0.1 to 1: least share of packets that must match the cluster and be decided; 0.9 by default. */
  readonly minJudged?: number;
  readonly failOn?: "any" | "unexplained" | "none";
  readonly seed?: number;
  /** Told of every packet, in the order they are replayed. */
  readonly onJudged?: JudgedListener;
}

export async function compare(given: CompareGiven): Promise<Report> {
  const { minJudged = 0.9 } = given;
  if (!(minJudged >= LEAST_JUDGED && minJudged <= 1)) throw new RangeError(`found minJudged ${minJudged}, expected ${LEAST_JUDGED} to 1`);
  const problems: Problem[] = [];
  const { objects, problems: ofManifests } = readManifests(given.manifests);
  const facts = new Map<string, NodeFacts>();
  for (const [node, texts] of Object.entries(given.nodeFacts ?? {})) {
    const read = readNodeFacts(texts, node, objects);
    problems.push(...read.problems);
    if (read.facts !== null) facts.set(node, read.facts);
  }
  const timeline = buildTimeline({ initial: objects, facts });
  const network = assumedNetwork(timeline.initial, {
    ...(given.clusterCIDRs === undefined ? {} : { clusterCidrs: prefixes(given.clusterCIDRs) }),
    ...(given.nonMasqueradeCIDRs === undefined ? {} : { nonMasqueradeCidrs: prefixes(given.nonMasqueradeCIDRs) }),
  }, problems);
  const [current, target] = [profile(given.current ?? "kube-proxy"), profile(given.target ?? "cilium@1.20")];
  const refusal = kubeProxyRefusal(timeline.initial);
  if (refusal !== null && (current.engine !== "cilium" || target.engine !== "cilium")) throw new RangeError(refusal);
  const { report } = await runSession({
    version: version(), timeline: { ...timeline, problems: [...ofManifests, ...timeline.problems, ...problems] },
    captures: given.captures.map(({ name, node, device, bytes }) => ({ file: name, node, device: device ?? "", chunks: chunksOf(bytes) })),
    conntrack: new Map(), current, target,
    followCapture: given.followCapture ?? false, windowNs: (given.copyWindow ?? 50) * 1e6, minJudged,
    failOn: given.failOn ?? "any", unreadable: 0, wasm: readWasm(), network, seed: given.seed ?? 1, traced: false,
    ...(given.onJudged === undefined ? {} : { onJudged: given.onJudged }),
  });
  return report;
}

function chunksOf(bytes: CaptureGiven["bytes"]): Iterator<Uint8Array> | AsyncIterator<Uint8Array> {
  if (bytes instanceof Uint8Array) return [bytes][Symbol.iterator]();
  return Symbol.asyncIterator in bytes ? bytes[Symbol.asyncIterator]() : bytes[Symbol.iterator]();
}

function profile(text: string): Profile {
  const found = parseProfile(text);
  if (typeof found === "string") throw new RangeError(found);
  return found;
}

function prefixes(texts: readonly string[]): Prefix[] {
  return texts.map((text) => {
    const found = parsePrefix(text);
    if (found === null) throw new RangeError(`found "${text}", expected a CIDR such as 10.244.0.0/16`);
    return found;
  });
}
