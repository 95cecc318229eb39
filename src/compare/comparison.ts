/**
 * The comparison: told of every packet by the replay, it finds what differs, names it, and counts. It knows
 * outcomes and journeys, not planes.
 *
 * The first differing packet of a flow makes a finding; what differs later in that flow is its consequence and is
 * counted apart. A packet that one plane cannot judge is undecided, never the same.
 */
import { addressFromBytes, parseAddress } from "../cluster/address.js";
import type { Where } from "../cluster/problem.js";
import { type Because, End, type Journey, type Plane } from "../dataplane.js";
import { tupleText } from "../replay/flows.js";
import type { Flow } from "../replay/flows.js";
import type { Judge, Packet } from "../replay/loop.js";
import type { Outcome } from "../replay/outcome.js";
import { sameSource, Tuple } from "../replay/tuple.js";
import { type View, ViewClass } from "../replay/view.js";
import { nameOf, type SettingSide, type Situation } from "./catalogue/index.js";
import { checksumsAgree, differingFacets, Facet, FACET_NAMES } from "./facets.js";
import { Coverage } from "./coverage.js";
import { type Affinity, endText, Memory } from "./memory.js";
import { END_WORDS, fiveTuple, type JudgedClass, type JudgedSide, protocolName, sideOf, type Teller } from "./judged.js";
import type { Frontend, Names } from "./names.js";
import { type Predicted, predictedOf } from "./predicted.js";

/** One row of the report: a difference, for flows that are alike. */
export interface Finding {
  /** Id of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly facet: string;
  readonly source: string;
  readonly destination: string;
  /** Where it arrives on one of the sides, the current one first; the destination where it does not. */
  readonly receiver: string;
  readonly protocol: string;
  readonly port: number;
  readonly current: string;
  readonly target: string;
  readonly reachesNow: boolean;
  readonly becauses: readonly Because[];
  /** Lines that differ between the planes' clusters and make it; none where both have one cluster. */
  readonly causes: readonly ChangedLine[];
  flows: number;
  packets: number;
  /** `capture record time` of the first packet. */
  readonly firstCapture: number;
  readonly firstRecord: number;
  readonly firstFlow: string;
  /** Of its first packet, what will be seen after a switch; null for errors about a flow. */
  readonly predicted: Predicted | null;
}

/** A line of a manifest, and what a change did to it. */
export interface ChangedLine extends Because {
  readonly change: "added" | "removed" | "changed";
  /** The line to look at after the change: what stands in its place, else its object; null where that is gone. */
  readonly after: Where | null;
}

export interface Named {
  /** Id of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly causes: readonly ChangedLine[];
}

export interface ComparisonCounts {
  /** Packets both planes were asked about. */
  packets: number;
  same: number;
  /** Same but for another member of one eligible set; the source seen is then not compared. */
  otherChoice: number;
  /** First differing packets, and later ones of the same flows. */
  different: number;
  consequence: number;
  /** What they answer arrived on one side only. */
  moot: number;
  /**
   * They answer or follow what neither side delivers, so that they could not have been sent: the recording is of another
   * dataplane than both. Nothing is learnt from them.
   */
  contradicted: number;
  /** Waiting for further fragments in at least one plane. */
  held: number;
  undecided: number;
  /** Of those, that the current plane alone could judge. */
  newlyUndecided: number;
  /** Packets with an address that the cluster knows. */
  matched: number;
}

export class Comparison implements Judge {
  readonly counts: ComparisonCounts = {
    packets: 0, same: 0, otherChoice: 0, different: 0, consequence: 0, moot: 0, contradicted: 0, held: 0, undecided: 0, newlyUndecided: 0,
    matched: 0,
  };
  /** Reasons, prefixed by the plane's name. */
  readonly reasons = new Map<string, number>();
  readonly findings = new Map<string, Finding>();
  readonly coverage = new Coverage();
  /** What both sides refuse alike, a row for flows that are alike. */
  readonly refused = new Map<string, Predicted>();
  private readonly noted = new WeakSet<Flow>();
  private readonly found: Finding[] = [];
  /** Flows of which a packet was undecided: what a plane remembers of them is not what it would. */
  private readonly open = new WeakSet<Flow>();
  /** Flows whose way through a service was noted. */
  private readonly served = new WeakSet<Flow>();
  /** TCP flows whose last SYN neither side delivered. */
  private readonly unborn = new WeakSet<Flow>();
  /** What the packet under way shows, and why it is undecided. */
  private shown: Finding | null = null;
  private why = "";
  /** Of the packet under way. */
  private affinity: Affinity | null = null;
  private readonly memory: Memory;
  /** Flows to services with session affinity. */
  private readonly sticky = new WeakMap<Flow, { readonly client: string; readonly frontend: string }>();

