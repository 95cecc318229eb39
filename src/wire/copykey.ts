/**
 * A hash of what NAT and forwarding leave alone in a packet, to find copies of one packet seen at several
 * points.
 *
 * The fields: IP version, protocol, IPv4 identification and fragment bits, then
 * - TCP: sequence, acknowledgement, flags, window, data offset, options and payload
 * - UDP, UDP-Lite: length, payload                  - SCTP: verification tag, payload
 * - ICMP: type, code, sequence, payload
 * - ICMP error: type, code, length, the quoted packet's identification, protocol and TCP sequence
 * - a later fragment, any other protocol: its bytes
 * Left out, as they may change: addresses, ports, checksums, TTL, ICMP identifier, IPv6 fragment
 * identification.
 *
 * Of long payloads the first and last bytes and the length count. Of a cut capture only what was captured
 * counts, so copies cut at different lengths have different keys.
 */
import type { Decoded } from "./decode.js";
import { DecodeStatus, L4Status, Protocol } from "./decode.js";
import { finish, mix } from "./hash.js";
import { be16, be32 } from "./link.js";

const HEAD_BYTES = 96;
const TAIL_BYTES = 32;

const CHECK_SEED = 0x5bd1e995 | 0;

export class CopyKey {
  /** int32. */
  key = 0;
  /** A second hash of the same fields, int32: equal key and check are taken for equal packets. */
  check = 0;
}

/**
 * Fills both hashes of a packet and returns the first. A packet that did not decode has its captured bytes
 * hashed.
 */
export function copyKey(bytes: Uint8Array, packet: Decoded, into: CopyKey): number {
  into.key = mix(0, (packet.family << 16) | packet.protocol);
  into.check = CHECK_SEED ^ packet.protocol;
  if (packet.status !== DecodeStatus.Ok) {
    add(into, packet.capturedLength);
    addBytes(into, bytes, packet.l3Offset, packet.capturedLength);
  } else {
    // Offsets are multiples of 8: with the flag, 14 bits.
    const fragment = (packet.fragmentOffset >>> 2) | (packet.moreFragments ? 1 : 0);
    // An error has its quote to tell it apart; the id of one that a node made is the node's own choice.
    const identified = packet.family === 4 && packet.errorOffset < 0;
    add(into, identified ? packet.fragmentId | (fragment << 16) : fragment);
    upperLayer(bytes, packet, into);
  }
  into.key = finish(into.key);
  into.check = finish(into.check);
  return into.key;
}

function upperLayer(bytes: Uint8Array, packet: Decoded, into: CopyKey): void {
  const at = packet.l4Offset;
  const known = packet.l4Status !== L4Status.None && packet.l4Status !== L4Status.Short;
  switch (known ? packet.protocol : -1) {
    case Protocol.Tcp:
      if (packet.l4Captured >= 8) add(into, be32(bytes, at + 4));
      if (packet.l4Captured >= 16) {
        add(into, be32(bytes, at + 8));
        add(into, be32(bytes, at + 12));
      }
      return payload(bytes, packet, 20, into);
    case Protocol.Udp:
    case Protocol.UdpLite:
      if (packet.l4Captured >= 6) add(into, be16(bytes, at + 4));
      return payload(bytes, packet, 8, into);
    case Protocol.Sctp:
      if (packet.l4Captured >= 8) add(into, be32(bytes, at + 4));
      return payload(bytes, packet, 12, into);
    case Protocol.Icmp:
    case Protocol.Icmpv6:
      add(into, (packet.icmpType << 8) | packet.icmpCode);
      if (packet.errorOffset >= 0) return quoted(bytes, packet, into);
      if (packet.l4Captured >= 8) add(into, be16(bytes, at + 6));
      return payload(bytes, packet, 8, into);
  }
  payload(bytes, packet, 0, into);
}

/** The quoted packet: only what a NAT on the way leaves alone. */
function quoted(bytes: Uint8Array, packet: Decoded, into: CopyKey): void {
  const at = packet.errorOffset;
  const left = packet.l4Offset + packet.l4Captured - at;
  add(into, packet.l4Length);
  const header = packet.family === 4 ? (bytes[at] & 15) << 2 : 40;
  if (left < header || left < 20) return;
  const protocol = packet.family === 4 ? bytes[at + 9] : bytes[at + 6];
  add(into, packet.family === 4 ? (protocol << 16) | be16(bytes, at + 4) : protocol);
  if (protocol === Protocol.Tcp && left >= header + 8) add(into, be32(bytes, at + header + 4));
}

function payload(bytes: Uint8Array, packet: Decoded, header: number, into: CopyKey): void {
  add(into, packet.l4Length);
  if (packet.l4Captured > header) addBytes(into, bytes, packet.l4Offset + header, packet.l4Captured - header);
}

function add(into: CopyKey, word: number): void {
  into.key = mix(into.key, word);
  into.check = stir(into.check, word);
}

/** The check's round: another structure than `mix`, so that the two do not collide together. */
function stir(check: number, word: number): number {
  const stirred = (Math.imul(check ^ word, 0x01000193) + 0x2545f491) | 0;
  return stirred ^ (stirred >>> 15);
}

function addBytes(into: CopyKey, bytes: Uint8Array, at: number, length: number): void {
  if (length <= HEAD_BYTES + TAIL_BYTES) return addRun(into, bytes, at, length);
  addRun(into, bytes, at, HEAD_BYTES);
  addRun(into, bytes, at + length - TAIL_BYTES, TAIL_BYTES);
}

function addRun(into: CopyKey, bytes: Uint8Array, at: number, length: number): void {
  let key = into.key;
  let check = into.check;
  const words = at + (length & ~3);
  let index = at;
  for (; index < words; index += 4) {
    const word = (bytes[index] << 24) | (bytes[index + 1] << 16) | (bytes[index + 2] << 8) | bytes[index + 3];
    key = mix(key, word);
    check = stir(check, word);
  }
  for (; index < at + length; index++) {
    key = mix(key, bytes[index]);
    check = stir(check, bytes[index]);
  }
  into.key = key;
  into.check = check;
}
