/**
 * Frames with other addresses and without payloads, in place. Lengths, ports, sequence numbers and what dataplanes decide by
 * stay. What is not understood is zeroed: nothing passes that was not looked at.
 *
 * Checksums that were right are right again, unfinished ones unfinished, wrong ones wrong. Where that could not be seen (a
 * fragment, a capture that was cut) the checksum is that of a right packet with zeros for a payload.
 */
import { checksumAt, internetChecksum, pseudoSum, sctpChecksum, sum16 } from "../wire/checksum.js";
import { be16, checksumState, Csum, Decoded, decode, decodeEmbedded, decodeLink, decodeTunnel, DecodeStatus, EtherType, ipv4ChecksumRight,
  LinkInfo, LinkStatus, Protocol, TunnelInfo } from "../wire/index.js";
import { LinkType } from "../capture/linktype.js";
import type { Mapping } from "./mapping.js";
import { ipv4Options, ipv6Extensions, neighbourDiscovery, sctpChunks, tcpOptions, tunnelHeader } from "./headers.js";

/** Tunnels in tunnels beyond this are zeroed. */
const DEEPEST = 4;

/** The captured frame: all of `bytes`, of which there were `wireLength` on the wire. */
export function anonymiseFrame(bytes: Uint8Array, wireLength: number, linkType: number, mapping: Mapping): void {
  frame(bytes, 0, bytes.length, wireLength, linkType, mapping, 0);
}

function frame(bytes: Uint8Array, at: number, length: number, wire: number, linkType: number, mapping: Mapping, depth: number): void {
  const link = new LinkInfo();
  const end = at + length;
  decodeLink(linkType, bytes, at, length, link);
  if (link.status !== LinkStatus.Ok || depth > DEEPEST) return zero(bytes, at, end);
  linkAddresses(bytes, at, linkType, mapping);
  const from = link.l3Offset;
  if (link.etherType === EtherType.Arp) arp(bytes, from, end, mapping);
  else if (link.etherType === EtherType.Ipv4 || link.etherType === EtherType.Ipv6 || link.etherType === EtherType.None) {
    const packet = new Decoded();
    decode(bytes, from, end - from, wire - link.headerLength, link.etherType, packet);
    ip(bytes, packet, end, mapping, depth);
  } else zero(bytes, from, end);
}

function linkAddresses(bytes: Uint8Array, at: number, linkType: number, mapping: Mapping): void {
  if (linkType === LinkType.Ethernet) {
    mapping.mac(bytes, at);
    mapping.mac(bytes, at + 6);
  } else if (linkType === LinkType.LinuxSll || linkType === LinkType.LinuxSll2) {
    const second = linkType === LinkType.LinuxSll2;
    const length = second ? bytes[at + 11] : be16(bytes, at + 4);
    const from = at + (second ? 12 : 6);
    if (length === 6) mapping.mac(bytes, from);
    else if (length === 4) mapping.inPlace(bytes, from, 4);
    else zero(bytes, from, from + 8);
    if (length === 6) zero(bytes, from + 6, from + 8);
    else if (length === 4) zero(bytes, from + 4, from + 8);
  }
}

/** RFC 826, of Ethernet and IPv4. */
function arp(bytes: Uint8Array, at: number, end: number, mapping: Mapping): void {
  const known = end - at >= 28 && be16(bytes, at) === 1 && be16(bytes, at + 2) === EtherType.Ipv4 && be16(bytes, at + 4) === 0x0604;
  if (!known) return zero(bytes, at, end);
  for (const mac of [at + 8, at + 18]) mapping.mac(bytes, mac);
  for (const address of [at + 14, at + 24]) mapping.inPlace(bytes, address, 4);
  zero(bytes, at + 28, end);
}

/** `end` is that of what was captured, padding included. */
function ip(bytes: Uint8Array, packet: Decoded, end: number, mapping: Mapping, depth: number): void {
  const at = packet.l3Offset;
  const { family, addressLength } = packet;
  if (family === 0) return zero(bytes, at, end);
  const ok = packet.status === DecodeStatus.Ok;
  const headerRight = family === 4 && at + ((bytes[at] & 15) << 2) <= end && ipv4ChecksumRight(bytes, packet);
  const state = checksumState(bytes, packet);
  mapping.inPlace(bytes, packet.sourceOffset, addressLength);
  mapping.inPlace(bytes, packet.destinationOffset, addressLength);
  if (!ok) zero(bytes, at + (family === 4 ? 20 : 40), end);
  else {
    if (family === 4) ipv4Options(bytes, at + 20, packet.l4Offset, mapping);
    else ipv6Extensions(bytes, at, packet.l4Offset, mapping);
    zero(bytes, at + packet.capturedLength, end);
    upperLayer(bytes, packet, mapping, depth);
    settle(bytes, packet, state);
  }
  if (family !== 4) return;
  const header = at + ((bytes[at] & 15) << 2) <= end ? (bytes[at] & 15) << 2 : 20;
  bytes[at + 10] = bytes[at + 11] = 0;
  write16(bytes, at + 10, (~sum16(bytes, at, header) & 0xffff) ^ (headerRight ? 0 : 0x0101));
}

