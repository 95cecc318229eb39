/**
 * One row's way where programs and nodes' kernels take turns: WebAssembly carries the packet until a program passes it
 * up, the node's kernel takes it, and each packet that comes out goes on in WebAssembly, in the order in which they came.
 *
 * The packet itself is told apart from what kernels make on its way (ICMP errors): that travels too, and only says
 * something about the row where it cannot be judged. A packet may come out in several pieces; `worse` says whose end
 * then counts.
 */
import { FrameEnd, UndecidedReason } from "../../contract/codes.js";
import { codeText } from "../../contract/layout.js";
import { OutcomeRecord, StackRecord } from "../../contract/structs.js";
import { End, type Pin, type Step } from "../../dataplane.js";
import { type Arena, offsets } from "../arena.js";
import type { Machine } from "../machine.js";
import { type Decided, joined, NOTHING } from "./memory.js";
import type { NodeStack, StackPiece } from "./node-stack.js";

/** What the plane does with a row under way. */
export interface RowTaker {
  /** A part of the way is over: its images lie in the arena. */
  images(): void;
  /** The row's end, so far: as the OutcomeRecord says, or in a kernel for this reason. */
  ended(end: End, reason: string | null): void;
}

/** Kernels that a row and what is made of it may come to; more is a loop. */
const MOST_KERNELS = 64;
const LOOP = `undecided: ${codeText(UndecidedReason, UndecidedReason.values.LOOP)}`;
const OUTCOME = offsets(OutcomeRecord);
const WAITING = offsets(StackRecord);

type ResumeExports = Record<"at_stack" | "resume", (...args: number[]) => number>;

interface Waiting {
  readonly node: number;
  readonly piece: StackPiece;
  /** An answer, or of an answer's way. */
  readonly side: boolean;
}

export class Passage {
  /** Of the row: what kernels decided, pins, and whether one of them gave it another source. */
  decided: Decided = NOTHING;
  flags = 0;
  translated = false;
  /** Where traced: the rules that matched, a list for each kernel. */
  readonly steps: (readonly Step[])[] = [];
  private readonly queue: Waiting[] = [];
  private readonly exports: ResumeExports;
  private worst: End = End.None;
  private kernels = 0;
  private next = 0;
  private packetAt = 0;
  private timeNs = 0;
  private pin: Pin | null = null;

  constructor(private readonly machine: Machine, private readonly arena: Arena, private readonly stack: NodeStack) {
    this.exports = machine.exports as unknown as ResumeExports;
  }

  /** From where the row waits to its end. `outcomeAt`: its OutcomeRecord; `packetAt`: room for a packet. */
  carry(outcomeAt: number, packetAt: number, timeNs: number, pin: Pin | null, taker: RowTaker): void {
    this.decided = NOTHING;
    this.flags = this.kernels = this.queue.length = this.steps.length = 0;
    this.translated = false;
    this.worst = End.None;
    this.timeNs = timeNs;
    this.pin = pin;
    this.packetAt = packetAt;
    this.part(outcomeAt, false, taker);
    for (this.next = 0; this.next < this.queue.length; this.next++) {
      const { piece, side } = this.queue[this.next];
      this.arena.bytes.set(piece.bytes.subarray(0, piece.length), packetAt);
      this.machine.call(this.resume);
      this.part(outcomeAt, side, taker);
    }
    this.stack.free();
    if (this.worst === End.None) throw new Error("a frame's way had no end");
  }

  private readonly resume = (): number => {
    const { node, piece, side } = this.queue[this.next];
    return this.exports.resume(piece.exit, node, piece.device, this.packetAt, piece.length, piece.wireLength, piece.mark, side ? 1 : 0);
  };

  /** A part of the way is over, at a kernel or at an end. */
  private part(outcomeAt: number, side: boolean, taker: RowTaker): void {
    taker.images();
    const end = this.arena.view.getUint8(outcomeAt + OUTCOME.end);
    if (!side) this.flags |= this.arena.view.getUint8(outcomeAt + OUTCOME.flags);
    if (end === FrameEnd.values.AtStack) this.throughKernel(side, taker);
    else if (!side || end === End.Undecided) this.settle(end as End, null, taker);
  }

  private throughKernel(side: boolean, taker: RowTaker): void {
    if (this.kernels++ === MOST_KERNELS) return this.settle(End.Undecided, LOOP, taker);
    const { view, bytes } = this.arena;
    const at = this.exports.at_stack();
    const node = view.getUint16(at + WAITING.node, true);
    const offset = view.getUint32(at + WAITING.offset, true);
    const result = this.stack.pass({
      node, bytes, offset, device: view.getUint32(at + WAITING.device, true), local: view.getUint8(at + WAITING.local) !== 0,
      length: view.getUint32(at + WAITING.length, true), wireLength: view.getUint32(at + WAITING.wire_length, true),
      etherType: view.getUint16(at + WAITING.ether_type, true), packetType: view.getUint8(at + WAITING.packet_type),
      mark: view.getUint32(at + WAITING.mark, true), timeNs: this.timeNs, pin: side ? null : this.pin,
    });
    this.steps.push(result.steps.length > 0 ? [...result.steps] : NO_STEPS);
    const own = side ? undefined : result.pieces.find((piece) => piece.made === 0);
    if (result.end === End.Undecided || (!side && own === undefined)) this.settle(result.end, result.reason, taker);
    if (!side) {
      this.decided = joined(this.decided, result.decided);
      this.flags |= result.pinFlags;
      if (own !== undefined && !sameSource(own.bytes, bytes, offset)) this.translated = true;
    }
    for (const piece of result.pieces) this.queue.push({ node, piece, side: side || piece.made === 1 });
  }

  private settle(end: End, reason: string | null, taker: RowTaker): void {
    if (this.worst !== End.None && ORDER.indexOf(end) >= ORDER.indexOf(this.worst)) return;
    this.worst = end;
    taker.ended(end, reason);
  }
}

const NO_STEPS: readonly Step[] = [];

/** Ends from what counts most to what counts least, where pieces of a packet end differently. */
const ORDER: readonly End[] = [End.Undecided, End.Delivered, End.Redirected, End.Rejected, End.Answered, End.Dropped, End.Left,
  End.Held];

function sameSource(piece: Uint8Array, bytes: Uint8Array, offset: number): boolean {
  const six = piece[0] >> 4 === 6;
  const end = six ? 24 : 16;
  for (let index = six ? 8 : 12; index < end; index++) if (piece[index] !== bytes[offset + index]) return false;
  return true;
}
