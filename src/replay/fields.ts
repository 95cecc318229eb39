/** From the host decoder's fields to what replay keys on. */
import { Protocol, type Decoded } from "../wire/decode.js";
import { writeTuple } from "./tuple.js";

/**
 * The tuple of a packet that is plainly IPv4 without options, whole, and TCP or UDP with its header there: most
 * are, and need no decoding for it. False, with nothing written, for all others.
 */
export function writePlainTuple(bytes: Uint8Array, offset: number, length: number, into: Uint8Array): boolean {
  if (length < 40 || bytes[offset] !== 0x45 || (bytes[offset + 6] & 0x3f) !== 0 || bytes[offset + 7] !== 0) return false;
  const protocol = bytes[offset + 9];
  const total = (bytes[offset + 2] << 8) | bytes[offset + 3];
  if ((protocol !== Protocol.Tcp && protocol !== Protocol.Udp) || total < 40 || total > length) return false;
  writeTuple(into, 0, 4, protocol, bytes, offset + 12, offset + 16, (bytes[offset + 20] << 8) | bytes[offset + 21],
    (bytes[offset + 22] << 8) | bytes[offset + 23]);
  return true;
}

/**
 * The tuple of a decoded packet: ports of TCP, UDP, SCTP and their kin; for ICMP echo the identifier as both ports;
 * else 0. Fragments after the first have no ports of their own.
 */
export function writeDecodedTuple(fields: Decoded, bytes: Uint8Array, into: Uint8Array, at: number): void {
  let sourcePort = Math.max(0, fields.srcPort);
  let destinationPort = Math.max(0, fields.dstPort);
  if (fields.protocol === Protocol.Icmp || fields.protocol === Protocol.Icmpv6) {
    sourcePort = destinationPort = Math.max(0, fields.icmpId);
  }
  writeTuple(into, at, fields.family, fields.protocol, bytes, fields.sourceOffset, fields.destinationOffset,
    sourcePort, destinationPort);
}
