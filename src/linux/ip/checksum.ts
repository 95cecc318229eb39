/**
 * What is known of a packet's transport checksum, and computing one.
 *
 * With checksum offload the field holds the folded pseudo-header sum, not complemented (CHECKSUM_PARTIAL); the kernel
 * takes that for "not yet computed". It is the only reading that needs no payload, so cut captures keep it.
 */
import { Csum } from "../skb.js";
import { fold, getU16, getU32, setU16, sum16 } from "./bytes.js";
import type { Packet } from "./packet.js";

export const Protocol = { Icmp: 1, Tcp: 6, Udp: 17, Fragment: 44, Icmp6: 58, Sctp: 132, UdpLite: 136 } as const;

/** Judges the checksum of an unfragmented packet whose headers are parsed. */
export function assessChecksum(packet: Packet): Csum {
  const { bytes, headerLength, protocol } = packet;
  const size = packet.totalLength - headerLength;
  if (packet.fragmentOffset > 0 || packet.moreFragments) return Csum.Unknown;
  if (protocol === Protocol.Sctp) return assessSctp(packet, size);
  const at = checksumOffset(protocol);
  if (at < 0 || packet.length < headerLength + at + 2) return Csum.Unknown;
  const field = getU16(bytes, headerLength + at);
  if (protocol === Protocol.Udp && field === 0 && packet.family === 4) return Csum.None;
  // A super-frame's length field may be 0; the pseudo-header then has the real length.
  let covered = size;
  if (protocol === Protocol.Udp && packet.length >= headerLength + 6 && !packet.gso) {
    covered = getU16(bytes, headerLength + 4);
    // nf_conntrack's UDP check: a length beyond the packet or below the header is wrong; padding is not summed.
    if (covered < 8 || covered > size) return Csum.Wrong;
  }
  const pseudo = protocol === Protocol.Icmp ? 0 : pseudoSum(packet, covered);
  if (!packet.truncated && fold(sum16(bytes, headerLength, covered, pseudo)) === 0xffff) return Csum.Right;
  if (protocol !== Protocol.Icmp && field === fold(pseudo)) return Csum.Partial;
  return packet.truncated ? Csum.Unknown : Csum.Wrong;
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

/** RFC 9260 appendix A: CRC32c, least significant byte first. */
function assessSctp(packet: Packet, size: number): Csum {
  if (packet.truncated || size < 12) return Csum.Unknown;
  const { bytes, headerLength } = packet;
  let crc = 0xffffffff;
  for (let index = 0; index < size; index++) {
    const byte = index >= 8 && index < 12 ? 0 : bytes[headerLength + index];
    crc = (crc >>> 8) ^ CRC32C[(crc ^ byte) & 0xff];
  }
  crc = ~crc >>> 0;
  const swapped = ((crc & 0xff) << 24 | (crc & 0xff00) << 8 | (crc >>> 8) & 0xff00 | crc >>> 24) >>> 0;
  return getU32(bytes, headerLength + 8) === swapped ? Csum.Right : Csum.Wrong;
}

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) !== 0 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value >>> 0;
});
