/**
 * A scenario from its clusters to its results: builds its planes, opens each probe's connections in all of them, and
 * holds what is seen against what is expected. Two planes are also compared, as `compare` does it, for the ids of
 * differences. Reads nothing itself.
 */
import type { Cluster } from "../cluster/cluster.js";
import type { Problem, Where } from "../cluster/problem.js";
import type { SettingSide } from "../compare/catalogue/index.js";
import { Comparison } from "../compare/comparison.js";
import { type JudgedListener, Teller } from "../compare/judged.js";
import { Memory } from "../compare/memory.js";
import { Names } from "../compare/names.js";
import type { Plane } from "../dataplane.js";
import { assumedNetwork, buildPlane, type Denial, parseProfile, type PlaneInputs, policyDenial, policyDenialNow, type Profile, settingOf,
  wrongOptions } from "../planes.js";
import { Flow } from "../replay/flows.js";
import { viewOf } from "../replay/reading.js";
import type { Packet } from "../replay/loop.js";
import type { View } from "../replay/view.js";
import { EtherType } from "../wire/index.js";
import { sameEnd } from "../replay/tuple.js";
import { parsePrefix } from "../cluster/address.js";
import { VLAN_8021Q } from "../cluster/vlans.js";
import { kubeProxyObjects, type Load, scenarioObjects, type ScenarioObjects, timelineFor } from "./clusters.js";
import { Connections, type Seen } from "./connection.js";
import { describeSeen, judge, type Judged } from "./judge.js";
import { hasAnswer, packetOf, ProbeError, type Way, wayOf } from "./packet.js";
import { icmpErrorOf, type Told } from "./icmp-error.js";
import type { IcmpError, PlaneSpec, Probe, Scenario } from "./scenario.js";

export interface ScenarioInputs {
  readonly load: Load;
  readonly wasm: PlaneInputs["wasm"];
  /** Modules with programs of the user's own, by the path that the scenario gives; a sentence where one is none. */
  readonly programs: ReadonlyMap<string, PlaneInputs["wasm"] | string>;
  /** Told what the comparison of the first two planes says of every packet. */
  readonly onJudged?: JudgedListener;
}

export interface ProbeResult {
  readonly name: string;
  readonly where: Where;
  readonly status: "passed" | "failed" | "undecided";
  /** What was expected and found, a sentence each. */
  readonly failures: readonly string[];
  /** `target: delivered to default/web:80, source node1`, one for each plane and way that was seen. */
  readonly seen: readonly string[];
  /** Ids of the differences that the first two planes show, each once; none where there is one plane. */
  readonly differences: readonly string[];
}

export interface ScenarioResult {
  readonly name: string;
  readonly where: Where;
  readonly probes: readonly ProbeResult[];
  /** An error means that it was not run, or not to the end. */
  readonly problems: readonly Problem[];
}

const EPOCH_NS = 1_000_000_000n;
const REPEAT_AFTER_NS = 1e6;
const FIRST_SOURCE_PORT = 40_000;
/** TCP flag bits. */
const SYN = 0x02;
const ACK = 0x10;

export function runScenario(scenario: Scenario, inputs: ScenarioInputs): ScenarioResult {
  const run = new ScenarioRun(scenario, inputs);
  const said = run.sayings();
  const probes = run.problems.some((one) => one.severity === "error") ? said : [...said, ...run.probes()];
  return { name: scenario.name, where: scenario.where, probes, problems: run.problems };
}

interface RunningPlane {
  readonly name: string;
  readonly plane: Plane;
  readonly profile: Profile;
  readonly setting: SettingSide;
  readonly connections: Connections;
  /** Its clusters, by index of the probe they begin with. */
  readonly clusters: ReadonlyMap<number, Cluster>;
}

class ScenarioRun {
  /** Errors among them stop it. */
  readonly problems: Problem[] = [];
  private readonly planes: RunningPlane[] = [];
  /** The clusters without what planes have of their own. */
  private readonly clusters: ReadonlyMap<number, Cluster>;
  private cluster: Cluster;
  private names: Names;
  /** By the cluster of the moment; null: not asked yet. */
  private denies: Denial | null = null;
  private readonly timesNs: readonly number[];
  private connection = 0;
  private readonly connections = new Map<string, number>();
  private readonly memory = new Memory();
  /** By probe's name: what became of its last connection. */
  private readonly told = new Map<string, { readonly flow: Flow | null; readonly byPlane: readonly Told[] }>();
  /** By entry point and tuple: the connection as its packet before left it. */
  private readonly flows = new Map<string, Flow>();