  constructor(
    private readonly planes: readonly [Plane, Plane],
    private readonly names: () => Names,
    private readonly currentHasPolicy: boolean,
    /** Whether the NetworkPolicies of the moment deny a flow by the words of their API; ports in host order. */
    private readonly policyDenies: PolicyDenies,
    /** Tells of every packet; null where nobody listens. */
    private readonly teller: Teller | null = null,
    /** Versions and options of both, for differences that depend on them. */
    private readonly settings: readonly [SettingSide, SettingSide] | null = null,
    private readonly given: {
      /** How a difference is named; absent: by the catalogue. */
      readonly nameOf?: (situation: Situation) => Named;
      /** Names of the target's cluster, where it is another. */
      readonly targetNames?: () => Names;
      /** Why a packet cannot be put to two clusters at once; empty where it can. */
      readonly strange?: (packet: Packet) => string;
      /** Of earlier flows, where others were compared before. */
      readonly memory?: Memory;
    } = {},
  ) {
    this.memory = given.memory ?? new Memory();
  }

  judge(packet: Packet): void {
    this.counts.packets++;
    if (this.matches(packet)) this.counts.matched++;
    this.shown = null;
    this.why = "";
    this.affinity = null;
    const found = this.classify(packet);
    this.counts[found]++;
    this.memory.losses.begin(packet);
    if (found === "same") this.refuse(packet);
    this.teller?.packet(packet, this.names(), { class: found, finding: this.shown, undecided: this.why }, (index) => {
      const side = this.side(index, packet.outcomes[index]);
      return { ...side, text: describeSide(side, this.names()) };
    });
  }

  undecided(view: View, reason: string): void {
    this.counts.packets++;
    this.counts.undecided++;
    if (this.touch(view.tuple, view.protocol).known) this.counts.matched++;
    this.note(reason);
    this.teller?.unasked(view, this.names(), reason);
  }

  private classify(packet: Packet): JudgedClass {
    const [current, target] = packet.outcomes;
    const flow = packet.flow;
    const strange = this.given.strange?.(packet) ?? "";
    if (strange !== "") {
      this.note(strange);
      this.why = strange;
      this.counts.newlyUndecided++;
      if (flow !== null) this.open.add(flow);
      return "undecided";
    }
    if (current.end === End.Undecided || target.end === End.Undecided) {
      if (current.end !== End.Undecided) this.counts.newlyUndecided++;
      this.noteUndecided(current, target);
      if (flow !== null) this.open.add(flow);
      return "undecided";
    }
    if (packet.moot[0] && packet.moot[1]) return "contradicted";
    if (packet.moot[0] || packet.moot[1]) return "moot";
    if (this.follows(packet)) return "contradicted";
    if (current.end === End.Held || target.end === End.Held) {
      this.memory.losses.note(packet);
      return "held";
    }
    this.cover(packet);
    const lost = this.memory.losses.of(packet);
    if (lost !== null) return this.record(lost, Facet.Reached);
    const isReply = packet.kind === "reply";
    if (current.arrived && target.arrived && packet.kind !== "error" && !checksumsAgree(current, target)) {
      return this.record(packet, Facet.Damage);
    }
    const facets = differingFacets(current, target, isReply, packet.restored[0] && packet.restored[1]);
    const tied = flow !== null && packet.kind === "request" && this.isTied(flow, packet);
    if (facets === Facet.Destination && flow !== null && (this.choseFromEqualSets(flow, packet) || tied)) return "otherChoice";
    if (facets === 0 && packet.kind === "request" && differentHops(packet)) return this.record(packet, Facet.Hops);
    return facets === 0 ? "same" : this.record(packet, facets);
  }

  /** Whether it is a segment after a SYN that neither side delivered; no sender goes on then. */
  private follows({ flow, kind, view, outcomes: [current, target] }: Packet): boolean {
    if (flow === null || kind !== "request" || view.protocol !== 6 || view.isFragment) return false;
    if ((view.tcpFlags & (SYN | ACK)) !== SYN) return this.unborn.has(flow);
    if (current.arrived || target.arrived) this.unborn.delete(flow);
    else this.unborn.add(flow);
    return false;
  }

