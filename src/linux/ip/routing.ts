/**
 * What a node knows of addresses and ways: both route tables, source address selection, MTUs, address types. Built
 * once from NodeFacts.
 */
import type { Address } from "../../cluster/address.js";
import type { NodeFacts } from "../../cluster/cluster.js";
import type { NodeServices, Skb, WayBack } from "../skb.js";
import { AddressBook } from "./addresses.js";
import { getU32 } from "./bytes.js";
import { DeviceTable } from "./devices.js";
import type { Packet } from "./packet.js";
import { type RouteEntry, RouteTable } from "./routes.js";

type AddressType = ReturnType<NodeServices["addressType"]>;

export class Routing {
  readonly devices: DeviceTable;
  private readonly routes4: RouteTable;
  private readonly routes6: RouteTable;
  private readonly book: AddressBook;

  constructor(facts: NodeFacts) {
    this.devices = new DeviceTable(facts);
    this.routes4 = new RouteTable(4, facts.routes);
    this.routes6 = new RouteTable(6, facts.routes);
    this.book = new AddressBook(facts.devices);
  }

  table(family: 4 | 6): RouteTable {
    return family === 4 ? this.routes4 : this.routes6;
  }

  /** The route's own MTU where it is smaller than the device's. */
  mtu(route: RouteEntry): number {
    const device = this.devices.get(route.local ? this.devices.loopback : route.device);
    const mtu = device?.mtu ?? 1500;
    return route.mtu > 0 && route.mtu < mtu ? route.mtu : mtu;
  }

  /** Source towards the destination at `destination[at…]` along `route` (fib_result_prefsrc, ip6_route_get_saddr). */
  source(route: RouteEntry, family: 4 | 6, destination: Uint8Array, at: number): Address | null {
    if (route.prefSrc !== null) return route.prefSrc;
    if (family === 4) return this.book.select4(route.device, route.gateway);
    return this.book.select6(route.device, destination, at);
  }

  /**
   * Source of an ICMP error that goes `back` to the sender: IPv4 takes the way back, IPv6 the device that the packet
   * came in on (icmp6_send, "select a more meaningful saddr from input if").
   */
  answerSource(back: RouteEntry, about: Packet): Address | null {
    if (back.prefSrc !== null) return back.prefSrc;
    if (about.family === 4) return this.source(back, 4, about.bytes, 12);
    return this.book.select6(about.inDevice === 0 ? back.device : about.inDevice, about.bytes, 8);
  }

  /** nf_nat_masquerade_ipv4, nf_nat_masquerade_ipv6: by the device, not by the route's preferred source. */
  masqueradeAddress(device: number, skb: Skb): Address | null {
    if (skb.family === 6) return this.book.select6(device, skb.bytes, 24);
    return this.book.select4(device, (skb as Packet).route?.gateway ?? null);
  }

  /** inet_addr_type looks in the local table; xt_addrtype's IPv6 half does a whole route lookup. */
  addressType(bytes: Uint8Array, offset: number, family: 4 | 6, device = 0): AddressType {
    if (family === 4) {
      if (bytes[offset] === 0 || getU32(bytes, offset) === 0xffffffff) return "BROADCAST";
      if (bytes[offset] >= 224 && bytes[offset] < 240) return "MULTICAST";
      const route = this.routes4.lookupLocal(bytes, offset);
      if (route === null || (device !== 0 && device !== route.device)) return "UNICAST";
      return TYPES[route.type] ?? "UNICAST";
    }
    if (bytes[offset] === 0xff) return "MULTICAST";
    const route = this.routes6.lookup(bytes, offset);
    if (route?.local === true && device !== 0 && device !== route.device) return "UNICAST";
    return route === null ? "UNREACHABLE" : TYPES[route.type] ?? "UNREACHABLE";
  }

  /** tcpmss_mangle_packet: dst_mtu, and that of the route tcpmss_reverse_mtu finds. */
  pathMtu(skb: Skb): number {
    const { route } = skb as Packet;
    const back = this.table(skb.family).lookup(skb.bytes, skb.family === 4 ? 12 : 8);
    return Math.min(route === null ? 0 : this.mtu(route), back === null ? 0xffffffff : this.mtu(back));
  }

  /** fib_lookup and ip6_route_lookup towards the packet's source. */
  wayBack(skb: Skb): WayBack {
    const route = this.table(skb.family).lookup(skb.bytes, skb.family === 4 ? 12 : 8);
    if (route === null) return NO_WAY;
    return { type: route.local ? "local" : route.type === "unicast" ? "unicast" : "other", device: route.device };
  }
}

const NO_WAY: WayBack = { type: "none", device: 0 };
const TYPES: Readonly<Record<string, AddressType>> = {
  unicast: "UNICAST", local: "LOCAL", broadcast: "BROADCAST", multicast: "MULTICAST", anycast: "ANYCAST",
  unreachable: "UNREACHABLE", blackhole: "BLACKHOLE", prohibit: "PROHIBIT",
};
