/**
 * What the node's kernel does with a packet that a program passed up, as far as routes decide it: the checks
 * of ip_rcv, one route, one hop off the TTL where the packet is forwarded. Netfilter is not here.
 *
 * ICMP errors that the kernel would make are undecided.
 */
import { ConfigOption, DropReason, FibEntry, FibKind, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

/** Where the packet goes from the stack. */
export class Onward {
  static readonly LOCAL: i32 = 1;
  /** Out of an uplink, `Packet.redirect`. */
  static readonly UPLINK: i32 = 2;
  /** Out of the device of an endpoint, `Packet.redirect`. */
  static readonly ENDPOINT: i32 = 3;
  /** Into cilium_host. */
  static readonly CILIUM_HOST: i32 = 4;
}

export class Stack {
  /** An Onward, a drop or undecided. `received`: from a device, not from a process of the node. */
  static route(received: bool): i32 {
    if (received) {
      const refused = receive();
      if (refused < 0) return refused;
    }
    if (isMulticast()) return Verdict.undecided(UndecidedReason.MULTICAST);
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const route = Maps.route(ADDRESS);
    if (route === null || route.kind == <u8>FibKind.NONE) return Verdict.undecided(UndecidedReason.NO_ROUTE);
    if (route.kind == <u8>FibKind.LOCAL_STACK) return Onward.LOCAL;
    if (route.kind == <u8>FibKind.UNREACHABLE) return Verdict.undecided(UndecidedReason.ICMP);
    if (received) {
      const expired = forwardHop();
      if (expired < 0) return expired;
    }
    return leave(route);
  }
}

function leave(route: FibEntry): i32 {
  Packet.redirect = route.ifindex;
  if (route.kind == <u8>FibKind.UPLINK) return Onward.UPLINK;
  // Where endpoints have no routes of their own, their prefix is routed to cilium_host.
  const host = Options.node.host_ifindex;
  if (route.kind == <u8>FibKind.ENDPOINT) {
    return Options.has(ConfigOption.ENABLE_ENDPOINT_ROUTES) ? Onward.ENDPOINT : Onward.CILIUM_HOST;
  }
  if (host != 0 && route.ifindex == host) return Onward.CILIUM_HOST;
  return Verdict.undecided(UndecidedReason.NOT_MODELLED);
}

/** ip_rcv_core, ip6_rcv_core: headers that the kernel drops without a word. */
function receive(): i32 {
  const ip = Packet.ip;
  const length = Packet.wire - Ethernet.LENGTH;
  if (Packet.family == 6) {
    return Ipv6.version(ip) != 6
      || <i32>Ipv6.payloadLength(ip) + Ipv6.LENGTH > length ? -DropReason.DROP_INVALID : 0;
  }
  const header = Ipv4.headerLength(ip);
  if (Ipv4.version(ip) != 4 || header < Ipv4.MIN_LENGTH) return -DropReason.DROP_INVALID;
  const short = Packet.need(Ethernet.LENGTH, header, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const total = <i32>Ipv4.totalLength(ip);
  if (total > length || total < header) return -DropReason.DROP_INVALID;
  return Checksum.fold(Checksum.partial(ip, header, 0)) != 0 ? -DropReason.DROP_INVALID : 0;
}

/** ip_forward: TTL 1 ends here with "time exceeded". */
function forwardHop(): i32 {
  if (Packet.family == 4) {
    if (Ipv4.ttl(Packet.ip) <= 1) return Verdict.undecided(UndecidedReason.ICMP);
    Ipv4.decrementTtlForwarding(Packet.ip);
    return 0;
  }
  if (Ipv6.hopLimit(Packet.ip) <= 1) return Verdict.undecided(UndecidedReason.ICMP);
  Ipv6.decrementHopLimit(Packet.ip);
  return 0;
}

/** 224.0.0.0/4, 255.255.255.255, ff00::/8 */
function isMulticast(): bool {
  const first = load<u8>(Packet.destination);
  if (Packet.family == 6) return first == 0xff;
  return (first >= 224 && first < 240) || load<u32>(Packet.destination) == 0xffffffff;
}
