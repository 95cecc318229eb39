/**
 * What the two planes show of much traffic, by name of each packet: the stories of differences, every class of pairs of the
 * lab's cluster and of random ones (src/check), and the lab's recordings. For the ring of faults, which holds it against the
 * same with a fault in the sources.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Classes } from "../src/check/classes.js";
import { addEgressEdges, addIngressEdges } from "../src/check/edge-pairs.js";
import type { ExhaustiveInput } from "../src/check/exhaustive.js";
import { groupsOf } from "../src/check/groups.js";
import { outsideClasses } from "../src/check/outside.js";
import { addPodPairs } from "../src/check/pod-pairs.js";
import { type Probe, ProbeList } from "../src/check/probe.js";
import { Senders } from "../src/check/send.js";
import { ServicePairs } from "../src/check/service-pairs.js";
import { TrafficClasses } from "../src/check/traffic.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import type { Judged } from "../src/compare/judged.js";
import { runScenario } from "../src/scenario/run.js";
import { readScenarios } from "../src/scenario/scenario.js";
import { runSession } from "../src/session.js";
import { draw, inputOf, profile } from "./check-clusters.js";
import { storyInput } from "./mutant-runner.js";

export interface ShownPacket {
  /** What became of it in each plane. */
  readonly seen: readonly string[];
  /** Differences between the first two planes. */
  readonly ids: readonly string[];
}

/** By story or cluster, and packet. */
export type Shown = Readonly<Record<string, ShownPacket>>;

const wasm = readWasm();
const traces = fileURLToPath(new URL("../traces", import.meta.url));
/** Current and target over the lab's cluster with policies. */
const PROFILES = [["kube-proxy", "cilium@1.20"], ["kube-proxy+npm", "cilium@1.18"], ["kube-proxy+calico", "aks@1.34"],
  ["kube-proxy+spec", "cilium@1.16"]];
/** Numbers of random clusters; the current side has an engine in each, every engine in one at least. */
const DRAWN = [7010, 7012, 7018, 7036, 7038];
const RECORDINGS = ["clusterip-tcp", "dns-udp", "nodeport-cluster", "loadbalancer", "no-endpoints", "hairpin", "pod-to-outside",
  "icmp-errors", "udp-fragments", "clusterip-tcp+policy", "nodeport-cluster+policy"];

export async function shownPackets(): Promise<Shown> {
  return { ...ofStories(), ...ofPairs(), ...await ofRecordings() };
}

function ofStories(): Shown {
  const folder = join(traces, "differences");
  const shown: Record<string, ShownPacket> = {};
  const stories = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => name).sort();
  for (const id of stories.filter((name) => !LEFT_OUT.has(name))) {
    const file = join(folder, id, "scenario.yaml");
    for (const scenario of readScenarios({ name: file, text: readFileSync(file, "utf8") }).scenarios) {
      const load = (paths: readonly string[]) => readInputs(paths.map((path) => join(folder, id, path)), []);
      const { probes } = runScenario(scenario, { load, wasm, programs: new Map() });
      const differing = new Set<string>();
      for (const [index, probe] of probes.filter(({ name }) => !name.startsWith("it is said: ")).entries()) {
        // As in a capture, what differs later in a connection is a consequence; an error is of the one that it is about.
        const own = scenario.probes[index];
        const { sourcePort, from, to, port } = scenario.probes.find(({ name }) => name === own.icmpError?.about) ?? own;
        const connection = sourcePort === null ? null : JSON.stringify([sourcePort, from, to, port]);
        const ids = connection !== null && differing.has(connection) ? [] : [...probe.differences].sort();
        if (connection !== null && ids.length > 0) differing.add(connection);
        // Where each side chooses for itself, what is shown depends on the draws; how it is named does not.
        shown[`${id}, ${scenario.name}: ${probe.name}`] = { seen: probe.seen, ids };
      }
    }
  }
  return shown;
}

/**
 * Stories of thousands of connections, of a module that is not there, and of an answer put in by itself, whose fate follows from
 * that of the packets before.
 */
