/**
 * What the comparison says of one packet, as plain data that may be kept: what outputs for each packet or flow are made
 * of. It is made only where somebody listens.
 */
import { addressText } from "../cluster/address.js";
import { type Because, End, type Journey } from "../dataplane.js";
import type { Flow } from "../replay/flows.js";
import type { Packet } from "../replay/loop.js";
import { Tuple, TUPLE_BYTES, turnTuple } from "../replay/tuple.js";
import type { View } from "../replay/view.js";
import type { Finding } from "./finding.js";
import type { Names } from "./names.js";

/**
 * `same`; `otherChoice`: same but for another member of one eligible set; `different`: shows a finding; `consequence`: a
 * later packet of a flow that differs; `moot`: what it answers arrived on one side only; `contradicted`: it was recorded after
 * packets that neither side delivers; `held`: a fragment that waits;
 * `undecided`: not judged.
 */
export type JudgedClass = "same" | "otherChoice" | "different" | "consequence" | "moot" | "contradicted" | "held" | "undecided";

/** Addresses as text, ports in host order; 0 where the protocol has none. For ICMP echo both ports are the identifier. */
export interface FiveTuple {
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
}

/** What became of the packet in one plane. */
export interface JudgedSide {
  readonly end: End;
  /** A drop reason's name, a chain, why it is undecided; empty where there is none. */
  readonly reason: string;
  /** Manifest lines and options that the end comes from. */
  readonly becauses: readonly Because[];
  /** The backends that the plane could have chosen, `ip:port`; null where it made no choice. */
  readonly eligibleBackends: readonly string[] | null;
  /** The one it chose, also of a packet that did not arrive; null: none, or it is not known. */
  readonly backend: string | null;
  /** As it was put in: an answer is the plane's own image of the request turned round. */
  readonly entered: FiveTuple;
  /** Where it reached a pod, a node's socket or the outside: its addresses there. null: it did not. */
  readonly arrived: FiveTuple | null;
  /** Node where it ended; of a packet that did not arrive, the last it is known to have come to. */
  readonly node: string;
  /** `delivered to default/web-a, source node1`, `dropped (POLICY_DENIED)`. */
  readonly text: string;
}

export interface Judged {
  /** The record that was put in: index of its capture, and its number from 1. */
  readonly capture: number;
  readonly record: number;
  /** All records that are this packet on its way, the one above first. */
  readonly views: readonly { readonly capture: number; readonly record: number }[];
  /** Whole seconds since the Unix epoch, and nanoseconds in the second. */
  readonly timeSec: number;
  readonly timeFracNs: number;
  /** `unknown`: neither plane was asked. */
  readonly kind: Packet["kind"] | "unknown";
  /** Number of the flow, in the order that flows are told of; -1: the packet belongs to none. */
  readonly flow: number;
  /** The flow's first direction as its sender used it, so that an answer has its request's; without a flow, the packet's own. */
  readonly tuple: FiveTuple;
  /** Pod, node or service of the tuple's ends, else the address. */
  readonly sourceName: string;
  readonly destinationName: string;
  /** Bytes of the packet on the wire, from the network header on. */
  readonly bytes: number;
  readonly tcpFlags: number;
  /** Type and code of ICMP; -1: it is none. */
  readonly icmpType: number;
  readonly icmpCode: number;
  readonly class: JudgedClass;
  /** What it shows, or is a consequence of; null: nothing. */
  readonly finding: Finding | null;
  /** Why it is undecided; empty where it is not. */
  readonly undecided: string;
  /** null: neither plane was asked. In a `moot` packet's plane that was not asked, the end is `None`. */
  readonly sides: readonly [current: JudgedSide, target: JudgedSide] | null;
  /** Who owned which address then. */
  readonly names: Names;
}

export type JudgedListener = (judged: Judged) => void;

/** Whom the comparison tells of every packet: what is made for a record is the listener's affair. */
export interface PacketListener {
  /** @param saidBy what a plane says of it */
  packet(packet: Packet, names: Names, found: Found, saidBy: (index: 0 | 1) => SaidSide): void;
  /** A packet that neither plane could be asked about. */
  unasked(view: View, names: Names, reason: string): void;
}

/** What the comparison found out about the packet. */
export interface Found {
  readonly class: JudgedClass;
  readonly finding: Finding | null;
  readonly undecided: string;
}

