/**
 * Replay: flow by flow, in a closed loop. Each packet of the capture is given to both planes once, at its earliest
 * view. A request goes in as captured. An answer does not: each plane has its own image of the request, and the
 * answer that plane gets is that image turned round, carrying the captured payload. So a plane's own reverse path
 * is what brings it back, and a different choice of backend does not derail the flow.
 *
 *     views -> Passages (copies joined) -> classify -> inject -> step -> Truth, Judge
 *
 * What the node makes itself (ICMP errors, rebuilt fragments, tunnel outers) is expected output, never input.
 * Nothing here throws for what a capture holds, and memory holds one window of traffic and a bounded flow table.
 */
import { Emission, End, FrameBlock, PacketType, type Pin, StepResults } from "../dataplane.js";
import { applyChange } from "./changes.js";
import { choiceOf, observedChoice } from "./choice.js";
import { Datagrams } from "./datagrams.js";
import { type Flow, Flows, type PlaneSide } from "./flows.js";
import { IcmpKind, icmpKind, isEchoReply, isNeighbourDiscovery } from "./icmp.js";
import { Injection } from "./injection.js";
import type { ReplayOptions } from "./judge.js";
import { opaqueTunnel } from "./opaque.js";
import { Outcome } from "./outcome.js";
import { type Passage, Passages, } from "./passages.js";
import { Trail } from "./trail.js";
import { Truth } from "./truth.js";
import { copyTuple, sameBytes, sameEnd, sameTuple, Tuple, turnTuple, TUPLE_BYTES } from "./tuple.js";
import { type View, ViewClass, ViewPool } from "./view.js";

export type { Judge, Packet, PlaneChange, ReplayOptions } from "./judge.js";

export interface ReplayCounts {
  records: number;
  packets: number;
  /** Views that are further sights of a packet. */
  copies: number;
  notIp: number;
  broken: number;
  neighbourDiscovery: number;
  loopback: number;
  /** Packets the nodes made themselves: expected output. */
  made: number;
  /** Sent by a node's own socket, whose tuple before OUTPUT is not known: the service step was not exercised. */
  socketUnknown: number;
  /** Sent by a pod or node where nothing was captured: put in there, the hops until it was seen are inferred. */
  inferred: number;
  pinsOffered: number;
  pinsTaken: [number, number];
  pinsRefused: [number, number];
  moot: [number, number];
  changes: number;
}

const CHOICE_UNSEEN = "the capture does not show which backend was chosen";
const INFERRED_OTHERWISE = "the node that sent it was not captured, and would have sent it otherwise";
const OPTIONS_WRITTEN = "nodes that were not captured may have written into its IP options";
const STACKED = "a VLAN tag behind another is not judged";
const UNDIRECTED = "the capture does not say which way it crossed the pod's device, and neither address is the pod's alone";
const LEFT_TAGGED = "it left in a VLAN that the node's facts name no device for";
const BEFORE_CAPTURE = "answers a packet of a flow that began before the capture";

/** UDP entries of either plane live at least this long. */
const PAUSE_NS = 20e9;

/** TCP flag bits. */
const SYN = 0x02;
const ACK = 0x10;

export class Replay {
  readonly counts: ReplayCounts = {
    records: 0, packets: 0, copies: 0, notIp: 0, broken: 0, neighbourDiscovery: 0, loopback: 0, made: 0,
    socketUnknown: 0, inferred: 0, pinsOffered: 0, pinsTaken: [0, 0], pinsRefused: [0, 0], moot: [0, 0], changes: 0,
  };
  readonly pool = new ViewPool();
  readonly flows = new Flows();
  readonly truth: Truth;
  private readonly passages: Passages;
  private readonly blocks = [new FrameBlock(1), new FrameBlock(1)];
  private readonly results = [new StepResults(1), new StepResults(1)];
  private readonly outcomes: [Outcome, Outcome] = [new Outcome(), new Outcome()];
  private readonly moot: [boolean, boolean] = [false, false];
  private readonly restored: [boolean, boolean] = [false, false];
  private readonly injection = new Injection();
  private readonly packet = {
    view: null as unknown as View, views: [] as readonly View[], flow: null as Flow | null, direction: 0,
    kind: "request" as "request" | "reply" | "error", outcomes: this.outcomes, moot: this.moot,
    restored: this.restored,
  };
  private readonly scratch = new Uint8Array(TUPLE_BYTES);
  private readonly datagrams: Datagrams;
  /** The packet under way may rightly go to another backend than the one before. */
  private mayChoose = false;
  /** The current plane was given the packet where it was first seen. */
  private unproven = true;
  private readonly trail: Trail;
  private nextChange = 0;
  private clockNs = 0;

