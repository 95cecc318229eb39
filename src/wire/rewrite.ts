/**
 * Writing new addresses and ports into a captured packet, in place, with its checksums in the state they were
 * in.
 *
 *     captured checksum     afterwards
 *     right, partial        right, computed anew over the whole packet
 *     wrong                 wrong by the same difference (RFC 1624), as NAT leaves it
 *     none (UDP 0)          none
 *     not to be known       updated by the difference, as NAT does (a first fragment, a cut capture)
 *     partial and cut       the new pseudo-header sum
 *     SCTP, wrong or cut    left alone; its CRC has no difference to apply
 *
 * The IPv4 header's checksum follows the same rule. Lengths never change.
 */
import {
  adjust,
  checksumAt,
  checksumState,
  Csum,
  fold,
  internetChecksum,
  ipv4ChecksumRight,
  pseudoSum,
  sctpChecksum,
  sum16,
} from "./checksum.js";
import type { Decoded } from "./decode.js";
import { DecodeStatus, Protocol } from "./decode.js";
import { be16 } from "./link.js";

/**
 * New ends of a packet. Addresses are read in wire order at their offsets, 4 or 16 bytes by the packet's
 * family.
 */
export class Endpoints {
  source: Uint8Array = new Uint8Array(16);
  sourceAt = 0;
  destination: Uint8Array = new Uint8Array(16);
  destinationAt = 0;
  /** Host order; ICMP echo: the identifier. -1: as captured. */
  sourcePort = -1;
  /** Host order; not used by ICMP. -1: as captured. */
  destinationPort = -1;
}

/**
 * Writes `to` into the packet and settles its checksums. `packet` must have been decoded from these bytes
 * with status Ok; its ports and identifier are updated. Returns the state the upper layer's checksum was in.
 */
export function turnAround(bytes: Uint8Array, packet: Decoded, to: Endpoints): Csum {
  if (packet.status !== DecodeStatus.Ok)
    throw new Error(`a packet with decode status ${packet.status} cannot be rewritten`);
  const state = checksumState(bytes, packet);
  const addressesBefore = sum16(bytes, packet.sourceOffset, packet.addressLength * 2);
  const portsBefore = portSum(bytes, packet);
  const headerRight = packet.family === 4 && ipv4ChecksumRight(bytes, packet);
  writeAddresses(bytes, packet, to);
  writePorts(bytes, packet, to);
  const addressesAfter = sum16(bytes, packet.sourceOffset, packet.addressLength * 2);
  if (packet.family === 4) settleIpv4(bytes, packet, headerRight, addressesBefore, addressesAfter);
  const pseudo = packet.protocol !== Protocol.Icmp;
  settleL4(
    bytes,
    packet,
    state,
    fold(portsBefore + (pseudo ? addressesBefore : 0)),
    fold(portSum(bytes, packet) + (pseudo ? addressesAfter : 0)),
  );
  return state;
}

/**
 * Writes `to` into the packet that an ICMP error quotes, and settles both its checksums and the error's.
 * `outer` and `inner` must have been decoded from these bytes (decode, decodeEmbedded). Returns false, with
 * nothing written, where the quoted packet's addresses were not readable.
 */
export function rewriteEmbedded(bytes: Uint8Array, outer: Decoded, inner: Decoded, to: Endpoints): boolean {
  if (outer.errorOffset < 0 || inner.status !== DecodeStatus.Ok) return false;
  const state = checksumState(bytes, outer);
  const length = outer.l4Offset + outer.l4Captured - outer.errorOffset;
  const before = sum16(bytes, outer.errorOffset, length);
  turnAround(bytes, inner, to);
  settleL4(bytes, outer, state, before, sum16(bytes, outer.errorOffset, length));
  return true;
}

/** Finishes a partial checksum, as the sending device would have; returns the state it was in. */
export function completeChecksum(bytes: Uint8Array, packet: Decoded): Csum {
  const state = checksumState(bytes, packet);
  if (state === Csum.Partial && packet.l4Captured === packet.l4Length) compute(bytes, packet);
  return state;
}

function writeAddresses(bytes: Uint8Array, packet: Decoded, to: Endpoints): void {
  for (let index = 0; index < packet.addressLength; index++) {
    bytes[packet.sourceOffset + index] = to.source[to.sourceAt + index];
    bytes[packet.destinationOffset + index] = to.destination[to.destinationAt + index];
  }
}

function writePorts(bytes: Uint8Array, packet: Decoded, to: Endpoints): void {
  if (packet.icmpId >= 0) {
    if (to.sourcePort >= 0) write16(bytes, packet.l4Offset + 4, (packet.icmpId = to.sourcePort));
    return;
  }
  if (packet.srcPort < 0) return;
  if (to.sourcePort >= 0) write16(bytes, packet.l4Offset, (packet.srcPort = to.sourcePort));
  if (to.destinationPort >= 0) write16(bytes, packet.l4Offset + 2, (packet.dstPort = to.destinationPort));
}

/** Sum of the upper-layer words that writePorts may change. */
function portSum(bytes: Uint8Array, packet: Decoded): number {
  if (packet.icmpId >= 0) return be16(bytes, packet.l4Offset + 4);
  return packet.srcPort < 0 ? 0 : fold(be16(bytes, packet.l4Offset) + be16(bytes, packet.l4Offset + 2));
}

function settleIpv4(
  bytes: Uint8Array,
  packet: Decoded,
  wasRight: boolean,
  before: number,
  after: number,
): void {
  const at = packet.l3Offset + 10;
  if (!wasRight) return write16(bytes, at, adjust(be16(bytes, at), before, after));
  write16(bytes, at, 0);
  write16(bytes, at, ~sum16(bytes, packet.l3Offset, (bytes[packet.l3Offset] & 15) << 2) & 0xffff);
}

function settleL4(bytes: Uint8Array, packet: Decoded, state: Csum, before: number, after: number): void {
  const at = checksumAt(packet.protocol);
  if (at < 0 || state === Csum.None || packet.fragmentOffset > 0 || packet.l4Captured < at + 2) return;
  if (state === Csum.Right) return compute(bytes, packet);
  if (state === Csum.Partial) {
    if (packet.l4Captured === packet.l4Length) return compute(bytes, packet);
    return write16(bytes, packet.l4Offset + at, pseudoSum(bytes, packet));
  }
  if (packet.protocol === Protocol.Sctp) return;
  const udp = packet.protocol === Protocol.Udp || packet.protocol === Protocol.UdpLite;
  const field = be16(bytes, packet.l4Offset + at);
  // A first fragment may have no UDP checksum; checksumState does not tell for fragments.
  if (udp && field === 0) return;
  const adjusted = adjust(field, before, after);
  write16(bytes, packet.l4Offset + at, udp && adjusted === 0 ? 0xffff : adjusted);
}

function compute(bytes: Uint8Array, packet: Decoded): void {
  const at = packet.l4Offset + checksumAt(packet.protocol);
  if (packet.protocol !== Protocol.Sctp) return write16(bytes, at, internetChecksum(bytes, packet));
  const checksum = sctpChecksum(bytes, packet);
  write16(bytes, at, checksum >>> 16);
  write16(bytes, at + 2, checksum & 0xffff);
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}