  constructor(private readonly scenario: Scenario, private readonly inputs: ScenarioInputs) {
    this.timesNs = timesOf(scenario);
    const objects = scenarioObjects(scenario, inputs.load);
    this.problems.push(...objects.problems);
    const timeline = timelineFor(scenario, objects, null, this.timesNs, EPOCH_NS);
    this.problems.push(...timeline.problems);
    this.cluster = timeline.initial;
    for (const name of scenario.nodes.keys()) {
      if (this.cluster.nodes.some((node) => node.name === name)) continue;
      this.problems.push({ where: scenario.whereOf(["nodes", name]), severity: "error", what: `the cluster has no node ${name}` });
    }
    this.clusters = this.clustersOf(timeline);
    this.names = new Names(this.cluster);
    for (const [name, spec] of scenario.planes) this.build(name, spec, objects);
  }

  /** Of each problem that must be said, whether it is; one that is stops nothing. */
  sayings(): ProbeResult[] {
    const { problems, scenario } = this;
    return scenario.problems.map((part, index): ProbeResult => {
      const found = problems.flatMap((one, at) => (one.what.includes(part) ? [at] : []));
      for (const at of found) problems[at] = { ...problems[at], severity: "warning" };
      return { name: `it is said: ${part}`, where: scenario.whereOf(["problems", index]), status: found.length > 0 ? "passed" : "failed",
        failures: found.length > 0 ? [] : [`expected a problem that says "${part}", found ${
          problems.map((one) => one.what).join("; ") || "none"}`], seen: [], differences: [] };
    });
  }

  probes(): ProbeResult[] {
    return this.scenario.probes.map((probe, index) => {
      this.change(index);
      try {
        return this.probe(probe, index);
      } catch (error) {
        if (!(error instanceof ProbeError)) throw error;
        this.problems.push({ where: probe.where, severity: "error", what: `${error.message}; the probe is not run` });
        return { name: probe.name, where: probe.where, status: "failed", failures: [error.message], seen: [], differences: [] };
      }
    });
  }

  private build(name: string, spec: PlaneSpec, objects: ScenarioObjects): void {
    const { scenario } = this;
    const where = scenario.whereOf(["planes", name]);
    const own = kubeProxyObjects(name, spec, scenario);
    this.problems.push(...own?.problems ?? []);
    const profile = parseProfile(spec.profile);
    if (typeof profile === "string") {
      this.problems.push({ where, severity: "error", what: profile });
      return;
    }
    for (const what of wrongOptions(profile, spec.cilium ?? {})) {
      this.problems.push({ where: scenario.whereOf(["planes", name, "cilium"]), severity: "error", what: `${name}: ${what}` });
    }
    const wasm = spec.program === undefined ? this.inputs.wasm : this.inputs.programs.get(spec.program) ?? "";
    if (typeof wasm === "string" || (spec.program !== undefined && profile.engine !== "cilium")) {
      const what = typeof wasm === "string" ? wasm : `${profile.text} has no programs`;
      this.problems.push({ where: scenario.whereOf(["planes", name, "program"]), severity: "error", what: `${name}: ${what}` });
      return;
    }
    const timeline = own === null ? null : timelineFor(scenario, objects, own.objects, this.timesNs, EPOCH_NS);
    const cluster = timeline?.initial ?? this.cluster;
    const assumed: Problem[] = [];
    const network = assumedNetwork(cluster, {
      ...(spec.masquerade === undefined ? {} : { masqueradeAgent: spec.masquerade }),
      ...(spec.clusterCIDRs === undefined ? {} : { clusterCidrs: this.prefixes(spec.clusterCIDRs, name, "clusterCIDRs") }),
      ...(spec.nonMasqueradeCIDRs === undefined ? {}
        : { nonMasqueradeCidrs: this.prefixes(spec.nonMasqueradeCIDRs, name, "nonMasqueradeCIDRs") }),
    }, assumed);
    const plane = buildPlane(name, profile, {
      cluster, epochNs: EPOCH_NS, wasm, network, seed: spec.seed ?? 1, traced: false, udpCleanup: true,
      ...(spec.cilium === undefined ? {} : { cilium: spec.cilium }),
    });
    for (const problem of [...assumed, ...plane.problems]) {
      // What a plane does not model makes its packets undecided, which is seen there.
      this.problems.push({ severity: "warning", where: problem.where ?? where, what: `${name}: ${problem.what}` });
    }
    const setting = settingOf(profile, cluster, network, spec.cilium);
    const isUplink = (node: number, device: number): boolean => cluster.nodes.find((one) => one.name === plane.nodes[node])
      ?.facts.devices.find((one) => one.index === device)?.kind === "uplink";
    this.planes.push({ name, plane, profile, setting, connections: new Connections(plane, isUplink),
      clusters: timeline === null ? this.clusters : this.clustersOf(timeline) });
  }

