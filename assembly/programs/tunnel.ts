/**
 * Tunnels between nodes (bpf/lib/encap.h, bpf/lib/overloadable_skb.h, and the kernel's vxlan and geneve drivers). A
 * program names the node that is the tunnel's other end and the identity to send along as VNI; the kernel puts the
 * headers in front, and at the other end takes them off again.
 *
 *     outer Ethernet | outer IP | UDP, tunnel-port | VXLAN or Geneve | inner frame with its Ethernet header
 *
 * Outer header: TTL 64, inner ECN bits (RFC 6040), no checksum over IPv4 (BPF_F_ZERO_CSUM_TX), no "don't fragment". Its
 * source port is the kernel's hash of the inner flow, and its identification the kernel's own: neither is comparable.
 */
import {
  ConfigOption, Identity, IpcacheEntry, IpcacheFlag, NodeEntry, TunnelProtocol, UndecidedReason,
} from "../abi.gen";
import { Checksum } from "../wire/checksum";
import { Ethernet } from "../wire/ethernet";
import { Geneve } from "../wire/geneve";
import { Ipv4 } from "../wire/ipv4";
import { Ipv6 } from "../wire/ipv6";
import { Udp } from "../wire/udp";
import { Vxlan } from "../wire/vxlan";
import { Address } from "./address";
import { Options } from "./options";
import { Packet, UDP } from "./packet";
import { ROOM } from "./room";
import { GO_ON, Verdict } from "./verdict";

/** IPDEFTTL */
const TTL: u8 = 64;
/** The largest frame that is taken into a tunnel; a larger one is a capture's merged segments. */
const MOST: i32 = 1 << 16;
/** Headers of an IPv6 tunnel without options, and the longest option. */
const HEADERS: i32 = 14 + 40 + 8 + 8;
const MOST_OPTION: i32 = 24;
const OPTION: usize = memory.data(MOST_OPTION, 8);
const REMOTE: usize = memory.data(16, 16);
/** Of the Geneve option to send. */
let optionLength: i32 = 0;
/** Lowest port and number of ports of udp_flow_src_port. */
const FIRST_PORT: u32 = 32768;
const PORTS: u32 = 28232;
const FNV: u32 = 0x01000193;

export class Tunnel {
  /** IPPROTO_IPIP and IPPROTO_IPV6, of a packet inside an IP header. */
  static readonly IPIP: u8 = 4;
  static readonly IPV6: u8 = 41;
  /** Bytes that a tunnel puts in front at most. */
  static readonly OVERHEAD: u32 = HEADERS + MOST_OPTION;
  /** Bytes that the tunnel of this plane puts in front of a packet (TunnelOverheadIPv4, TunnelOverheadIPv6). */
  @inline
  static get overhead(): u32 {
    return Tunnel.family == 4 ? 50 : 70;
  }

  /** VNI: what the tunnel's packet carries, or carried, as identity. */
  static vni: u32 = 0;
  /** Family of the tunnel's other end. */
  static family: u8 = 4;
  /** Options of the Geneve header that was taken off last, and their bytes; 0: there were none. */
  static received: usize = 0;
  static receivedLength: i32 = 0;

  /** The tunnel's other end. */
  @inline
  static get remote(): usize {
    return REMOTE;
  }

  /** __encap_with_nodeid: what comes from the host is remote-node's to the other end. */
  static to(info: IpcacheEntry, identity: u32): i32 {
    Address.copy(REMOTE, changetype<usize>(info) + IpcacheEntry.TUNNEL_ENDPOINT);
    Tunnel.family = (info.flags & <u8>IpcacheFlag.IPV6_TUNNEL_EP) != 0 ? 6 : 4;
    Tunnel.vni = tunnelId(identity == <u32>Identity.HOST ? <u32>Identity.REMOTE_NODE : identity);
    optionLength = 0;
    return Verdict.TUNNEL;
  }

  /** The same to the IPv4 node at `node`. */
  static toNode(node: usize, identity: u32): i32 {
    Address.copy(REMOTE, node);
    Tunnel.family = 4;
    Tunnel.vni = tunnelId(identity == <u32>Identity.HOST ? <u32>Identity.REMOTE_NODE : identity);
    optionLength = 0;
    return Verdict.TUNNEL;
  }

