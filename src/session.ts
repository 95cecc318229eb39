/**
 * One comparison from inputs to report: builds both planes from the timeline, replays the captures, and gathers what
 * was found. The only place that knows which profiles there are. Reads nothing itself: captures are iterators of
 * bytes, everything else is text already read.
 */
import { type AcceptedInput, acceptRows } from "./accepted/report.js";
import type { Cluster, Timeline } from "./cluster/cluster.js";
import type { ConntrackFlow } from "./cluster/conntrack-flow.js";
import type { Problem } from "./cluster/problem.js";
import type { TakenTime } from "./cluster/taken.js";
import { captureProblems, LinkType } from "./capture/index.js";
import { hazardsOf, type SettingSide, type Situation, titleOf, UNEXPLAINED } from "./compare/catalogue/index.js";
import { Comparison } from "./compare/comparison.js";
import type { Finding, Named } from "./compare/finding.js";
import { type JudgedListener, Teller } from "./compare/judged.js";
import { type CoverageReport, isExercised } from "./compare/coverage.js";
import { Names } from "./compare/names.js";
import { strangers } from "./compare/strangers.js";
import { type FateCapture, type FatesSummary, RecordedFates } from "./compare/recorded-fates.js";
import type { Plane } from "./dataplane.js";
import { buildPlane, limitsOf, policyDenial, policyDenialNow, type PlaneInputs, type Profile, settingOf } from "./planes.js";
import { CaptureCursor, type CaptureInput, keyOfImage, readView } from "./replay/reading.js";
import { type PlaneChange, Replay } from "./replay/loop.js";
import { Clocks } from "./replay/clocks.js";
import { clockProblems } from "./replay/clock-problems.js";
import { Snapshot } from "./replay/snapshot.js";
import { SocketTuples } from "./replay/sockets.js";
import { Topology } from "./replay/topology.js";
import { Emission } from "./dataplane.js";
import { StepWatch, type TracedPacket } from "./compare/watch.js";
import { neverExercised, servingOf } from "./report/coverage.js";
import { trustLine, type VerifiedDump } from "./report/verify.js";
import {
  type CaptureSummary, type EntrySummary, type FindingRow, type FlowSummary, type PlaneSummary, type Report, type TruthSummary,
  unlessIncomplete, verdictOf,
} from "./report/report.js";

export interface SessionInput extends Omit<PlaneInputs, "cluster" | "epochNs" | "udpCleanup"> {
  readonly version: string;
  /** The cluster as the captures were taken in it; both planes' where `targetTimeline` does not say otherwise. */
  readonly timeline: Timeline;
  /** When the cluster was so, where the user says it. */
  readonly taken?: TakenTime;
  /** The target's, where it has another cluster. */
  readonly targetTimeline?: Timeline;
  /** By address: why a pod of one of the two clusters is not in the other, where the caller knows. */
  readonly strangers?: ReadonlyMap<string, string>;
  /** The target's, where its cluster says another. */
  readonly targetNetwork?: PlaneInputs["network"];
  /** What the planes are called; absent: current and target. */
  readonly planeNames?: readonly [string, string];
  /** How differences are named; absent: by the catalogue. */
  readonly nameOf?: (situation: Situation) => Named;
  readonly captures: readonly (Omit<CaptureInput, "node"> & { readonly node: string } & Pick<FateCapture, "fates">)[];
  /** conntrack entries or events by node. */
  readonly conntrack: ReadonlyMap<string, readonly ConntrackFlow[]>;
  /** Dumps of nodes' rules held against generated ones. */
  readonly verified?: readonly VerifiedDump[];
  readonly current: Profile;
  readonly target: Profile;
  /** conntrack entries among the captures, and those that are not replayed. */
  readonly entries?: Omit<EntrySummary, "disagreeing">;
  /** Connections of flow logs among the captures, and those that are not replayed. */
  readonly flows?: Omit<FlowSummary, "fates">;
  /** A module with a program of the user's own, for the target. */
  readonly targetWasm?: PlaneInputs["wasm"];
  readonly followCapture: boolean;
  readonly windowNs: number;
  readonly minJudged: number;
  /** Differences that somebody answers for, and the day. */
  readonly accepted?: AcceptedInput;
  readonly failOn: "any" | "unexplained" | "none";
  /** Inputs that could not be read at all. */
  readonly unreadable: number;
  /** Called now and then with the number of records read. */
  readonly onProgress?: (records: number) => void;
  /** Told what the comparison says of every packet, in the order they are replayed. */
  readonly onJudged?: JudgedListener;
  /** The packet (capture index, record number) whose steps are kept; for `trace`. */
  readonly until?: { readonly capture: number; readonly record: number };
}