/** What a plane says of its outcome. */
export interface SaidSide {
  readonly journey: Journey;
  readonly reason: string;
  /** Empty: it is not known to have left the node where it entered. */
  readonly node: string;
  /** Made when it is asked for. */
  readonly text: string;
}

/** Makes the records; numbers flows. */
export class Teller implements PacketListener {
  private readonly numbers = new WeakMap<Flow, number>();
  private flows = 0;

  /** `epochSec`: whole seconds since the Unix epoch of the replay's time 0. */
  constructor(private readonly epochSec: number, private readonly nodes: readonly string[], private readonly listener: JudgedListener) {}

  packet(packet: Packet, names: Names, found: Found, saidBy: (index: 0 | 1) => SaidSide): void {
    const { flow, view } = packet;
    const tuple = fiveTuple(flow?.entry[0] ?? view.tuple);
    const side = (index: 0 | 1): JudgedSide => {
      const made = sideOf(packet, index, saidBy(index));
      return made.node === "" ? { ...made, node: this.nodes[view.node] } : made;
    };
    this.listener({ ...this.about(view, packet.views, names, tuple), ...found, kind: packet.kind,
      flow: flow === null ? -1 : this.numberOf(flow), sides: [side(0), side(1)] });
  }

  unasked(view: View, names: Names, reason: string): void {
    this.listener({ ...this.about(view, [view], names, fiveTuple(view.tuple)), class: "undecided", finding: null, undecided: reason,
      kind: "unknown", flow: -1, sides: null });
  }

  private about(view: View, views: readonly View[], names: Names, tuple: FiveTuple)
    : Omit<Judged, "class" | "finding" | "undecided" | "kind" | "flow" | "sides"> {
    const seconds = Math.floor(view.timeNs / 1e9);
    return {
      capture: view.capture, record: view.record, views: views.map(({ capture, record }) => ({ capture, record })),
      timeSec: this.epochSec + seconds, timeFracNs: Math.round(view.timeNs - seconds * 1e9), tuple, names,
      sourceName: names.describe(tuple.source), destinationName: names.describe(tuple.destination),
      bytes: view.wireLength, tcpFlags: view.tcpFlags, icmpType: view.icmpType, icmpCode: view.icmpCode,
    };
  }

  private numberOf(flow: Flow): number {
    let number = this.numbers.get(flow);
    if (number === undefined) {
      number = this.flows++;
      this.numbers.set(flow, number);
    }
    return number;
  }
}

/** What became of the packet in a plane, of which this is said. */
export function sideOf(packet: Packet, index: 0 | 1, { journey, reason, node, text }: SaidSide): JudgedSide {
  const outcome = packet.outcomes[index];
  return {
    end: outcome.end as End, reason, text, node, becauses: journey.becauses, eligibleBackends: journey.eligibleBackends,
    backend: journey.backend ?? null, entered: enteredAs(packet, index),
    arrived: outcome.arrived ? fiveTuple(outcome.image) : null,
  };
}

export const END_WORDS: Readonly<Record<number, string>> = {
  [End.None]: "not reached", [End.Delivered]: "delivered", [End.Left]: "left the cluster", [End.Dropped]: "dropped",
  [End.Rejected]: "rejected", [End.Answered]: "answered", [End.Held]: "held", [End.Redirected]: "redirected to a proxy",
  [End.Undecided]: "undecided",
};

/** As Kubernetes and Cilium spell it. */
export function protocolName(protocol: number): string {
  return PROTOCOLS[protocol] ?? `protocol ${protocol}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP" };

/** What the plane was given: see `Replay`. */
function enteredAs({ flow, view, kind, direction }: Packet, index: number): FiveTuple {
  if (flow === null || kind === "error") return fiveTuple(view.tuple);
  if (kind === "request") return fiveTuple(flow.entry[direction]);
  const turned = new Uint8Array(TUPLE_BYTES);
  turnTuple(flow.planes[index][1 - direction].image, 0, turned, 0);
  return fiveTuple(turned);
}

/** Addresses that broken headers do not show are empty. */
export function fiveTuple(tuple: Uint8Array): FiveTuple {
  const text = (address: Uint8Array): string => (Tuple.family(tuple) === 0 ? "" : addressText(address));
  return {
    protocol: Tuple.protocol(tuple), source: text(Tuple.source(tuple)), sourcePort: Tuple.sourcePort(tuple),
    destination: text(Tuple.destination(tuple)), destinationPort: Tuple.destinationPort(tuple),
  };
}