  constructor(private readonly options: ReplayOptions) {
    this.datagrams = new Datagrams(4 * options.windowNs);
    this.passages = new Passages(options.points, this.pool, options.windowNs, options.seesAll);
    this.trail = new Trail((node, device) => options.points.covered(node, device));
    this.truth = new Truth(options.windowNs, options.keyOf, (node, device) => options.points.covered(node, device));
  }

  /** Takes a view; views come oldest first over all captures. */
  add(view: View): void {
    this.counts.records++;
    if (view.timeNs > this.clockNs) this.clockNs = view.timeNs;
    if (view.class === ViewClass.Packet && view.isFragment && view.vlanProtocol === 0) this.datagrams.note(view);
    this.passages.add(view);
    for (let ready = this.passages.take(this.clockNs); ready !== null; ready = this.passages.take(this.clockNs)) this.play(ready);
  }

  /** A record of what is captured at the same point by itself too: a VLAN's frame at the device that carries it. */
  repeats(view: View): void {
    this.counts.records++;
    this.counts.copies++;
    this.pool.give(view);
  }

  /** Plays what still waits. */
  finish(): void {
    for (let last = this.passages.take(Infinity); last !== null; last = this.passages.take(Infinity)) this.play(last);
    this.truth.expire(Infinity);
  }

  private play(passage: Passage): void {
    const first = passage.first;
    this.applyChanges(first.timeNs);
    this.counts.copies += passage.views.length - 1;
    this.route(passage, first);
    this.truth.expire(first.timeNs - this.options.windowNs);
    this.passages.give(passage);
  }

  private route(passage: Passage, first: View): void {
    if (first.class === ViewClass.NotIp) {
      this.counts.notIp++;
      return;
    }
    if (this.options.points.deviceKind(first.node, first.device) === "loopback") {
      this.counts.loopback++;
      return;
    }
    if (first.class === ViewClass.Undirected) {
      this.pass(passage, UNDIRECTED);
      return;
    }
    if (first.vlanProtocol !== 0) {
      this.replayTagged(passage, first);
      return;
    }
    if (first.class === ViewClass.Broken) {
      this.counts.broken++;
      this.setOut(first);
      this.replay(passage, null, 0, "request");
      return;
    }
    if (isNeighbourDiscovery(first)) {
      this.counts.neighbourDiscovery++;
      return;
    }
    const opaque = opaqueTunnel(first, this.options.points);
    if (opaque !== "") {
      this.pass(passage, opaque);
      return;
    }
    for (const view of passage.views) if (view.fragmentOffset > 0) this.datagrams.fillPorts(view);
    const icmp = icmpKind(first);
    if (this.isMade(first, icmp)) {
      this.counts.made++;
      this.truth.expectMade(passage.views);
      return;
    }
    if (icmp === IcmpKind.Error) this.replayError(passage, first);
    else this.replayFlow(passage, first);
  }

  /** In a VLAN that the node's facts name no device for: in another network than the packets of the flows. */
  private replayTagged(passage: Passage, first: View): void {
    if (first.class === ViewClass.Stacked || first.kind === Emission.Out) {
      this.pass(passage, first.class === ViewClass.Stacked ? STACKED : LEFT_TAGGED);
      return;
    }
    this.setOut(first);
    this.replay(passage, null, 0, "request");
  }

