/**
 * The frame a plane is given for a packet: the captured bytes where the plane stands where the capture stands, else
 * the captured bytes with the plane's own addresses. One buffer, written anew for each plane and packet.
 */
import { Emission } from "../dataplane.js";
import { Decoded, DecodeStatus, decode, decodeEmbedded, Endpoints, rewriteEmbedded, turnAround } from "../wire/index.js";
import { writeDecodedTuple } from "./fields.js";
import type { PlaneSide } from "./flows.js";
import { DESTINATION_AT, sameTuple, SOURCE_AT, Tuple, TUPLE_BYTES, turnTuple } from "./tuple.js";
import type { View } from "./view.js";

const fields = new Decoded();
const quotedFields = new Decoded();
const ends = new Endpoints();
const TTL_AT = 8;
const CHECKSUM_AT = 10;
const HOP_LIMIT_AT = 7;

export class Injection {
  bytes: Uint8Array = new Uint8Array(2048);
  offset = 0;
  node = 0;
  /** ifindex; 0: from a socket of the node. */
  device = 0;
  /** ifindex where the packet of the passage under way entered; 0: a socket of the node. */
  origin = 0;
  /** Tuple that a node's socket used, where the view shows the translated one. */
  socketTuple: Uint8Array | null = null;
  private own = new Uint8Array(2048);
  private readonly wanted = new Uint8Array(TUPLE_BYTES);

  /** Begins with the captured bytes at the point where the packet entered. */
  start(view: View): void {
    this.bytes = view.bytes;
    this.offset = 0;
    this.node = view.node;
    this.device = this.origin;
  }

  /** A packet of a node's socket, before OUTPUT translated it. */
  fromSocket(view: View): void {
    if (this.socketTuple === null || sameTuple(this.socketTuple, 0, view.tuple, 0)) return;
    this.copy(view);
    this.rewrite(view, this.socketTuple);
  }

  /** A packet first seen leaving a node that now enters it from a pod: the hop that the node made is undone. */
  finish(view: View): void {
    if (view.kind !== Emission.Out || this.device === 0) return;
    this.copy(view);
    const at = view.family === 4 ? TTL_AT : HOP_LIMIT_AT;
    if (this.own[at] === 255) return;
    this.own[at]++;
    if (view.family !== 4) return;
    // The TTL is the high byte of its word: one more there is 0x100 less in the complemented sum (RFC 1624).
    let sum = ((this.own[CHECKSUM_AT] << 8) | this.own[CHECKSUM_AT + 1]) - 0x100;
    if (sum < 0) sum += 0xffff;
    this.own[CHECKSUM_AT] = sum >> 8;
    this.own[CHECKSUM_AT + 1] = sum;
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

  /** The tuple of the packet that an ICMP error quotes. False where not even its addresses can be read. */
  quotedTuple(view: View, into: Uint8Array): boolean {
    decode(view.bytes, 0, view.length, view.wireLength, view.etherType, fields);
    decodeEmbedded(view.bytes, fields, quotedFields);
    if (quotedFields.status !== DecodeStatus.Ok) return false;
    writeDecodedTuple(quotedFields, view.bytes, into, 0);
    return true;
  }

  private copy(view: View): void {
    if (this.bytes === this.own) return;
    if (this.own.length < view.length) this.own = new Uint8Array(view.length * 2);
    this.own.set(view.bytes.subarray(0, view.length));
    this.bytes = this.own;
    this.offset = 0;
  }

  private rewrite(view: View, tuple: Uint8Array): void {
    decode(this.own, 0, view.length, view.wireLength, view.etherType, fields);
    if (fields.status === DecodeStatus.Ok) turnAround(this.own, fields, endpoints(tuple));
  }

  private rewriteQuoted(view: View, tuple: Uint8Array): void {
    decode(this.own, 0, view.length, view.wireLength, view.etherType, fields);
    decodeEmbedded(this.own, fields, quotedFields);
    rewriteEmbedded(this.own, fields, quotedFields, endpoints(tuple));
  }
}

/** A tuple's addresses and ports, where rewriting looks for them. */
function endpoints(tuple: Uint8Array): Endpoints {
  ends.source = ends.destination = tuple;
  ends.sourceAt = SOURCE_AT;
  ends.destinationAt = DESTINATION_AT;
  ends.sourcePort = Tuple.sourcePort(tuple);
  ends.destinationPort = Tuple.destinationPort(tuple);
  return ends;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
