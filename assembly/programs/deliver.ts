/**
 * Ways a packet leaves a program (bpf/lib/local_delivery.h, l3.h, fib.h): to an endpoint of the same node, or
 * out of the device that the node's routes name. Both count one hop off the TTL; at 1 the packet is dropped
 * (196).
 */
import { ConfigOption, DropReason, EndpointFlag, EndpointInfo, FibKind, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Answer } from "./answer";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

/** ENDPOINT_MASK_HOST_DELIVERY: not a pod, but a process of the node. */
const HOST_DELIVERY: u32 = <u32>EndpointFlag.HOST | <u32>EndpointFlag.ATHOSTNS;

export class Deliver {
  @inline
  static toHost(endpoint: EndpointInfo): bool {
    return (endpoint.flags & HOST_DELIVERY) != 0;
  }

  /** ipv4_local_delivery: the endpoint's program is next, with `identity` as the source. */
  static local(endpoint: EndpointInfo, identity: u32): i32 {
    const expired = Deliver.countHop();
    if (expired != GO_ON) return expired;
    Ethernet.setSource(Packet.frame, changetype<usize>(endpoint) + EndpointInfo.NODE_MAC);
    Ethernet.setDestination(Packet.frame, changetype<usize>(endpoint) + EndpointInfo.MAC);
    Packet.sourceIdentity = identity;
    // With routes of its own the endpoint's program is the one at its device, unless host routing passes that by.
    Packet.byDevice = Options.has(ConfigOption.ENABLE_ENDPOINT_ROUTES) && !Options.hostRouting;
    Packet.target = changetype<usize>(endpoint);
    Packet.redirect = endpoint.ifindex;
    return Verdict.ENDPOINT;
  }

  /** ENDPOINT_F_HOST. */
  @inline
  static isHost(endpoint: EndpointInfo): bool {
    return (endpoint.flags & <u32>EndpointFlag.HOST) != 0;
  }

  /** ipv4_l3, ipv6_l3: GO_ON, or for IPv6 an answer. */
  static countHop(): i32 {
    if (Packet.family == 4) {
      if (Ipv4.ttl(Packet.ip) <= 1) return -DropReason.DROP_TTL_EXCEEDED;
      Ipv4.decrementTtl(Packet.ip);
      return GO_ON;
    }
    if (Ipv6.hopLimit(Packet.ip) <= 1) return Answer.timeExceeded();
    Ipv6.decrementHopLimit(Packet.ip);
    return GO_ON;
  }

  /**
   * fib_redirect: out of the device the route names, the neighbour filled in by the kernel. PASS where the
   * route is the node's own; `hop` counts one off the TTL between lookup and redirect.
   */
  static byRoute(hop: bool): i32 {
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const route = Maps.route(ADDRESS);
    if (route === null) return Verdict.undecided(UndecidedReason.NO_ROUTE);
    if (route.kind == <u8>FibKind.LOCAL_STACK) return Verdict.PASS;
    if (route.kind == <u8>FibKind.UNREACHABLE || route.kind == <u8>FibKind.NONE) {
      return -DropReason.DROP_NO_FIB;
    }
    if (hop) {
      const expired = Deliver.countHop();
      if (expired != GO_ON) return expired;
    }
    Packet.redirect = route.ifindex;
    return Verdict.REDIRECT;
  }
}
