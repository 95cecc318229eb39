/**
 * The option that carries a service's address to the backend's node (bpf/lib/nodeport.h, dsr_set_opt4 and dsr_set_ext6; read by
 * nodeport_extract_dsr_v4 and _v6). Over IPv4 port and address stand in it with their bytes the wrong way round; both ends
 * agree on that.
 */
import { DropReason, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { answerTooLarge } from "./dsr_answer";
import { grow, roomFor } from "./dsr_room";
import { Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

/** DSR_IPV4_OPT_TYPE, and the option's length with type and length. */
const OPTION4: u8 = 0x9a;
const LENGTH4: i32 = 8;
/** DSR_IPV6_OPT_TYPE in a destination options header of its own. */
const OPTION6: u8 = 0x1b;
const LENGTH6: i32 = 24;
const OPTION6_LENGTH: u8 = 20;
/** struct iphdr and MAX_IPOPTLEN. */
const MOST_HEADER: i32 = 60;

export class DsrOption {
  /** Port that `read` found, wire order. */
  static port: u16 = 0;

  /** Puts the service's 16 bytes at `address` and its port into the packet. */
  static add(address: usize, port: u16): i32 {
    if (Packet.wire + LENGTH6 > 65536) return Verdict.undecided(UndecidedReason.MTU);
    return Packet.family == 4 ? addOption4(address, port) : addOption6(address, port);
  }

  /** PASS with the service's address in 16 bytes at `to` and `port`; GO_ON: the packet has no such option. */
  static read(to: usize): i32 {
    return Packet.family == 4 ? readOption4(to) : readOption6(to);
  }
}

function addOption4(address: usize, port: u16): i32 {
  if (Ipv4.headerLength(Packet.ip) + LENGTH4 > MOST_HEADER) return -DropReason.DROP_CT_INVALID_HDR;
  const room = roomFor(LENGTH4);
  if (room != 0) return answerTooLarge(room, address, port);
  const before = load<u32>(Packet.ip);
  grow(Ipv4.MIN_LENGTH, LENGTH4);
  const ip = Packet.ip;
  store<u8>(ip, load<u8>(ip) + <u8>(LENGTH4 >> 2));
  store<u16>(ip, bswap(<u16>(bswap(load<u16>(ip, 2)) + <u16>LENGTH4)), 2);
  const option = ip + <usize>Ipv4.MIN_LENGTH;
  store<u8>(option, OPTION4);
  store<u8>(option, <u8>LENGTH4, 1);
  store<u16>(option, bswap(port), 2);
  store<u32>(option, bswap(load<u32>(address)), 4);
  let sum = Checksum.diff(before, load<u32>(ip), 0);
  sum = Checksum.diff(0, load<u32>(option), sum);
  sum = Checksum.diff(0, load<u32>(option, 4), sum);
  Checksum.replaceByDiff(ip + Ipv4.CHECKSUM, sum);
  return Packet.parse();
}

function addOption6(address: usize, port: u16): i32 {
  const room = roomFor(LENGTH6);
  if (room != 0) return answerTooLarge(room, address, port);
  const next = Ipv6.nextHeader(Packet.ip);
  grow(Ipv6.LENGTH, LENGTH6);
  const ip = Packet.ip;
  store<u16>(ip, bswap(<u16>(bswap(load<u16>(ip, 4)) + <u16>LENGTH6)), 4);
  store<u8>(ip, Ipv6.DEST, 6);
  const header = ip + <usize>Ipv6.LENGTH;
  memory.fill(header, 0, LENGTH6);
  store<u8>(header, next);
  // Units of eight bytes beside the first.
  store<u8>(header, <u8>(LENGTH6 >> 3) - 1, 1);
  store<u8>(header, OPTION6, 2);
  store<u8>(header, OPTION6_LENGTH, 3);
  Address.copy(header + 4, address);
  store<u16>(header, port, 20);
  return Packet.parse();
}

function readOption4(to: usize): i32 {
  if (Ipv4.headerLength(Packet.ip) < Ipv4.MIN_LENGTH + LENGTH4) return GO_ON;
  const at = Ethernet.LENGTH + Ipv4.MIN_LENGTH;
  const short = Packet.need(at, LENGTH4, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const option = Packet.frame + at;
  if (load<u8>(option) != OPTION4 || load<u8>(option, 1) != <u8>LENGTH4) return GO_ON;
  Address.clear(to);
  store<u32>(to, bswap(load<u32>(option, 4)));
  DsrOption.port = bswap(load<u16>(option, 2));
  return Verdict.PASS;
}

/** find_dsr_v6: the first destination options header of this size that has the option first. */
function readOption6(to: usize): i32 {
  let offset = Ethernet.LENGTH + Ipv6.LENGTH;
  let next = Ipv6.nextHeader(Packet.ip);
  for (let count = 0; count < Ipv6.MAX_EXTENSIONS; count++) {
    if (!Ipv6.isExtension(next)) return GO_ON;
    const cut = Packet.need(offset, 2, DropReason.DROP_INVALID);
    if (cut < 0) return cut;
    const header = Packet.frame + offset;
    const length = Ipv6.extensionLength(next, header);
    if (next == Ipv6.DEST && length == LENGTH6) {
      const short = Packet.need(offset, LENGTH6, DropReason.DROP_INVALID);
      if (short < 0) return short;
      if (load<u8>(header, 2) == OPTION6 && load<u8>(header, 3) == OPTION6_LENGTH) {
        Address.copy(to, header + 4);
        DsrOption.port = load<u16>(header, 20);
        return Verdict.PASS;
      }
    }
    next = load<u8>(header);
    offset += length;
  }
  return -DropReason.DROP_INVALID_EXTHDR;
}