  private replayFlow(passage: Passage, first: View): void {
    const { origin } = this.injection;
    this.options.points.originOf(first, origin);
    if (origin.inferred) this.counts.inferred++;
    const tuple = origin.device === 0 ? this.entryTuple(first, origin.node) : first.tuple;
    const direction = this.flows.find(tuple);
    let flow = this.flows.found;
    const opens = direction < 0 || flow === null;
    if (opens && this.answersTheUnseen(passage)) {
      this.pass(passage, BEFORE_CAPTURE);
      return;
    }
    if (direction < 0 || flow === null) {
      flow = this.flows.open(tuple, first.timeNs);
      flow.unfit = this.options.unfit(first.tuple, this.lastTuple(passage), first.timed ? first.timeNs : null);
      flow.entryNode[0] = origin.node;
      flow.entryDevice[0] = origin.device;
      flow.openedBy = first.isFragment ? first.fragmentId : -1;
    } else {
      if (!flow.seen[direction]) {
        flow.entryNode[direction] = origin.node;
        flow.entryDevice[direction] = origin.device;
      }
      this.flows.enter(flow, direction, tuple, first.timeNs);
    }
    const side = Math.max(0, direction);
    // Whatever came before got nowhere: this datagram opens the flow as far as choices go.
    if (side === 0 && !flow.chosen) flow.openedBy = first.isFragment ? first.fragmentId : -1;
    this.mayChoose = this.counts.changes !== flow.changes || this.mayPin(flow, first, opens);
    flow.changes = this.counts.changes;
    const pin = side === 0 && this.mayPin(flow, first, opens) ? observedChoice(tuple, this.lastTuple(passage), first.backend) : null;
    if (pin !== null) this.counts.pinsOffered++;
    if (origin.hops > 0 && first.hasOptions) flow.unfit = OPTIONS_WRITTEN;
    this.injection.socketTuple = origin.device === 0 ? tuple : null;
    this.replay(passage, flow, side, side === 0 ? "request" : "reply", pin);
    if (passage.views.length > 1 || this.lastTuple(passage) !== passage.last.tuple) flow.chosen = true;
    if (side === 1 && strays(flow, passage.last)) flow.strayed = true;
    this.flows.depict(flow, side, this.lastTuple(passage));
  }

  /** An ICMP error from a pod or from outside: about the flow whose image it quotes. */
  private replayError(passage: Passage, first: View): void {
    const direction = this.injection.quotedTuple(first, this.scratch) ? this.flows.findImage(this.scratch) : -1;
    this.setOut(first);
    if (first.kind === Emission.Out) this.options.points.originOf(first, this.injection.origin);
    if (direction < 0) this.replay(passage, null, 0, "error");
    else this.replay(passage, this.flows.found, direction, "error");
  }

  /** It starts where it was seen. */
  private setOut(first: View): void {
    const { origin } = this.injection;
    origin.node = first.node;
    origin.device = first.kind === Emission.In ? first.device : 0;
    origin.hops = 0;
    origin.inferred = false;
    this.injection.socketTuple = null;
  }

  /** Neither plane is asked about it. */
  private pass(passage: Passage, reason: string): void {
    this.counts.packets++;
    this.truth.undecided(passage.views, reason);
    this.options.judge.undecided(passage.first, reason);
  }