  /** Whether the cluster knows the packet; looked up once a flow, which also notes what the traffic touches. */
  private matches(packet: Packet): boolean {
    const { flow, view } = packet;
    if (flow !== null && flow.matched >= 0) return flow.matched === 1;
    const tuple = flow?.entry[0] ?? view.tuple;
    const { known, frontend } = view.class === ViewClass.Packet ? this.touch(tuple, view.protocol) : UNKNOWN;
    if (flow !== null) {
      flow.matched = known ? 1 : 0;
      if (frontend?.service.sessionAffinity === "ClientIP" && frontend.port !== null) {
        const { namespace, name } = frontend.service;
        const port = `${namespace}/${name}:${frontend.port.name}/${frontend.port.protocol}`;
        this.sticky.set(flow, { client: `${addressText(Tuple.source(tuple))} ${port}`, frontend: endText(tuple) });
      }
    }
    return known;
  }

  private cover(packet: Packet): void {
    const { flow, view, outcomes, kind } = packet;
    const opens = kind === "request" && (flow === null || !this.served.has(flow));
    if (flow !== null) this.served.add(flow);
    const tuple = flow?.entry[0] ?? view.tuple;
    const addressed = opens && this.names().frontend(addressText(Tuple.destination(tuple)), protocolName(Tuple.protocol(tuple)),
      Tuple.destinationPort(tuple)) !== null;
    for (const index of [0, 1] as const) {
      this.coverage.walk(index, outcomes[index], view.tuple);
      if (addressed) this.coverage.serve(index, outcomes[index], tuple);
    }
  }

  private touch(tuple: Uint8Array, protocol: number): { known: boolean; frontend: Frontend | null } {
    const names = this.names();
    const source = addressText(Tuple.source(tuple));
    const destination = addressText(Tuple.destination(tuple));
    const frontend = names.frontend(destination, protocolName(protocol), Tuple.destinationPort(tuple));
    this.coverage.touch(frontend);
    return { known: frontend !== null || names.knows(source) || names.knows(destination), frontend };
  }

  private record(packet: Packet, facets: number): JudgedClass {
    const flow = packet.flow;
    if (flow !== null && isConsequence(flow.facets, facets)) {
      this.shown = this.found[flow.difference];
      this.shown.packets++;
      return "consequence";
    }
    if (flow !== null && this.open.has(flow)) {
      this.note(AFTER_UNDECIDED);
      return "undecided";
    }
    const situation = this.situation(packet, facets);
    const named = this.given.nameOf?.(situation) ?? { id: nameOf(situation), causes: [] };
    const finding = this.finding(situation, named, facets);
    finding.flows++;
    finding.packets++;
    if (flow !== null) {
      flow.difference = this.found.indexOf(finding);
      flow.facets |= facets;
    }
    this.shown = finding;
    return "different";
  }

  private situation(packet: Packet, facets: number): Situation {
    const [current, target] = packet.outcomes;
    const tuple = packet.flow?.entry[0] ?? packet.view.tuple;
    const names = this.names();
    const source = addressText(Tuple.source(tuple));
    const destination = addressText(Tuple.destination(tuple));
    const protocol = protocolName(Tuple.protocol(tuple));
    return {
      facets, packet, tuple, source, destination, protocol, names,
      port: Tuple.destinationPort(tuple),
      frontend: names.frontend(destination, protocol, Tuple.destinationPort(tuple)),
      current: this.side(0, current), target: this.side(1, target),
      currentHasPolicy: this.currentHasPolicy, seenBefore: (packet.flow?.packets ?? 0) > 1,
      idleNs: packet.flow === null || packet.flow.pausedNs === packet.flow.lastNs ? 0 : packet.flow.pausedNs,
      affinity: this.affinity,
      followsFirst: () => this.memory.losses.hasBegun(packet),
      masqueraded: () => this.memory.masqueraded(this.remoteOf(packet)),
      policyDenies: () => current.arrived && this.policyDenies(Tuple.source(current.image), Tuple.destination(current.image),
        Tuple.protocol(current.image), Tuple.destinationPort(current.image)),
      policyDeniesSender: () => current.arrived && this.policyDenies(Tuple.source(tuple), Tuple.destination(current.image),
        Tuple.protocol(current.image), Tuple.destinationPort(current.image)),
      policyDeniesBetween: (from, to, at) => {
        const ends = [parseAddress(from)?.bytes, parseAddress(to)?.bytes];
        return ends[0] !== undefined && ends[1] !== undefined && this.policyDenies(ends[0], ends[1], Tuple.protocol(tuple), at);
      },
      targetReads: (from, to, at) => {
        const ends = [parseAddress(from)?.bytes, parseAddress(to)?.bytes];
        return ends[0] === undefined || ends[1] === undefined ? "unknown"
          : this.policyDenies.reads(ends[0], ends[1], Tuple.protocol(tuple), at);
      },
    };
  }

