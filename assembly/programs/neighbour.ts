/**
 * Neighbour discovery as the programs handle it (bpf/lib/icmp6.h). A solicitation for cilium_host's address or for an
 * endpoint of this node is answered in place, with the device's own MAC address; for a process of the node the stack
 * answers. Advertisements pass.
 *
 *     asked for                    from a pod       from the network
 *     cilium_host's address        answered         answered
 *     an endpoint of this node     answered         answered
 *     an address of the node       stack            stack
 *     anything else                150              stack
 */
import { Config, DeviceEntry, DropReason, NodeEntry, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Answer } from "./answer";
import { Deliver } from "./deliver";
import { Maps } from "./maps";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { Verdict } from "./verdict";

/** Offsets from the frame's start, whatever extension headers there are (nh_off is the Ethernet header's length). */
const MESSAGE: i32 = Ethernet.LENGTH + Ipv6.LENGTH;
const TARGET_AT: i32 = MESSAGE + 8;
const OPTION_AT: i32 = TARGET_AT + 16;
const OPTION: i32 = 8;
/** ND_OPT_TARGET_LL_ADDR, eight bytes long; as loaded. */
const TARGET_LINK_ADDRESS: u16 = 0x0102;
/** Flags of an advertisement as loaded: router, solicited, override. */
const ROUTER: u32 = 0x80;
const SOLICITED: u32 = 0x40;
const OVERRIDE: u32 = 0x20;
const TARGET: usize = memory.data(16, 16);

export class Neighbour {
  /** is_icmp6_ndp: a solicitation or advertisement right behind the IPv6 header. */
  static isDiscovery(): bool {
    if (Packet.family == 4 || Ipv6.nextHeader(Packet.ip) != ICMPV6) return false;
    if (MESSAGE + 1 > Packet.captured) return false;
    const type = Icmpv6.type(Packet.frame + MESSAGE);
    return type == Icmpv6.NEIGHBOUR_SOLICITATION || type == Icmpv6.NEIGHBOUR_ADVERTISEMENT;
  }

  /** icmp6_ndp_handle at a pod: `isDiscovery` has been asked. */
  static fromPod(): i32 {
    if (Icmpv6.type(Packet.frame + MESSAGE) != Icmpv6.NEIGHBOUR_SOLICITATION) return Verdict.PASS;
    return solicited(-DropReason.DROP_UNKNOWN_TARGET, Options.version >= 19);
  }

  /** icmp6_handle_ns at a device of the node. */
  static fromNetwork(): i32 {
    return solicited(Verdict.PASS, false);
  }
}

/** `unknown`: what becomes of a solicitation for an address that nothing is known of. */
function solicited(unknown: i32, loopback: bool): i32 {
  const short = Packet.need(TARGET_AT, 16, DropReason.DROP_INVALID);
  if (short < 0) return short;
  Address.copy(TARGET, Packet.frame + TARGET_AT);
  const router = changetype<usize>(Options.node) + NodeEntry.ROUTER6;
  if (Address.equal(TARGET, router)) return advertise(true, 0);
  if (loopback && Address.equal(TARGET, changetype<usize>(Options.config) + Config.SERVICE_LOOPBACK_IPV6)) {
    return advertise(false, Packet.frame + 6);
  }
  const endpoint = Maps.endpoint(TARGET);
  if (endpoint !== null) return Deliver.isHost(endpoint) ? Verdict.PASS : advertise(false, 0);
  // It may be cilium_host's.
  return Address.isZero(router) ? Verdict.undecided(UndecidedReason.ROUTER_ADDRESS) : unknown;
}

/**
 * icmp6_send_ndisc_adv: the solicitation becomes the advertisement, its option the target's link address. Up to 1.17 it
 * comes from cilium_host's address and needs an option to write over; 1.18 adds one but leaves its length out of the
 * checksum. `mac` 0: the device's own.
 */
function advertise(router: bool, mac: usize): i32 {
  const device = Maps.device(Packet.device);
  if (device === null) return Verdict.undecided(UndecidedReason.NO_DEVICE);
  const own = changetype<usize>(device) + DeviceEntry.MAC;
  const source = Options.version < 18 ? changetype<usize>(Options.node) + NodeEntry.ROUTER6 : TARGET;
  if (Address.isZero(source)) return Verdict.undecided(UndecidedReason.ROUTER_ADDRESS);
  if (Packet.captured < Packet.wire || Packet.captured > Answer.MOST) return Verdict.undecided(UndecidedReason.TRUNCATED);
  const bare = Packet.captured < OPTION_AT + OPTION;
  if (bare && (Options.version < 18 || Packet.captured != OPTION_AT)) return -DropReason.DROP_INVALID;
  const link = mac == 0 ? own : mac;
  const first = load<u32>(link);
  const last = load<u16>(link, 4);
  const frame = Answer.copy(bare ? OPTION : 0);
  const ip = frame + Ethernet.LENGTH;
  const message = frame + MESSAGE;
  const option = frame + OPTION_AT;
  let sum: u32 = 0;
  if (bare) {
    store<u64>(option, 0);
    store<u16>(ip, bswap(<u16>(Ipv6.payloadLength(ip) + <u16>OPTION)), 4);
    if (Options.version >= 19) sum = bswap(<u32>OPTION);
  }
  sum = Checksum.add(sum, ~Checksum.partial(message, 8, 0));
  sum = Checksum.add(sum, ~Checksum.partial(option, OPTION, 0));
  store<u16>(message, Icmpv6.NEIGHBOUR_ADVERTISEMENT);
  store<u32>(message, router ? ROUTER | SOLICITED : SOLICITED | OVERRIDE, 4);
  store<u16>(option, TARGET_LINK_ADDRESS);
  store<u32>(option, first, 2);
  store<u16>(option, last, 6);
  sum = Checksum.partial(message, 8, sum);
  sum = Checksum.partial(option, OPTION, sum);
  return Answer.turnBack(source, own, sum);
}