  private replay(passage: Passage, flow: Flow | null, direction: number, kind: "request" | "reply" | "error",
    pin: Pin | null = null): void {
    if (flow !== null && flow.unfit !== "") {
      this.pass(passage, flow.unfit);
      return;
    }
    const first = passage.first;
    this.stepPlane(0, first, flow, direction, kind, pin);
    if (flow !== null && kind === "request" && this.contradicts(first)) {
      flow.unfit = INFERRED_OTHERWISE;
      this.pass(passage, flow.unfit);
      return;
    }
    this.counts.packets++;
    const leftOpen = flow !== null && direction === 0 && kind === "request" && this.leavesOpen(flow, passage);
    if (leftOpen) flow.unobserved = true;
    this.stepPlane(1, first, flow, direction, kind, pin ?? (leftOpen ? choiceOf(this.outcomes[0].image) : null));
    const current = this.results[0];
    if (flow !== null && kind !== "error") this.learn(flow, direction);
    if (flow?.unobserved === true && !(kind === "reply" && this.staysAway(flow, passage.last))) {
      if (this.moot[0]) this.truth.undecided(passage.views, CHOICE_UNSEEN);
      else this.truth.settleIfSame(passage.views, this.unproven ? 1 : 0, current, CHOICE_UNSEEN);
    } else if (this.moot[0]) this.truth.missing(passage.views);
    else this.truth.settle(passage.views, this.unproven ? 1 : 0, current, 0, this.options.planes[0].reasons[current.reason[0]]);
    this.packet.view = first;
    this.packet.views = passage.views;
    this.packet.flow = flow;
    this.packet.direction = direction;
    this.packet.kind = kind;
    this.options.judge.judge(this.packet);
  }

  /**
   * A request that was last seen before the current plane chose by chance leaves open what the recorded choice was.
   * The target is then offered the current plane's, for one may rule later ones (session affinity).
   */
  private leavesOpen(flow: Flow, passage: Passage): boolean {
    const { last } = passage;
    const { points, planes } = this.options;
    const [outcome] = this.outcomes;
    if (flow.chosen || last.backend !== null || points.complete || !outcome.arrived || this.lastTuple(passage) !== last.tuple) return false;
    const { eligibleBackends } = planes[0].journey(outcome.journey);
    if (eligibleBackends === null || eligibleBackends.length < 2) return false;
    if (last.kind === Emission.In) return !points.seesAll(last.node);
    return !sameEnd(last.tuple, outcome.image) && this.crossed(last);
  }

  /** An answer that was recorded coming back, whichever backend sent it, and does not in the current plane. */
  private staysAway(flow: Flow, last: View): boolean {
    return !this.moot[0] && this.outcomes[0].end !== End.Held && !this.restored[0] && last.kind === Emission.Out
      && last.node === flow.entryNode[0] && last.device === flow.entryDevice[0];
  }

  /** Whether the current plane sent the packet through the point where it was seen, to where it was seen going. */
  private crossed(view: View): boolean {
    return this.trail.crosses(this.results[0], 0, view);
  }

  /** Put in on a node that was not captured, it did not come out as captured. */
  private contradicts(first: View): boolean {
    const { origin } = this.injection;
    const { end } = this.outcomes[0];
    if (!origin.inferred || origin.node === first.node || end === End.Held || end === End.Undecided) return false;
    return !this.crossed(first);
  }