export interface Session {
  readonly report: Report;
  readonly replay: Replay;
  readonly planes: readonly [Plane, Plane];
  readonly comparison: Comparison;
  /** Steps of the packet asked for with `until`; null where it was not replayed by itself. */
  readonly traced: TracedPacket | null;
}

const PROGRESS_EVERY = 8192;

export async function runSession(input: SessionInput): Promise<Session> {
  const cluster = input.timeline.initial;
  const { targetTimeline } = input;
  const targetCluster = targetTimeline?.initial ?? cluster;
  const targetNetwork = input.targetNetwork ?? input.network;
  const topology = new Topology(cluster);
  const cursors = input.captures.map((capture, index) =>
    new CaptureCursor({ ...capture, node: topology.nodeIndex(capture.node) }, index));
  const open = await openCursors(cursors);
  const epochSec = Math.min(...open.map(firstSecond), Number.MAX_SAFE_INTEGER);
  const epochNs = BigInt(open.length === 0 ? 0 : epochSec) * 1_000_000_000n;
  const udpCleanup = !input.timeline.changes.some((change) => change.kind === "conntrack-delete");
  const planes: [Plane, Plane] = [
    buildPlane(input.planeNames?.[0] ?? "current", input.current, { ...input, cluster, epochNs, udpCleanup }),
    // What stands on a node stands there now.
    buildPlane(input.planeNames?.[1] ?? "target", input.target, { ...input, network: targetNetwork, cluster: targetCluster, epochNs,
      wasm: input.targetWasm ?? input.wasm, rulesByNode: new Map(), udpCleanup }),
  ];
  let names = new Names(cluster);
  let snapshot = new Snapshot(cluster, epochNs, takenOf(input));
  let targetNames = targetTimeline === undefined ? names : new Names(targetCluster);
  let denies = policyDenial(targetCluster, input.target, input.cilium, targetNetwork.names);
  const settings = settingsOf(input, cluster);
  const fates = input.flows === undefined ? null : new RecordedFates(input.captures);
  const listener = listenerOf(fates, input.onJudged);
  const comparison = new Comparison(planes, () => names, input.current.policyEngine,
    policyDenialNow(() => denies),
    listener === null ? null : new Teller(Number(epochNs / 1_000_000_000n), topology.nodes, listener), settings, {
      targetNames: () => targetNames,
      ...(input.nameOf === undefined ? {} : { nameOf: input.nameOf }),
      ...(targetTimeline === undefined ? {} : { strange: strangers(cluster, targetCluster, input.strangers) }),
    });
  const watch = input.until === undefined ? null : new StepWatch(comparison, planes, input.until);
  const sockets = new SocketTuples(cluster, topology.nodes, input.conntrack, epochNs);
  const replay = new Replay({
    planes, points: topology, seesAll: open.every(seesAll),
    followCapture: input.followCapture, windowNs: input.windowNs, changes: changesOf(input),
    epochNs, keyOf: keyOfImage, socketTuple: (node, tuple, timeNs) => sockets.find(node, tuple, timeNs),
    isFrontend: (address, protocol, port) => names.isFrontend(address, protocol, port), judge: watch ?? comparison,
    unfit: (first, last, timeNs) => snapshot.unfit(first, last, timeNs),
    onCluster: (changed, only) => {
      if (only !== 1) snapshot = new Snapshot(changed, epochNs);
      if (only !== 1) names = new Names(changed, names);
      if (only === 0) return;
      targetNames = only === undefined ? names : new Names(changed, targetNames);
      denies = policyDenial(changed, input.target, input.cilium, targetNetwork.names);
    },
  });
  const clocks = Clocks.areSeveral(cursors.map((one) => one.input)) ? new Clocks((node) => topology.uplink(node), input.windowNs) : null;
  await merge(open, epochSec, topology, replay, input, clocks);
  replay.finish();
  const hints = clocks === null ? [] : clockProblems(clocks.hints(), cursors.map((one) => one.input), topology.nodes);
  return { report: reportOf(input, cursors, topology, replay, comparison, planes, cluster, hints, fates), replay, planes, comparison,
    traced: watch?.found ?? null };
}

