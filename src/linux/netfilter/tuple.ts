/**
 * nf_conntrack_tuple: what identifies one direction of a connection
 * (include/net/netfilter/nf_conntrack_tuple.h), read from a packet or from the packet inside an ICMP error,
 * and turned round.
 *
 * The two upper-layer halves by protocol:
 *
 *     TCP UDP UDP-Lite SCTP        source port            destination port
 *     ICMP, ICMPv6                 id                     type << 8 | code
 *     GRE version 1 (PPTP)         0 (no key map)         call id
 *     everything else              0                      0
 *
 * DCCP is "everything else" since its tracker was removed from the kernel (seen on 6.18).
 */
import { half, type Packet, Proto as protocols, word } from "./packet.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Proto = protocols;

export class Tuple {
  family: 4 | 6 = 4;
  protocol = 0;
  s0 = 0;
  s1 = 0;
  s2 = 0;
  s3 = 0;
  d0 = 0;
  d1 = 0;
  d2 = 0;
  d3 = 0;
  source = 0;
  destination = 0;

  static copy(into: Tuple, from: Tuple): void {
    into.family = from.family;
    into.protocol = from.protocol;
    into.s0 = from.s0;
    into.s1 = from.s1;
    into.s2 = from.s2;
    into.s3 = from.s3;
    into.d0 = from.d0;
    into.d1 = from.d1;
    into.d2 = from.d2;
    into.d3 = from.d3;
    into.source = from.source;
    into.destination = from.destination;
  }
}

/** Fills the tuple of a packet; false where the kernel has none (nf_ct_get_tuple): a cut header. */
export function tupleOfPacket(into: Tuple, packet: Packet, bytes: Uint8Array): boolean {
  into.family = packet.family;
  into.protocol = packet.protocol;
  into.s0 = packet.s0;
  into.s1 = packet.s1;
  into.s2 = packet.s2;
  into.s3 = packet.s3;
  into.d0 = packet.d0;
  into.d1 = packet.d1;
  into.d2 = packet.d2;
  into.d3 = packet.d3;
  if (packet.laterFragment) return false;
  return upperHalves(into, bytes, packet.l4, packet.l4Length);
}

/**
 * The tuple of the packet quoted in an ICMP error at `at`, as it stands there; `end` is where the bytes end.
 * False where too little is quoted, or where the quoted packet is a later fragment.
 */
export function tupleOfQuoted(
  into: Tuple,
  bytes: Uint8Array,
  at: number,
  end: number,
  family: 4 | 6,
): boolean {
  into.family = family;
  if (family === 4) {
    if (at + 20 > end || bytes[at] >> 4 !== 4) return false;
    const headerLength = (bytes[at] & 15) * 4;
    if (headerLength < 20 || at + headerLength > end || (half(bytes, at + 6) & 0x1fff) !== 0) return false;
    into.protocol = bytes[at + 9];
    into.s0 = into.s1 = into.s2 = into.d0 = into.d1 = into.d2 = 0;
    into.s3 = word(bytes, at + 12);
    into.d3 = word(bytes, at + 16);
    return upperHalves(into, bytes, at + headerLength, end - at - headerLength);
  }
  const l4 = quotedUpperLayer6(bytes, at, end);
  if (l4 < 0) return false;
  into.protocol = bytes[quotedProtocolAt];
  into.s0 = word(bytes, at + 8);
  into.s1 = word(bytes, at + 12);
  into.s2 = word(bytes, at + 16);
  into.s3 = word(bytes, at + 20);
  into.d0 = word(bytes, at + 24);
  into.d1 = word(bytes, at + 28);
  into.d2 = word(bytes, at + 32);
  into.d3 = word(bytes, at + 36);
  return upperHalves(into, bytes, l4, end - l4);
}

/** Where the Next Header byte of the last quotedUpperLayer6 lies. */
let quotedProtocolAt = 0;

/** Offset of the upper-layer header of an IPv6 packet inside `bytes`, -1 where it is not there. */
export function quotedUpperLayer6(bytes: Uint8Array, at: number, end: number): number {
  if (at + 40 > end || bytes[at] >> 4 !== 6) return -1;
  quotedProtocolAt = at + 6;
  let offset = at + 40;
  for (;;) {
    const next = bytes[quotedProtocolAt];
    // Hop-by-hop, routing, destination options: length in 8-byte units; fragment: 8; AH: 4-byte units, plus
    // 2.
    if (next !== 0 && next !== 43 && next !== 60 && next !== 44 && next !== 51)
      return next === 59 ? -1 : offset;
    if (offset + 8 > end) return -1;
    if (next === 44 && (half(bytes, offset + 2) & 0xfff8) !== 0) return -1;
    quotedProtocolAt = offset;
    offset += next === 44 ? 8 : next === 51 ? (bytes[offset + 1] + 2) * 4 : (bytes[offset + 1] + 1) * 8;
    if (offset > end) return -1;
  }
}