  private stepPlane(index: number, first: View, flow: Flow | null, direction: number,
    kind: "request" | "reply" | "error", pin: Pin | null): void {
    const plane = this.options.planes[index];
    const outcome = this.outcomes[index];
    const block = this.blocks[index];
    const injection = this.injection;
    injection.start(first, first.tunnelled && (injection.origin.inferred || first.kind === Emission.Out || kind !== "request"));
    let possible = true;
    if (flow !== null && kind === "reply") possible = injection.turn(first, flow.planes[index][1 - direction]);
    else if (flow !== null && kind === "error") {
      possible = injection.turnError(first, flow.image[direction], flow.planes[index][direction]);
    } else if (injection.device === 0) injection.fromSocket(first);
    this.moot[index] = !possible;
    if (index === 0) this.unproven = injection.startsAt(first);
    if (!possible) {
      this.counts.moot[index]++;
      outcome.skip();
      return;
    }
    if (!injection.startsAt(first)) injection.raise(this.hopsBefore(first, flow, direction, kind));
    const packetType = first.kind === Emission.Out || injection.origin.inferred ? PacketType.Host : first.packetType;
    block.borrow(injection.bytes, injection.offset, injection.length, injection.wireLength, injection.etherType, packetType,
      injection.node, injection.device, first.timeNs);
    if (first.vlanProtocol !== 0) block.tag(0, first.vlanProtocol, first.vlanTci);
    if (pin !== null && this.options.followCapture) block.pin[0] = block.pins.push(pin);
    const results = this.results[index];
    results.clear();
    plane.step(block, results);
    outcome.read(results, 0);
    // A later fragment has no ports to show: they are those of the first.
    if (outcome.arrived && outcome.withoutPorts && flow !== null) {
      outcome.image.set(flow.planes[index][direction].image.subarray(2, 6), 2);
    }
    if (index === 0 && flow !== null && kind !== "error" && outcome.arrived && !this.options.points.complete) {
      this.trail.behind(results, 0, outcome.ttl, injection, flow.planes[0][direction].behind);
    }
    if ((outcome.flags & 1) !== 0) this.counts.pinsTaken[index]++;
    if ((outcome.flags & 2) !== 0) this.counts.pinsRefused[index]++;
  }

  /**
   * How often nodes lowered an answer's TTL before it was first seen: as often as the current plane lowered that of
   * what it answers behind that point. Where it did not come by there, as the answer's source has it.
   */
  private hopsBefore(first: View, flow: Flow | null, direction: number, kind: "request" | "reply" | "error"): number {
    const { injection } = this;
    const local = first.kind === Emission.Out && injection.device !== 0 && first.class === ViewClass.Packet ? 1 : 0;
    if (flow !== null && kind !== "request" && injection.device !== 0) {
      const { behind } = flow.planes[0][kind === "reply" ? 1 - direction : direction];
      if (behind.hops >= 0 && behind.node === first.node && behind.device === first.device) return behind.hops;
    }
    return Math.max(local, injection.origin.hops);
  }

  /** Keeps each plane's image of this direction, and whether answers come back as the sender expects them. */
  private learn(flow: Flow, direction: number): void {
    for (let index = 0; index < 2; index++) {
      const outcome = this.outcomes[index];
      if (this.moot[index] || outcome.end === End.Held) continue;
      const side = flow.planes[index][direction];
      side.journey = outcome.journey;
      if (outcome.arrived) {
        if (direction === 0 && this.movesOn(flow, side, outcome)) side.moved = true;
        copyTuple(outcome.image, side.image);
        side.node = outcome.node;
        side.device = outcome.device;
      }
      side.arrived = outcome.arrived;
      if (direction === 1) this.close(flow, index, outcome);
    }
    const [[current], [target]] = flow.planes;
    // After a pause both may have forgotten it and chosen anew; only one that did is another end of a living connection.
    if (flow.pausedNs > PAUSE_NS && current.moved && target.moved) current.moved = target.moved = false;
  }

  /** An answer must come from where the sender's socket sent to: for a socket that was translated, the backend. */
  private close(flow: Flow, index: number, outcome: Outcome): void {
    const atSocket = flow.entryDevice[0] === 0 && this.options.planes[index].balancesAtSockets;
    turnTuple(atSocket ? flow.planes[index][0].image : flow.entry[0], 0, this.scratch, 0);
    // What leaves the cluster comes to a client outside from whichever node (direct server return).
    const left = outcome.end === End.Left
      && this.options.points.deviceKind(flow.entryNode[0], flow.entryDevice[0]) === "uplink";
    const back = outcome.arrived && (left || (outcome.node === flow.entryNode[0] && outcome.device === flow.entryDevice[0]))
      && sameTuple(outcome.image, 0, this.scratch, 0);
    this.restored[index] = back;
    if (!back) flow.closed[index] = 0;
    else if (flow.closed[index] < 0) flow.closed[index] = 1;
  }

