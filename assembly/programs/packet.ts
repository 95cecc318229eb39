/**
 * The packet under way: where its bytes are, what its headers said when it was last parsed, and what the
 * kernel keeps beside it (mark, device, node). Static, because there is one at a time.
 *
 *     frame                     l4 (offset)
 *     |- Ethernet 14 -|- network header -|- upper layer … captured | … wire
 *
 * `parse` fills the network fields and fails as Cilium fails; nothing here reads past `captured`.
 */
import { DropReason, Family, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Tcp } from "../wire/tcp";
import { Udp } from "../wire/udp";
import { Options } from "./options";
import { GO_ON, Verdict } from "./verdict";

export const ICMP: u8 = 1;
export const TCP: u8 = 6;
export const UDP: u8 = 17;
export const ICMPV6: u8 = 58;
export const SCTP: u8 = 132;

export class Packet {
  // ---- bytes
  /** Address of the Ethernet header. */
  static frame: usize = 0;
  /** Bytes that can be read from `frame`, link header included. */
  static captured: i32 = 0;
  /** Bytes the frame had on the wire (ctx_full_len), link header included. */
  static wire: i32 = 0;
  /** CHECKSUM_PARTIAL: the upper layer's checksum field holds the pseudo-header sum only. */
  static partial: bool = false;

  // ---- headers, by `parse`
  /** 4 or 6. */
  static family: u8 = 4;
  /** Offset of the upper layer from `frame`. */
  static l4: i32 = 0;
  /** Upper layer protocol, behind extension headers. */
  static protocol: u8 = 0;
  static fragment: bool = false;
  /** False for every fragment but the first. */
  static hasL4: bool = true;
  /** Identification, wire order; IPv4's two bytes first. */
  static fragmentId: u32 = 0;

  // ---- beside the bytes
  static node: u32 = 0;
  /** ifindex of the device whose program runs. */
  static device: u32 = 0;
  static mark: u32 = 0;
  /** skb->vlan_present, with an identifier other than 0. */
  static tagged: bool = false;
  /** Seconds since the plane's epoch. */
  static now: u32 = 0;
  /** Identity carried along from program to program (CB_SRC_LABEL). */
  static sourceIdentity: u32 = 0;
  static destinationIdentity: u32 = 0;
  /** EndpointInfo to hand the packet to, with Verdict.ENDPOINT. */
  static target: usize = 0;
  /** The target's program is reached through its device: identities of the source are looked up there again. */
  static byDevice: bool = false;
  /** It came out of a tunnel (CB_FROM_TUNNEL). */
  static fromTunnel: bool = false;
  /** ifindex to leave by, with Verdict.REDIRECT. */
  static redirect: u32 = 0;

  @inline
  static get ip(): usize {
    return Packet.frame + Ethernet.LENGTH;
  }

  @inline
  static get source(): usize {
    return Packet.ip + (Packet.family == 4 ? Ipv4.SOURCE : Ipv6.SOURCE);
  }

  @inline
  static get destination(): usize {
    return Packet.ip + (Packet.family == 4 ? Ipv4.DESTINATION : Ipv6.DESTINATION);
  }

  /** Key byte of the family. */
  @inline
  static get familyKey(): u8 {
    return Packet.family == 4 ? <u8>Family.IPV4 : <u8>Family.IPV6;
  }

  /**
   * GO_ON where bytes `offset`..`offset + count` can be read; the drop reason where the packet had no such
   * bytes; undecided where it had them and the capture does not.
   */
  @inline
  static need(offset: i32, count: i32, reason: DropReason): i32 {
    if (offset + count <= Packet.captured) return GO_ON;
    return offset + count > Packet.wire ? -<i32>reason : Verdict.undecided(UndecidedReason.TRUNCATED);
  }

  /** The fixed part of the network header can be read. */
  @inline
  static get headerFits(): bool {
    return Ethernet.LENGTH + (Packet.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH) <= Packet.captured;
  }