  /** In an IP header alone, to 16 bytes at `address`, of the packet's own family (dsr_set_ipip4_dev). */
  static inIp(address: usize): i32 {
    Address.copy(REMOTE, address);
    Tunnel.family = Packet.family;
    Tunnel.vni = 0;
    optionLength = 0;
    return Verdict.IPIP;
  }

  /** Room for an option of `length` bytes, a multiple of four, in the Geneve header of the tunnel chosen last; zeros. */
  static option(length: i32): usize {
    optionLength = length;
    memory.fill(OPTION, 0, MOST_OPTION);
    return OPTION;
  }

  /** get_id_from_tunnel_id: the identity that came with the tunnel's packet; the inner packet says of which family. */
  static get identity(): u32 {
    if (Tunnel.vni != <u32>Identity.WORLD || !Options.has(ConfigOption.DUAL_STACK)) return Tunnel.vni;
    return Packet.family == 4 ? <u32>Identity.WORLD_IPV4 : <u32>Identity.WORLD_IPV6;
  }

  /** The packet under way becomes the tunnel's packet, from this node to `remote`. */
  static encapsulate(): i32 {
    const source = ownAddress();
    if (Address.isZero(source)) return Verdict.undecided(UndecidedReason.NO_NODE_FACTS);
    if (Packet.wire > MOST) return Verdict.undecided(UndecidedReason.MTU);
    const header = Tunnel.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
    const inner = Ethernet.LENGTH + header + Udp.LENGTH + Vxlan.LENGTH + optionLength;
    const ecn = outerEcn();
    const port = sourcePort();
    const length = Packet.wire + inner - Ethernet.LENGTH;
    putInFront(inner, 0);
    const udp = Packet.ip + header;
    store<u16>(udp, bswap(port));
    store<u16>(udp, Options.config.tunnel_port, 2);
    store<u16>(udp, bswap(<u16>(length - header)), 4);
    const geneve = Options.config.tunnel_protocol == <u8>TunnelProtocol.GENEVE;
    if (geneve) Geneve.write(udp + Udp.LENGTH, Tunnel.vni, OPTION, optionLength);
    else Vxlan.write(udp + Udp.LENGTH, Tunnel.vni);
    if (Tunnel.family == 4) outerHeader4(source, ecn, length, UDP);
    else {
      outerHeader6(source, ecn, length - header, UDP);
      sealUdp(udp, length - header);
    }
    return Packet.parse();
  }

  /**
   * cilium_ipip4 and cilium_ipip6 (ip_md_tunnel_xmit, ipxip6_tnl_xmit): the packet under way goes inside an IP header alone,
   * from this node to `remote`. Identification and flow label are the kernel's own.
   */
  static encapsulateInIp(): i32 {
    const source = ownAddress();
    if (Address.isZero(source)) return Verdict.undecided(UndecidedReason.NO_NODE_FACTS);
    if (Packet.wire > MOST) return Verdict.undecided(UndecidedReason.MTU);
    const ecn = outerEcn();
    const payload = Packet.wire - Ethernet.LENGTH;
    const header = Tunnel.family == 4 ? Ipv4.MIN_LENGTH : Ipv6.LENGTH;
    putInFront(header, Ethernet.LENGTH);
    if (Tunnel.family == 4) outerHeader4(source, ecn, payload + header, Tunnel.IPIP);
    else outerHeader6(source, ecn, payload, Tunnel.IPV6);
    return Packet.parse();
  }

  /**
   * GO_ON where the packet, which is addressed to this node, is no tunnel's; PASS where it was one and is now the packet
   * that was inside. A header that the kernel's driver refuses is undecided.
   */
  static decapsulate(): i32 {
    const protocol = Options.config.tunnel_protocol;
    if (protocol == <u8>TunnelProtocol.NONE || Packet.protocol != UDP || Packet.fragment) return GO_ON;
    const l4 = Packet.frame + Packet.l4;
    if (Packet.l4 + 4 > Packet.captured || load<u16>(l4, 2) != Options.config.tunnel_port) return GO_ON;
    const at = Packet.l4 + Udp.LENGTH;
    if (at + Vxlan.LENGTH > Packet.captured) return Verdict.undecided(UndecidedReason.TUNNEL);
    const header = Packet.frame + at;
    const geneve = protocol == <u8>TunnelProtocol.GENEVE;
    if (!(geneve ? Geneve.valid(header) : Vxlan.valid(header))) return Verdict.undecided(UndecidedReason.TUNNEL);
    const inner = at + (geneve ? Geneve.length(header) : Vxlan.LENGTH);
    if (inner + Ethernet.LENGTH > Packet.captured) return Verdict.undecided(UndecidedReason.TUNNEL);
    Tunnel.vni = geneve ? Geneve.vni(header) : Vxlan.vni(header);
    Tunnel.receivedLength = geneve ? Geneve.length(header) - Geneve.LENGTH : 0;
    Tunnel.received = Tunnel.receivedLength == 0 ? 0 : header + Geneve.LENGTH;
    Packet.frame += inner;
    Packet.captured -= inner;
    Packet.wire -= inner;
    return Verdict.PASS;
  }
}

