/**
 * Rewriting a packet to what NAT decided (net/netfilter/nf_nat_proto.c): addresses, ports or id, and the
 * checksums that cover them; and the packet quoted in an ICMP error with its outer header.
 */
import { Csum, type CtInfo, Hook, type Skb } from "../skb.js";
import { ChecksumDelta, fold, halfChange, pseudoSum, sctpChecksum, sumBytes, wordChange } from "./checksum.js";
import { type Connection, Dir, Status as statuses } from "./connection.js";
import { half, Proto as protocols, putHalf, putWord, word } from "./packet.js";
import { directionOf } from "./track.js";
import { invertTuple, quotedUpperLayer6, Tuple } from "./tuple.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Status = statuses;
const Proto = protocols;
const { Original } = Dir;
const { Partial } = Csum;

/** enum nf_nat_manip_type. */
export const Manip = { Source: 0, Destination: 1 } as const;
export type Manip = (typeof Manip)[keyof typeof Manip];
const { Source, Destination } = Manip;

/** HOOK2MANIP: INPUT and POSTROUTING change the source, PREROUTING and OUTPUT the destination. */
export function manipOf(hook: Hook): Manip {
  return hook === Hook.Postrouting || hook === Hook.Input ? Source : Destination;
}

/** The status bit that says a packet of this direction is changed by this kind of manipulation. */
export function statusBit(manip: Manip, direction: Dir): number {
  return (manip === Source) === (direction === Original) ? Status.SourceNat : Status.DestinationNat;
}

const target = new Tuple();
const addresses = new ChecksumDelta();
const ports = new ChecksumDelta();

/**
 * nf_nat_manip_pkt: the packet becomes the inverse of what the other direction expects. False: it must be
 * dropped.
 */
export function manipulate(skb: Skb, ct: Connection, manip: Manip, direction: Dir): boolean {
  const other = direction === Original ? ct.reply : ct.original;
  if (skb.family === 4 && (other.protocol === Proto.Tcp || other.protocol === Proto.Udp))
    return rewriteStream(skb, other, manip === Source);
  invertTuple(target, other);
  return rewrite(skb, 0, skb.headerLength, skb.length, target, manip);
}

/** `rewrite` to the inverse of a tuple, for most packets: TCP and UDP over IPv4. */
function rewriteStream(skb: Skb, other: Tuple, source: boolean): boolean {
  const { bytes, headerLength: at } = skb;
  const length = skb.length - at;
  if (length < 8) return false;
  const address = source ? other.d3 : other.s3;
  const port = source ? other.destination : other.source;
  const addressField = source ? 12 : 16;
  const portField = source ? at : at + 2;
  const moved = wordChange(word(bytes, addressField), address);
  const renumbered = halfChange(half(bytes, portField), port);
  putWord(bytes, addressField, address);
  putHalf(bytes, portField, port);
  putHalf(bytes, 10, ~fold((~half(bytes, 10) & 0xffff) + moved) & 0xffff);

  const udp = other.protocol === Proto.Udp;
  const field = udp ? at + 6 : at + 16;
  const held = udp || length >= 20 ? half(bytes, field) : 0;
  if (skb.csum === Partial) {
    if (udp || length >= 20) putHalf(bytes, field, fold(held + moved));
  } else if (udp ? held !== 0 : length >= 20) {
    putHalf(bytes, field, ~fold((~held & 0xffff) + moved + renumbered) & 0xffff);
  } else {
    return true;
  }
  // 0 would mean "no checksum": CSUM_MANGLED_0.
  if (udp && half(bytes, field) === 0) putHalf(bytes, field, 0xffff);
  return true;
}

/**
 * nf_nat_icmp_reply_translation (and its IPv6 twin): an error related to a connection. The quoted packet is
 * changed the other way round, then the outer header, so that the sender recognises what it sent and no inner
 * address shows. False: the packet must be dropped.
 */
export function translateError(skb: Skb, ct: Connection, hook: Hook, ctinfo: CtInfo): boolean {
  const { bytes } = skb;
  const direction = directionOf(ctinfo);
  const manip = manipOf(hook);
  const at = skb.headerLength;
  const quoted = at + 8;
  const v4 = skb.family === 4;
  if (skb.length < quoted + (v4 ? 20 : 40) || skb.csum === Csum.Wrong) return false;
  const isRedirect = bytes[at] === (v4 ? 5 : 137);
  if (isRedirect) {
    // A redirect for a translated connection would teach the host a wrong route.
    const done = Status.SourceNatDone | Status.DestinationNatDone;
    if ((ct.status & done) !== done || (ct.status & (Status.SourceNat | Status.DestinationNat)) !== 0)
      return false;
  }
  if ((ct.status & statusBit(manip, direction)) === 0) return true;
  const other = direction === Original ? ct.reply : ct.original;
  const upper = v4 ? quoted + (bytes[quoted] & 15) * 4 : quotedUpperLayer6(bytes, quoted, skb.length);
  const inner = manip === Source ? Destination : Source;
  if (!rewrite(skb, quoted, upper, skb.length, other, inner)) return false;
  if (skb.csum !== Partial) {
    putHalf(bytes, at + 2, 0);
    const length = skb.length - at;
    const pseudo = v4 ? 0 : pseudoSum(skb, Proto.Icmp6, length);
    const sum = ~fold(sumBytes(bytes, at, length) + pseudo) & 0xffff;
    putHalf(bytes, at + 2, !v4 && sum === 0 ? 0xffff : sum);
  }
  invertTuple(target, other);
  target.protocol = v4 ? Proto.Icmp : Proto.Icmp6;
  return rewrite(skb, 0, at, skb.length, target, manip);
}

