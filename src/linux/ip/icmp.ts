/**
 * Packets that a node makes itself: ICMP and ICMPv6 errors (__icmp_send in net/ipv4/icmp.c, icmp6_send in
 * net/ipv6/icmp.c) and the RST of a REJECT (nf_reject_ipv4.c, nf_reject_ipv6.c). Rate limits are off.
 *
 * Not comparable with a recording, because the kernel draws them: the IPv4 identification (0 here) and the IPv6 flow
 * label (0 here). A quote of a packet that the capture cut is cut too.
 */
import { getU32, setIpv4Checksum, setU16, setU32 } from "./bytes.js";
import { fillChecksum, Protocol } from "./checksum.js";
import { isIcmpError, reparse } from "./header.js";
import type { Packet } from "./packet.js";

/** Total length of an IPv4 error (RFC 1812 lets routers send up to this), and the minimum IPv6 MTU. */
const MAX_ERROR4 = 576;
const MAX_ERROR6 = 1280;

/** Whether the kernel answers this packet with an error at all. `type` is the error's. */
export function mayAnswer(original: Packet, type: number): boolean {
  const { bytes } = original;
  if (original.family === 4) {
    if (original.packetType !== 0 || original.fragmentOffset > 0) return false;
    if (bytes[16] >= 224 || isZero(bytes, 12, 4)) return false;
    if (original.protocol !== Protocol.Icmp || original.captured <= original.headerLength) return true;
    const inner = bytes[original.headerLength];
    return inner <= 18 && !isIcmpError(inner);
  }
  const packetTooBig = type === 2;
  if ((bytes[24] === 0xff || original.packetType !== 0) && !packetTooBig) return false;
  if (bytes[8] === 0xff || isZero(bytes, 8, 16)) return false;
  if (original.protocol !== Protocol.Icmp6 || original.fragmentOffset > 0) return true;
  return original.captured > original.headerLength && bytes[original.headerLength] >= 128;
}

/** Fills `made` with an error about `original`; `info` is the header's second word (MTU, pointer). */
export function makeError(made: Packet, original: Packet, type: number, code: number, info: number,
  source: Uint8Array, mtu: number): void {
  if (original.family === 4) makeError4(made, original, type, code, info, source, mtu);
  else makeError6(made, original, type, code, info, source);
  fillChecksum(made);
}

function makeError4(made: Packet, original: Packet, type: number, code: number, info: number, source: Uint8Array,
  mtu: number): void {
  const quote = Math.min(original.captured, Math.min(mtu, MAX_ERROR4) - 28);
  // Precedence "internetwork control", delay/throughput/reliability of the original (RFC 1812, 4.3.2.5).
  const tos = (original.bytes[1] & 0x1e) | 0xc0;
  startIpv4(made, 28 + quote, tos, Protocol.Icmp, 0, source, original.bytes.subarray(12, 16));
  made.bytes[20] = type;
  made.bytes[21] = code;
  setU32(made.bytes, 24, info);
  made.bytes.set(original.bytes.subarray(0, quote), 28);
  reparse(made);
}

function makeError6(made: Packet, original: Packet, type: number, code: number, info: number,
  source: Uint8Array): void {
  const quote = Math.min(original.captured, MAX_ERROR6 - 48);
  startIpv6(made, 48 + quote, Protocol.Icmp6, source, original.bytes.subarray(8, 24));
  made.bytes[40] = type;
  made.bytes[41] = code;
  setU32(made.bytes, 44, info);
  made.bytes.set(original.bytes.subarray(0, quote), 48);
  reparse(made);
}