function listenerOf(fates: RecordedFates | null, own: JudgedListener | undefined): JudgedListener | null {
  if (fates === null) return own ?? null;
  return (judged) => {
    fates.take(judged);
    own?.(judged);
  };
}

/** The changes of both planes by time; deleted conntrack entries were deleted on the nodes, whatever their cluster. */
function changesOf({ timeline, targetTimeline }: SessionInput): readonly PlaneChange[] {
  if (targetTimeline === undefined) return timeline.changes;
  const own = timeline.changes.map((one): PlaneChange => (one.kind === "cluster" ? { ...one, only: 0 } : one));
  const target = targetTimeline.changes.filter((one) => one.kind === "cluster").map((one): PlaneChange => ({ ...one, only: 1 }));
  return [...own, ...target].sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
}

/** A change of the objects says until when those before it hold, and from when those after it do. */
function takenOf({ taken, timeline }: SessionInput): TakenTime | null {
  const changed = timeline.changes.find((change) => change.kind === "cluster");
  if (taken === undefined || changed === undefined || changed.atNs <= taken.toNs) return taken ?? null;
  return { ...taken, toNs: changed.atNs };
}

function settingsOf(input: SessionInput, cluster: Cluster): readonly [SettingSide, SettingSide] {
  return [settingOf(input.current, cluster, input.network, input.cilium), settingOf(input.target, cluster, input.network, input.cilium)];
}

/** Of its first record, by a clock that is right. */
function firstSecond({ reader, input: { clockNs = 0 } }: CaptureCursor): number {
  return reader.record.timeSec + Math.floor(clockNs / 1e9);
}

/** Moves every cursor to its first record; those that have one. */
async function openCursors(cursors: readonly CaptureCursor[]): Promise<CaptureCursor[]> {
  const open: CaptureCursor[] = [];
  for (const cursor of cursors) if (await cursor.advance(0)) open.push(cursor);
  return open;
}

/** Hands the records of all captures to the replay, oldest first; equal times in the order of the captures given. */
async function merge(open: CaptureCursor[], epochSec: number, topology: Topology, replay: Replay, input: SessionInput,
  clocks: Clocks | null): Promise<void> {
  for (const cursor of open) {
    cursor.restamp(epochSec);
    if (seesAll(cursor)) topology.cover(cursor.input.node, 0);
  }
  let records = 0;
  while (open.length > 0) {
    let cursor = open[0];
    for (const other of open) if (other.timeNs < cursor.timeNs) cursor = other;
    const view = readView(cursor, topology, replay.pool);
    // A device is seen from its first record on; a passage is settled a window after it began.
    const point = view.carrier === 0 ? view.device : view.carrier;
    if (!view.stated && !topology.covered(view.node, point)) topology.cover(view.node, point);
    clocks?.see(view);
    if (view.carrier !== 0 && topology.capturedItself(view.node, view.device)) replay.repeats(view);
    else replay.add(view);
    if (++records % PROGRESS_EVERY === 0) input.onProgress?.(records);
    const moved = cursor.tryAdvance(epochSec) ?? await cursor.advance(epochSec);
    if (!moved) open.splice(open.indexOf(cursor), 1);
  }
}

/** Captures with a cooked link header (`-i any`) see every device. */
function seesAll(cursor: CaptureCursor): boolean {
  const { linkType } = cursor.reader.record;
  return linkType === LinkType.LinuxSll || linkType === LinkType.LinuxSll2;
}