  private prefixes(texts: readonly string[], plane: string, field: string): NonNullable<ReturnType<typeof parsePrefix>>[] {
    return texts.flatMap((text, index) => {
      const prefix = parsePrefix(text);
      if (prefix !== null) return [prefix];
      this.problems.push({ where: this.scenario.whereOf(["planes", plane, field, index]), severity: "error",
        what: `found "${text}", expected a CIDR such as 10.244.0.0/16` });
      return [];
    });
  }

  /** Each change of a timeline belongs to the next probe that has changes. */
  private clustersOf({ changes }: ReturnType<typeof timelineFor>): Map<number, Cluster> {
    const changing = this.scenario.probes.flatMap((probe, index) => (probe.changes.length > 0 ? [index] : []));
    const found = new Map<number, Cluster>();
    changes.forEach((one, at) => {
      if (one.kind === "cluster") found.set(changing[at], one.cluster);
    });
    return found;
  }

  private change(index: number): void {
    const next = this.clusters.get(index);
    if (next === undefined) return;
    this.cluster = next;
    this.names = new Names(next, this.names);
    this.denies = null;
    for (const { plane, clusters } of this.planes) plane.change(clusters.get(index) ?? next, this.timesNs[index]);
  }

  private probe(probe: Probe, index: number): ProbeResult {
    const way = wayOf(probe, this.cluster);
    const comparison = this.comparison();
    const seen = new Map<string, Seen[]>(this.planes.map(({ name }) => [name, []]));
    for (let turn = 0; turn < probe.repeat; turn++) {
      if (probe.icmpError !== null) {
        this.sendError(probe.icmpError, way, index, comparison).forEach((one, at) => seen.get(this.planes[at].name)!.push(one));
        continue;
      }
      const { packet, connection } = this.packet(probe, way, index, turn);
      const number = hasAnswer(probe, way) ? connection : null;
      const found = this.planes.map(({ connections }) => connections.open(packet, number));
      this.planes.forEach(({ name }, at) => seen.get(name)!.push(found[at]));
      const flow = found.length > 1 ? this.flowOf(packet, found[0], found[1]) : null;
      if (comparison !== null && flow !== null) compareSeen(comparison, packet, flow, found[0], found[1]);
      this.told.set(probe.name, { flow, byPlane: found.map(({ request, answer }) => ({ request, answer, connection })) });
    }
    const judged = this.planes.map(({ name }): readonly [string, Judged] =>
      [name, judge(probe.expect.get(name)!, seen.get(name)!, way.client.text, this.cluster, this.names)]);
    const failures = judged.flatMap(([name, one]) => one.failures.map((failure) => `${name}: ${failure}`));
    let undecided = judged.some(([, one]) => one.undecided);
    if (probe.differences !== null && comparison !== null) {
      const wrong = wrongDifferences(probe.differences, [...comparison.findings.values()].map((one) => one.id));
      if (wrong !== null) failures.push(wrong);
      undecided ||= wrong !== null && comparison.counts.undecided > 0;
    }
    return {
      name: probe.name, where: probe.where, status: undecided ? "undecided" : failures.length > 0 ? "failed" : "passed", failures,
      seen: [...seen].flatMap(([name, all]) =>
        [...new Set(all.map((one) => describeSeen(one, this.names)))].map((text) => `${name}: ${text}`)),
      differences: [...new Set([...comparison?.findings.values() ?? []].map((one) => one.id))],
    };
  }

  /** The error as each plane's own packet makes it. */
  private sendError(error: IcmpError, way: Way, index: number, comparison: Comparison | null): Seen[] {
    const about = this.told.get(error.about);
    const node = this.planes[0].plane.nodes.indexOf(way.node);
    const etherType = way.client.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
    const views = this.planes.map(({ name }, at) => viewOf(icmpErrorOf(error, about?.byPlane[at], way.client.bytes, name), etherType, node,
      way.device, this.timesNs[index]));
    const found = this.planes.map(({ connections }, at) => connections.open(views[at], null));
    const [view] = views;
    if (comparison !== null && about !== undefined && about.flow !== null) {
      comparison.judge({ view, views: [view], flow: again(about.flow), direction: error.answer ? 1 : 0, kind: "error",
        outcomes: [found[0].request, found[1].request], moot: [false, false], restored: [false, false] });
    }
    return found;
  }

  /** Of the first two planes; null where there is one. */
  private comparison(): Comparison | null {
    const [first, second] = this.planes;
    if (second === undefined) return null;
    const denial = (): Denial =>
      this.denies ??= policyDenial(this.cluster, second.profile, this.scenario.planes.get(second.name)?.cilium);
    const { onJudged } = this.inputs;
    return new Comparison([first.plane, second.plane], () => this.names, first.profile.policyEngine,
      policyDenialNow(denial),
      onJudged === undefined ? null : new Teller(0, first.plane.nodes, onJudged), [first.setting, second.setting], { memory: this.memory });
  }

