/**
 * ICMP errors under source NAT (bpf/lib/nat.h): the packet quoted in an error is translated by the mapping of
 * the connection it belongs to, and the outer address with it.
 *
 *     out   an error this node's pod sends about a packet that came in: quoted destination and outer source
 *     in    an error from outside about a masqueraded packet: quoted source and outer destination
 *
 * Which types are translated and whether the outer checksum is corrected for the quote differs between
 * versions (up to 1.18 it is not, and the receiver sees a wrong checksum).
 */
import { CtTuple, DropReason, NatEntry, TupleFlag } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Tcp } from "../wire/tcp";
import { Udp } from "../wire/udp";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { ICMP, ICMPV6, Packet, TCP, UDP } from "./packet";
import { Service } from "./service";
import { PUNT, Snat } from "./snat";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON } from "./verdict";

const QUOTED: usize = memory.data(<i32>CtTuple.SIZE, 16);

// ---- where the quote lies, by `openQuote`; offsets from the frame
let quoteIp: i32 = 0;
let quoteL4: i32 = 0;
let quoteProtocol: u8 = 0;
let portOffset: i32 = 0;

export class SnatIcmp {
  static readonly ECHO: i32 = 1;
  static readonly ERROR: i32 = 2;

  /** What the outer ICMP checksum has to be changed by. */
  static outerDiff: u32 = 0;

  /** ECHO, ERROR, PUNT or a drop reason for a message on its way out. */
  static outbound(icmp: usize): i32 {
    return Packet.family == 4
      ? outbound4(Icmp.type(icmp), Icmp.code(icmp)) : outbound6(Icmpv6.type(icmp), Icmpv6.code(icmp));
  }

  /** Whether an error on its way in is translated at all. */
  static translatesInbound(icmp: usize): bool {
    const type = Icmp.type(icmp);
    const code = Icmp.code(icmp);
    if (Packet.family == 6) return type == Icmpv6.PACKET_TOO_BIG;
    if (Options.version == 16) {
      return type == Icmp.DESTINATION_UNREACHABLE && code == Icmp.FRAGMENTATION_NEEDED;
    }
    if (type == Icmp.DESTINATION_UNREACHABLE) return code <= Icmp.LAST_UNREACHABLE;
    return type == Icmp.TIME_EXCEEDED && code <= 1;
  }

  /** snat_v4_nat_handle_icmp_error. The mapping is left in Snat.state. */
  static quoteOut(): i32 {
    const quoted = changetype<CtTuple>(QUOTED);
    const wrong = openQuote(quoted, <u8>TupleFlag.OUT);
    if (wrong < 0) return wrong;
    if (quoteProtocol == ICMP || quoteProtocol == ICMPV6) {
      const type = load<u8>(Packet.frame + quoteL4);
      if (type == echoRequest()) return PUNT;
      if (type != echoReply()) return unknownCode();
      const short = Packet.need(quoteL4 + Icmp.ECHO_ID, 2, DropReason.DROP_INVALID);
      if (short < 0) return short;
      quoted.sport = Icmp.echoId(Packet.frame + quoteL4);
      portOffset = Icmp.ECHO_ID;
    } else {
      if (!Service.serves(quoteProtocol)) return -DropReason.DROP_UNKNOWN_L4;
      portOffset = Tcp.DESTINATION_PORT;
    }
    const known = Maps.nat(quoted);
    if (known === null) return PUNT;
    Snat.take(known);
    const doubt = Snat.doubtOut(quoted);
    if (doubt < 0) return doubt == -DropReason.DROP_NAT_NO_MAPPING ? PUNT : doubt;
    return tolerate(Translate.rewrite(quoteIp, quoteL4, quoteProtocol, true, false,
      changetype<usize>(Snat.state),
      quoted.sport, Snat.state.port, portOffset, 0));
  }

