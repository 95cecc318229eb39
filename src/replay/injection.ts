/**
 * The frame a plane is given for a packet: the captured bytes where the plane stands where the capture stands, else
 * the captured bytes with the plane's own addresses. One buffer, written anew for each plane and packet.
 */
import { ChecksumState, checksumState } from "../wire/checksum.js";
import { Decoded, decode } from "../wire/decode.js";
import { EtherType } from "../wire/link.js";
import { Emission } from "../dataplane.js";
import { writeDecodedTuple } from "./fields.js";
import type { PlaneSide } from "./flows.js";
import { rewritePartial, rewriteTuple } from "./rewrite.js";
import { sameTuple, Tuple, TUPLE_BYTES, turnTuple } from "./tuple.js";
import type { View } from "./view.js";

const fields = new Decoded();
const ICMP_HEADER = 8;
/** A quoted packet is cut by nature; its own length field says how long it was. */
const QUOTED_WIRE_LENGTH = 0x10000 + 40;

export class Injection {
  bytes: Uint8Array = new Uint8Array(2048);
  offset = 0;
  node = 0;
  /** ifindex; 0: from a socket of the node. */
  device = 0;
  /** Tuple that a node's socket used, where the view shows the translated one. */
  socketTuple: Uint8Array | null = null;
  private own = new Uint8Array(2048);
  private readonly wanted = new Uint8Array(TUPLE_BYTES);
  private readonly quoted = new Uint8Array(TUPLE_BYTES);

  asCaptured(view: View): void {
    this.bytes = view.bytes;
    this.offset = 0;
    this.node = view.node;
    this.device = view.kind === Emission.Out ? 0 : view.device;
  }

  /** A packet of a node's socket, before OUTPUT translated it. */
  fromSocket(view: View): void {
    if (this.socketTuple === null || sameTuple(this.socketTuple, 0, view.tuple, 0)) return;
    this.copy(view);
    this.rewrite(view, this.socketTuple);
  }

  /** An answer: the image of what it answers, turned round, from where that arrived. False where it never did. */
  turn(view: View, answered: PlaneSide): boolean {
    if (!answered.arrived) return false;
    this.node = answered.node;
    this.device = answered.device;
    turnTuple(answered.image, 0, this.wanted, 0);
    if (sameTuple(this.wanted, 0, view.tuple, 0)) return true;
    this.copy(view);
    this.rewrite(view, this.wanted);
    return true;
  }

  /**
   * An ICMP error about a packet: it quotes this plane's image of that packet. Sent by whoever the image reached it
   * comes from there; sent by a router between, it comes from where the capture saw it.
   */
  turnError(view: View, captured: Uint8Array, about: PlaneSide): boolean {
    if (!about.arrived) return false;
    const bySender = equal(Tuple.source(view.tuple), Tuple.destination(captured));
    if (bySender) {
      this.node = about.node;
      this.device = about.device;
    }
    if (sameTuple(captured, 0, about.image, 0)) return true;
    this.copy(view);
    this.rewriteQuoted(view, about.image);
    this.wanted.set(view.tuple);
    Tuple.destination(this.wanted).set(Tuple.source(about.image));
    if (bySender) Tuple.source(this.wanted).set(Tuple.destination(about.image));
    this.rewrite(view, this.wanted);
    return true;
  }

  /** The tuple of the packet that an ICMP error quotes. */
  quotedTuple(view: View, into: Uint8Array): void {
    decode(view.bytes, view.quoted, view.length - view.quoted, QUOTED_WIRE_LENGTH, EtherType.None, fields);
    writeDecodedTuple(fields, view.bytes, into, 0);
  }

  private copy(view: View): void {
    if (this.own.length < view.length) this.own = new Uint8Array(view.length * 2);
    this.own.set(view.bytes.subarray(0, view.length));
    this.bytes = this.own;
    this.offset = 0;
  }

  private rewrite(view: View, tuple: Uint8Array): void {
    const layout = {
      family: view.family, protocol: view.protocol, l3: 0, l4: view.l4Offset, end: view.length,
      laterFragment: view.fragmentOffset > 0,
    };
    decode(this.own, 0, view.length, view.wireLength, EtherType.None, fields);
    if (checksumState(this.own, 0, fields) === ChecksumState.PseudoHeaderOnly) rewritePartial(this.own, layout, tuple);
    else rewriteTuple(this.own, layout, tuple);
  }

  /** Rewrites the quoted headers, then the ICMP checksum over the whole message, which covers them. */
  private rewriteQuoted(view: View, tuple: Uint8Array): void {
    const start = view.l4Offset + ICMP_HEADER;
    decode(this.own, view.quoted, view.length - view.quoted, QUOTED_WIRE_LENGTH, EtherType.None, fields);
    const before = wordSum(this.own, start, view.length);
    writeDecodedTuple(fields, this.own, this.quoted, 0);
    if (Tuple.family(tuple) !== Tuple.family(this.quoted)) return;
    rewriteTuple(this.own, {
      family: fields.family, protocol: fields.protocol, l3: view.quoted, l4: fields.l4Offset, end: view.length,
      laterFragment: fields.fragmentOffset > 0,
    }, tuple);
    const after = wordSum(this.own, start, view.length);
    const at = view.l4Offset + 2;
    let sum = 0xffff - ((this.own[at] << 8) | this.own[at + 1]) + after + (0xffff - (before % 0xffff));
    while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
    this.own[at] = (0xffff - sum) >> 8;
    this.own[at + 1] = 0xffff - sum;
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function wordSum(bytes: Uint8Array, from: number, to: number): number {
  let sum = 0;
  for (let index = from; index < to; index += 2) sum += (bytes[index] << 8) | (index + 1 < to ? bytes[index + 1] : 0);
  return sum;
}
