/**
 * Checksums of the upper layer: verified once when a packet enters, then adjusted when NAT changes it (RFC
 * 1624), or made anew (ICMP errors, SCTP's CRC32c). All on bytes, no allocation.
 */
import { Csum, type Skb } from "../skb.js";
import { half, type Packet, Proto as protocols, putHalf } from "./packet.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Proto = protocols;
const { Unknown, Right, Wrong, Partial, None } = Csum;

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
    high = (high + (first >>> 16) + (second >>> 16)) | 0;
    low = (low + (first & 0xffff) + (second & 0xffff)) | 0;
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
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}

/** Folded sum of the pseudo-header: addresses, upper-layer length, protocol. */
export function pseudoSum(skb: Skb, protocol: number, length: number): number {
  const addresses = skb.family === 4 ? sumBytes(skb.bytes, 12, 8) : sumBytes(skb.bytes, 8, 32);
  return fold(addresses + protocol + (length >>> 16) + (length & 0xffff));
}

/** pseudoSum of a packet that is loaded. */
function loadedPseudoSum(packet: Packet, protocol: number, length: number): number {
  const sum = halves(packet.s3) + halves(packet.d3) + protocol + (length >>> 16) + (length & 0xffff);
  if (packet.family === 4) return fold(sum);
  const { s0, s1, s2, d0, d1, d2 } = packet;
  return fold(sum + halves(s0) + halves(s1) + halves(s2) + halves(d0) + halves(d1) + halves(d2));
}

function halves(word: number): number {
  return (word >>> 16) + (word & 0xffff);
}

/**
 * Finds out what skb.csum is, where it is Unknown. A field that holds exactly the folded pseudo-header sum is
 * one that offload has still to fill in (Partial), not a wrong one.
 */
export function verifyChecksum(skb: Skb, packet: Packet): void {
  if (skb.csum !== Unknown) return;
  skb.csum = checksumOf(skb, packet);
}

function checksumOf(skb: Skb, packet: Packet): Csum {
  const { bytes } = skb;
  const { l4, l4Length, protocol } = packet;
  switch (protocol) {
    case Proto.Tcp:
      if (l4Length < 20) return Wrong;
      return transportChecksum(skb, packet, l4 + 16);
    case Proto.Udp:
      if (l4Length < 8) return Wrong;
      if (half(bytes, l4 + 6) === 0) return None;
      // The kernel sums all that follows the IP header, whatever UDP's own length says (nf_ip_checksum).
      return transportChecksum(skb, packet, l4 + 6);
    case Proto.UdpLite: {
      if (l4Length < 8) return Wrong;
      // RFC 3828: the length field says how much is covered; 0 is all of it, 1 to 7 are illegal, as is
      // checksum 0.
      const covered = half(bytes, l4 + 4) === 0 ? l4Length : half(bytes, l4 + 4);
      if (covered < 8 || covered > l4Length || half(bytes, l4 + 6) === 0) return Wrong;
      // udplite_error asks with the protocol number of UDP, so that is what the pseudo-header must hold.
      const sum = fold(sumBytes(bytes, l4, covered) + pseudoSum(skb, Proto.Udp, l4Length));
      return sum === 0xffff ? Right : Wrong;
    }
    case Proto.Icmp:
      return fold(sumBytes(bytes, l4, l4Length)) === 0xffff ? Right : Wrong;
    case Proto.Icmp6:
      return l4Length < 4 ? Wrong : transportChecksum(skb, packet, l4 + 2);
    case Proto.Sctp: {
      if (l4Length < 12) return Wrong;
      const held =
        (bytes[l4 + 8] | (bytes[l4 + 9] << 8) | (bytes[l4 + 10] << 16) | (bytes[l4 + 11] << 24)) >>> 0;
      return held === sctpChecksum(bytes, l4, l4Length) ? Right : Wrong;
    }
    default:
      return None;
  }
}

function transportChecksum(skb: Skb, packet: Packet, field: number): Csum {
  const { l4, l4Length } = packet;
  const pseudo = loadedPseudoSum(packet, packet.protocol, l4Length);
  if (fold(sumBytes(skb.bytes, l4, l4Length) + pseudo) === 0xffff) return Right;
  return half(skb.bytes, field) === pseudo ? Partial : Wrong;
}

/** What a 16-bit word that changes adds to the sum of all: ~old + new (RFC 1624). */
export function halfChange(before: number, after: number): number {
  return (~before & 0xffff) + after;
}

export function wordChange(before: number, after: number): number {
  return (~(before >>> 16) & 0xffff) + (after >>> 16) + (~before & 0xffff) + (after & 0xffff);
}

/** The change NAT makes, summed up word by word: ~old + new for each 16-bit word. */
export class ChecksumDelta {
  private sum = 0;

  clear(): void {
    this.sum = 0;
  }

  half(before: number, after: number): void {
    this.sum += halfChange(before, after);
  }

  word(before: number, after: number): void {
    this.sum += wordChange(before, after);
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
