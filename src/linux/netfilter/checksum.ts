/**
 * Checksums of the upper layer: verified once when a packet enters, then adjusted when NAT changes it (RFC
 * 1624), or made anew (ICMP errors, SCTP's CRC32c). All on bytes, no allocation.
 */
import { Csum, type Skb } from "../skb.js";
import { half, type Packet, Proto, putHalf } from "./packet.js";

/**
 * Sum of 16-bit words in wire order, odd tail padded with zero: folded once, below 2^18. At most 128 KiB.
 */
export function sumBytes(bytes: Uint8Array, at: number, length: number): number {
  const view = viewOf(bytes);
  let i = at;
  const end = i + length;
  // Upper and lower halves of 32-bit words apart: integers up to the end.
  let high = 0;
  let low = 0;
  for (const whole = end - 7; i < whole; i += 8) {
    const first = view.getInt32(i);
    const second = view.getInt32(i + 4);
    high += (first >>> 16) + (second >>> 16);
    low += (first & 0xffff) + (second & 0xffff);
  }
  for (const whole = end - 1; i < whole; i += 2) low += view.getUint16(i);
  if (i < end) low += view.getUint8(i) << 8;
  return (high & 0xffff) + (high >>> 16) + (low & 0xffff) + (low >>> 16);
}

/** Views of the last few arrays: packets live in pooled ones, so that none is made per packet. */
const arrays: Uint8Array[] = Array.from({ length: 8 }, () => new Uint8Array(0));
const views: DataView[] = Array.from({ length: 8 }, () => new DataView(new ArrayBuffer(0)));
let latest = 0;
let oldest = 0;

function viewOf(bytes: Uint8Array): DataView {
  if (arrays[latest] === bytes) return views[latest];
  latest = arrays.indexOf(bytes);
  if (latest < 0) {
    latest = oldest;
    oldest = (oldest + 1) & 7;
    arrays[latest] = bytes;
    views[latest] = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }
  return views[latest];
}

/** A sum below 2^32 as 16 bits, carries added (RFC 1071). */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + (folded >>> 16);
  return folded;
}

/** Folded sum of the pseudo-header: addresses, upper-layer length, protocol. */
export function pseudoSum(skb: Skb, protocol: number, length: number): number {
  const addresses = skb.family === 4 ? sumBytes(skb.bytes, 12, 8) : sumBytes(skb.bytes, 8, 32);
  return fold(addresses + protocol + (length >>> 16) + (length & 0xffff));
}

/**
 * Finds out what skb.csum is, where it is Unknown. A field that holds exactly the folded pseudo-header sum is
 * one that offload has still to fill in (Partial), not a wrong one.
 */
export function verifyChecksum(skb: Skb, packet: Packet): void {
  if (skb.csum !== Csum.Unknown) return;
  skb.csum = checksumOf(skb, packet);
}

function checksumOf(skb: Skb, packet: Packet): Csum {
  const { bytes } = skb;
  const { l4, l4Length, protocol } = packet;
  switch (protocol) {
    case Proto.Tcp:
      if (l4Length < 20) return Csum.Wrong;
      return transportChecksum(skb, protocol, l4, l4Length, l4 + 16);
    case Proto.Udp:
      if (l4Length < 8) return Csum.Wrong;
      if (half(bytes, l4 + 6) === 0) return Csum.None;
      // The kernel sums all that follows the IP header, whatever UDP's own length says (nf_ip_checksum).
      return transportChecksum(skb, protocol, l4, l4Length, l4 + 6);
    case Proto.UdpLite: {
      if (l4Length < 8) return Csum.Wrong;
      // RFC 3828: the length field says how much is covered; 0 is all of it, 1 to 7 are illegal, as is
      // checksum 0.
      const covered = half(bytes, l4 + 4) === 0 ? l4Length : half(bytes, l4 + 4);
      if (covered < 8 || covered > l4Length || half(bytes, l4 + 6) === 0) return Csum.Wrong;
      // udplite_error asks with the protocol number of UDP, so that is what the pseudo-header must hold.
      const sum = fold(sumBytes(bytes, l4, covered) + pseudoSum(skb, Proto.Udp, l4Length));
      return sum === 0xffff ? Csum.Right : Csum.Wrong;
    }
    case Proto.Icmp:
      return fold(sumBytes(bytes, l4, l4Length)) === 0xffff ? Csum.Right : Csum.Wrong;
    case Proto.Icmp6:
      return l4Length < 4 ? Csum.Wrong : transportChecksum(skb, protocol, l4, l4Length, l4 + 2);
    case Proto.Sctp: {
      if (l4Length < 12) return Csum.Wrong;
      const held =
        (bytes[l4 + 8] | (bytes[l4 + 9] << 8) | (bytes[l4 + 10] << 16) | (bytes[l4 + 11] << 24)) >>> 0;
      return held === sctpChecksum(bytes, l4, l4Length) ? Csum.Right : Csum.Wrong;
    }
    default:
      return Csum.None;
  }
}

function transportChecksum(skb: Skb, protocol: number, at: number, length: number, field: number): Csum {
  const pseudo = pseudoSum(skb, protocol, length);
  if (fold(sumBytes(skb.bytes, at, length) + pseudo) === 0xffff) return Csum.Right;
  return half(skb.bytes, field) === pseudo ? Csum.Partial : Csum.Wrong;
}

/** The change NAT makes, summed up word by word: ~old + new for each 16-bit word. */
export class ChecksumDelta {
  private sum = 0;

  clear(): void {
    this.sum = 0;
  }

  half(before: number, after: number): void {
    this.sum += (~before & 0xffff) + after;
  }

  word(before: number, after: number): void {
    this.sum += (~(before >>> 16) & 0xffff) + (after >>> 16) + (~before & 0xffff) + (after & 0xffff);
  }

  /** RFC 1624: HC' = ~(~HC + ~m + m'). */
  apply(bytes: Uint8Array, field: number): void {
    putHalf(bytes, field, ~fold((~half(bytes, field) & 0xffff) + this.sum) & 0xffff);
  }

  /** A Partial field holds the sum itself, not its complement. */
  applyPartial(bytes: Uint8Array, field: number): void {
    putHalf(bytes, field, fold(half(bytes, field) + this.sum));
  }
}

const crcTable = new Uint32Array(256);
for (let n = 0; n < 256; n++) {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = (crc & 1) !== 0 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  crcTable[n] = crc >>> 0;
}

/** CRC32c over the packet with its checksum field as zero (RFC 4960 appendix B); stored little-endian. */
export function sctpChecksum(bytes: Uint8Array, at: number, length: number): number {
  let crc = 0xffffffff;
  for (let i = 0; i < length; i++) {
    const byte = i >= 8 && i < 12 ? 0 : bytes[at + i];
    crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}
