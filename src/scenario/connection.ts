/**
 * One new connection through one plane: its first packet, and where that arrives, the first answer to it, made from the
 * plane's own image of the first packet turned round, as replay makes it.
 */
import { addressFromBytes } from "../cluster/address.js";
import { type Because, End, FrameBlock, type Journey, PacketType, type Plane, StepResults } from "../dataplane.js";
import { entryPacket } from "../replay/entryPacket.js";
import { Outcome } from "../replay/outcome.js";
import { sameTuple, Tuple, TUPLE_BYTES, turnTuple } from "../replay/tuple.js";
import type { View } from "../replay/view.js";
import { EtherType } from "../wire/index.js";
import type { OutcomeWord, ReplyWord } from "./scenario.js";

/** What became of a connection's first packet and its answer. */
export interface Seen {
  readonly outcome: OutcomeWord;
  /** As it arrived; null where it did not. */
  readonly end: { readonly source: string; readonly destination: string; readonly port: number; readonly node: string;
    /** A process of the node itself. */
    readonly local: boolean } | null;
  readonly reason: string;
  readonly becauses: readonly Because[];
  readonly reply: ReplyWord;
  readonly replyReason: string;
  /** For what compares planes. */
  readonly request: Outcome;
  readonly answer: Outcome | null;
}

const WORDS: Readonly<Record<number, OutcomeWord>> = {
  [End.Delivered]: "delivered", [End.Left]: "left", [End.Dropped]: "dropped", [End.Rejected]: "rejected",
  [End.Answered]: "answered", [End.Held]: "held", [End.Redirected]: "redirected", [End.Undecided]: "undecided",
};
/** Between a packet and its answer. */
const ANSWER_AFTER_NS = 100_000;
const TTL = 64;

export class Connections {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);

  /** `isUplink`: of a node, by its number, and a device. */
  constructor(private readonly plane: Plane, private readonly isUplink: (node: number, device: number) => boolean) {}

  /** @param connection a number of its own; null: nothing answers */
  open(packet: View, connection: number | null): Seen {
    const request = this.step(packet.bytes, packet.length, packet.etherType, packet.node, packet.device, packet.timeNs,
      packet.vlanProtocol, packet.vlanTci);
    const journey = this.plane.journey(request.journey);
    const answer = connection === null || !request.arrived ? null : this.answer(request, connection, packet.timeNs + ANSWER_AFTER_NS);
    return {
      outcome: WORDS[request.end], end: request.arrived ? this.endOf(request) : null,
      reason: this.plane.reasons[request.reason] ?? "", becauses: journey.becauses,
      ...this.replyOf(packet, request, answer), request, answer,
    };
  }

  journey(outcome: Outcome): Journey {
    return this.plane.journey(outcome.journey);
  }

  private answer(request: Outcome, connection: number, timeNs: number): Outcome {
    const turned = new Uint8Array(TUPLE_BYTES);
    turnTuple(request.image, 0, turned, 0);
    const bytes = entryPacket(Tuple.protocol(turned), {
      source: addressFromBytes(Tuple.source(turned)), destination: addressFromBytes(Tuple.destination(turned)),
      sourcePort: Tuple.sourcePort(turned), destinationPort: Tuple.destinationPort(turned),
    }, true, connection, TTL);
    const etherType = Tuple.family(turned) === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
    return this.step(bytes, bytes.length, etherType, request.node, request.device, timeNs);
  }

  private step(bytes: Uint8Array, length: number, etherType: number, node: number, device: number, timeNs: number,
    vlanProtocol = 0, vlanTci = 0): Outcome {
    const { block, results } = this;
    block.borrow(bytes, 0, length, length, etherType, PacketType.Host, node, device, timeNs);
    block.tag(0, vlanProtocol, vlanTci);
    results.clear();
    this.plane.step(block, results);
    const outcome = new Outcome();
    outcome.read(results, 0);
    return outcome;
  }

  private endOf(outcome: Outcome): NonNullable<Seen["end"]> {
    return {
      source: addressFromBytes(Tuple.source(outcome.image)).text,
      destination: addressFromBytes(Tuple.destination(outcome.image)).text,
      port: outcome.withoutPorts || !hasPorts(outcome.image) ? 0 : Tuple.destinationPort(outcome.image),
      node: this.plane.nodes[outcome.node],
      local: outcome.end === End.Delivered && outcome.device === 0,
    };
  }

  private replyOf(packet: View, request: Outcome, answer: Outcome | null): Pick<Seen, "reply" | "replyReason"> {
    if (answer === null) return { reply: "none", replyReason: "" };
    const replyReason = this.plane.reasons[answer.reason] ?? "";
    if (answer.end === End.Undecided) return { reply: "undecided", replyReason };
    const wanted = new Uint8Array(TUPLE_BYTES);
    // A socket that was translated at connect() hears from the backend.
    turnTuple(packet.device === 0 && this.plane.balancesAtSockets ? request.image : packet.tuple, 0, wanted, 0);
    // What leaves the cluster comes to a client outside from whichever node (direct server return).
    const here = answer.node === packet.node && answer.device === packet.device;
    const left = answer.end === End.Left && this.isUplink(packet.node, packet.device);
    const back = answer.arrived && (here || left) && sameTuple(answer.image, 0, wanted, 0);
    return { reply: back ? "restored" : "lost", replyReason };
  }
}

/** Of ICMP a tuple has the identifier in their place. */
function hasPorts(tuple: Uint8Array): boolean {
  return Tuple.protocol(tuple) !== 1 && Tuple.protocol(tuple) !== 58;
}