  /** The connection of a packet, as replay would have it, without what was found of it before. */
  private flowOf(view: View, first: Seen, second: Seen): Flow {
    const key = `${view.node} ${view.device} ${view.tuple.join(" ")}`;
    const before = this.flows.get(key);
    const flow = new Flow();
    flow.entry[0].set(view.tuple);
    flow.entryNode[0] = view.node;
    flow.entryDevice[0] = view.device;
    flow.packets = before === undefined ? 1 : 2;
    flow.lastNs = view.timeNs;
    flow.pausedNs = view.timeNs - (before?.lastNs ?? 0);
    const opens = view.protocol !== 6 || (view.tcpFlags & (SYN | ACK)) === SYN;
    for (const [index, { request }] of [first, second].entries()) {
      const side = flow.planes[index][0];
      const last = before?.planes[index][0];
      side.arrived = request.arrived;
      side.image.set(request.image);
      side.moved = !opens && last?.arrived === true && request.arrived && !sameEnd(last.image, request.image);
    }
    const [[current], [target]] = flow.planes;
    if (current.moved && target.moved) current.moved = target.moved = false;
    this.flows.set(key, flow);
    return flow;
  }

  private packet(probe: Probe, way: Way, index: number, turn: number): { packet: View; connection: number } {
    this.connection++;
    // Ports of connections that say nothing of theirs stay apart through the whole scenario.
    const sourcePort = probe.sourcePort === null ? FIRST_SOURCE_PORT + (this.connection % 20_000)
      : ((probe.sourcePort + turn) & 0xffff) || 1;
    const connection = this.connectionOf(probe, way, sourcePort);
    const { bytes, etherType } = packetOf(probe, way, sourcePort, connection);
    const node = this.planes[0].plane.nodes.indexOf(way.node);
    const packet = viewOf(bytes, etherType, node, way.device, this.timesNs[index] + turn * REPEAT_AFTER_NS);
    if (probe.vlan !== null) [packet.vlanProtocol, packet.vlanTci] = [VLAN_8021Q, probe.vlan];
    return { packet, connection };
  }

  /** A new number, or where no connection is opened that of the last one with the same ends. */
  private connectionOf({ tcpFlags }: Probe, { source, destination, port, protocol }: Way, sourcePort: number): number {
    const key = `${protocol} ${source.text} ${sourcePort} ${destination.text} ${port}`;
    const opens = tcpFlags === null || tcpFlags.includes("SYN");
    const number = opens ? this.connection : this.connections.get(key) ?? this.connection;
    this.connections.set(key, number);
    return number;
  }
}

/** The flow as it is known, without what a comparison before noted of it. */
function again(flow: Flow): Flow {
  const copy = new Flow();
  copy.entry[0].set(flow.entry[0]);
  copy.entryNode[0] = flow.entryNode[0];
  copy.entryDevice[0] = flow.entryDevice[0];
  copy.packets = flow.packets + 1;
  for (const index of [0, 1]) {
    copy.planes[index][0].arrived = flow.planes[index][0].arrived;
    copy.planes[index][0].image.set(flow.planes[index][0].image);
  }
  return copy;
}

/** ns since the epoch at which each probe begins. */
function timesOf({ probes }: Scenario): number[] {
  let now = 1e9;
  return probes.map((probe) => {
    now += probe.afterNs;
    const begins = now;
    now += (probe.repeat - 1) * REPEAT_AFTER_NS;
    return begins;
  });
}

/** Tells the comparison of a connection as replay does of a flow: its request, and where both planes had one, its answer. */
function compareSeen(comparison: Comparison, view: View, flow: Flow, first: Seen, second: Seen): void {
  const packet: Packet = { view, views: [view], flow, direction: 0, kind: "request", outcomes: [first.request, second.request],
    moot: [false, false], restored: [false, false] };
  comparison.judge(packet);
  if (first.answer === null || second.answer === null) return;
  comparison.judge({ ...packet, direction: 1, kind: "reply", outcomes: [first.answer, second.answer],
    restored: [first.reply === "restored", second.reply === "restored"] });
}

function wrongDifferences(expected: readonly string[], found: readonly string[]): string | null {
  const names = [...new Set(found)];
  const same = expected.length === names.length && expected.every((id) => names.includes(id));
  return same ? null : `expected ${expected.length === 0 ? "no difference" : `difference ${expected.join(", ")}`}, found ${
    names.length === 0 ? "none" : names.join(", ")}`;
}