  private side(index: number, outcome: Outcome): Situation["current"] {
    const plane = this.planes[index];
    const journey = outcome.end === End.None ? NO_JOURNEY : plane.journey(outcome.journey);
    const setting = this.settings?.[index];
    return {
      outcome, journey, profile: plane.profile, version: setting?.version ?? "", options: setting?.options ?? {},
      ...(setting?.keepsLabel === undefined ? {} : { keepsLabel: setting.keepsLabel }),
      reason: plane.reasons[outcome.reason] ?? "", node: plane.nodes[outcome.node] ?? "",
      sourceSeen: outcome.arrived ? addressText(Tuple.source(outcome.image)) : "",
      destination: outcome.arrived ? addressText(Tuple.destination(outcome.image)) : "",
    };
  }

  private finding(situation: Situation, { id, causes }: Named, facets: number): Finding {
    const { packet, names } = situation;
    const targetNames = this.given.targetNames?.() ?? names;
    const ports = situation.protocol === "TCP" || situation.protocol === "UDP" || situation.protocol === "SCTP";
    const row = {
      id, facet: FACET_NAMES[facets], source: names.describe(situation.source), destination: names.describe(situation.destination),
      protocol: packet.kind === "error" ? `ICMP error about ${situation.protocol}` : situation.protocol, port: ports ? situation.port : 0,
      current: describeSide(situation.current, names), target: describeSide(situation.target, targetNames),
      reachesNow: situation.current.outcome.arrived, causes, receiver: receiverOf(situation, names, targetNames),
    };
    const key = JSON.stringify(row);
    let finding = this.findings.get(key);
    if (finding === undefined) {
      finding = {
        ...row, becauses: becausesOf(situation), flows: 0, packets: 0,
        firstCapture: packet.view.capture, firstRecord: packet.view.record, firstFlow: tupleText(situation.tuple),
        predicted: packet.kind === "error" ? null : this.predict(packet),
      };
      this.findings.set(key, finding);
      this.found.push(finding);
    }
    return finding;
  }

  private predict(packet: Packet): Predicted | null {
    const names = this.names();
    const side = (index: 0 | 1): JudgedSide => {
      const { journey, reason, node } = this.side(index, packet.outcomes[index]);
      return sideOf(packet, index, { journey, reason, node, text: "" });
    };
    return predictedOf(fiveTuple(packet.flow?.entry[0] ?? packet.view.tuple), [side(0), side(1)], names);
  }

  /** A request that neither side lets through: what is dropped after a switch and was before. */
  private refuse(packet: Packet): void {
    if (packet.kind !== "request" || packet.outcomes[1].arrived || this.refused.size >= MOST_REFUSED) return;
    const { flow } = packet;
    if (flow === null || this.noted.has(flow)) return;
    this.noted.add(flow);
    const predicted = this.predict(packet);
    if (predicted === null || predicted.target.verdict !== "DROPPED") return;
    // Whoever opens connections uses a port of many: it is in none of them.
    this.refused.set(JSON.stringify(predicted), predicted);
  }

  /** The journeys of a flow's requests keep the set they chose from; equal sets make any member the same. */
  private choseFromEqualSets(flow: Flow, packet: Packet): boolean {
    const [current, target] = packet.outcomes;
    if (current.end !== target.end || flow.planes[0][0].moved || flow.planes[1][0].moved) return false;
    const a = this.planes[0].journey(current.journey).eligibleBackends;
    const b = this.planes[1].journey(target.journey).eligibleBackends;
    if (a !== null && b !== null) {
      flow.sameChoice = a.length === b.length && a.every((one, index) => one === b[index]) && holds(a, current) && holds(b, target);
    }
    return flow.sameChoice;
  }

  /**
   * Whether session affinity led the packet where it led this client before, in each plane, by the same frontend: a
   * choice that was made then. Keeps what is chosen now, and counts what the target masquerades.
   */
  private isTied(flow: Flow, packet: Packet): boolean {
    const [current, target] = packet.outcomes;
    const isMasqueraded = target.end === End.Left && !sameSource(target.image, flow.entry[0]);
    if (isMasqueraded && flow.packets <= 1) this.memory.masquerade(this.remoteOf(packet));
    const sticky = this.sticky.get(flow);
    if (sticky === undefined || !current.arrived || !target.arrived) return false;
    this.affinity = this.memory.affinity(sticky.client, sticky.frontend);
    const { here } = this.affinity;
    const now = { current: endText(current.image), target: endText(target.image) };
    const chosen = this.planes[0].journey(current.journey).eligibleBackends !== null && this.choseFromEqualSets(flow, packet);
    if (here === null || chosen) this.memory.tie(sticky.client, sticky.frontend, now);
    const kept = here !== null && here.current === now.current && here.target === now.target;
    if (kept) flow.sameChoice = true;
    return kept;
  }