/** Fills `made` with the RST that answers the TCP segment `original`. False where none is sent. */
export function makeReset(made: Packet, original: Packet): boolean {
  const { bytes, headerLength } = original;
  if (original.protocol !== Protocol.Tcp || original.fragmentOffset > 0) return false;
  if (original.captured < headerLength + 20 || (bytes[headerLength + 13] & 4) !== 0) return false;
  if (original.family === 4) {
    if (bytes[16] >= 224) return false;
    startIpv4(made, 40, 0, Protocol.Tcp, 0x4000, bytes.subarray(16, 20), bytes.subarray(12, 16));
  } else {
    startIpv6(made, 60, Protocol.Tcp, bytes.subarray(24, 40), bytes.subarray(8, 24));
  }
  const at = original.family === 4 ? 20 : 40;
  const out = made.bytes;
  out.set(bytes.subarray(headerLength + 2, headerLength + 4), at);
  out.set(bytes.subarray(headerLength, headerLength + 2), at + 2);
  const flags = bytes[headerLength + 13];
  if ((flags & 0x10) !== 0) {
    out.set(bytes.subarray(headerLength + 8, headerLength + 12), at + 4);
    out[at + 13] = 0x04;
  } else {
    const payload = original.length - headerLength - (bytes[headerLength + 12] >> 4) * 4;
    const acknowledged = getU32(bytes, headerLength + 4) + ((flags >> 1) & 1) + (flags & 1) + payload;
    setU32(out, at + 8, acknowledged >>> 0);
    out[at + 13] = 0x14;
  }
  out[at + 12] = 0x50;
  reparse(made);
  fillChecksum(made);
  return true;
}

/** Header and zeroed payload; TTL 64 (ip_default_ttl). `source` and `destination` may lie in another packet. */
export function startIpv4(made: Packet, total: number, tos: number, protocol: number, fragment: number,
  source: Uint8Array, destination: Uint8Array): void {
  made.reserve(total);
  made.family = 4;
  made.length = made.captured = total;
  const { bytes } = made;
  bytes.fill(0, 0, total);
  bytes[0] = 0x45;
  bytes[1] = tos;
  setU16(bytes, 2, total);
  setU16(bytes, 6, fragment);
  bytes[8] = 64;
  bytes[9] = protocol;
  bytes.set(source, 12);
  bytes.set(destination, 16);
  setIpv4Checksum(bytes, 0);
}

export function startIpv6(made: Packet, total: number, protocol: number, source: Uint8Array,
  destination: Uint8Array): void {
  made.reserve(total);
  made.family = 6;
  made.length = made.captured = total;
  const { bytes } = made;
  bytes.fill(0, 0, total);
  bytes[0] = 0x60;
  setU16(bytes, 4, total - 40);
  bytes[6] = protocol;
  bytes[7] = 64;
  bytes.set(source, 8);
  bytes.set(destination, 24);
}

/** --reject-with, as iptables prints and as it also reads it: [family, type, code]; null: tcp-reset or unknown. */
export function rejectError(kind: string): readonly [4 | 6, number, number] | null {
  return REJECTS[kind] ?? null;
}

const REJECTS: Readonly<Record<string, readonly [4 | 6, number, number]>> = {
  "icmp-net-unreachable": [4, 3, 0], "icmp-host-unreachable": [4, 3, 1], "icmp-proto-unreachable": [4, 3, 2],
  "icmp-port-unreachable": [4, 3, 3], "icmp-net-prohibited": [4, 3, 9], "icmp-host-prohibited": [4, 3, 10],
  "icmp-admin-prohibited": [4, 3, 13],
  "icmp6-no-route": [6, 1, 0], "no-route": [6, 1, 0],
  "icmp6-adm-prohibited": [6, 1, 1], "adm-prohibited": [6, 1, 1],
  "icmp6-addr-unreachable": [6, 1, 3], "addr-unreach": [6, 1, 3],
  "icmp6-port-unreachable": [6, 1, 4], "port-unreach": [6, 1, 4],
  "icmp6-policy-fail": [6, 1, 5], "policy-fail": [6, 1, 5],
  "icmp6-reject-route": [6, 1, 6], "reject-route": [6, 1, 6],
};

function isZero(bytes: Uint8Array, at: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (bytes[at + index] !== 0) return false;
  return true;
}