const LEFT_OUT: ReadonlySet<string> = new Set(["NAT-EXHAUST", "POL-OWN-PROGRAM", "SVC-MULTIVIP-COLLIDE"]);

function ofPairs(): Shown {
  const shown: Record<string, ShownPacket> = {};
  const policies = fileURLToPath(new URL("mutants.policies.yaml", import.meta.url));
  const { objects, facts } = readInputs([join(traces, "lab/cluster.yaml"), policies], []);
  const lab = buildTimeline({ initial: objects, facts }).initial;
  const clusters = [
    ...PROFILES.map(([current, target]) => ["lab", { cluster: lab, current: profile(current), target: profile(target) }] as const),
    ...DRAWN.map((number) => [`cluster ${number}`, draw(number)] as const),
  ];
  for (const [name, drawn] of clusters) {
    const input = inputOf(drawn);
    const { planes, denies } = input.planesOf(drawn.cluster, false);
    const senders = new Senders(drawn.cluster, planes, input.currentHasPolicy, denies, input.settings);
    for (const probe of probesOf(input)) {
      const { way, sender, source, destination, traffic, port, backend } = probe;
      const judged = senders.send(probe);
      const entry = sender.kind === "outside" ? ` via ${sender.via.name}` : "";
      const to = backend === null ? "" : ` at ${backend.address.text}`;
      const key = `${name} ${drawn.current.text} ${drawn.target.text}, ${way}: ${source.text}${entry} to ${destination.text} ${
        traffic.protocol}/${port}${to}`;
      // What both sides do alike is not told; a change of it is one that differs afterwards.
      if (judged !== null) shown[key] = typeof judged === "string" ? { seen: [judged], ids: [] } : shownOf(judged);
    }
  }
  return shown;
}

/** One of each class of pairs, with none put together out of halves. */
function probesOf({ cluster, prefixes, special, most }: ExhaustiveInput): readonly Probe[] {
  const classes = new Classes(cluster, { prefixes, special });
  const traffic = new TrafficClasses(cluster);
  const edges = { classes, traffic, outside: outsideClasses(cluster, classes.prefixes), nodePorts: new Set<string>() };
  const list = new ProbeList(most);
  const [senders, receivers] = [groupsOf(classes, "Egress"), groupsOf(classes, "Ingress")];
  addEgressEdges(senders, edges, list);
  addIngressEdges(receivers, edges, list);
  const services = new ServicePairs(edges);
  services.addOthers(senders, list);
  services.addFromOutside(receivers, list);
  services.add(senders, receivers, list, () => true);
  addPodPairs(senders, receivers, traffic, list, () => true);
  return list.probes;
}

async function ofRecordings(): Promise<Shown> {
  const shown: Record<string, { seen: string[]; ids: string[] }> = {};
  for (const story of RECORDINGS) {
    const onJudged = (judged: Judged): void => {
      if (judged.flow < 0 || judged.sides === null || judged.class === "consequence" || judged.class === "moot") return;
      const { source, sourcePort, destination, destinationPort, protocol } = judged.tuple;
      const { seen, ids } = shownOf(judged);
      const name = `lab/${story}: ${source}:${sourcePort} to ${destination}:${destinationPort}/${protocol}`;
      const flow = shown[name] ??= { seen: [], ids: [] };
      if (!flow.seen.includes(seen.join("; "))) flow.seen.push(seen.join("; "));
      for (const id of ids) if (!flow.ids.includes(id)) flow.ids.push(id);
    };
    await runSession({ ...storyInput(`lab/${story}`), onJudged });
  }
  return shown;
}

function shownOf({ sides, finding }: Pick<Judged, "finding"> & { readonly sides: readonly { readonly text: string }[] | null })
  : ShownPacket {
  const seen = (sides ?? []).map(({ text }) => text);
  return finding === null ? { seen, ids: [] } : { seen: [...seen, finding.facet], ids: [finding.id] };
}