  /** The node that a packet set out from or came to last, and the remote port it is for. */
  private remoteOf({ outcomes: [, target], view, flow }: Packet): string {
    const tuple = flow?.entry[0] ?? view.tuple;
    return `${target.node >= 0 ? target.node : view.node} ${Tuple.protocol(tuple)} ${endText(tuple)}`;
  }

  private note(reason: string): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + 1);
    this.why = this.why === "" ? reason : `${this.why}; ${reason}`;
  }

  private noteUndecided(current: Outcome, target: Outcome): void {
    const note = (index: number, outcome: Outcome): void => {
      if (outcome.end !== End.Undecided) return;
      this.note(`${this.planes[index].name}: ${this.planes[index].reasons[outcome.reason]}`);
    };
    note(0, current);
    note(1, target);
  }
}

/** Of the side that does not deliver first, its last decision foremost: that is what the reader looks for. */
function becausesOf({ current, target }: Situation): Because[] {
  if (current.outcome.arrived && !target.outcome.arrived) return [...target.journey.becauses].reverse().concat(current.journey.becauses);
  if (target.outcome.arrived && !current.outcome.arrived) return [...current.journey.becauses].reverse().concat(target.journey.becauses);
  return [...current.journey.becauses, ...target.journey.becauses];
}

export interface PolicyDenies {
  (source: Uint8Array, destination: Uint8Array, protocol: number, port: number): boolean;
  /** The target's own reading of all that it reads. */
  readonly reads: (source: Uint8Array, destination: Uint8Array, protocol: number, port: number) => "allow" | "deny" | "unknown";
}

/**
 * The same place reached over another number of hops. A node's own packets are left out: Cilium may take them to a
 * pod of the node through cilium_host, which counts as one, and the kernel does not.
 */
function differentHops({ outcomes: [current, target], flow }: Packet): boolean {
  return current.arrived && flow !== null && flow.entryDevice[0] !== 0 && current.node === target.node
    && current.device === target.device && current.ttl !== target.ttl;
}

/** A flow that goes elsewhere or nowhere fares otherwise from then on; another source seen explains only itself. */
function isConsequence(before: number, now: number): boolean {
  return (before & (Facet.Reached | Facet.Destination | Facet.Refusal | now)) !== 0;
}

/** Whether a plane's destination is in a set of `ip:port`. */
function holds(backends: readonly string[], outcome: Outcome): boolean {
  const address = addressText(Tuple.destination(outcome.image));
  const port = Tuple.destinationPort(outcome.image);
  return outcome.withoutPorts || backends.includes(address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`);
}

function receiverOf({ current, target, destination }: Situation, names: Names, targetNames: Names): string {
  if (current.outcome.arrived) return names.describe(current.destination);
  return target.outcome.arrived ? targetNames.describe(target.destination) : names.describe(destination);
}

/** TCP flag bits. */
const SYN = 0x02;
const ACK = 0x10;
const UNKNOWN = { known: false, frontend: null };
/** Rows of what both sides refuse that a report holds. */
const MOST_REFUSED = 4096;
const AFTER_UNDECIDED = "differs, and an earlier packet of the flow is undecided";
const NO_JOURNEY: Journey = { id: 0, end: End.None, reason: "", becauses: [], passed: [], eligibleBackends: null,
  eligibleSourcePorts: null };

/** `delivered to default/web-a, source node1`, `dropped (POLICY_DENIED)`. */
function describeSide(side: Situation["current"], names: Names): string {
  const { outcome } = side;
  const word = END_WORDS[outcome.end];
  if (outcome.arrived) return `${word} to ${names.describe(side.destination)}, source ${names.describe(side.sourceSeen)}`;
  const answer = outcome.answerProtocol === 0 ? "" : `, answered by ${answerText(outcome, names)}`;
  return side.reason === "" ? `${word}${answer}` : `${word} (${side.reason})${answer}`;
}

function answerText(outcome: Outcome, names: Names): string {
  if (outcome.answerProtocol === 6) return "a TCP reset";
  const v4 = outcome.answerProtocol === 1;
  const from = addressText(outcome.answerSource.subarray(0, v4 ? 4 : 16));
  return `${v4 ? "ICMP" : "ICMPv6"} ${outcome.answerType}/${outcome.answerCode} from ${names.describe(from)}`;
}

function addressText(bytes: Uint8Array): string {
  return addressFromBytes(bytes).text;
}
