/**
 * Checks an IP header as ip_rcv_core and ip6_rcv_core do and notes where the upper layer begins. A packet that fails
 * never reaches netfilter.
 */
import { fold, getU16, sum16 } from "./bytes.js";
import { Protocol } from "./checksum.js";
import type { Packet } from "./packet.js";
import { Reason } from "./reasons.js";

/**
 * `wireLength` is the frame's payload on the wire; link padding behind the datagram is cut off. Returns the empty
 * text, or why the packet ends here.
 */
export function parseHeader(packet: Packet, wireLength: number): string {
  return packet.family === 4 ? parseIpv4(packet, wireLength) : parseIpv6(packet, wireLength);
}

function parseIpv4(packet: Packet, wireLength: number): string {
  const { bytes } = packet;
  if (wireLength < 20) return Reason.TooSmall;
  if (packet.captured < 20) return Reason.Truncated;
  const headerLength = (bytes[0] & 15) * 4;
  if (bytes[0] >> 4 !== 4 || headerLength < 20) return Reason.Header;
  if (wireLength < headerLength) return Reason.TooSmall;
  if (packet.captured < headerLength) return Reason.Truncated;
  if (fold(sum16(bytes, 0, headerLength)) !== 0xffff) return Reason.Checksum;
  let total = getU16(bytes, 2);
  // BIG TCP and captures of segmentation offload leave the length 0 (iph_totlen).
  if (total === 0 && bytes[9] === Protocol.Tcp && wireLength > headerLength) total = wireLength;
  if (total > wireLength) return Reason.TooSmall;
  if (total < headerLength) return Reason.Header;
  packet.setLength(total);
  const fragment = getU16(bytes, 6);
  packet.headerLength = headerLength;
  packet.protocol = bytes[9];
  packet.fragmentOffset = (fragment & 0x1fff) * 8;
  packet.moreFragments = (fragment & 0x2000) !== 0;
  return "";
}

function parseIpv6(packet: Packet, wireLength: number): string {
  const { bytes } = packet;
  if (wireLength < 40) return Reason.TooSmall;
  if (packet.captured < 40) return Reason.Truncated;
  if (bytes[0] >> 4 !== 6) return Reason.Header;
  let payload = getU16(bytes, 4);
  if (payload === 0 && bytes[6] === Protocol.Tcp && wireLength > 40) payload = wireLength - 40;
  // A payload length of 0 with hop-by-hop options is a jumbogram (RFC 2675).
  if (payload === 0 && bytes[6] === 0) return Reason.HopByHop;
  if (payload + 40 > wireLength) return Reason.TooSmall;
  packet.setLength(payload + 40);
  return walkExtensions(packet);
}

/**
 * ipv6_skip_exthdr: hop-by-hop 0, routing 43, fragment 44, authentication 51, destination options 60. A header that
 * does not fit in the packet ends the walk; the upper layer is then unknown and netfilter sees that protocol number.
 */
function walkExtensions(packet: Packet): string {
  const { bytes, length: totalLength } = packet;
  let next = bytes[6];
  let nextAt = 6;
  let at = 40;
  packet.fragmentHeader = packet.fragmentPrevious = packet.fragmentOffset = 0;
  packet.moreFragments = false;
  packet.segmentsLeft = 0;
  while (next === 0 || next === 43 || next === 44 || next === 51 || next === 60) {
    if (at + 8 > totalLength) break;
    if (at + 8 > packet.captured) return Reason.Truncated;
    const size = next === 44 ? 8 : next === 51 ? (bytes[at + 1] + 2) * 4 : (bytes[at + 1] + 1) * 8;
    if (next === 0) {
      // RFC 8200: only right behind the IPv6 header, and then every node reads it.
      if (at !== 40) break;
      if (at + size > totalLength) return Reason.Header;
      if (at + size > packet.captured) return Reason.Truncated;
      if (!onlyKnownOptions(bytes, at + 2, at + size)) return Reason.HopByHop;
    } else if (next === 43) {
      packet.segmentsLeft = bytes[at + 3];
    } else if (next === 44) {
      const field = getU16(bytes, at + 2);
      packet.fragmentHeader = at;
      packet.fragmentPrevious = nextAt;
      packet.fragmentOffset = field & 0xfff8;
      packet.moreFragments = (field & 1) !== 0;
    }
    next = bytes[at];
    nextAt = at;
    at += size;
    if (packet.fragmentOffset > 0) break;
  }
  packet.headerLength = Math.min(at, totalLength);
  packet.protocol = next;
  return "";
}

