/**
 * The host's own decoder: IPv4 and IPv6 with options and extension headers, fragments, TCP, UDP, SCTP, ICMP
 * and the packet an ICMP error quotes. Replay and compare read frames with it; the planes have readers of
 * their own.
 *
 * Total: reads nothing outside the captured bytes, never throws, allocates nothing. It judges lengths and
 * versions, not checksums (see checksum.ts). A packet whose bytes were not all captured (`Cut`) is told from
 * one that really was too short on the wire (`Short`): the kernel drops the second, of the first we only do
 * not know enough.
 */
import { be16, be32, EtherType } from "./link.js";

export const DecodeStatus = {
  Ok: 0,
  /** Another EtherType than IP. */
  NotIp: 1,
  /** The capture ends inside the IP header or an extension header. */
  CaptureCut: 2,
  /** The packet ends inside the IP header or an extension header. */
  ShortHeader: 3,
  /** Version nibble differs from the EtherType, or is neither 4 nor 6. */
  BadVersion: 4,
  /** IPv4 header length below 20 bytes. */
  BadHeaderLength: 5,
  /** Total length below the header length, or past the frame's end. */
  BadTotalLength: 6,
  /** IPv6 jumbogram (RFC 2675): no network of a cluster carries one. */
  Jumbogram: 7,
} as const;
export type DecodeStatus = (typeof DecodeStatus)[keyof typeof DecodeStatus];

/** Texts for counters and reports, by status. */
export const DECODE_STATUS_TEXT: readonly string[] = [
  "ok",
  "not IP",
  "capture cut inside the IP header",
  "packet ends inside the IP header",
  "bad IP version",
  "bad IP header length",
  "bad IP total length",
  "jumbogram",
];

/** How much of the upper-layer header was readable. */
export const L4Status = {
  /** No upper-layer header to read: a later fragment, or a protocol without one that is known here. */
  None: 0,
  /** The header is there; of TCP's, the fixed 20 bytes: the capture may end among its options. */
  Ok: 1,
  /** The capture ends inside the header; ports may be known all the same. */
  Cut: 2,
  /** The packet ends inside the header. */
  Short: 3,
  /** TCP data offset below 5 or past the end; UDP length below 8 or past the end. */
  BadLength: 4,
} as const;
export type L4Status = (typeof L4Status)[keyof typeof L4Status];

export const Protocol = {
  HopByHop: 0,
  Icmp: 1,
  Ipip: 4,
  Tcp: 6,
  Udp: 17,
  Dccp: 33,
  Ipv6: 41,
  Routing: 43,
  Fragment: 44,
  Gre: 47,
  Esp: 50,
  Auth: 51,
  Icmpv6: 58,
  NoNext: 59,
  DestinationOptions: 60,
  Sctp: 132,
  UdpLite: 136,
} as const;

/** The fields of one packet. Offsets count from the buffer's start; numbers are in host order. */
export class Decoded {
  status: DecodeStatus = DecodeStatus.NotIp;
  /** 4, 6, or 0 where the packet is not IP. */
  family = 0;
  l3Offset = 0;
  /** IP header with options / extension headers; up to `l4Offset`. */
  headerLength = 0;
  /** IP packet on the wire, header included, without link padding. */
  totalLength = 0;
  /** Captured bytes of those. */
  capturedLength = 0;
  /** The header's length field was 0 (TSO, BIG TCP): `totalLength` is the frame's. */
  lengthFromFrame = false;
  /** TTL or hop limit. */
  ttl = 0;
  /** Type of service or traffic class. */
  tos = 0;
  /** Upper-layer protocol. */
  protocol = 0;
  /** 16 bits (IPv4) or 32 (IPv6 fragment header; 0 without one). */
  fragmentId = 0;
  /** Bytes. */
  fragmentOffset = 0;
  moreFragments = false;
  dontFragment = false;
  /** 4 or 16. */
  addressLength = 0;
  sourceOffset = 0;
  destinationOffset = 0;

