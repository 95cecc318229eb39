/**
 * What the node's kernel does with a packet that a program passed up, as far as routes decide it: the checks
 * of ip_rcv, one route, one hop off the TTL where the packet is forwarded. Netfilter is not here.
 *
 * What the kernel refuses without a word is a drop with the kernel's reason (KernelReason). ICMP errors that
 * it would make, and IPv4 options that it would act on, are undecided.
 */
import {
  ConfigOption, FibEntry, FibKind, IpcacheFlag, KernelReason, LinkPacketType, NodeEntry, UndecidedReason,
} from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet, TCP } from "./packet";
import { GO_ON, Verdict } from "./verdict";

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
  /**
   * ip_rcv_core, ip6_rcv_core: headers that a kernel, the node's or a pod's, drops. Reads the bytes only; the
   * family is the Ethernet type's.
   */
  static receive(): i32 {
    return Packet.family == 4 ? receive4() : receive6();
  }

  /** A kernel that was walked elsewhere sends the packet out of an uplink: an Onward, or undecided. */
  static leaveByUplink(): i32 {
    const tunnel = behindTunnel();
    return tunnel == GO_ON ? Onward.UPLINK : tunnel;
  }

  /** The same into cilium_host. */
  static leaveByHost(): i32 {
    const tunnel = behindTunnel();
    return tunnel < 0 ? tunnel : Onward.CILIUM_HOST;
  }

  /**
   * An Onward, a drop or undecided. `received`: from a device, not from a process of the node; `receive` has
   * been asked. `type`: whom the frame was addressed to on its link (LinkPacketType).
   */
  static route(received: bool, type: u8): i32 {
    if (isMulticast()) return Verdict.undecided(UndecidedReason.MULTICAST);
    if (received && isMartian()) return Verdict.undecided(UndecidedReason.MARTIAN);
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const route = Maps.route(ADDRESS);
    if (route === null || route.kind == <u8>FibKind.NONE) return Verdict.undecided(UndecidedReason.NO_ROUTE);
    if (route.kind == <u8>FibKind.LOCAL_STACK) return Onward.LOCAL;
    if (route.kind == <u8>FibKind.UNREACHABLE) return Verdict.undecided(UndecidedReason.UNREACHABLE);
    if (received) {
      // ip_forward: what came to a broadcast or multicast MAC address goes no further.
      if (type != <u8>LinkPacketType.Host) return -<i32>KernelReason.INVALID_PROTO;
      const stays = forwardHop();
      if (stays < 0) return stays;
    }
    return leave(route);
  }
}

function leave(route: FibEntry): i32 {
  Packet.redirect = route.ifindex;
  const behind = behindTunnel();
  if (behind != GO_ON) return behind;
  if (route.kind == <u8>FibKind.UPLINK) return Onward.UPLINK;
  // Where endpoints have no routes of their own, their prefix is routed to cilium_host.
  const host = Options.node.host_ifindex;
  if (route.kind == <u8>FibKind.ENDPOINT) {
    return Options.has(ConfigOption.ENABLE_ENDPOINT_ROUTES) ? Onward.ENDPOINT : Onward.CILIUM_HOST;
  }
  if (host != 0 && route.ifindex == host) return Onward.CILIUM_HOST;
  const tunnel = Options.node.tunnel_ifindex;
  return Verdict.undecided(tunnel != 0 && route.ifindex == tunnel
    ? UndecidedReason.TUNNEL_DEVICE : UndecidedReason.ROUTE_DEVICE);
}

/**
 * In tunnel mode Cilium's own routes lead to other nodes' pods through cilium_host; the facts may be from before.
 * GO_ON for all other destinations.
 */
function behindTunnel(): i32 {
  if (!Options.has(ConfigOption.TUNNEL_MODE)) return GO_ON;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  if (info === null || (info.flags & <u8>IpcacheFlag.NODE_ADDRESS) || !Identities.tunnelled(info)) return GO_ON;
  return intoTunnel();
}

/** A process that names no address of its own would send from cilium_host's, where the capture has the node's. */
function intoTunnel(): i32 {
  if (Mark.magic != Mark.HOST && !Options.unmarked) return Onward.CILIUM_HOST;
  Address.read(ADDRESS, Packet.source, Packet.family);
  const own = changetype<usize>(Options.node) + (Packet.family == 4 ? NodeEntry.IPV4 : NodeEntry.IPV6);
  return Address.equal(ADDRESS, own) ? Verdict.undecided(UndecidedReason.SOURCE_CHOICE) : Onward.CILIUM_HOST;
}