function reportOf(input: SessionInput, cursors: readonly CaptureCursor[], topology: Topology, replay: Replay,
  comparison: Comparison, planes: readonly [Plane, Plane], cluster: Cluster, clockHints: readonly Problem[],
  fates: RecordedFates | null): Report {
  comparison.end();
  const { counts } = comparison;
  const problems: Problem[] = [...input.timeline.problems, ...clockHints];
  for (const { end, input: { file } } of cursors) {
    // Where the file could not be opened or unpacked it was said; that nothing was in it then says nothing.
    const said = end?.counters.records === 0 && problems.some((one) => one.severity === "error" && one.where?.file === file);
    if (end !== null && !said) problems.push(...captureProblems(file, end));
  }
  for (const plane of planes) problems.push(...plane.problems.map((one) => ({ ...one, what: `${plane.name}: ${one.what}` })));
  const findings = [...comparison.findings.values()]
    .sort((a, b) => Number(b.id === UNEXPLAINED) - Number(a.id === UNEXPLAINED) || b.packets - a.packets
      || (a.firstFlow < b.firstFlow ? -1 : 1));
  const emptyCaptures = cursors.filter((one) => one.end !== null && one.end.error !== null && one.end.counters.records === 0).length;
  const [current, target] = settingsOf(input, cluster);
  const rows = acceptRows(findings.map((one) => findingRow(one, cursors)), limitsOf(planes[1]), input.accepted ?? null);
  const unplaced = (input.entries?.entries ?? 0) - (input.entries?.replayed ?? 0)
    + (input.flows?.connections ?? 0) - (input.flows?.replayed ?? 0);
  return {
    twinplane: input.version,
    captures: cursors.map((cursor, index) => summaryOf(cursor, input.captures[index].node)),
    facts: cluster.nodes.map((node) => ({ node: node.name, source: node.facts.source })),
    rules: rulesOf(input, cluster),
    planes: [planeSummary(input.current, planes[0], replay, 0), planeSummary(input.target, planes[1], replay, 1)],
    followCapture: input.followCapture,
    packets: {
      records: replay.counts.records, copies: replay.counts.copies, replayed: replay.counts.packets,
      inferred: replay.counts.inferred, matched: counts.matched,
      same: counts.same, otherChoice: counts.otherChoice, different: counts.different, consequence: counts.consequence,
      moot: counts.moot, contradicted: counts.contradicted, held: counts.held, undecided: counts.undecided, aside: asideOf(replay),
    },
    undecided: sorted(comparison.reasons),
    findings: rows.findings, refused: [...comparison.refused].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one),
    limits: rows.limits, hazards: hazardsOf(cluster, current, target), accepted: rows.summary,
    truth: truthOf(replay, cursors, topology),
    entries: input.entries === undefined ? null : { ...input.entries, disagreeing: disagreeingLines(replay, cursors) },
    flows: input.flows === undefined ? null : { ...input.flows, fates: fates!.summary() },
    untouched: untouchedOf(comparison.coverage.report(cluster, planes), comparison.coverage.untouchedServices(cluster)),
    problems,
    verdict: unlessIncomplete(verdictOf({
      // An entry or connection that could not be placed is a packet that was not judged.
      replayed: replay.counts.packets + unplaced, matched: counts.matched + unplaced, undecided: counts.undecided + unplaced,
      contradicted: counts.contradicted, truth: heldViews(input, replay, fates?.summary()),
      ...rows.counted, accepted: findings.length - rows.counted.findings, unreadable: input.unreadable + emptyCaptures,
      minJudged: input.minJudged, failOn: input.failOn,
    }), problems),
  };
}

function untouchedOf(coverage: CoverageReport, services: readonly string[]): Report["untouched"] {
  const objects = new Map<string, boolean>();
  const policy = coverage.rows.filter((row) => row.kind !== "frontend" && row.kind !== "backend");
  for (const row of policy) objects.set(row.object, (objects.get(row.object) ?? false) || isExercised(row));
  return { services, policies: [...objects].filter(([, touched]) => !touched).map(([object]) => object).sort(),
    rules: { all: coverage.policy.all, never: neverExercised(coverage).map(({ object, what, where }) => ({ object, what, where })) },
    serving: servingOf(coverage, new Set(services)) };
}

function findingRow(one: Finding, cursors: readonly CaptureCursor[]): FindingRow {
  return {
    id: one.id, title: titleOf(one.id),
    facet: one.facet, source: one.source, destination: one.destination, protocol: one.protocol, port: one.port,
    current: one.current, target: one.target, reachesNow: one.reachesNow, flows: one.flows, packets: one.packets, becauses: one.becauses,
    predicted: one.predicted,
    example: {
      file: cursors[one.firstCapture].input.file, ...placeOf(cursors[one.firstCapture], one.firstRecord), flow: one.firstFlow,
    },
  };
}

function rulesOf(input: SessionInput, cluster: Cluster): Report["rules"] {
  if (input.current.engine === "cilium") return [];
  return cluster.nodes.flatMap(({ name }) => ([4, 6] as const).map((family) => {
    const dump = input.rulesByNode?.get(name);
    const own = family === 4 ? dump?.v4 : dump?.v6;
    const verified = input.verified?.find((one) => one.node === name && one.family === family);
    return { node: name, family, source: own === null || own === undefined ? "generated" : own.file,
      verified: verified === undefined ? "" : trustLine(verified) };
  }));
}