  /** Within a flow that does not open anew the destination stays; of datagrams only while they do not pause. */
  private movesOn(flow: Flow, side: PlaneSide, outcome: Outcome): boolean {
    if (!side.arrived || outcome.withoutPorts || this.mayChoose) return false;
    if (flow.pausedNs > PAUSE_NS && Tuple.protocol(outcome.image) !== 6) return false;
    return !sameEnd(side.image, outcome.image);
  }

  private applyChanges(timeNs: number): void {
    const { changes, epochNs, planes } = this.options;
    while (this.nextChange < changes.length) {
      const change = changes[this.nextChange];
      const atNs = Number(change.atNs - epochNs);
      if (atNs > timeNs) return;
      this.nextChange++;
      applyChange(change, planes, atNs);
      // What a name stands for is no reason to choose a backend again.
      if (change.kind === "names") continue;
      this.counts.changes++;
      if (change.kind === "cluster") this.options.onCluster(change.cluster, change.only);
      else this.flows.end(change.entry);
    }
  }

  /**
   * An answer to what was not captured: only a translation sends from a service's address, and no connection begins
   * with a SYN+ACK or an echo reply.
   */
  private answersTheUnseen(passage: Passage): boolean {
    const { first } = passage;
    const from = first.tuple;
    const to = passage.last.tuple;
    if (this.options.points.seesAll(first.node)) {
      if (first.kind === Emission.Out) return false;
    } else if ((first.protocol === 6 && (first.tcpFlags & (SYN | ACK)) === (SYN | ACK)) || isEchoReply(first)) return true;
    if (first.kind === Emission.In && sameBytes(Tuple.source(from), Tuple.source(to))) return false;
    return this.options.isFrontend(Tuple.source(to), Tuple.protocol(to), Tuple.sourcePort(to));
  }

  /** What a node made itself: it was not seen coming in, or the current plane made it. */
  private isMade(first: View, icmp: number): boolean {
    if (this.truth.awaitsMade(first)) return true;
    if (first.kind !== Emission.Out) return false;
    if (this.datagrams.isRebuilt(first)) return true;
    const { points } = this.options;
    if (icmp !== IcmpKind.Error || points.seesAll(first.node)) return icmp === IcmpKind.Error;
    // From an address of the node about a packet to that address, it may be one that came in, masqueraded as its flow is.
    return points.isOwnAddress(first.node, Tuple.source(first.tuple))
      && !(this.injection.quotedTuple(first, this.scratch) && sameBytes(Tuple.destination(this.scratch), Tuple.source(first.tuple)));
  }

  /** No packet of the flow got through yet, a fresh SYN, or a further fragment of the datagram that opened it. */
  private mayPin(flow: Flow, first: View, opens: boolean): boolean {
    if (opens || !flow.chosen) return true;
    if (first.isFragment && flow.openedBy === first.fragmentId) return true;
    return first.protocol === 6 && (first.tcpFlags & (SYN | ACK)) === SYN;
  }

  /** The tuple before any translation; of a node's own socket that is known only from its conntrack events. */
  private entryTuple(first: View, node: number): Uint8Array {
    const direction = this.flows.find(first.tuple);
    if (direction === 1) return first.tuple;
    const known = this.options.socketTuple(node, first.tuple, first.timeNs);
    if (known === null) this.counts.socketUnknown++;
    return known ?? first.tuple;
  }

  /** The tuple of the last view; of a datagram that was cut anew on its way, that of its new pieces. */
  private lastTuple(passage: Passage): Uint8Array {
    const last = passage.last;
    if (!last.isFragment || last.kind === Emission.Out) return last.tuple;
    return this.datagrams.imageOf(last) ?? last.tuple;
  }
}

/** Whether an answer was seen leaving the sender's node by a device that does not lead to the sender. */
function strays(flow: Flow, last: View): boolean {
  return last.kind === Emission.Out && last.node === flow.entryNode[0] && last.device !== flow.entryDevice[0];
}
