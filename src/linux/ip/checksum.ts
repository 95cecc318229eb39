/** Transport checksums of packets that the node makes, and what can be said of those in a cut capture. */
import { Csum } from "../skb.js";
import { fold, getU16, setU16, sum16 } from "./bytes.js";
import type { Packet } from "./packet.js";

export const Protocol = { Icmp: 1, Tcp: 6, Udp: 17, Icmp6: 58, Sctp: 132 } as const;

/**
 * The checksum of a packet whose payload the capture cut. With offload the field holds the folded pseudo-header sum,
 * not complemented (CHECKSUM_PARTIAL), which needs no payload to see. Else it is taken for right: it cannot be
 * checked, and NAT adjusts it by what it changes either way. (netfilter verifies whole packets itself.)
 */
function cutChecksum(packet: Packet): Csum {
  const { bytes, headerLength, protocol } = packet;
  const at = checksumOffset(protocol);
  if (at < 0 || packet.captured < headerLength + at + 2) return Csum.Right;
  const field = getU16(bytes, headerLength + at);
  if (protocol === Protocol.Udp && field === 0) return Csum.None;
  if (protocol === Protocol.Icmp) return Csum.Right;
  return field === fold(pseudoSum(packet, packet.length - headerLength)) ? Csum.Partial : Csum.Right;
}

/**
 * Sum of the ICMP payload that the capture lacks, as the checksum implies it; -1 for other packets. NAT makes the
 * checksum of an ICMP error anew over the whole message, so the missing part must be added: `restoreIcmp`.
 */
function missingIcmpSum(packet: Packet): number {
  if (!packet.truncated || checksumOffset(packet.protocol) !== 2) return -1;
  return ~fold(capturedIcmpSum(packet)) & 0xffff;
}

export function restoreIcmp(packet: Packet, missing: number): void {
  const at = packet.headerLength + 2;
  setU16(packet.bytes, at, 0);
  setU16(packet.bytes, at, ~fold(capturedIcmpSum(packet) + missing) & 0xffff);
}

function capturedIcmpSum(packet: Packet): number {
  const { bytes, headerLength, captured, length } = packet;
  const pseudo = packet.protocol === Protocol.Icmp ? 0 : pseudoSum(packet, length - headerLength);
  return sum16(bytes, headerLength, captured - headerLength, pseudo);
}

/**
 * Whether a REJECT finds the packet damaged and stays silent (nf_reject_verify_csum). It looks itself where conntrack did
 * not, as for what the node sends; a checksum of another kind (SCTP's CRC) or none is not looked at.
 */
export function isDamaged(packet: Packet): boolean {
  const { bytes, headerLength, protocol, csum } = packet;
  const at = checksumOffset(protocol);
  if (at < 0 || csum === Csum.Right || csum === Csum.Partial || csum === Csum.None) return false;
  const size = packet.length - headerLength;
  if (csum === Csum.Wrong || size < at + 2) return true;
  const field = getU16(bytes, headerLength + at);
  if (protocol === Protocol.Udp && field === 0) return false;
  const pseudo = protocol === Protocol.Icmp ? 0 : pseudoSum(packet, size);
  return fold(sum16(bytes, headerLength, size, pseudo)) !== 0xffff && (pseudo === 0 || field !== fold(pseudo));
}

/** Computes and writes the checksum of TCP, UDP, ICMP or ICMPv6 over the whole payload. */
export function fillChecksum(packet: Packet): void {
  const { bytes, headerLength, protocol } = packet;
  const at = checksumOffset(protocol);
  if (at < 0) return;
  const size = packet.length - headerLength;
  setU16(bytes, headerLength + at, 0);
  const pseudo = protocol === Protocol.Icmp ? 0 : pseudoSum(packet, size);
  const value = ~fold(sum16(bytes, headerLength, size, pseudo)) & 0xffff;
  setU16(bytes, headerLength + at, value === 0 && protocol === Protocol.Udp ? 0xffff : value);
}

function checksumOffset(protocol: number): number {
  if (protocol === Protocol.Tcp) return 16;
  if (protocol === Protocol.Udp) return 6;
  return protocol === Protocol.Icmp || protocol === Protocol.Icmp6 ? 2 : -1;
}

function pseudoSum(packet: Packet, size: number): number {
  const addresses = packet.family === 4 ? sum16(packet.bytes, 12, 8) : sum16(packet.bytes, 8, 32);
  return addresses + packet.protocol + (size & 0xffff) + (size >>> 16);
}

/** What the capture cut off is taken for undamaged. */
export function assumeUndamaged(packet: Packet): void {
  packet.csum = cutChecksum(packet);
  packet.missingSum = missingIcmpSum(packet);
}
