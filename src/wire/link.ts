/**
 * Link headers: where the network header begins, of which EtherType, and what the header says of the frame's
 * way.
 *
 *     Ethernet   | destination 6 | source 6 | type 2 |
 *     LINUX_SLL  | packet type 2 | ARPHRD 2 | address length 2 | address 8 | protocol 2 |
 *     LINUX_SLL2 | protocol 2 | 0 2 | ifindex 4 | ARPHRD 2 | packet type 1 | address length 1 | address 8 |
 *     NULL, LOOP | family 4 |           in the capturing host's byte order, or the network's
 *
 * VLAN tags (802.1Q, 802.1ad, QinQ) are walked whatever their number. Sources: the LINKTYPE_ pages of
 * tcpdump.org. Total: reads nothing outside the frame and never throws.
 */
import { LinkType } from "../capture/linktype.js";
import { Direction, PacketType } from "../dataplane.js";

export const EtherType = {
  /** Not known; decode goes by the version nibble. */
  None: 0,
  Ipv4: 0x0800,
  Arp: 0x0806,
  Vlan: 0x8100,
  Ipv6: 0x86dd,
  QinQ: 0x88a8,
  QinQOld: 0x9100,
  /** Transparent Ethernet bridging: an Ethernet frame as the payload of a tunnel. */
  Ethernet: 0x6558,
} as const;

export const LinkStatus = {
  Ok: 0,
  /** The captured bytes end inside the link header. */
  Cut: 1,
  /** NULL/LOOP with an address family that is not IP, or a link type that is not read. */
  NotIp: 2,
} as const;
export type LinkStatus = (typeof LinkStatus)[keyof typeof LinkStatus];

export const DestinationKind = { None: 0, Unicast: 1, Multicast: 2, Broadcast: 3 } as const;
export type DestinationKind = (typeof DestinationKind)[keyof typeof DestinationKind];

const ETHERNET_HEADER = 14;
const VLAN_TAG = 4;
const SLL_HEADER = 16;
const SLL2_HEADER = 20;
const SLL2_IFINDEX = 4;
const SLL2_PACKET_TYPE = 10;
const NULL_HEADER = 4;

/** What a link header says. Reused from frame to frame. */
export class LinkInfo {
  status: LinkStatus = LinkStatus.Ok;
  /** Type of the network header, host order; below 1536 it is an 802.3 length: not IP. */
  etherType = 0;
  /** Where the network header begins in the buffer. */
  l3Offset = 0;
  /** Link header with VLAN tags, bytes. */
  headerLength = 0;
  /** PacketType of dataplane.ts, 255 where the link header does not say. */
  packetType = 255;
  /** ifindex of SLL2; 0 where the link header does not say. */
  ifindex = 0;
  /** VLAN tags that were present. */
  vlanTags = 0;
  /** Identifier of the outermost tag; -1 without one. */
  vlanId = -1;
  /** Control information of the outermost tag: priority 3 bits, drop eligible 1, identifier 12. */
  vlanTci = 0;
  /** EtherType of the outermost tag, host order; 0 without one. */
  vlanProtocol = 0;
  destination: DestinationKind = DestinationKind.None;
}

