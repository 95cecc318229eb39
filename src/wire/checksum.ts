/**
 * Checksums: the Internet checksum (RFC 1071) with its incremental update (RFC 1624), CRC32c for SCTP (RFC
 * 9260), and what state a captured checksum is in.
 *
 * A checksum that holds just the folded sum of the pseudo-header, not complemented, was never finished: the
 * kernel leaves the rest to the device (CHECKSUM_PARTIAL). Captures on hosts with offload are full of them.
 * It means "not yet computed", not "bad".
 */
import { Csum } from "../dataplane.js";
import type { Decoded } from "./decode.js";
import { DecodeStatus, Protocol } from "./decode.js";
import { be16, be32 } from "./link.js";

export { Csum };

/** Folds a sum into 16 bits, end-around. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 65536);
  return folded;
}

/** Bytes summed between two folds, a multiple of 8: keeps the running sum inside 31 bits. */
const RUN = 32768;

/**
 * Ones' complement sum of `length` bytes (an odd last byte is the upper half of its word), folded to 16 bits.
 */
export function sum16(bytes: Uint8Array, offset: number, length: number, initial = 0): number {
  const eights = offset + (length & ~7);
  const end = offset + (length & ~1);
  let sum = initial;
  let at = offset;
  while (at < eights) {
    // Upper and lower bytes apart: fewer shifts, and V8 keeps both sums as small integers.
    const stop = Math.min(eights, at + RUN);
    let upper = 0;
    let lower = 0;
    for (; at < stop; at += 8) {
      upper += bytes[at] + bytes[at + 2] + bytes[at + 4] + bytes[at + 6];
      lower += bytes[at + 1] + bytes[at + 3] + bytes[at + 5] + bytes[at + 7];
    }
    sum = fold(sum + upper * 256 + lower);
  }
  for (; at < end; at += 2) sum += (bytes[at] << 8) | bytes[at + 1];
  return (length & 1) !== 0 ? fold(sum + (bytes[end] << 8)) : fold(sum);
}

/**
 * A checksum field after summed words that it covers changed from `before` to `after` (RFC 1624, equation 3).
 */
export function adjust(field: number, before: number, after: number): number {
  return ~fold((~field & 0xffff) + (~before & 0xffff) + after) & 0xffff;
}

/** Whether the IPv4 header's checksum is right; the header must have been captured whole. */
export function ipv4ChecksumRight(bytes: Uint8Array, packet: Decoded): boolean {
  return sum16(bytes, packet.l3Offset, (bytes[packet.l3Offset] & 15) << 2) === 0xffff;
}

/** Folded sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1). */
export function pseudoSum(bytes: Uint8Array, packet: Decoded): number {
  const addresses = sum16(bytes, packet.sourceOffset, packet.addressLength * 2);
  return fold(addresses + packet.protocol + fold(packet.l4Length));
}

/**
 * Where the upper layer's checksum stands after `l4Offset`; -1 for protocols whose checksum is not known
 * here.
 */
export function checksumAt(protocol: number): number {
  switch (protocol) {
    case Protocol.Tcp:
      return 16;
    case Protocol.Udp:
    case Protocol.UdpLite:
      return 6;
    case Protocol.Icmp:
    case Protocol.Icmpv6:
      return 2;
    case Protocol.Sctp:
      return 8;
  }
  return -1;
}

/**
 * State of the upper layer's checksum.
 * - Unknown: a fragment, a cut capture, or a protocol without a checksum that is known here
 * - None: UDP without a checksum (the field is 0)
 * - Partial: CHECKSUM_PARTIAL; told for a cut capture too, as the pseudo-header is enough to see it
 */
export function checksumState(bytes: Uint8Array, packet: Decoded): Csum {
  const at = checksumAt(packet.protocol);
  if (packet.status !== DecodeStatus.Ok || packet.isFragment || at < 0 || packet.l4Captured < at + 2)
    return Csum.Unknown;
  if (packet.protocol === Protocol.Sctp) return sctpState(bytes, packet);
  const field = be16(bytes, packet.l4Offset + at);
  if (packet.protocol === Protocol.Udp && field === 0) return Csum.None;
  const whole = packet.l4Captured === packet.l4Length;
  if (packet.protocol === Protocol.Icmp) {
    return !whole
      ? Csum.Unknown
      : sum16(bytes, packet.l4Offset, packet.l4Length) === 0xffff
        ? Csum.Right
        : Csum.Wrong;
  }
  const pseudo = pseudoSum(bytes, packet);
  if (whole) {
    const covered = coverage(packet);
    if (covered < 0) return Csum.Wrong;
    if (sum16(bytes, packet.l4Offset, covered, pseudo) === 0xffff) return Csum.Right;
  }
  if (field === pseudo) return Csum.Partial;
  return whole ? Csum.Wrong : Csum.Unknown;
}

/** The right value of the checksum field, except SCTP's. The packet must have been captured whole. */
export function internetChecksum(bytes: Uint8Array, packet: Decoded): number {
  const initial = packet.protocol === Protocol.Icmp ? 0 : pseudoSum(bytes, packet);
  const at = checksumAt(packet.protocol);
  // In two parts, around the field: both begin at an even offset.
  const head = sum16(bytes, packet.l4Offset, at, initial);
  const checksum =
    ~sum16(bytes, packet.l4Offset + at + 2, Math.max(0, coverage(packet) - at - 2), head) & 0xffff;
  // A UDP checksum of 0 is sent as all ones (RFC 768).
  return checksum === 0 && (packet.protocol === Protocol.Udp || packet.protocol === Protocol.UdpLite)
    ? 0xffff
    : checksum;
}

/**
 * CRC32c of an SCTP packet with the checksum field taken as zero, as the field's bytes read in network order.
 */
export function sctpChecksum(bytes: Uint8Array, packet: Decoded): number {
  const start = packet.l4Offset;
  let crc = crc32c(-1, bytes, start, 8);
  crc = crc32c(crc, ZEROS, 0, 4);
  crc = ~crc32c(crc, bytes, start + 12, packet.l4Length - 12);
  return ((crc << 24) | ((crc & 0xff00) << 8) | ((crc >>> 8) & 0xff00) | (crc >>> 24)) >>> 0;
}

const ZEROS = new Uint8Array(4);

/** Continues a reflected CRC with polynomial 0x1edc6f41; start with -1 and complement the result. */
export function crc32c(crc: number, bytes: Uint8Array, offset: number, length: number): number {
  let value = crc;
  for (let at = offset; at < offset + length; at++)
    value = (value >>> 8) ^ CRC_TABLE[(value ^ bytes[at]) & 0xff];
  return value;
}

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) !== 0 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/**
 * Bytes that the checksum covers; -1 where a UDP-Lite coverage is none (RFC 3828: 0 is all, 1 to 7 illegal).
 */
function coverage(packet: Decoded): number {
  if (packet.protocol !== Protocol.UdpLite || packet.udpLength === 0) return packet.l4Length;
  return packet.udpLength < 8 || packet.udpLength > packet.l4Length ? -1 : packet.udpLength;
}

function sctpState(bytes: Uint8Array, packet: Decoded): Csum {
  if (packet.l4Captured < 12) return Csum.Unknown;
  const field = be32(bytes, packet.l4Offset + 8);
  if (packet.l4Captured < packet.l4Length) return Csum.Unknown;
  if (field === sctpChecksum(bytes, packet)) return Csum.Right;
  // With offload the kernel leaves 0 (sctp_packet_pack, net/sctp/output.c).
  return field === 0 ? Csum.Partial : Csum.Wrong;
}