function upperHalves(into: Tuple, bytes: Uint8Array, at: number, length: number): boolean {
  switch (into.protocol) {
    case Proto.Tcp:
    case Proto.Udp:
    case Proto.UdpLite:
    case Proto.Sctp:
      if (length < 4) return false;
      into.source = half(bytes, at);
      into.destination = half(bytes, at + 2);
      return true;
    case Proto.Icmp:
    case Proto.Icmp6:
      if (length < 8) return false;
      into.source = half(bytes, at + 4);
      into.destination = half(bytes, at);
      return true;
    case Proto.Gre:
      into.source = into.destination = 0;
      if (length < 4 || (bytes[at + 1] & 7) !== 1) return true;
      // PPTP: the protocol field must be PPP (nf_conntrack_proto_gre.c).
      if (length < 8 || half(bytes, at + 2) !== 0x880b) return false;
      into.destination = half(bytes, at + 6);
      return true;
    default:
      into.source = into.destination = 0;
      return true;
  }
}

/** nf_ct_invert_tuple; false where the message has no answer (an ICMP type without a counterpart). */
export function invertTuple(into: Tuple, from: Tuple): boolean {
  into.family = from.family;
  into.protocol = from.protocol;
  const { s0, s1, s2, s3, source } = from;
  into.s0 = from.d0;
  into.s1 = from.d1;
  into.s2 = from.d2;
  into.s3 = from.d3;
  into.d0 = s0;
  into.d1 = s1;
  into.d2 = s2;
  into.d3 = s3;
  if (from.protocol === Proto.Icmp || from.protocol === Proto.Icmp6) {
    const answer = icmpAnswer(from.protocol, from.destination >> 8);
    if (answer < 0) return false;
    into.source = source;
    into.destination = (answer << 8) | (from.destination & 255);
    return true;
  }
  into.source = from.destination;
  into.destination = source;
  return true;
}

/** `invmap` of nf_conntrack_proto_icmp.c and _icmpv6.c, both ways. */
function icmpAnswer(protocol: number, type: number): number {
  if (protocol === Proto.Icmp6) {
    if (type === 128 || type === 129) return 257 - type;
    return type === 139 || type === 140 ? 279 - type : -1;
  }
  switch (type) {
    case 0:
      return 8;
    case 8:
      return 0;
    case 13:
      return 14;
    case 14:
      return 13;
    case 15:
      return 16;
    case 16:
      return 15;
    case 17:
      return 18;
    case 18:
      return 17;
    default:
      return -1;
  }
}

export function sameTuple(a: Tuple, b: Tuple): boolean {
  return (
    a.s3 === b.s3 &&
    a.d3 === b.d3 &&
    a.source === b.source &&
    a.destination === b.destination &&
    a.protocol === b.protocol &&
    a.family === b.family &&
    (a.family === 4 ||
      (a.s0 === b.s0 &&
        a.s1 === b.s1 &&
        a.s2 === b.s2 &&
        a.d0 === b.d0 &&
        a.d1 === b.d1 &&
        a.d2 === b.d2))
  );
}

/** A 32-bit hash of all fields. */
export function hashTuple(tuple: Tuple): number {
  let hash = Math.imul(tuple.s3 ^ 0x9e3779b9, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 15) ^ tuple.d3, 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 13) ^ ((tuple.source << 16) | tuple.destination), 0x27d4eb2f);
  hash = Math.imul(hash ^ (hash >>> 15) ^ ((tuple.protocol << 3) | tuple.family), 0x165667b1);
  if (tuple.family === 6) {
    hash = Math.imul(hash ^ (hash >>> 15) ^ tuple.s0, 0x85ebca6b) ^ Math.imul(tuple.d0, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 15) ^ tuple.s1, 0x85ebca6b) ^ Math.imul(tuple.d1, 0xc2b2ae35);
    hash = Math.imul(hash ^ (hash >>> 15) ^ tuple.s2, 0x85ebca6b) ^ Math.imul(tuple.d2, 0xc2b2ae35);
  }
  return hash ^ (hash >>> 16);
}

/** A hash of what nat_bysource is keyed by: source address, source half, protocol. */
export function hashSource(tuple: Tuple): number {
  let hash = Math.imul(tuple.s3 ^ tuple.source ^ (tuple.protocol << 20), 0x85ebca6b);
  hash ^= Math.imul(tuple.s2 ^ (tuple.s1 << 7) ^ (tuple.s0 << 13), 0xc2b2ae35);
  hash = Math.imul(hash ^ (hash >>> 15), 0x27d4eb2f);
  return hash ^ (hash >>> 15);
}
