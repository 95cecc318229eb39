/**
 * VXLAN framing (RFC 7348; drivers/net/vxlan) on an IPv4 or IPv6 underlay.
 *
 *     outer IP | UDP 8 | flags 1 (0x08) rsv 3 | VNI 3 rsv 1 | inner Ethernet 14 | inner IP …
 *
 * The UDP checksum is filled in (the kernel's default, udpcsum). The source port is a hash of the inner flow; the
 * kernel's differs by a per-boot key, so only its range (32768-60999) is comparable.
 */
import { getU16, getU32, setU16, setU32 } from "./bytes.js";
import { fillChecksum, Protocol } from "./checksum.js";
import { reparse } from "./header.js";
import { startIpv4, startIpv6 } from "./icmp.js";
import type { Packet } from "./packet.js";

/** UDP, VXLAN and inner Ethernet headers. */
const OVERHEAD = 8 + 8 + 14;
const PORTS = 28232;

/** Puts `inner` behind outer headers in `outer`. MACs are six bytes. */
export function encapsulate(outer: Packet, inner: Packet, vni: number, port: number, source: Uint8Array,
  destination: Uint8Array, sourceMac: Uint8Array, destinationMac: Uint8Array): void {
  const headers = source.length === 4 ? 20 : 40;
  const total = headers + OVERHEAD + inner.length;
  if (source.length === 4) startIpv4(outer, total, 0, Protocol.Udp, 0, source, destination);
  else startIpv6(outer, total, Protocol.Udp, source, destination);
  const { bytes } = outer;
  let at = headers;
  setU16(bytes, at, 32768 + (flowHash(inner) % PORTS));
  setU16(bytes, at + 2, port);
  setU16(bytes, at + 4, total - headers);
  at += 8;
  bytes[at] = 0x08;
  setU32(bytes, at + 4, vni << 8);
  at += 8;
  bytes.set(destinationMac, at);
  bytes.set(sourceMac, at + 6);
  setU16(bytes, at + 12, inner.family === 4 ? 0x0800 : 0x86dd);
  bytes.set(inner.bytes.subarray(0, inner.captured), at + 14);
  outer.captured -= inner.length - inner.captured;
  reparse(outer);
  fillChecksum(outer);
}

/** Offset of the inner Ethernet frame, or -1 where this is no VXLAN packet with that frame in the capture. */
export function innerFrame(outer: Packet): number {
  const at = outer.headerLength + 8;
  if (outer.captured < at + 8 + 14 || (outer.bytes[at] & 0x08) === 0) return -1;
  return at + 8;
}

export function vniOf(outer: Packet): number {
  return getU32(outer.bytes, outer.headerLength + 12) >>> 8;
}

export function udpDestination(packet: Packet): number {
  return packet.captured < packet.headerLength + 4 ? -1 : getU16(packet.bytes, packet.headerLength + 2);
}

function flowHash(inner: Packet): number {
  const { bytes, headerLength } = inner;
  const from = inner.family === 4 ? 12 : 8;
  let hash = inner.protocol;
  for (let at = from; at < (inner.family === 4 ? 20 : 40); at++) hash = Math.imul(hash ^ bytes[at], 0x01000193);
  for (let at = headerLength; at < Math.min(headerLength + 4, inner.length); at++) {
    hash = Math.imul(hash ^ bytes[at], 0x01000193);
  }
  return (hash ^ (hash >>> 13)) >>> 0;
}
