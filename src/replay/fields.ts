/** From the host decoder's fields to what replay keys on. */
import { Protocol, type Decoded } from "../wire/decode.js";
import { writeTuple } from "./tuple.js";

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