/** Pad1, PadN, router alert, and unknown ones whose two top bits say "skip" (RFC 8200, 4.2). */
function onlyKnownOptions(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to;) {
    const type = bytes[at];
    if (type === 0) {
      at++;
      continue;
    }
    if (type !== 1 && type !== 5 && type >> 6 !== 0) return false;
    at += 2 + bytes[at + 1];
    if (at > to) return false;
  }
  return true;
}

/** Re-reads the header of a packet that was rebuilt here (reassembled, made); lengths are already right. */
export function reparse(packet: Packet): void {
  if (parseHeader(packet, packet.length) !== "") throw new Error("a packet made by the stack does not parse");
}

/**
 * Whether the capture holds what conntrack reads: the whole transport header, and for an ICMP error the quoted IP
 * header and eight bytes more. A packet that is short on the wire too is the kernel's to judge.
 */
export function transportCaptured(packet: Packet): boolean {
  if (!packet.truncated || packet.fragmentOffset > 0) return true;
  const { bytes, captured, headerLength, protocol } = packet;
  const has = (needed: number): boolean => captured >= Math.min(packet.length, headerLength + needed);
  switch (protocol) {
    case Protocol.Tcp:
      return has(20) && (captured < headerLength + 20 || has((bytes[headerLength + 12] >> 4) * 4));
    case Protocol.Sctp:
      return has(20);
    case Protocol.Icmp:
      if (!has(8)) return false;
      if (captured <= headerLength || !isIcmpError(bytes[headerLength])) return true;
      return has(28) && (captured < headerLength + 28 || has(8 + (bytes[headerLength + 8] & 15) * 4 + 8));
    case Protocol.Icmp6:
      return has(8) && (captured <= headerLength || bytes[headerLength] >= 128 || has(56));
    default:
      return has(8);
  }
}

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem. */
export function isIcmpError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}

/** The length a sent packet says it has; at least what was given. */
export function declaredLength(packet: Packet): number {
  const { bytes, captured } = packet;
  if (captured < 20) return captured;
  return Math.max(captured, packet.family === 4 ? getU16(bytes, 2) : getU16(bytes, 4) + 40);
}

/** Incremental checksum of RFC 1624: the TTL is the high byte of its word. */
export function decreaseTtl(packet: Packet): void {
  const { bytes } = packet;
  bytes[8]--;
  const sum = getU16(bytes, 10) + 0x100;
  const folded = (sum + (sum >= 0xffff ? 1 : 0)) & 0xffff;
  bytes[10] = folded >> 8;
  bytes[11] = folded;
}

/** Groups that every router joins: all nodes, all routers, MLDv2 reports, solicited nodes (RFC 4291, 2.7.1). */
export function isOwnGroup(bytes: Uint8Array, at: number): boolean {
  if (bytes[at + 1] !== 2) return false;
  for (let index = 2; index < 11; index++) if (bytes[at + index] !== 0) return false;
  if (bytes[at + 11] === 1 && bytes[at + 12] === 0xff) return true;
  const low = bytes[at + 11] | bytes[at + 12] | bytes[at + 13] | bytes[at + 14];
  return low === 0 && (bytes[at + 15] === 1 || bytes[at + 15] === 2 || bytes[at + 15] === 0x16);
}

export function isLinkLocal(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xfe && (bytes[at + 1] & 0xc0) === 0x80;
}