/**
 * Rewrites one header of the skb: the IP header at `ip`, the upper layer at `at` (-1: none), both before
 * `end`, to the source or destination part of a tuple.
 */
function rewrite(skb: Skb, ip: number, at: number, end: number, to: Tuple, manip: Manip): boolean {
  const { bytes } = skb;
  const source = manip === Source;
  addresses.clear();
  if (skb.family === 4) {
    const field = ip + (source ? 12 : 16);
    addresses.word(word(bytes, field), source ? to.s3 : to.d3);
  } else {
    const field = ip + (source ? 8 : 24);
    addresses.word(word(bytes, field), source ? to.s0 : to.d0);
    addresses.word(word(bytes, field + 4), source ? to.s1 : to.d1);
    addresses.word(word(bytes, field + 8), source ? to.s2 : to.d2);
    addresses.word(word(bytes, field + 12), source ? to.s3 : to.d3);
  }
  if (at >= 0 && !rewriteUpper(skb, at, end, to, source)) return false;
  if (skb.family === 4) {
    addresses.apply(bytes, ip + 10);
    putWord(bytes, ip + (source ? 12 : 16), source ? to.s3 : to.d3);
    return true;
  }
  const field = ip + (source ? 8 : 24);
  putWord(bytes, field, source ? to.s0 : to.d0);
  putWord(bytes, field + 4, source ? to.s1 : to.d1);
  putWord(bytes, field + 8, source ? to.s2 : to.d2);
  putWord(bytes, field + 12, source ? to.s3 : to.d3);
  return true;
}

/** l4proto_manip_pkt; `addresses` holds the change of the IP header. */
function rewriteUpper(skb: Skb, at: number, end: number, to: Tuple, source: boolean): boolean {
  const { bytes } = skb;
  const length = end - at;
  const partial = skb.csum === Partial;
  switch (to.protocol) {
    case Proto.Tcp:
      if (length < 8) return false;
      rewritePort(bytes, at, to, source);
      // An ICMP error may quote no more than eight bytes: there is no checksum to keep right.
      if (length >= 20) sum(bytes, at + 16, partial);
      return true;
    case Proto.Udp:
    case Proto.UdpLite: {
      if (length < 8) return false;
      const covered = to.protocol === Proto.UdpLite || partial || half(bytes, at + 6) !== 0;
      rewritePort(bytes, at, to, source);
      if (!covered) return true;
      sum(bytes, at + 6, partial);
      // 0 would mean "no checksum": CSUM_MANGLED_0.
      if (half(bytes, at + 6) === 0) putHalf(bytes, at + 6, 0xffff);
      return true;
    }
    case Proto.Sctp:
      if (length < 8) return false;
      rewritePort(bytes, at, to, source);
      if (length >= 12 && !partial) {
        const crc = sctpChecksum(bytes, at, length);
        bytes[at + 8] = crc;
        bytes[at + 9] = crc >>> 8;
        bytes[at + 10] = crc >>> 16;
        bytes[at + 11] = crc >>> 24;
      }
      return true;
    case Proto.Icmp: {
      if (length < 8) return false;
      const type = bytes[at];
      // Echo, timestamp, information, address mask: the ones with an id.
      if (type !== 0 && type !== 8 && (type < 13 || type > 18)) return true;
      rewriteId(bytes, at, to);
      ports.apply(bytes, at + 2);
      return true;
    }
    case Proto.Icmp6: {
      if (length < 8) return false;
      ports.clear();
      if (bytes[at] === 128 || bytes[at] === 129) rewriteId(bytes, at, to);
      sum(bytes, at + 2, partial);
      return true;
    }
    case Proto.Gre:
      // skb_ensure_writable wants eight bytes of GRE; version 0 has nothing to change.
      if (length < 8) return false;
      if (source) return true;
      if ((bytes[at + 1] & 7) > 1) return false;
      if ((bytes[at + 1] & 7) === 1) putHalf(bytes, at + 6, to.destination);
      return true;
    default:
      return true;
  }
}

function rewritePort(bytes: Uint8Array, at: number, to: Tuple, source: boolean): void {
  const field = source ? at : at + 2;
  const port = source ? to.source : to.destination;
  ports.clear();
  ports.half(half(bytes, field), port);
  putHalf(bytes, field, port);
}

function rewriteId(bytes: Uint8Array, at: number, to: Tuple): void {
  ports.clear();
  ports.half(half(bytes, at + 4), to.source);
  putHalf(bytes, at + 4, to.source);
}

/**
 * The checksum after both changes. Ports are not in a Partial sum (inet_proto_csum_replace2 without
 * pseudohdr).
 */
function sum(bytes: Uint8Array, field: number, partial: boolean): void {
  if (partial) {
    addresses.applyPartial(bytes, field);
    return;
  }
  addresses.apply(bytes, field);
  ports.apply(bytes, field);
}
