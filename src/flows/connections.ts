/**
 * Flow events -> the connections they are of. However many lines a log has, memory holds a few connections for each
 * pair of parties, protocol and server port: those with the lowest client ports, so that neither the order of lines nor
 * of files matters. Events of the others are counted.
 *
 * Answers open nothing and are counted. Events that do not say which way they went are kept apart, one for each pair:
 * where the pair has a connection they are of that.
 */
import type { Fate, FlowParty, RecordedFlow } from "./flow.js";

export interface Connection {
  readonly protocol: number;
  /** This and what follows: of the earliest event. */
  source: FlowParty;
  destination: FlowParty;
  service: string;
  timeNs: bigint | null;
  node: string;
  file: string;
  line: number;
  /** Node that it came into from outside, by its earliest such event; empty: none was recorded. */
  entered: string;
  events: number;
  /** Events by verdict of the log. */
  readonly verdicts: Map<string, number>;
  /** What its events show; both: it changed while they were recorded. */
  readonly fates: Set<Fate>;
}

export interface ConnectionSet {
  readonly connections: readonly Connection[];
  /** Events that do not say who connected to whom. */
  readonly undirected: readonly Connection[];
  /** All events that are of connections, answers too. */
  readonly events: number;
  readonly answers: number;
  /** Events of connections like others that are kept, told apart by the client's port alone. */
  readonly alike: number;
  readonly lost: number;
  /** Events that are of no connection, by why. */
  readonly aside: ReadonlyMap<string, number>;
  /** Events by verdict of the log. */
  readonly verdicts: ReadonlyMap<string, number>;
  /** Those of them that are policy's own. */
  readonly policyVerdicts: ReadonlyMap<string, number>;
}

/** Connections kept of one pair, protocol and server port. */
export const KEPT_ALIKE = 8;

export class Connections {
  private readonly pairs = new Map<string, Map<number, Connection>>();
  private readonly undirected = new Map<string, Connection>();
  private readonly aside = new Map<string, number>();
  private readonly verdicts = new Map<string, number>();
  private readonly policyVerdicts = new Map<string, number>();
  private events = 0;
  private answers = 0;
  private lost = 0;

  add(flow: RecordedFlow, file: string, line: number): void {
    this.events += flow.events;
    count(this.verdicts, flow.verdict, flow.events);
    if (flow.isPolicyVerdict) count(this.policyVerdicts, flow.verdict, flow.events);
    if (flow.direction === "answer") {
      this.answers += flow.events;
      return;
    }
    if (flow.direction === "unknown") {
      const key = undirectedKey(flow);
      const before = this.undirected.get(key);
      if (before === undefined) this.undirected.set(key, connectionOf(flow, file, line));
      else merge(before, flow, file, line);
      return;
    }
    const key = pairKey(flow.protocol, flow.source, flow.destination, flow.destination.port);
    let alike = this.pairs.get(key);
    if (alike === undefined) {
      alike = new Map();
      this.pairs.set(key, alike);
    }
    const before = alike.get(flow.source.port);
    if (before !== undefined) merge(before, flow, file, line);
    else {
      alike.set(flow.source.port, connectionOf(flow, file, line));
      if (alike.size > KEPT_ALIKE) alike.delete(Math.max(...alike.keys()));
    }
  }

  addAside(why: string): void {
    count(this.aside, why, 1);
  }

  addLost(events: number): void {
    this.lost += events;
  }

  finish(): ConnectionSet {
    const connections = [...this.pairs.values()].flatMap((alike) => [...alike.values()]).sort(inOrder);
    const kept = connections.reduce((sum, one) => sum + one.events, 0);
    const undirected: Connection[] = [];
    let absorbed = 0;
    for (const one of this.undirected.values()) {
      if (this.hasPair(one)) absorbed += one.events;
      else undirected.push(one);
    }
    const open = undirected.reduce((sum, one) => sum + one.events, 0);
    return {
      connections, undirected: undirected.sort(inOrder), events: this.events, answers: this.answers,
      alike: this.events - this.answers - kept - absorbed - open, lost: this.lost, aside: this.aside, verdicts: this.verdicts,
      policyVerdicts: this.policyVerdicts,
    };
  }

  /** Whether a connection between the two is known, either way. */
  private hasPair({ protocol, source, destination }: Connection): boolean {
    return this.pairs.has(pairKey(protocol, source, destination, destination.port))
      || this.pairs.has(pairKey(protocol, destination, source, source.port));
  }
}

function connectionOf(flow: RecordedFlow, file: string, line: number): Connection {
  return { protocol: flow.protocol, source: flow.source, destination: flow.destination, service: flow.service, timeNs: flow.timeNs,
    node: flow.node, file, line, entered: flow.fromNetwork ? flow.node : "", events: flow.events,
    verdicts: new Map([[flow.verdict, flow.events]]), fates: new Set(flow.fate === null ? [] : [flow.fate]) };
}

function merge(into: Connection, flow: RecordedFlow, file: string, line: number): void {
  into.events += flow.events;
  count(into.verdicts, flow.verdict, flow.events);
  if (flow.fate !== null) into.fates.add(flow.fate);
  if (flow.fromNetwork && (into.entered === "" || flow.node < into.entered)) into.entered = flow.node;
  if (!isEarlier(flow.timeNs, file, line, into)) return;
  const { source, destination, service, timeNs, node } = flow;
  Object.assign(into, { source, destination, service, timeNs, node, file, line });
}

function isEarlier(timeNs: bigint | null, file: string, line: number, than: Connection): boolean {
  const [one, other] = [timeNs ?? 0n, than.timeNs ?? 0n];
  return one !== other ? one < other : file !== than.file ? file < than.file : line < than.line;
}

/** Oldest first; of one time by file and line. */
function inOrder(a: Connection, b: Connection): number {
  return isEarlier(a.timeNs, a.file, a.line, b) ? -1 : 1;
}

function pairKey(protocol: number, source: FlowParty, destination: FlowParty, port: number): string {
  return `${protocol} ${port} ${nameOf(source)} ${nameOf(destination)}`;
}

/** The server's port is nearly always the lower one; events of another pair in it are those of the first seen. */
function undirectedKey({ protocol, source, destination }: RecordedFlow): string {
  const names = [nameOf(source), nameOf(destination)].sort();
  return `${protocol} ${Math.min(source.port, destination.port)} ${names.join(" ")}`;
}

/** By address and pod: an address may be of two pods one after the other. */
function nameOf({ address, namespace, pod, workload }: FlowParty): string {
  if (address !== null) return pod === "" ? address.text : `${address.text}|${namespace}/${pod}`;
  return `${namespace}/${pod === "" ? `${workload}/` : pod}`;
}

function count(counts: Map<string, number>, key: string, by: number): void {
  counts.set(key, (counts.get(key) ?? 0) + by);
}
