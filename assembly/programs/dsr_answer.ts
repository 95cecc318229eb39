/**
 * The answer to a request that its direct server return option would make too large for the device (bpf/lib/nodeport.h,
 * dsr_reply_icmp4 and dsr_reply_icmp6; enable-pmtu-discovery): "fragmentation needed" or "packet too big", with what is
 * left beside the option. The packet is addressed to its backend already: the answer comes from there, and quotes the
 * packet as the client sent it.
 */
import { DropReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Answer } from "./answer";
import { ICMP, ICMPV6, Packet, TCP, UDP } from "./packet";
import { ROOM } from "./room";
import { GO_ON, Verdict } from "./verdict";

/** IPDEFTTL */
const TTL: u8 = 64;
/** orig_dgram: bytes quoted behind the network header. */
const QUOTED4: i32 = 8;
const QUOTED6: i32 = 64;
/** A port's place behind the source port. */
const DESTINATION_PORT: i32 = 2;
/** IP_DF, as the header's second half. */
const DONT_FRAGMENT: u16 = 0x4000;

/** `mtu`: of the device, without the option; `service` and `port` as the client addressed them, `port` in wire order. */
export function answerTooLarge(mtu: u32, service: usize, port: u16): i32 {
  if (Packet.protocol != TCP && Packet.protocol != UDP) return -<i32>DropReason.DROP_FRAG_NEEDED;
  const quoted = Packet.family == 4 ? Ipv4.headerLength(Packet.ip) + QUOTED4 : Ipv6.LENGTH + QUOTED6;
  const short = Packet.need(Ethernet.LENGTH, quoted, DropReason.DROP_FRAG_NEEDED);
  if (short < 0) return short;
  const header = Packet.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
  const head = Ethernet.LENGTH + header + Icmp.LENGTH;
  const frame = Packet.frame;
  const quote = ROOM + head;
  memory.copy(quote, frame + Ethernet.LENGTH, quoted);
  const source = load<u32>(quote + (Packet.family == 4 ? Ipv4.SOURCE : Ipv6.SOURCE));
  restoreQuote(quote, service, port);
  Ethernet.setDestination(ROOM, frame + 6);
  Ethernet.setSource(ROOM, frame);
  if (Packet.family == 4) needed(quote, quoted, mtu, load<u32>(Packet.destination), source);
  else tooBig(quote, quoted, mtu);
  Packet.frame = ROOM;
  Packet.captured = head + quoted;
  Packet.wire = head + quoted;
  Packet.partial = false;
  Answer.reason = DropReason.DROP_FRAG_NEEDED;
  const wrong = Packet.parse();
  return wrong == GO_ON ? Verdict.ANSWER : wrong;
}

/** The quoted packet is addressed to the service again. Options of IPv4 are not counted, as Cilium does not. */
function restoreQuote(quote: usize, service: usize, port: u16): void {
  if (Packet.family == 4) {
    store<u32>(quote, load<u32>(service), Ipv4.DESTINATION);
    store<u16>(quote, 0, Ipv4.CHECKSUM);
    store<u16>(quote, Checksum.fold(Checksum.partial(quote, Ipv4.MIN_LENGTH, 0)), Ipv4.CHECKSUM);
    store<u16>(quote + Ipv4.MIN_LENGTH + DESTINATION_PORT, port);
    return;
  }
  Address.copy(quote + Ipv6.DESTINATION, service);
  store<u16>(quote + Ipv6.LENGTH + DESTINATION_PORT, port);
}

/** Fragmentation needed, from the backend's address. */
function needed(quote: usize, quoted: i32, mtu: u32, backend: u32, client: u32): void {
  const ip = ROOM + Ethernet.LENGTH;
  const icmp = ip + Ipv4.MIN_LENGTH;
  const tos = Ipv4.tos(quote);
  const id = Ipv4.id(quote);
  memory.fill(ip, 0, Ipv4.MIN_LENGTH + Icmp.LENGTH);
  store<u8>(ip, 0x45);
  store<u8>(ip, tos, 1);
  store<u16>(ip, bswap(<u16>(Ipv4.MIN_LENGTH + Icmp.LENGTH + quoted)), 2);
  store<u16>(ip, id, 4);
  store<u16>(ip, bswap(DONT_FRAGMENT), 6);
  store<u8>(ip, TTL, 8);
  store<u8>(ip, ICMP, 9);
  store<u32>(ip, backend, Ipv4.SOURCE);
  store<u32>(ip, client, Ipv4.DESTINATION);
  Ipv4.seal(ip);
  store<u8>(icmp, Icmp.DESTINATION_UNREACHABLE);
  store<u8>(icmp, Icmp.FRAGMENTATION_NEEDED, 1);
  store<u16>(icmp, bswap(<u16>mtu), 6);
  store<u16>(icmp, Checksum.fold(Checksum.partial(icmp, Icmp.LENGTH + quoted, 0)), 2);
  Ethernet.setType(ROOM, Ethernet.IPV4);
}

/** Packet too big, from the backend's address; class and flow label are the packet's. */
function tooBig(quote: usize, quoted: i32, mtu: u32): void {
  const ip = ROOM + Ethernet.LENGTH;
  const icmp = ip + Ipv6.LENGTH;
  const length = Icmpv6.LENGTH + quoted;
  store<u32>(ip, load<u32>(quote));
  store<u16>(ip, bswap(<u16>length), 4);
  store<u8>(ip, ICMPV6, 6);
  store<u8>(ip, TTL, 7);
  Address.copy(ip + Ipv6.SOURCE, Packet.destination);
  Address.copy(ip + Ipv6.DESTINATION, quote + Ipv6.SOURCE);
  store<u8>(icmp, Icmpv6.PACKET_TOO_BIG);
  store<u8>(icmp, 0, 1);
  store<u16>(icmp, 0, 2);
  store<u32>(icmp, bswap(mtu), 4);
  let sum = Checksum.partial(ip + Ipv6.SOURCE, 32, 0);
  sum = Checksum.add(sum, bswap(<u32>length));
  sum = Checksum.add(sum, <u32>ICMPV6 << 24);
  store<u16>(icmp, Checksum.fold(Checksum.partial(icmp, length, sum)), 2);
  Ethernet.setType(ROOM, Ethernet.IPV6);
}
