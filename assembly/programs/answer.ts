/**
 * Answers the programs make themselves (bpf/lib/icmp.h, bpf/lib/icmp6.h). A service without backends is answered with
 * "port unreachable" (service-no-backend-response=reject), what egress policy denies with "administratively prohibited"
 * (policy-deny-response=icmp), both from the address that was asked; an IPv6 packet whose hops run out with "time
 * exceeded" from cilium_host's address.
 *
 * The quote is min(frame length with its Ethernet header, limit) bytes of the packet, so a short frame is
 * quoted with up to 14 bytes of zeros behind it: the frame's tail is grown before the headers are put in
 * front.
 *
 * The answer is built in memory of its own; afterwards `Packet.frame` points at it. The question's bytes
 * stay.
 */
import { DeviceEntry, DropReason, NodeEntry, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { ICMP, ICMPV6, Packet, SCTP, TCP, UDP } from "./packet";
import { Verdict } from "./verdict";

/** ICMP_PACKET_MAX_SAMPLE_SIZE, and what an IPv6 packet of 1280 bytes leaves beside the headers. */
const QUOTE4: i32 = 64;
const QUOTE6: i32 = 1280 - 40 - 8;
/**
 * icmp_wsum_accumulate sums every other 128 bytes of the quote (body128 steps by 256), so the checksum of an answer to a packet of more
 * than 128 bytes is wrong, and whoever gets it drops it. True of 1.16 to 1.20; recorded.
 */
const BLOCK6: i32 = 128;
const SUMMED6: i32 = 1152;
/** IPDEFTTL */
const TTL: u8 = 64;
const ROOM: usize = memory.data(2048, 16);
/** Bytes of the upper layer that "time exceeded" quotes. */
const QUOTED_TCP: i32 = 20;
const QUOTED_OTHER: i32 = 8;

export class Answer {
  /** Why the question was refused; 0: it was answered. */
  static reason: i32 = 0;

  /** Bytes that `copy` takes at most. */
  static readonly MOST: i32 = 2000;

  static portUnreachable(): i32 {
    Answer.reason = DropReason.DROP_NO_SERVICE;
    return Packet.family == 4 ? unreachable4(Icmp.PORT_UNREACHABLE) : unreachable6(Icmpv6.PORT_UNREACHABLE);
  }

  /** `reason`: the policy's. */
  static prohibited(reason: i32): i32 {
    Answer.reason = reason;
    return Packet.family == 4 ? unreachable4(Icmp.PACKET_FILTERED) : unreachable6(Icmpv6.ADMIN_PROHIBITED);
  }

  /** The frame as it is, with room for `more` bytes behind it, for an answer made of the question; its address. */
  static copy(more: i32): usize {
    memory.copy(ROOM, Packet.frame, Packet.captured);
    Packet.captured += more;
    Packet.wire += more;
    Packet.frame = ROOM;
    Answer.reason = 0;
    return ROOM;
  }

  /** icmp6_send_reply: from `source`, back to the sender; `sum` is what else changed under the ICMPv6 checksum. */
  static turnBack(source: usize, mac: usize, sum: u32): i32 {
    const ip = Packet.ip;
    sum = Checksum.diffAddress(ip + Ipv6.SOURCE, source, sum);
    sum = Checksum.diffAddress(ip + Ipv6.DESTINATION, ip + Ipv6.SOURCE, sum);
    Address.copy(ip + Ipv6.DESTINATION, ip + Ipv6.SOURCE);
    Address.copy(ip + Ipv6.SOURCE, source);
    Checksum.replaceByDiff(ip + Ipv6.LENGTH + Icmpv6.CHECKSUM, sum);
    Ethernet.setDestination(ROOM, ROOM + 6);
    Ethernet.setSource(ROOM, mac);
    return send(Packet.captured);
  }

  /**
   * __icmp6_send_time_exceeded: the packet's own header, hop limit and all, in front of a message that quotes that
   * header and the first bytes of TCP, or of UDP, ICMPv6 and SCTP. What has extension headers is dropped (142).
   */
  static timeExceeded(): i32 {
    const device = Maps.device(Packet.device);
    if (device === null) return Verdict.undecided(UndecidedReason.NO_DEVICE);
    const router = changetype<usize>(Options.node) + NodeEntry.ROUTER6;
    const next = Ipv6.nextHeader(Packet.ip);
    const known = next == TCP || next == UDP || next == ICMPV6 || (next == SCTP && Options.sctp);
    if (!known) return -DropReason.DROP_UNKNOWN_L4;
    const upper = next == TCP ? QUOTED_TCP : QUOTED_OTHER;
    const short = Packet.need(Ethernet.LENGTH + Ipv6.LENGTH, upper, DropReason.DROP_INVALID);
    if (short < 0) return short;
    if (Address.isZero(router)) return Verdict.undecided(UndecidedReason.ROUTER_ADDRESS);
    const quoted = Ipv6.LENGTH + upper;
    const message = ROOM + Ethernet.LENGTH + Ipv6.LENGTH;
    memory.copy(message + Icmpv6.LENGTH, Packet.ip, quoted);
    memory.copy(ROOM, Packet.frame, Ethernet.LENGTH + Ipv6.LENGTH);
    Packet.frame = ROOM;
    Packet.captured = Ethernet.LENGTH + Ipv6.LENGTH + Icmpv6.LENGTH + quoted;
    Packet.wire = Packet.captured;
    const ip = Packet.ip;
    store<u8>(ip, ICMPV6, 6);
    store<u16>(ip, bswap(<u16>(Icmpv6.LENGTH + quoted)), 4);
    store<u64>(message, 0);
    store<u8>(message, Icmpv6.TIME_EXCEEDED);
    sealMessage(ip, Icmpv6.LENGTH + quoted);
    Answer.reason = DropReason.DROP_TTL_EXCEEDED;
    return Answer.turnBack(router, changetype<usize>(device) + DeviceEntry.MAC, 0);
  }
}

/** Checksum of an ICMPv6 message of `length` bytes behind `ip`; pseudo header: RFC 8200 section 8.1. */
function sealMessage(ip: usize, length: i32): void {
  const message = ip + Ipv6.LENGTH;
  let sum = Checksum.partial(ip + Ipv6.SOURCE, 32, 0);
  sum = Checksum.add(sum, bswap(<u32>length));
  sum = Checksum.add(sum, <u32>ICMPV6 << 24);
  store<u16>(message, Checksum.fold(Checksum.partial(message, length, sum)), Icmpv6.CHECKSUM);
}

/** Copies the quote behind headers of `head` bytes and says how long it is, or why it cannot be made. */
function quote(head: i32, limit: i32): i32 {
  const length = min(Packet.wire, limit);
  const real = min(length, Packet.wire - Ethernet.LENGTH);
  const short = Packet.need(Ethernet.LENGTH, real, DropReason.DROP_INVALID);
  if (short < 0) return short;
  memory.copy(ROOM + head, Packet.ip, real);
  memory.fill(ROOM + head + real, 0, length - real);
  return length;
}

function ethernet(type: u16): void {
  Ethernet.setDestination(ROOM, Packet.frame + 6);
  Ethernet.setSource(ROOM, Packet.frame);
  Ethernet.setType(ROOM, type);
}

function send(length: i32): i32 {
  Packet.frame = ROOM;
  Packet.captured = length;
  Packet.wire = length;
  Packet.partial = false;
  const wrong = Packet.parse();
  return wrong < 0 ? wrong : Verdict.ANSWER;
}

function unreachable4(code: u8): i32 {
  const ip = ROOM + Ethernet.LENGTH;
  const icmp = ip + Ipv4.MIN_LENGTH;
  const head = Ethernet.LENGTH + Ipv4.MIN_LENGTH + Icmp.LENGTH;
  const length = quote(head, QUOTE4);
  if (length < 0) return length;
  const asked = Packet.ip;
  memory.fill(ip, 0, Ipv4.MIN_LENGTH + Icmp.LENGTH);
  store<u8>(ip, 0x45);
  store<u8>(ip, Ipv4.tos(asked), 1);
  store<u16>(ip, bswap(<u16>(Ipv4.MIN_LENGTH + Icmp.LENGTH + length)), 2);
  store<u8>(ip, TTL, 8);
  store<u8>(ip, ICMP, 9);
  store<u32>(ip, Ipv4.destination(asked), 12);
  store<u32>(ip, Ipv4.source(asked), 16);
  Ipv4.seal(ip);
  store<u8>(icmp, Icmp.DESTINATION_UNREACHABLE);
  store<u8>(icmp, code, 1);
  store<u16>(icmp, Checksum.fold(Checksum.partial(icmp, Icmp.LENGTH + length, 0)), 2);
  ethernet(Ethernet.IPV4);
  return send(head + length);
}

function unreachable6(code: u8): i32 {
  const ip = ROOM + Ethernet.LENGTH;
  const icmp = ip + Ipv6.LENGTH;
  const head = Ethernet.LENGTH + Ipv6.LENGTH + Icmpv6.LENGTH;
  const length = quote(head, QUOTE6);
  if (length < 0) return length;
  const asked = Packet.ip;
  memory.fill(ip, 0, Ipv6.LENGTH + Icmpv6.LENGTH);
  store<u8>(ip, 0x60);
  store<u16>(ip, bswap(<u16>(Icmpv6.LENGTH + length)), 4);
  store<u8>(ip, ICMPV6, 6);
  store<u8>(ip, TTL, 7);
  Address.copy(ip + Ipv6.SOURCE, asked + Ipv6.DESTINATION);
  Address.copy(ip + Ipv6.DESTINATION, asked + Ipv6.SOURCE);
  store<u8>(icmp, Icmpv6.DESTINATION_UNREACHABLE);
  store<u8>(icmp, code, 1);
  // Pseudo header: addresses, length, next header (RFC 8200 section 8.1).
  let sum = Checksum.partial(ip + Ipv6.SOURCE, 32, 0);
  sum = Checksum.add(sum, bswap(<u32>(Icmpv6.LENGTH + length)));
  sum = Checksum.add(sum, <u32>ICMPV6 << 24);
  sum = Checksum.partial(icmp, Icmpv6.LENGTH, sum);
  for (let at = 0; at < length && at < SUMMED6; at += 2 * BLOCK6) {
    sum = Checksum.partial(icmp + Icmpv6.LENGTH + at, min(length - at, BLOCK6), sum);
  }
  store<u16>(icmp, Checksum.fold(sum), 2);
  ethernet(Ethernet.IPV6);
  return send(head + length);
}