  l4Status: L4Status = L4Status.None;
  l4Offset = 0;
  /** Upper-layer bytes on the wire, header included, in this packet (a fragment's own share). */
  l4Length = 0;
  /** Captured bytes of those. */
  l4Captured = 0;
  /**
   * Where the upper layer's payload begins, may lie past what was captured; `l4Offset` where no header is
   * known.
   */
  payloadOffset = 0;
  /** TCP, UDP, UDP-Lite, SCTP, DCCP; -1 where there is none or it was not captured. */
  srcPort = -1;
  dstPort = -1;
  tcpSeq = 0;
  tcpAck = 0;
  /** FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128. */
  tcpFlags = 0;
  tcpWindow = 0;
  /** The UDP header's length field; UDP-Lite: checksum coverage. */
  udpLength = 0;
  /** -1 where the packet is no ICMP or the field was not captured. */
  icmpType = -1;
  icmpCode = -1;
  /** Identifier of an echo request or reply; -1 for all else. */
  icmpId = -1;
  /** Where the packet that an ICMP error quotes begins; -1: not an ICMP error. */
  errorOffset = -1;

  /** A fragment, first or later. */
  get isFragment(): boolean {
    return this.fragmentOffset > 0 || this.moreFragments;
  }
}

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/**
 * Decodes the packet at `offset`. `length` counts the captured bytes from there on, `wireLength` those the
 * frame had; `etherType` EtherType.None goes by the version nibble.
 */
export function decode(
  bytes: Uint8Array,
  offset: number,
  length: number,
  wireLength: number,
  etherType: number,
  into: Decoded,
): void {
  reset(offset, length, wireLength, into);
  const version = length > 0 ? bytes[offset] >>> 4 : 0;
  let type = etherType;
  if (type === EtherType.None) {
    if (length === 0) return end(shortOrCut(length, wireLength), into);
    type = version === 4 ? EtherType.Ipv4 : version === 6 ? EtherType.Ipv6 : EtherType.None;
    if (type === EtherType.None) return end(DecodeStatus.BadVersion, into);
  }
  if (type === EtherType.Ipv4) decodeIpv4(bytes, offset, length, wireLength, version, into);
  else if (type === EtherType.Ipv6) decodeIpv6(bytes, offset, length, wireLength, version, into);
  else into.status = DecodeStatus.NotIp;
}

/**
 * Decodes the packet that an ICMP error quotes. It is cut by nature: a missing end shows as `Cut`, never as
 * `Short`. The caller sees to `outer.errorOffset >= 0`.
 */
export function decodeEmbedded(bytes: Uint8Array, outer: Decoded, into: Decoded): void {
  const length = outer.l4Offset + outer.l4Captured - outer.errorOffset;
  const etherType = outer.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6;
  decode(bytes, outer.errorOffset, Math.max(0, length), MAX_IP_LENGTH, etherType, into);
}

/** More than any length field says. */
const MAX_IP_LENGTH = 65536 + IPV6_HEADER;

function reset(offset: number, length: number, wireLength: number, into: Decoded): void {
  into.status = DecodeStatus.Ok;
  into.family = 0;
  into.l3Offset = offset;
  into.headerLength = 0;
  into.totalLength = wireLength;
  into.capturedLength = length;
  into.lengthFromFrame = false;
  into.ttl = into.tos = into.protocol = into.fragmentId = into.fragmentOffset = 0;
  into.moreFragments = into.dontFragment = false;
  into.addressLength = 0;
  into.sourceOffset = into.destinationOffset = offset;
  into.l4Status = L4Status.None;
  into.l4Offset = into.payloadOffset = offset + length;
  into.l4Length = into.l4Captured = 0;
  into.srcPort = into.dstPort = -1;
  into.tcpSeq = into.tcpAck = into.tcpFlags = into.tcpWindow = into.udpLength = 0;
  into.icmpType = into.icmpCode = into.icmpId = into.errorOffset = -1;
}

function end(status: DecodeStatus, into: Decoded): void {
  into.status = status;
}

function shortOrCut(length: number, wireLength: number): DecodeStatus {
  return length < wireLength ? DecodeStatus.CaptureCut : DecodeStatus.ShortHeader;
}