function upperLayer(bytes: Uint8Array, packet: Decoded, mapping: Mapping, depth: number): void {
  const at = packet.l4Offset;
  const end = at + packet.l4Captured;
  const keep = (length: number): void => zero(bytes, at + length, end);
  if (packet.fragmentOffset > 0) return keep(0);
  switch (packet.protocol) {
    case Protocol.Tcp: {
      const header = packet.l4Captured >= 13 ? Math.max(20, (bytes[at + 12] >>> 4) << 2) : 20;
      tcpOptions(bytes, at + 20, Math.min(end, at + header));
      return keep(header);
    }
    case Protocol.Udp:
    case Protocol.UdpLite: return udp(bytes, packet, end, mapping, depth);
    case Protocol.Icmp:
    case Protocol.Icmpv6: return icmp(bytes, packet, end, mapping, depth);
    case Protocol.Sctp: return sctpChunks(bytes, at + 12, end);
    case Protocol.Dccp: return keep(12);
    case Protocol.Esp: return keep(8);
    case Protocol.Ipip:
    case Protocol.Ipv6: return inner(bytes, packet, mapping, depth);
  }
  keep(packet.protocol === Protocol.Gre ? 4 : 0);
}

function udp(bytes: Uint8Array, packet: Decoded, end: number, mapping: Mapping, depth: number): void {
  const tunnel = new TunnelInfo();
  if (depth >= DEEPEST || !decodeTunnel(bytes, packet, tunnel)) return zero(bytes, packet.l4Offset + 8, end);
  tunnelHeader(bytes, packet.payloadOffset, tunnel.innerOffset, mapping);
  frame(bytes, tunnel.innerOffset, tunnel.innerLength, tunnel.innerWireLength, LinkType.Ethernet, mapping, depth + 1);
}

/** IPIP and 6in4. */
function inner(bytes: Uint8Array, packet: Decoded, mapping: Mapping, depth: number): void {
  const end = packet.l4Offset + packet.l4Captured;
  if (depth >= DEEPEST || packet.isFragment) return zero(bytes, packet.l4Offset, end);
  const carried = new Decoded();
  const type = packet.protocol === Protocol.Ipip ? EtherType.Ipv4 : EtherType.Ipv6;
  decode(bytes, packet.l4Offset, packet.l4Captured, packet.l4Length, type, carried);
  ip(bytes, carried, end, mapping, depth + 1);
}

/** An error's quote is a packet like others; redirects and neighbour discovery hold addresses. */
function icmp(bytes: Uint8Array, packet: Decoded, end: number, mapping: Mapping, depth: number): void {
  const at = packet.l4Offset;
  if (packet.errorOffset >= 0) {
    if (packet.protocol === Protocol.Icmp && packet.icmpType === 5) mapping.inPlace(bytes, at + 4, 4);
    if (depth >= DEEPEST) return zero(bytes, packet.errorOffset, end);
    const quoted = new Decoded();
    decodeEmbedded(bytes, packet, quoted);
    return ip(bytes, quoted, end, mapping, depth + 1);
  }
  if (packet.protocol === Protocol.Icmpv6 && packet.icmpType >= 133 && packet.icmpType <= 137) {
    return neighbourDiscovery(bytes, packet.icmpType, at, end, mapping);
  }
  zero(bytes, at + 8, end);
}

/** What was cut from the capture counts as zeros, which is what its payload is now. */
function settle(bytes: Uint8Array, packet: Decoded, state: Csum): void {
  const at = packet.l4Offset + checksumAt(packet.protocol);
  const sctp = packet.protocol === Protocol.Sctp;
  const end = packet.l4Offset + packet.l4Captured;
  if (at < packet.l4Offset || packet.fragmentOffset > 0 || state === Csum.None || at + (sctp ? 4 : 2) > end) return;
  const udpLike = packet.protocol === Protocol.Udp || packet.protocol === Protocol.UdpLite;
  if (state === Csum.Unknown && udpLike && be16(bytes, at) === 0) return;
  if (state === Csum.Partial) {
    if (!sctp) write16(bytes, at, pseudoSum(bytes, packet));
    return;
  }
  const off = state === Csum.Wrong ? 0x0101 : 0;
  if (sctp) {
    const whole = packet.l4Captured === packet.l4Length;
    const checksum = whole ? sctpChecksum(bytes, packet) : 0;
    write16(bytes, at, checksum >>> 16);
    write16(bytes, at + 2, (checksum & 0xffff) ^ off);
    return;
  }
  const whole = packet.l4Captured === packet.l4Length && !packet.isFragment;
  const checksum = (whole ? internetChecksum(bytes, packet) : withZeros(bytes, packet, at)) ^ off;
  write16(bytes, at, udpLike && checksum === 0 ? 0xffff : checksum);
}

/** The checksum of the whole datagram, of which the bytes that are not here are zero. */
function withZeros(bytes: Uint8Array, packet: Decoded, at: number): number {
  const length = packet.protocol === Protocol.Udp && packet.udpLength > 0 ? packet.udpLength : packet.l4Length;
  write16(bytes, at, 0);
  const pseudo = packet.protocol === Protocol.Icmp ? 0
    : sum16(bytes, packet.sourceOffset, packet.addressLength * 2, packet.protocol + length);
  return ~sum16(bytes, packet.l4Offset, packet.l4Captured, pseudo) & 0xffff;
}

function write16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function zero(bytes: Uint8Array, from: number, to: number): void {
  if (to > from) bytes.fill(0, from, to);
}