  /** snat_v4_rev_nat_handle_icmp_error; for IPv6 only "packet too big" comes here. */
  static quoteIn(): i32 {
    SnatIcmp.outerDiff = 0;
    const quoted = changetype<CtTuple>(QUOTED);
    const wrong = openQuote(quoted, <u8>TupleFlag.IN);
    if (wrong < 0) return wrong;
    if (quoteProtocol == ICMP || quoteProtocol == ICMPV6) {
      const type = load<u8>(Packet.frame + quoteL4);
      if (type != echoRequest()) {
        if (Packet.family == 6) return -DropReason.DROP_INVALID;
        return type == echoReply() ? PUNT : unknownCode();
      }
      const short = Packet.need(quoteL4 + Icmp.ECHO_ID, 2, DropReason.DROP_INVALID);
      if (short < 0) return short;
      quoted.dport = Icmp.echoId(Packet.frame + quoteL4);
      portOffset = Icmp.ECHO_ID;
    } else {
      if (!Service.serves(quoteProtocol)) return PUNT;
      portOffset = Tcp.SOURCE_PORT;
    }
    const known = Maps.nat(quoted);
    if (known === null) return PUNT;
    Snat.take(known);
    const doubt = Snat.doubt(quoted);
    if (doubt < 0) return doubt == -DropReason.DROP_NAT_NO_MAPPING ? PUNT : doubt;
    if (Packet.family == 4) {
      const short = outerChange(quoted, Snat.state);
      if (short < 0) return short;
    }
    return tolerate(Translate.rewrite(quoteIp, quoteL4, quoteProtocol, true, true,
      changetype<usize>(Snat.state),
      quoted.dport, Snat.state.port, portOffset, 0));
  }
}

function outbound4(type: u8, code: u8): i32 {
  if (type == Icmp.ECHO) return SnatIcmp.ECHO;
  if (type == Icmp.ECHO_REPLY) return PUNT;
  if (type == Icmp.REDIRECT) return Options.version >= 19 ? PUNT : -<i32>DropReason.DROP_NAT_UNSUPP_PROTO;
  if (type == Icmp.DESTINATION_UNREACHABLE) {
    const known = Options.version == 16 ? code == Icmp.FRAGMENTATION_NEEDED : code <= Icmp.LAST_UNREACHABLE;
    return known ? SnatIcmp.ERROR : -<i32>DropReason.DROP_UNKNOWN_ICMP4_CODE;
  }
  if (type == Icmp.TIME_EXCEEDED && Options.version >= 17) {
    return code <= 1 ? SnatIcmp.ERROR : -<i32>DropReason.DROP_UNKNOWN_ICMP4_CODE;
  }
  return -<i32>DropReason.DROP_NAT_UNSUPP_PROTO;
}

function outbound6(type: u8, code: u8): i32 {
  if (type == Icmpv6.ECHO_REQUEST) return SnatIcmp.ECHO;
  if (Options.version < 18) {
    // Errors and redirects: not before 1.18.
    return type == Icmpv6.ECHO_REPLY || type == Icmpv6.NEIGHBOUR_SOLICITATION || type == Icmpv6.NEIGHBOUR_ADVERTISEMENT
      ? PUNT : -<i32>DropReason.DROP_NAT_UNSUPP_PROTO;
  }
  if (type == Icmpv6.ECHO_REPLY || type == Icmpv6.REDIRECT || type == Icmpv6.NEIGHBOUR_SOLICITATION
    || type == Icmpv6.NEIGHBOUR_ADVERTISEMENT) return PUNT;
  if (type == Icmpv6.PACKET_TOO_BIG) return SnatIcmp.ERROR;
  if (type == Icmpv6.DESTINATION_UNREACHABLE) {
    return code <= Icmpv6.LAST_UNREACHABLE ? SnatIcmp.ERROR : -<i32>DropReason.DROP_UNKNOWN_ICMP6_CODE;
  }
  if (type == Icmpv6.TIME_EXCEEDED) {
    return code <= 1 ? SnatIcmp.ERROR : -<i32>DropReason.DROP_UNKNOWN_ICMP6_CODE;
  }
  return -<i32>DropReason.DROP_NAT_UNSUPP_PROTO;
}

/**
 * Finds the quoted headers and fills the tuple turned round: its source is the quoted destination. Ports are
 * loaded for protocols that have them; the header length of the quote is what the quote says.
 */
