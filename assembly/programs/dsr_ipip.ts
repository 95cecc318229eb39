/**
 * Direct server return in an IP header of its own (bpf-lb-dsr-dispatch ipip; bpf/lib/nodeport.h, dsr_set_ipip4 and _ipip6): the
 * request goes on as the client sent it, inside a packet to its backend.
 *
 *     up to 1.18   The program itself writes the outer header. At tc the room for it opens behind the old one
 *                  (BPF_ADJ_ROOM_NET), so what leaves has zeros for an inner header, and no kernel takes it. The agent wants XDP
 *                  for this dispatch, whose program is not this one: users' requests are undecided (DsrMode.IPIP_BY_XDP).
 *     1.19         Through cilium_ipip4 and cilium_ipip6, where the kernel puts the header on. Nobody takes it off before a
 *                  pod, whose program does not know the protocol (137).
 *     1.20         from-netdev takes it off. The outer destination is the backend, by its address alone: a request keeps the
 *                  service's port.
 *
 * A backend of the balancing node itself is sent the request as it is too, up to 1.19: its address is the service's, and the
 * node's routes decide.
 */
import { BackendEntry, CtTuple, DropReason, DsrMode, NodeEntry, UndecidedReason } from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Address } from "./address";
import { Deliver } from "./deliver";
import { grow, roomFor } from "./dsr_room";
import { Maps } from "./maps";
import { Options } from "./options";
import { isPartial, Packet } from "./packet";
import { Translate } from "./translate";
import { Tunnel } from "./tunnel";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

/** IPDEFTTL */
const TTL: u8 = 64;

const NAMED: usize = memory.data(<i32>BackendEntry.SIZE, 16);
let isNamed: bool = false;

export class DsrIpip {
  /** What stands in a translation's place: the tuple follows up to 1.18, and 1.16 writes the backend's port. */
  static leave(tuple: CtTuple, backend: BackendEntry): i32 {
    if (Options.version >= 19) return GO_ON;
    Address.copy(Tuple.daddr(tuple), changetype<usize>(backend) + BackendEntry.ADDRESS);
    // As with bpf-lb-dsr-l4-xlate=backend, which 1.17 has no more.
    return Options.version == 16 ? Translate.port(tuple, backend.port) : GO_ON;
  }

  /** tail_nodeport_ipv4_dsr: to the backend, inside a packet to its address. */
  static send(backend: BackendEntry): i32 {
    const address = changetype<usize>(backend) + BackendEntry.ADDRESS;
    return Options.version >= 19 ? Tunnel.inIp(address) : addHeader(address);
  }

  /** do_netdev: GO_ON where the packet has no outer header, or has none any more. */
  static receive(): i32 {
    isNamed = false;
    if (Packet.protocol != (Packet.family == 4 ? Tunnel.IPIP : Tunnel.IPV6)) return GO_ON;
    const address = NAMED + BackendEntry.ADDRESS;
    Address.read(address, Packet.destination, Packet.family);
    const endpoint = Maps.endpoint(address);
    // For the node itself, or on its way through: the kernel may have a device that takes the header off.
    const unknown = Options.config.dsr_mode == <u8>DsrMode.IPIP_BY_XDP || endpoint === null || Packet.fragment;
    if (unknown) return Verdict.undecided(UndecidedReason.DSR);
    if (Options.version >= 20) return takeOff();
    // With extended IP protocols it comes into the pod, where the kernel may have such a device as well.
    return Deliver.toHost(endpoint!) || Options.extendedIpProtocols ? Verdict.undecided(UndecidedReason.DSR) : GO_ON;
  }

  /** The backend that an outer header named, once for each header that `receive` took off; it has no port. */
  static named(): BackendEntry | null {
    const named = isNamed;
    isNamed = false;
    return named ? changetype<BackendEntry>(NAMED) : null;
  }
}

/** CB_FORCED_BACKEND_V4. Only a header without options or extensions is taken off. */
function takeOff(): i32 {
  const header = Packet.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
  if (Packet.l4 != Ethernet.LENGTH + header) return Verdict.undecided(UndecidedReason.DSR);
  const short = Packet.need(Packet.l4, header, DropReason.DROP_INVALID);
  if (short < 0) return short;
  memory.copy(Packet.frame + header, Packet.frame, Ethernet.LENGTH);
  Packet.frame += header;
  Packet.captured -= header;
  Packet.wire -= header;
  isNamed = true;
  const wrong = Packet.parse();
  if (wrong < 0) return wrong;
  Packet.partial = isPartial();
  return GO_ON;
}

/** dsr_set_ipip4 and _ipip6 up to 1.18, and the way out: fib_redirect_v4 counts a hop, fib_redirect does not. */
function addHeader(backend: usize): i32 {
  const header = Packet.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
  if (roomFor(header) != 0 || Packet.wire + header > 65536) return Verdict.undecided(UndecidedReason.MTU);
  grow(header, header);
  const ip = Packet.ip;
  memory.fill(ip + header, 0, header);
  const node = changetype<usize>(Options.node);
  if (Packet.family == 4) {
    let sum = replace(ip, bswap(<u16>(bswap(load<u16>(ip, 2)) + <u16>header)), 2, 0);
    sum = replace(ip, <u16>TTL | (<u16>Tunnel.IPIP << 8), 8, sum);
    sum = replace4(ip, load<u32>(node + NodeEntry.IPV4), Ipv4.SOURCE, sum);
    sum = replace4(ip, load<u32>(backend), Ipv4.DESTINATION, sum);
    Checksum.replaceByDiff(ip + Ipv4.CHECKSUM, sum);
  } else {
    store<u16>(ip, bswap(<u16>(bswap(load<u16>(ip, 4)) + <u16>header)), 4);
    store<u8>(ip, Tunnel.IPV6, 6);
    store<u8>(ip, TTL, 7);
    Address.copy(ip + Ipv6.SOURCE, node + NodeEntry.IPV6);
    Address.copy(ip + Ipv6.DESTINATION, backend);
  }
  const wrong = Packet.parse();
  return wrong < 0 ? wrong : Deliver.byRoute(Packet.family == 4);
}

/** Writes two bytes of a header, and adds what they change to `sum`. */
function replace(ip: usize, fresh: u16, at: i32, sum: u32): u32 {
  const field = ip + <usize>at;
  const changed = Checksum.diff(load<u16>(field), fresh, sum);
  store<u16>(field, fresh);
  return changed;
}

function replace4(ip: usize, fresh: u32, at: i32, sum: u32): u32 {
  const field = ip + <usize>at;
  const changed = Checksum.diff(load<u32>(field), fresh, sum);
  store<u32>(field, fresh);
  return changed;
}