function decodeIpv4(
  bytes: Uint8Array,
  offset: number,
  length: number,
  wireLength: number,
  version: number,
  into: Decoded,
): void {
  if (length > 0 && version !== 4) return end(DecodeStatus.BadVersion, into);
  if (length < IPV4_HEADER) return end(shortOrCut(length, wireLength), into);
  into.family = 4;
  into.addressLength = 4;
  into.sourceOffset = offset + 12;
  into.destinationOffset = offset + 16;
  into.tos = bytes[offset + 1];
  into.ttl = bytes[offset + 8];
  into.protocol = bytes[offset + 9];
  into.fragmentId = be16(bytes, offset + 4);
  const fragment = be16(bytes, offset + 6);
  into.fragmentOffset = (fragment & 0x1fff) << 3;
  into.moreFragments = (fragment & 0x2000) !== 0;
  into.dontFragment = (fragment & 0x4000) !== 0;
  const header = (bytes[offset] & 15) << 2;
  if (header < IPV4_HEADER) return end(DecodeStatus.BadHeaderLength, into);
  let total = be16(bytes, offset + 2);
  if (total === 0) {
    total = wireLength;
    into.lengthFromFrame = true;
  }
  if (total < header || total > wireLength) return end(DecodeStatus.BadTotalLength, into);
  into.totalLength = total;
  into.capturedLength = Math.min(length, total);
  if (into.capturedLength < header) return end(DecodeStatus.CaptureCut, into);
  upperLayer(bytes, offset, header, into);
}

function decodeIpv6(
  bytes: Uint8Array,
  offset: number,
  length: number,
  wireLength: number,
  version: number,
  into: Decoded,
): void {
  if (length > 0 && version !== 6) return end(DecodeStatus.BadVersion, into);
  if (length < IPV6_HEADER) return end(shortOrCut(length, wireLength), into);
  into.family = 6;
  into.addressLength = 16;
  into.sourceOffset = offset + 8;
  into.destinationOffset = offset + 24;
  into.tos = ((bytes[offset] & 15) << 4) | (bytes[offset + 1] >>> 4);
  into.ttl = bytes[offset + 7];
  into.protocol = bytes[offset + 6];
  const payload = be16(bytes, offset + 4);
  let total = IPV6_HEADER + payload;
  if (payload === 0 && wireLength > IPV6_HEADER) {
    // RFC 2675 puts a jumbogram's length in a hop-by-hop option; BIG TCP frames are captured with it or
    // without.
    if (into.protocol === Protocol.HopByHop) return end(DecodeStatus.Jumbogram, into);
    if (into.protocol === Protocol.Tcp) {
      total = wireLength;
      into.lengthFromFrame = true;
    }
  }
  if (total > wireLength) return end(DecodeStatus.BadTotalLength, into);
  into.totalLength = total;
  into.capturedLength = Math.min(length, total);
  extensionHeaders(bytes, offset, into);
}

/**
 * Walks extension headers as ipv6_find_hdr of the kernel: up to a later fragment, or a header that is none.
 */
function extensionHeaders(bytes: Uint8Array, offset: number, into: Decoded): void {
  let at = IPV6_HEADER;
  let next = into.protocol;
  while (isExtension(next) && into.fragmentOffset === 0) {
    if (into.capturedLength < at + 8) return extensionCut(at + 8, into);
    const here = offset + at;
    let size = (bytes[here + 1] + 1) << 3;
    if (next === Protocol.Fragment) {
      size = 8;
      const fragment = be16(bytes, here + 2);
      into.fragmentOffset = fragment & 0xfff8;
      into.moreFragments = (fragment & 1) !== 0;
      into.fragmentId = be32(bytes, here + 4);
    } else if (next === Protocol.Auth) size = (bytes[here + 1] + 2) << 2;
    next = bytes[here];
    into.protocol = next;
    at += size;
    if (into.capturedLength < at) return extensionCut(at, into);
  }
  upperLayer(bytes, offset, at, into);
}

function isExtension(next: number): boolean {
  return (
    next === Protocol.HopByHop ||
    next === Protocol.Routing ||
    next === Protocol.Fragment ||
    next === Protocol.DestinationOptions ||
    next === Protocol.Auth
  );
}

function extensionCut(needed: number, into: Decoded): void {
  into.status = into.totalLength < needed ? DecodeStatus.ShortHeader : DecodeStatus.CaptureCut;
}