function openQuote(quoted: CtTuple, flags: u8): i32 {
  const family = Packet.family;
  quoteIp = Packet.l4 + Icmp.LENGTH;
  // 1.16 takes the MTU word of "packet too big" for the beginning of the quote.
  if (family == 6 && flags == <u8>TupleFlag.IN && Options.version == 16) quoteIp -= 4;
  const short = Packet.need(quoteIp, family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const ip = Packet.frame + quoteIp;
  Address.read(Tuple.saddr(quoted), ip + (family == 4 ? Ipv4.DESTINATION : Ipv6.DESTINATION), family);
  Address.read(Tuple.daddr(quoted), ip + (family == 4 ? Ipv4.SOURCE : Ipv6.SOURCE), family);
  quoted.sport = 0;
  quoted.dport = 0;
  quoted.flags = flags;
  quoted.node = <u16>Packet.node;
  if (family == 4) {
    quoteProtocol = Ipv4.protocol(ip);
    quoteL4 = quoteIp + Ipv4.headerLength(ip);
  } else {
    const wrong = walkQuote();
    if (wrong < 0) return wrong;
  }
  quoted.nexthdr = quoteProtocol;
  if (quoteProtocol == (family == 4 ? ICMP : ICMPV6)) return Packet.need(quoteL4, 1, DropReason.DROP_INVALID);
  if (!Service.serves(quoteProtocol)) return GO_ON;
  const cut = Packet.need(quoteL4, 4, DropReason.DROP_INVALID);
  if (cut < 0) return cut;
  quoted.dport = load<u16>(Packet.frame + quoteL4);
  quoted.sport = load<u16>(Packet.frame + quoteL4 + 2);
  return GO_ON;
}

function walkQuote(): i32 {
  let offset = quoteIp + Ipv6.LENGTH;
  let next = Ipv6.nextHeader(Packet.frame + quoteIp);
  for (let count = 0; count < Ipv6.MAX_EXTENSIONS; count++) {
    if (next == Ipv6.NONE) return -DropReason.DROP_INVALID_EXTHDR;
    if (next == Ipv6.FRAGMENT && Options.version < 18) return -DropReason.DROP_FRAG_NOSUPPORT;
    if (!Ipv6.isExtension(next)) {
      quoteProtocol = next;
      quoteL4 = offset;
      return GO_ON;
    }
    const cut = Packet.need(offset, 2, DropReason.DROP_INVALID);
    if (cut < 0) return cut;
    const header = Packet.frame + offset;
    offset += Ipv6.extensionLength(next, header);
    next = load<u8>(header);
  }
  return -DropReason.DROP_INVALID_EXTHDR;
}

/**
 * What the quote's change does to the outer checksum (snat_v4_calc_icmp_error_csum_diff): the quoted
 * upper-layer checksum moves with the pseudo header; without one only the port moves. Everything else in the
 * quote cancels out.
 */
function outerChange(quoted: CtTuple, state: NatEntry): i32 {
  let summed = true;
  if (quoteProtocol == TCP) summed = quoteL4 + Tcp.CHECKSUM + 2 <= Packet.wire;
  if (quoteProtocol == UDP) {
    const short = Packet.need(quoteL4 + Udp.CHECKSUM, 2, DropReason.DROP_INVALID);
    if (short < 0) return short;
    if (Udp.checksum(Packet.frame + quoteL4) == 0) summed = false;
  }
  if (Options.version < 19) return GO_ON;
  if (summed) SnatIcmp.outerDiff = changedAddress(Tuple.daddr(quoted), changetype<usize>(state));
  else if (quoted.dport != state.port) SnatIcmp.outerDiff = Checksum.diff(quoted.dport, state.port, 0);
  return GO_ON;
}

function changedAddress(old: usize, fresh: usize): u32 {
  return Address.equal(old, fresh) ? 0 : Checksum.diff(load<u32>(fresh), load<u32>(old), 0);
}

/** A quote too short to hold the TCP checksum is no fault, except in 1.17. */
function tolerate(verdict: i32): i32 {
  const missing = verdict == -DropReason.DROP_CSUM_L4 && quoteProtocol == TCP && Packet.family == 4;
  return missing && Options.version != 17 ? GO_ON : verdict;
}

function echoRequest(): u8 {
  return Packet.family == 4 ? Icmp.ECHO : Icmpv6.ECHO_REQUEST;
}

function echoReply(): u8 {
  return Packet.family == 4 ? Icmp.ECHO_REPLY : Icmpv6.ECHO_REPLY;
}

function unknownCode(): i32 {
  return Packet.family == 4
    ? -<i32>DropReason.DROP_UNKNOWN_ICMP4_CODE : -<i32>DropReason.DROP_UNKNOWN_ICMP6_CODE;
}
