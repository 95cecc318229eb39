/**
 * Neighbour discovery as the programs handle it (bpf/lib/icmp6.h).
 */
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Ipv6 } from "../wire/ipv6";
import { ICMPV6, Packet } from "./packet";

export class Neighbour {
  /** is_icmp6_ndp: a solicitation or advertisement right behind the IPv6 header. */
  static isDiscovery(): bool {
    if (Packet.family == 4 || Ipv6.nextHeader(Packet.ip) != ICMPV6) return false;
    const at = Ethernet.LENGTH + Ipv6.LENGTH;
    if (at + 1 > Packet.captured) return false;
    const type = Icmpv6.type(Packet.frame + at);
    return type == Icmpv6.NEIGHBOUR_SOLICITATION || type == Icmpv6.NEIGHBOUR_ADVERTISEMENT;
  }
}