function ownAddress(): usize {
  return changetype<usize>(Options.node) + (Tunnel.family == 4 ? NodeEntry.IPV4 : NodeEntry.IPV6);
}

/** Makes `more` bytes of room, zeros, in front of the packet without its first `skip` bytes, and an outer link header before them. */
function putInFront(more: i32, skip: i32): void {
  memory.copy(ROOM + skip + more, Packet.frame + skip, Packet.captured - skip);
  Packet.frame = ROOM;
  Packet.captured += more;
  Packet.wire += more;
  Packet.partial = false;
  memory.fill(ROOM, 0, skip + more);
  Ethernet.setType(ROOM, Tunnel.family == 4 ? Ethernet.IPV4 : Ethernet.IPV6);
}

/** get_tunnel_id: world of either family is world on the wire. */
function tunnelId(identity: u32): u32 {
  if (!Options.has(ConfigOption.DUAL_STACK)) return identity;
  const world = identity == <u32>Identity.WORLD_IPV4 || identity == <u32>Identity.WORLD_IPV6;
  return world ? <u32>Identity.WORLD : identity;
}

/** INET_ECN_encapsulate: the inner bits, and "congestion experienced" as ECT(0). */
function outerEcn(): u8 {
  const inner: u8 = Packet.family == 4 ? Ipv4.tos(Packet.ip) & 3 : (load<u8>(Packet.ip, 1) >> 4) & 3;
  return inner == 3 ? 2 : inner;
}

/** A hash of the inner flow in the kernel's range; host order. */
function sourcePort(): u16 {
  let hash: u32 = Packet.protocol;
  const addresses = Packet.family == 4 ? 8 : 32;
  for (let at = 0; at < addresses; at += 4) hash = (hash ^ load<u32>(Packet.source + <usize>at)) * FNV;
  const ported = Packet.hasL4 && Packet.l4 + 4 <= Packet.captured;
  if (ported) hash = (hash ^ load<u32>(Packet.frame + Packet.l4)) * FNV;
  return <u16>(FIRST_PORT + (hash ^ (hash >> 15)) % PORTS);
}

function outerHeader4(source: usize, ecn: u8, length: i32, protocol: u8): void {
  const ip = ROOM + Ethernet.LENGTH;
  store<u8>(ip, 0x45);
  store<u8>(ip, ecn, 1);
  store<u16>(ip, bswap(<u16>length), 2);
  store<u8>(ip, TTL, 8);
  store<u8>(ip, protocol, 9);
  store<u32>(ip, load<u32>(source), 12);
  store<u32>(ip, load<u32>(REMOTE), 16);
  Ipv4.seal(ip);
}

function outerHeader6(source: usize, ecn: u8, payload: i32, protocol: u8): void {
  const ip = ROOM + Ethernet.LENGTH;
  store<u8>(ip, 0x60);
  store<u8>(ip, ecn << 4, 1);
  store<u16>(ip, bswap(<u16>payload), 4);
  store<u8>(ip, protocol, 6);
  store<u8>(ip, TTL, 7);
  Address.copy(ip + Ipv6.SOURCE, source);
  Address.copy(ip + Ipv6.DESTINATION, REMOTE);
}

/** Over IPv6 the UDP checksum is there; a packet that the capture cut short has none that could be computed. */
function sealUdp(udp: usize, payload: i32): void {
  if (Packet.captured < Packet.wire) return;
  let sum = Checksum.partial(ROOM + Ethernet.LENGTH + Ipv6.SOURCE, 32, 0);
  sum = Checksum.add(sum, bswap(<u32>payload));
  sum = Checksum.add(sum, <u32>UDP << 24);
  const folded = Checksum.fold(Checksum.partial(udp, payload, sum));
  store<u16>(udp, folded == 0 ? 0xffff : folded, Udp.CHECKSUM);
}