/** Reads the link header of a frame of `length` captured bytes at `offset`. */
export function decodeLink(
  linkType: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  into: LinkInfo,
): void {
  into.status = LinkStatus.Ok;
  into.packetType = 255;
  into.ifindex = 0;
  into.vlanTags = 0;
  into.vlanId = -1;
  into.vlanTci = into.vlanProtocol = 0;
  into.destination = DestinationKind.None;
  switch (linkType) {
    case LinkType.Ethernet:
      if (length < ETHERNET_HEADER) return fail(LinkStatus.Cut, offset, into);
      into.destination = destinationKind(bytes, offset);
      return network(bytes, offset, length, be16(bytes, offset + 12), ETHERNET_HEADER, into);
    case LinkType.LinuxSll2:
      if (length < SLL2_HEADER) return fail(LinkStatus.Cut, offset, into);
      into.ifindex = be32(bytes, offset + SLL2_IFINDEX);
      into.packetType = bytes[offset + SLL2_PACKET_TYPE];
      return network(bytes, offset, length, be16(bytes, offset), SLL2_HEADER, into);
    case LinkType.LinuxSll:
      if (length < SLL_HEADER) return fail(LinkStatus.Cut, offset, into);
      into.packetType = be16(bytes, offset) & 0xff;
      return network(bytes, offset, length, be16(bytes, offset + 14), SLL_HEADER, into);
    case LinkType.Ipv4:
      return network(bytes, offset, length, EtherType.Ipv4, 0, into);
    case LinkType.Ipv6:
      return network(bytes, offset, length, EtherType.Ipv6, 0, into);
    case LinkType.Raw:
    case LinkType.RawBsd:
    case LinkType.RawOpenBsd:
      return network(bytes, offset, length, EtherType.None, 0, into);
    case LinkType.Null:
    case LinkType.Loop:
      if (length < NULL_HEADER) return fail(LinkStatus.Cut, offset, into);
      return loopback(be32(bytes, offset), bytes, offset, length, into);
  }
  fail(LinkStatus.NotIp, offset, into);
}

/** Where a cooked header says the frame was seen. */
export interface CookedPoint {
  interfaceIndex: number;
  packetType: number;
  direction: number;
}

/**
 * Reads interface, packet type and direction of an SLL or SLL2 header; leaves `into` alone where it is cut.
 */
export function readCookedPoint(
  linkType: number,
  bytes: Uint8Array,
  offset: number,
  length: number,
  into: CookedPoint,
): void {
  if (linkType === LinkType.LinuxSll2) {
    if (length < SLL2_HEADER) return;
    into.interfaceIndex = be32(bytes, offset + SLL2_IFINDEX);
    into.packetType = bytes[offset + SLL2_PACKET_TYPE];
  } else {
    if (length < SLL_HEADER) return;
    into.packetType = be16(bytes, offset) & 0xff;
  }
  into.direction = into.packetType === PacketType.Outgoing ? Direction.Out : Direction.In;
}

function network(
  bytes: Uint8Array,
  offset: number,
  length: number,
  type: number,
  header: number,
  into: LinkInfo,
): void {
  let etherType = type;
  let at = header;
  while (etherType === EtherType.Vlan || etherType === EtherType.QinQ || etherType === EtherType.QinQOld) {
    if (length < at + VLAN_TAG) return fail(LinkStatus.Cut, offset, into);
    if (into.vlanTags++ === 0) {
      into.vlanTci = be16(bytes, offset + at);
      into.vlanId = into.vlanTci & 0x0fff;
      into.vlanProtocol = etherType;
    }
    etherType = be16(bytes, offset + at + 2);
    at += VLAN_TAG;
  }
  into.etherType = etherType;
  into.headerLength = at;
  into.l3Offset = offset + at;
}

/** Address families as capturing systems number them: Linux, the BSDs, Darwin, Windows. */
function loopback(raw: number, bytes: Uint8Array, offset: number, length: number, into: LinkInfo): void {
  // Families are small numbers: where only the upper half is set, the word is in the other byte order.
  const family = raw >>> 16 !== 0 && (raw & 0xffff) === 0 ? (raw >>> 24) | ((raw >>> 8) & 0xff00) : raw;
  if (family === 2) return network(bytes, offset, length, EtherType.Ipv4, NULL_HEADER, into);
  if (family === 10 || family === 23 || family === 24 || family === 28 || family === 30) {
    return network(bytes, offset, length, EtherType.Ipv6, NULL_HEADER, into);
  }
  fail(LinkStatus.NotIp, offset, into);
}

function fail(status: LinkStatus, offset: number, into: LinkInfo): void {
  into.status = status;
  into.etherType = EtherType.None;
  into.headerLength = 0;
  into.l3Offset = offset;
}

function destinationKind(bytes: Uint8Array, at: number): DestinationKind {
  if ((bytes[at] & 1) === 0) return DestinationKind.Unicast;
  for (let index = 0; index < 6; index++) if (bytes[at + index] !== 0xff) return DestinationKind.Multicast;
  return DestinationKind.Broadcast;
}

/** Unsigned 16-bit number in network order. */
export function be16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

/** Unsigned 32-bit number in network order. */
export function be32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}
