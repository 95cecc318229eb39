/**
 * The comparison: told of every packet by the replay, it finds what differs, names it, and counts. It knows
 * outcomes and journeys, not planes.
 *
 * The first differing packet of a flow makes a finding; what differs later in that flow is its consequence and is
 * counted apart. A packet that one plane cannot judge is undecided, never the same.
 */
import { addressText, parseAddress } from "../cluster/address.js";
import { End, type Journey, type Plane } from "../dataplane.js";
import type { Judge, Packet } from "../replay/loop.js";
import type { Outcome } from "../replay/outcome.js";
import { Tuple } from "../replay/tuple.js";
import { type View, ViewClass } from "../replay/view.js";
import { nameOf, type SettingSide, type Situation } from "./catalogue/index.js";
import { Choices, remoteOf } from "./choices.js";
import { checksumsAgree, differingFacets, Facet } from "./facets.js";
import { Coverage } from "./coverage.js";
import { describeSide, type Finding, Findings, type Named } from "./finding.js";
import { Memory } from "./memory.js";
import { fiveTuple, type JudgedClass, type JudgedSide, type PacketListener, protocolName, sideOf } from "./judged.js";
import type { Frontend, Names } from "./names.js";
import { type Predicted, predictedOf } from "./predicted.js";

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
  readonly findings = new Findings();
  readonly coverage = new Coverage();
  /** What both sides refuse alike, a row for flows that are alike. */
  readonly refused = new Map<string, Predicted>();
  /** What the packet under way shows, and why it is undecided. */
  private shown: Finding | null = null;
  private why = "";
  /** Its situation, where one was looked at; outcomes in it may be an earlier fragment's. */
  private situated: Situation | null = null;
  /** Whose situation predicates ask about. */
  private under: Packet | null = null;
  /** What policies said of it already. */
  private readonly answers = new Map<string, ReturnType<Reads>>();
  private readonly asks = this.asking();
  private readonly memory: Memory;
  private readonly choices: Choices;

  constructor(
    private readonly planes: readonly [Plane, Plane],
    private readonly names: () => Names,
    private readonly currentHasPolicy: boolean,
    /** Whether the NetworkPolicies of the moment deny a flow by the words of their API; ports in host order. */
    private readonly policyDenies: PolicyDenies,
    /** Tells of every packet; null where nobody listens. */
    private readonly teller: PacketListener | null = null,
    /** Versions and options of both, for differences that depend on them. */
    private readonly settings: readonly [SettingSide, SettingSide] | null = null,
    private readonly given: {
      /** How a difference is named; absent: by the catalogue. */
      readonly nameOf?: (situation: Situation) => Named;
      /** Names of the target's cluster, where it is another. */
      readonly targetNames?: () => Names;
      /** Why a packet cannot be put to two clusters at once; empty where it can. */
      readonly strange?: (packet: Packet) => string;
      /** Whether it says of what differs, or is refused by both, what will be seen after a switch; absent: it does. */
      readonly predicts?: boolean;
      /** Of earlier flows, where others were compared before. */
      readonly memory?: Memory;
    } = {},
  ) {
    this.memory = given.memory ?? new Memory();
    this.choices = new Choices(planes, this.memory);
  }

  judge(packet: Packet): void {
    this.counts.packets++;
    if (this.matches(packet)) this.counts.matched++;
    this.shown = null;
    this.why = "";
    this.situated = null;
    this.choices.affinity = null;
    const found = this.classify(packet);
    this.counts[found]++;
    this.memory.losses.begin(packet, found === "held");
    if (found === "same" && this.given.predicts !== false) this.refuse(packet);
    this.teller?.packet(packet, this.names(), { class: found, finding: this.shown, undecided: this.why }, (index) => {
      const known = index === 0 ? this.situated?.current : this.situated?.target;
      const side = known?.outcome === packet.outcomes[index] ? known : this.side(index, packet.outcomes[index]);
      const names = this.names();
      return { journey: side.journey, reason: side.reason, node: side.node, get text() {
        return describeSide(side, names);
      } };
    });
  }

  /** No packet comes any more: fragments that still wait were not judged. */
  end(): void {
    const fragments = this.memory.losses.neverWhole;
    if (fragments === 0) return;
    this.counts.held -= fragments;
    this.counts.undecided += fragments;
    this.note("the rest of its datagram is not in the captures, or is dropped before it is whole", fragments);
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
      if (flow !== null) flow.notes |= Note.Open;
      return "undecided";
    }
    if (current.end === End.Undecided || target.end === End.Undecided) {
      if (current.end !== End.Undecided) this.counts.newlyUndecided++;
      this.noteUndecided(current, target);
      if (flow !== null) flow.notes |= Note.Open;
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
    const tied = flow !== null && packet.kind === "request" && this.choices.isTied(flow, packet);
    if (facets === Facet.Destination && flow !== null && (this.choices.choseFromEqualSets(flow, packet) || tied)) return "otherChoice";
    if (facets === 0 && packet.kind === "request" && differentHops(packet)) return this.record(packet, Facet.Hops);
    return facets === 0 ? "same" : this.record(packet, facets);
  }

  /** Whether it is a segment after a SYN that neither side delivered; no sender goes on then. */
  private follows({ flow, kind, view, outcomes: [current, target] }: Packet): boolean {
    if (flow === null || kind !== "request" || view.protocol !== 6 || view.isFragment) return false;
    if ((view.tcpFlags & (SYN | ACK)) !== SYN) return (flow.notes & Note.Unborn) !== 0;
    if (current.arrived || target.arrived) flow.notes &= ~Note.Unborn;
    else flow.notes |= Note.Unborn;
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
      this.choices.begin(flow, tuple, frontend);
    }
    return known;
  }

  private cover(packet: Packet): void {
    const { flow, view, outcomes, kind } = packet;
    const opens = kind === "request" && (flow === null || (flow.notes & Note.Served) === 0);
    if (flow !== null) flow.notes |= Note.Served;
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
      this.shown = this.findings.at(flow.difference);
      this.shown.packets++;
      return "consequence";
    }
    if (flow !== null && (flow.notes & Note.Open) !== 0) {
      this.note(AFTER_UNDECIDED);
      return "undecided";
    }
    if (lacksAnswers(packet)) {
      this.note(NO_ANSWERS);
      return "undecided";
    }
    const situation = this.situation(packet, facets);
    this.situated = situation;
    const named = this.given.nameOf?.(situation) ?? { id: nameOf(situation), causes: [] };
    const finding = this.findings.of(situation, named, facets, this.given.targetNames?.() ?? situation.names,
      () => packet.kind === "error" || this.given.predicts === false ? null : this.predict(packet));
    finding.flows++;
    finding.packets++;
    if (flow !== null) {
      flow.difference = this.findings.number;
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
    this.under = packet;
    this.answers.clear();
    const { asks } = this;
    return {
      entered: this.planes[0].nodes[packet.flow?.entryNode[0] ?? packet.view.node] ?? "",
      facets, packet, tuple, source, destination, protocol, names,
      port: Tuple.destinationPort(tuple),
      frontend: names.frontend(destination, protocol, Tuple.destinationPort(tuple)),
      current: this.side(0, current), target: this.side(1, target),
      currentHasPolicy: this.currentHasPolicy, seenBefore: (packet.flow?.packets ?? 0) > 1,
      idleNs: packet.flow === null || packet.flow.pausedNs === packet.flow.lastNs ? 0 : packet.flow.pausedNs,
      affinity: this.choices.affinity,
      followsFirst: asks.followsFirst, masqueraded: asks.masqueraded, policyDenies: asks.policyDenies,
      policyDeniesSender: asks.policyDeniesSender, policyDeniesBetween: asks.policyDeniesBetween, targetReads: asks.targetReads,
      readsNetworkPolicy: asks.readsNetworkPolicy, engineReads: asks.engineReads, targetHandsToProxy: asks.targetHandsToProxy,
    };
  }

  /** What predicates may ask about the packet under way: made once, since most packets of a `check` get a name. */
  private asking(): Asking {
    const tuple = (): Uint8Array => this.under!.flow?.entry[0] ?? this.under!.view.tuple;
    const arrivedDenied = (image: Uint8Array, from: Uint8Array): boolean =>
      this.policyDenies(Tuple.source(from), Tuple.destination(image), Tuple.protocol(image), Tuple.destinationPort(image));
    const asked = (which: "reads" | "readsNetworkPolicy" | "engineReads", from: string, to: string, at: number,
      way?: "egress" | "ingress", number = Tuple.protocol(tuple())): ReturnType<Reads> => {
      const key = `${which} ${from} ${to} ${number} ${at} ${way}`;
      let answer = this.answers.get(key);
      if (answer === undefined) {
        const ends = [parseAddress(from)?.bytes, parseAddress(to)?.bytes];
        answer = ends[0] === undefined || ends[1] === undefined ? "unknown" : this.policyDenies[which](ends[0], ends[1], number, at, way);
        this.answers.set(key, answer);
      }
      return answer;
    };
    return {
      followsFirst: () => this.memory.losses.hasBegun(this.under!),
      masqueraded: () => this.memory.masqueraded(remoteOf(this.under!)),
      policyDenies: () => {
        const [current] = this.under!.outcomes;
        return current.arrived && arrivedDenied(current.image, current.image);
      },
      policyDeniesSender: () => {
        const [current] = this.under!.outcomes;
        return current.arrived && arrivedDenied(current.image, tuple());
      },
      policyDeniesBetween: (from, to, at) => {
        const ends = [parseAddress(from)?.bytes, parseAddress(to)?.bytes];
        return ends[0] !== undefined && ends[1] !== undefined && this.policyDenies(ends[0], ends[1], Tuple.protocol(tuple()), at);
      },
      targetReads: (from, to, at, way, number) => asked("reads", from, to, at, way, number),
      readsNetworkPolicy: (from, to, at, way) => asked("readsNetworkPolicy", from, to, at, way),
      engineReads: (from, to, at, way) => asked("engineReads", from, to, at, way),
      targetHandsToProxy: (from, to, at) => {
        const ends = [parseAddress(from)?.bytes, parseAddress(to)?.bytes];
        return ends[0] !== undefined && ends[1] !== undefined
          && this.policyDenies.handsToProxy(ends[0], ends[1], Tuple.protocol(tuple()), at);
      },
    };
  }

  private side(index: number, outcome: Outcome): Whole<Situation["current"]> {
    const plane = this.planes[index];
    const journey = outcome.end === End.None ? NO_JOURNEY : plane.journey(outcome.journey);
    const setting = this.settings?.[index] ?? NO_SETTING;
    return {
      version: setting.version, options: setting.options, unmasqueraded: setting.unmasqueraded, podRanges: setting.podRanges,
      keepsLabel: setting.keepsLabel, optionPlace: setting.optionPlace, outcome, journey, profile: plane.profile,
      reason: plane.reasons[outcome.reason] ?? "", node: plane.nodes[outcome.node] ?? "",
      sourceSeen: outcome.arrived ? addressText(Tuple.source(outcome.image)) : "",
      destination: outcome.arrived ? addressText(Tuple.destination(outcome.image)) : "",
    };
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
    if (flow === null || (flow.notes & Note.Refused) !== 0) return;
    flow.notes |= Note.Refused;
    const predicted = this.predict(packet);
    if (predicted === null || predicted.target.verdict !== "DROPPED") return;
    // Whoever opens connections uses a port of many: it is in none of them.
    this.refused.set(JSON.stringify(predicted), predicted);
  }

  private note(reason: string, packets = 1): void {
    this.reasons.set(reason, (this.reasons.get(reason) ?? 0) + packets);
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

export interface PolicyDenies {
  (source: Uint8Array, destination: Uint8Array, protocol: number, port: number): boolean;
  /** The target's own reading of all that it reads. */
  readonly reads: Reads;
  /** The same of NetworkPolicy alone. */
  readonly readsNetworkPolicy: Reads;
  /** NetworkPolicy as an iptables engine reads it. */
  readonly engineReads: Reads;
  /** Whether every rule that lets a flow pass in the target hands it to a proxy. */
  readonly handsToProxy: (source: Uint8Array, destination: Uint8Array, protocol: number, port: number) => boolean;
}

/** With every field, those that may be absent too: none is forgotten where it is made. */
type Whole<T> = { readonly [Key in keyof Required<T>]: T[Key] };

type Asking = Pick<Situation, "followsFirst" | "masqueraded" | "policyDenies" | "policyDeniesSender" | "policyDeniesBetween" | "targetReads"
  | "readsNetworkPolicy" | "engineReads" | "targetHandsToProxy">;

type Reads = (source: Uint8Array, destination: Uint8Array, protocol: number, port: number, way?: "egress" | "ingress")
  => "allow" | "deny" | "unknown";

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

/** What is kept of a flow, in its `notes`. */
const Note = {
  /** That both refuse it. */
  Refused: 1,
  /** A packet was undecided: what a plane remembers of it is not what it would. */
  Open: 2,
  /** Its way through a service. */
  Served: 4,
  /** TCP: neither side delivered its last SYN. */
  Unborn: 8,
} as const;

/** TCP flag bits. */
const RST = 0x04;
const SYN = 0x02;
const ACK = 0x10;
const UNKNOWN = { known: false, frontend: null };
/** Rows of what both sides refuse that a report holds. */
const MOST_REFUSED = 4096;
/**
 * A segment after others that acknowledges what the captures lack, dropped on the current side alone: its conntrack had seen the
 * SYN-ACK, and waits for it here, where all else is INVALID. A capture of one direction is full of them.
 */
function lacksAnswers({ flow, kind, view, direction, outcomes: [current, target] }: Packet): boolean {
  return flow !== null && kind === "request" && view.protocol === 6 && !view.isFragment && (view.tcpFlags & (SYN | ACK | RST)) === ACK
    && flow.packets > 1 && !flow.seen[1 - direction] && current.end === End.Dropped && target.arrived;
}

const NO_ANSWERS = "dropped on the current side, whose conntrack had seen the answers: the connection's answers are not in the captures";

const AFTER_UNDECIDED = "differs, and an earlier packet of the flow is undecided";
const NO_SETTING: SettingSide = { profile: "", version: "", options: {} };
const NO_JOURNEY: Journey = { id: 0, end: End.None, reason: "", becauses: [], passed: [], eligibleBackends: null,
  eligibleSourcePorts: null };