function upperLayer(bytes: Uint8Array, offset: number, header: number, into: Decoded): void {
  into.headerLength = header;
  into.l4Offset = into.payloadOffset = offset + header;
  into.l4Length = into.totalLength - header;
  into.l4Captured = into.capturedLength - header;
  if (into.fragmentOffset > 0) return;
  switch (into.protocol) {
    case Protocol.Tcp:
      return tcp(bytes, into);
    case Protocol.Udp:
      return udp(bytes, into);
    case Protocol.UdpLite:
      return udp(bytes, into);
    case Protocol.Icmp:
    case Protocol.Icmpv6:
      return icmp(bytes, into);
    case Protocol.Sctp:
      return ported(bytes, 12, into);
    case Protocol.Dccp:
      return ported(bytes, 12, into);
  }
}

/**
 * Sets `l4Status` for a header of `size` bytes and reads the ports that lead it; true where all of it is
 * there.
 */
function wholeHeader(size: number, into: Decoded): boolean {
  const whole = into.l4Captured >= size;
  into.l4Status = whole ? L4Status.Ok : into.l4Length < size ? L4Status.Short : L4Status.Cut;
  return whole;
}

function readPorts(bytes: Uint8Array, into: Decoded): void {
  if (into.l4Captured < 4) return;
  into.srcPort = be16(bytes, into.l4Offset);
  into.dstPort = be16(bytes, into.l4Offset + 2);
}

function ported(bytes: Uint8Array, size: number, into: Decoded): void {
  readPorts(bytes, into);
  if (wholeHeader(size, into)) into.payloadOffset = into.l4Offset + size;
}

function tcp(bytes: Uint8Array, into: Decoded): void {
  readPorts(bytes, into);
  const at = into.l4Offset;
  if (into.l4Captured >= 8) into.tcpSeq = be32(bytes, at + 4);
  if (!wholeHeader(20, into)) return;
  into.tcpAck = be32(bytes, at + 8);
  into.tcpFlags = bytes[at + 13];
  into.tcpWindow = be16(bytes, at + 14);
  const header = (bytes[at + 12] >>> 4) << 2;
  if (header < 20 || header > into.l4Length) into.l4Status = L4Status.BadLength;
  else into.payloadOffset = at + header;
}

function udp(bytes: Uint8Array, into: Decoded): void {
  readPorts(bytes, into);
  if (!wholeHeader(8, into)) return;
  into.udpLength = be16(bytes, into.l4Offset + 4);
  into.payloadOffset = into.l4Offset + 8;
  // A first fragment's length field speaks of the whole datagram; UDP-Lite keeps its checksum coverage there.
  const limit = into.moreFragments ? 65535 : into.l4Length;
  if (into.protocol === Protocol.Udp && (into.udpLength < 8 || into.udpLength > limit) && !gso(into)) {
    into.l4Status = L4Status.BadLength;
  }
}

/** A UDP super-packet of 64 KiB and more has a length field of 0. */
function gso(into: Decoded): boolean {
  return into.udpLength === 0 && into.lengthFromFrame;
}

function icmp(bytes: Uint8Array, into: Decoded): void {
  const at = into.l4Offset;
  if (into.l4Captured >= 2) {
    into.icmpType = bytes[at];
    into.icmpCode = bytes[at + 1];
  }
  if (!wholeHeader(8, into)) return;
  into.payloadOffset = at + 8;
  if (isEcho(into)) into.icmpId = be16(bytes, at + 4);
  else if (isIcmpError(into)) into.errorOffset = at + 8;
}

function isEcho(into: Decoded): boolean {
  return into.protocol === Protocol.Icmp
    ? into.icmpType === 8 || into.icmpType === 0
    : into.icmpType === 128 || into.icmpType === 129;
}

/**
 * RFC 792: unreachable, source quench, redirect, time exceeded, parameter problem. RFC 4443: types below 128.
 */
function isIcmpError(into: Decoded): boolean {
  const type = into.icmpType;
  return into.protocol === Protocol.Icmp
    ? type === 3 || type === 4 || type === 5 || type === 11 || type === 12
    : type < 128;
}