function summaryOf(cursor: CaptureCursor, node: string): CaptureSummary {
  const end = cursor.end;
  const notes: string[] = [];
  if (end !== null) {
    for (const [name, value] of Object.entries(end.counters)) {
      if (value === 0 || COUNTER_TEXTS[name] === undefined) continue;
      notes.push(`${value} ${value === 1 ? COUNTER_TEXTS[name].replace(/\b(record|packet|stamp|block)s\b/, "$1") : COUNTER_TEXTS[name]}`);
    }
  }
  return { file: cursor.input.file, node, packets: end?.counters.records ?? 0, notes };
}

const COUNTER_TEXTS: Readonly<Record<string, string>> = {
  snapTruncated: "records cut by the snap length", wireShorterThanCaptured: "records with wire length < captured length",
  longerThanSnapLength: "records longer than the file's snap length", empty: "empty records", noTime: "records without time",
  timeWentBack: "records earlier than the one before", fractionCarried: "time stamps with a fraction of a second or more",
  unknownBlocks: "unknown blocks skipped", badOptions: "blocks with damaged options",
  unsupportedLinkType: "packets of an unsupported link type",
};

function planeSummary(profile: Profile, plane: Plane, replay: Replay, index: 0 | 1): PlaneSummary {
  let flowsAnswered = 0;
  let flowsClosed = 0;
  for (const flow of replay.flows.all()) {
    const protocol = flow.entry[0][1];
    if ((protocol !== 6 && protocol !== 17) || !flow.seen[1] || flow.strayed) continue;
    flowsAnswered++;
    if (flow.closed[index] === 1) flowsClosed++;
  }
  return {
    name: plane.name, profile: profile.text, flowsAnswered, flowsClosed,
    pinsTaken: replay.counts.pinsTaken[index], pinsRefused: replay.counts.pinsRefused[index],
  };
}

function asideOf(replay: Replay): (readonly [string, number])[] {
  const { counts } = replay;
  const aside: (readonly [string, number])[] = [
    ["made by the nodes", counts.made], ["not IP", counts.notIp], ["neighbour discovery", counts.neighbourDiscovery],
    ["on loopback", counts.loopback],
  ];
  return aside.filter(([, number]) => number > 0);
}

/** A review's sides are both of one dataplane, and captures may be of another. */
function heldViews({ planeNames }: SessionInput, { truth: { tally } }: Replay, fates: FatesSummary | undefined)
  : { held: number; reproduced: number } | null {
  if (planeNames !== undefined) return null;
  const views = tally.views - [...tally.undecided.values()].reduce((sum, undecided) => sum + undecided, 0);
  const { compared, otherwise } = fates ?? { compared: 0, otherwise: 0 };
  return { held: views + compared, reproduced: tally.agreed + tally.otherPorts + compared - otherwise };
}

function truthOf(replay: Replay, cursors: readonly CaptureCursor[], topology: Topology): TruthSummary {
  const { tally } = replay.truth;
  return {
    views: tally.views, agreed: tally.agreed, disagreed: tally.disagreed,
    undecided: sorted(tally.undecided), consumed: tally.consumedAgreed,
    disagreements: tally.disagreements.map((one) => `${placeText(cursors[one.capture], one.record)}: ${one.kind}`
      + ` at ${topology.nodes[one.node]} ${topology.deviceName(one.node, one.device)} ${one.direction === Emission.Out ? "out" : "in"}`
      + `${one.detail === "" ? "" : ` (${one.detail})`}`),
  };
}

/** What a record is to a user: a packet of a capture, or a line of a text. */
function placeOf(cursor: CaptureCursor, record: number): { record: number; line: boolean } {
  const line = cursor.input.lines?.[record - 1];
  return { record: line ?? record, line: line !== undefined };
}

function placeText(cursor: CaptureCursor, record: number): string {
  const place = placeOf(cursor, record);
  return `${cursor.input.file} ${place.line ? "line" : "packet"} ${place.record}`;
}

/** Lines of which a view is not as the current side has it; of the disagreements that are kept. */
function disagreeingLines(replay: Replay, cursors: readonly CaptureCursor[]): number {
  const lines = replay.truth.tally.disagreements.filter((one) => cursors[one.capture].input.lines !== undefined)
    .map((one) => placeText(cursors[one.capture], one.record));
  return new Set(lines).size;
}

function sorted(counts: ReadonlyMap<string, number>): (readonly [string, number])[] {
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