function receive4(): i32 {
  const ip = Packet.ip;
  const length = Packet.wire - Ethernet.LENGTH;
  if (length < Ipv4.MIN_LENGTH) return -<i32>KernelReason.PKT_TOO_SMALL;
  if (Packet.captured < Ethernet.LENGTH + Ipv4.MIN_LENGTH) {
    return Verdict.undecided(UndecidedReason.TRUNCATED);
  }
  const header = Ipv4.headerLength(ip);
  if (Ipv4.version(ip) != 4 || header < Ipv4.MIN_LENGTH) return -<i32>KernelReason.IP_INHDR;
  if (length < header) return -<i32>KernelReason.PKT_TOO_SMALL;
  if (Packet.captured < Ethernet.LENGTH + header) return Verdict.undecided(UndecidedReason.TRUNCATED);
  if (Checksum.fold(Checksum.partial(ip, header, 0)) != 0) return -<i32>KernelReason.IP_CSUM;
  let total = <i32>Ipv4.totalLength(ip);
  // BIG TCP and captures of segmentation offload leave the length 0 (iph_totlen).
  if (total == 0 && Ipv4.protocol(ip) == TCP) total = length;
  if (total > length) return -<i32>KernelReason.PKT_TOO_SMALL;
  return total < header ? -<i32>KernelReason.IP_INHDR : GO_ON;
}

function receive6(): i32 {
  const ip = Packet.ip;
  const length = Packet.wire - Ethernet.LENGTH;
  if (length < Ipv6.LENGTH) return -<i32>KernelReason.PKT_TOO_SMALL;
  if (Packet.captured < Ethernet.LENGTH + Ipv6.LENGTH) return Verdict.undecided(UndecidedReason.TRUNCATED);
  if (Ipv6.version(ip) != 6) return -<i32>KernelReason.IP_INHDR;
  // ipv6_parse_hopopts decides, and may drop, answer or find the length of a jumbogram.
  if (Ipv6.nextHeader(ip) == Ipv6.HOP) return Verdict.undecided(UndecidedReason.IPV6_EXTENSION);
  return <i32>Ipv6.payloadLength(ip) + Ipv6.LENGTH > length ? -<i32>KernelReason.PKT_TOO_SMALL : GO_ON;
}

/** ip_forward: TTL 1 ends here with "time exceeded"; ip_forward_options. */
function forwardHop(): i32 {
  if (Packet.family == 4) {
    const acted = optionsActedOn();
    if (acted < 0) return acted;
    if (Ipv4.ttl(Packet.ip) <= 1) return Verdict.undecided(UndecidedReason.TTL);
    Ipv4.decrementTtlForwarding(Packet.ip);
    return GO_ON;
  }
  if (Ipv6.hopLimit(Packet.ip) <= 1) return Verdict.undecided(UndecidedReason.TTL);
  Ipv6.decrementHopLimit(Packet.ip);
  return GO_ON;
}

/** Option numbers of RFC 791 and RFC 2113, and Cilium's own, which ip_options_compile steps over as unknown. */
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_SECURITY: u8 = 130;
const OPTION_STREAM: u8 = 136;
const OPTION_ROUTER_ALERT: u8 = 148;
const OPTION_DSR: u8 = 154;

/**
 * GO_ON for options that only travel along. Record route and timestamps are written to, source routes are
 * refused or followed, and what is malformed is answered.
 */
function optionsActedOn(): i32 {
  const end = Packet.ip + <usize>Ipv4.headerLength(Packet.ip);
  let at = Packet.ip + <usize>Ipv4.MIN_LENGTH;
  while (at < end) {
    const option = load<u8>(at);
    if (option == OPTION_END) return GO_ON;
    if (option == OPTION_NOP) {
      at++;
      continue;
    }
    const plain = option == OPTION_SECURITY || option == OPTION_STREAM || option == OPTION_ROUTER_ALERT ||
      option == OPTION_DSR;
    const size: u8 = at + 1 < end ? load<u8>(at, 1) : 0;
    if (!plain || size < 2 || at + <usize>size > end) return Verdict.undecided(UndecidedReason.IP_OPTIONS);
    at += <usize>size;
  }
  return GO_ON;
}

/** 224.0.0.0/4, 255.255.255.255, ff00::/8 */
function isMulticast(): bool {
  const first = load<u8>(Packet.destination);
  if (Packet.family == 6) return first == 0xff;
  return (first >= 224 && first < 240) || load<u32>(Packet.destination) == 0xffffffff;
}

/**
 * Addresses that ip_route_input_slow and ip6_rcv_core refuse, some of them depending on settings of the
 * device: loopback, the zero network, a multicast source. A source that is the node's own is not looked for.
 */
function isMartian(): bool {
  if (Packet.family == 4) {
    const source = load<u8>(Packet.source);
    const destination = load<u8>(Packet.destination);
    return source == 127 || destination == 127 || source == 0 || destination == 0 || source >= 224;
  }
  return load<u8>(Packet.source) == 0xff || isLoopback6(Packet.source) || isLoopback6(Packet.destination);
}

function isLoopback6(address: usize): bool {
  return load<u64>(address) == 0 && load<u64>(address, 8) == 0x0100000000000000;
}