  /** Reads the network header for the Ethernet type at hand. The type must be IPv4's or IPv6's. */
  static parse(): i32 {
    Packet.family = Ethernet.type(Packet.frame) == Ethernet.IPV4 ? 4 : 6;
    return Packet.family == 4 ? parseIpv4() : parseIpv6();
  }
}

function parseIpv4(): i32 {
  const short = Packet.need(Ethernet.LENGTH, Ipv4.MIN_LENGTH, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const ip = Packet.ip;
  const fragment = Ipv4.fragment(ip);
  Packet.protocol = Ipv4.protocol(ip);
  Packet.l4 = Ethernet.LENGTH + Ipv4.headerLength(ip);
  Packet.fragment = (fragment & (Ipv4.MORE_FRAGMENTS | Ipv4.OFFSET_MASK)) != 0;
  Packet.hasL4 = (fragment & Ipv4.OFFSET_MASK) == 0;
  Packet.fragmentId = <u32>Ipv4.id(ip);
  return GO_ON;
}

function parseIpv6(): i32 {
  let offset = Ethernet.LENGTH;
  const short = Packet.need(offset, Ipv6.LENGTH, DropReason.DROP_INVALID);
  if (short < 0) return short;
  let next = Ipv6.nextHeader(Packet.ip);
  offset += Ipv6.LENGTH;
  Packet.fragment = false;
  Packet.hasL4 = true;
  Packet.fragmentId = 0;
  // ipv6_hdrlen: the last round finds either an upper layer or one extension too many.
  for (let count = 0; count < Ipv6.MAX_EXTENSIONS; count++) {
    if (next == Ipv6.NONE) return -DropReason.DROP_INVALID_EXTHDR;
    if (!Ipv6.isExtension(next)) {
      Packet.protocol = next;
      Packet.l4 = offset;
      return GO_ON;
    }
    const cut = Packet.need(offset, next == Ipv6.FRAGMENT
      ? Ipv6.FRAGMENT_LENGTH : 2, DropReason.DROP_INVALID);
    if (cut < 0) return cut;
    const header = Packet.frame + offset;
    if (next == Ipv6.FRAGMENT) {
      // ipv6_hdrlen stops at a fragment header up to 1.17, whatever the header says.
      if (Options.version < 18) return -DropReason.DROP_FRAG_NOSUPPORT;
      const fragment = Ipv6.fragment(header);
      Packet.fragment = (fragment & 0xfff9) != 0;
      // From then on ipv6_get_fraginfo stops at that of a fragment which nobody tracks.
      if (Packet.fragment && !Options.fragments) return -DropReason.DROP_FRAG_NOSUPPORT;
      Packet.hasL4 = (fragment & 0xfff8) == 0;
      Packet.fragmentId = Ipv6.fragmentId(header);
    }
    offset += Ipv6.extensionLength(next, header);
    next = load<u8>(header);
  }
  return -DropReason.DROP_INVALID_EXTHDR;
}

/**
 * CHECKSUM_PARTIAL as a capture shows it: the field holds the folded pseudo-header sum, not yet complemented,
 * and is not by chance the right checksum as well.
 */
export function isPartial(): bool {
  if (Packet.fragment || (Packet.protocol != TCP && Packet.protocol != UDP)) return false;
  const field = Packet.l4 + (Packet.protocol == TCP ? Tcp.CHECKSUM : Udp.CHECKSUM);
  if (field + 2 > Packet.captured) return false;
  const length = Packet.wire - Packet.l4;
  const pseudo = Packet.family == 4
    ? Checksum.partial(Packet.source, 8, 0) : Checksum.partial(Packet.source, 32, 0);
  const sum = Checksum.add(Checksum.add(pseudo, <u32>Packet.protocol << 8), <u32>bswap<u16>(<u16>length));
  if (load<u16>(Packet.frame + field) != <u16>~Checksum.fold(sum)) return false;
  if (Packet.captured < Packet.wire) return true;
  return Checksum.fold(Checksum.partial(Packet.frame + Packet.l4, length, sum)) != 0;
}
