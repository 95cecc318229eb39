/**
 * The frame a plane is given for a packet: the captured bytes where the plane stands where the capture stands, else
 * the captured bytes with the plane's own addresses. One buffer, written anew for each plane and packet.
 */
import { Emission } from "../dataplane.js";
import { Decoded, DecodeStatus, decode, decodeEmbedded, Endpoints, EtherType, rewriteEmbedded, turnAround } from "../wire/index.js";
import { writeDecodedTuple } from "./fields.js";
import type { PlaneSide } from "./flows.js";
import { Origin } from "./topology.js";
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
  length = 0;
  wireLength = 0;
  etherType = 0;
  node = 0;
  /** ifindex; 0: from a socket of the node. */
  device = 0;
  /** Where the packet of the passage under way set out. */
  readonly origin = new Origin();
  /** Tuple that a node's socket used, where the view shows the translated one. */
  socketTuple: Uint8Array | null = null;
  private own = new Uint8Array(2048);
  private readonly wanted = new Uint8Array(TUPLE_BYTES);

  /** Begins with the captured bytes where the packet set out; `unwrapped`: with the packet that a tunnel's one carries. */
  start(view: View, unwrapped: boolean): void {
    const at = unwrapped ? view.inner : 0;
    this.bytes = view.bytes;
    this.offset = at;
    this.length = view.length - at;
    this.wireLength = view.wireLength - at;
    this.etherType = at === 0 ? view.etherType : view.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
    this.node = this.origin.node;
    this.device = this.origin.device;
  }

  /** Whether the packet is put in where it was first seen, so that this sight of it proves nothing. */
  startsAt(view: View): boolean {
    return view.kind === Emission.In && this.node === view.node && this.device === view.device;
  }

  /** A packet of a node's socket, before OUTPUT translated it. */
  fromSocket(view: View): void {
    if (this.socketTuple === null || sameTuple(this.socketTuple, 0, view.tuple, 0)) return;
    this.copy();
    this.rewrite(this.socketTuple);
  }

  /** Undoes the hops that nodes made between where the packet is put in and where it was seen. */
  raise(hops: number): void {
    const at = this.offset + (this.etherType === EtherType.Ipv4 ? TTL_AT : HOP_LIMIT_AT);
    const raised = Math.min(hops, 255 - this.bytes[at]);
    if (raised === 0) return;
    this.copy();
    const { own } = this;
    const ttl = this.etherType === EtherType.Ipv4 ? TTL_AT : HOP_LIMIT_AT;
    own[ttl] += raised;
    if (this.etherType !== EtherType.Ipv4) return;
    // The TTL is the high byte of its word: one more there is 0x100 less in the complemented sum (RFC 1624).
    let sum = ((own[CHECKSUM_AT] << 8) | own[CHECKSUM_AT + 1]) - 0x100 * raised;
    if (sum < 0) sum += 0xffff;
    own[CHECKSUM_AT] = sum >> 8;
    own[CHECKSUM_AT + 1] = sum;
  }

  /** An answer: the image of what it answers, turned round, from where that arrived. False where it never did. */
  turn(view: View, answered: PlaneSide): boolean {
    if (!answered.arrived) return false;
    this.node = answered.node;
    this.device = answered.device;
    turnTuple(answered.image, 0, this.wanted, 0);
    if (sameTuple(this.wanted, 0, view.tuple, 0)) return true;
    this.copy();
    this.rewrite(this.wanted);
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
    this.copy();
    this.rewriteQuoted(about.image);
    this.wanted.set(view.tuple);
    Tuple.destination(this.wanted).set(Tuple.source(about.image));
    if (bySender) Tuple.source(this.wanted).set(Tuple.destination(about.image));
    this.rewrite(this.wanted);
    return true;
  }

  /** The tuple of the packet that an ICMP error quotes. False where not even its addresses can be read. */
  quotedTuple(view: View, into: Uint8Array): boolean {
    const at = view.tunnelled ? view.inner : 0;
    decode(view.bytes, at, view.length - at, view.wireLength - at, at === 0 ? view.etherType : EtherType.None, fields);
    decodeEmbedded(view.bytes, fields, quotedFields);
    if (quotedFields.status !== DecodeStatus.Ok) return false;
    writeDecodedTuple(quotedFields, view.bytes, into, 0);
    return true;
  }

  private copy(): void {
    if (this.bytes === this.own) return;
    if (this.own.length < this.length) this.own = new Uint8Array(this.length * 2);
    this.own.set(this.bytes.subarray(this.offset, this.offset + this.length));
    this.bytes = this.own;
    this.offset = 0;
  }

  private rewrite(tuple: Uint8Array): void {
    decode(this.own, 0, this.length, this.wireLength, this.etherType, fields);
    if (fields.status === DecodeStatus.Ok) turnAround(this.own, fields, endpoints(tuple));
  }

  private rewriteQuoted(tuple: Uint8Array): void {
    decode(this.own, 0, this.length, this.wireLength, this.etherType, fields);
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
