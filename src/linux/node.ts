/**
 * One node's kernel as packets meet it: devices, routing, netfilter's hooks, fragments, ICMP errors, VXLAN. Follows
 * ip_input.c, ip_forward.c, ip_output.c of net/ipv4 and their counterparts in net/ipv6; the rules themselves are
 * netfilter's (src/linux/netfilter), asked through NetfilterHooks.
 *
 * A call walks one packet to its end: handed to the node's own stack, sent on devices, dropped, held, answered. All
 * it caused goes to the sink before the call returns. Neighbours are taken as reachable, ICMP is not rate-limited,
 * redirects are not sent. The loopback device is crossed inside (OUTPUT, POSTROUTING, PREROUTING, INPUT), unseen by
 * the sink. Sockets are not modelled: their answers (RST, echo reply, port unreachable of a closed port) are output
 * of the caller's, and neither are path MTUs that the node learns.
 */
import type { NodeFacts } from "../cluster/cluster.js";
import { isVlanTag } from "../cluster/vlans.js";
import { End, PacketType, type Pin } from "../dataplane.js";
import { equalBytes, getU16, getU32 } from "./ip/bytes.js";
import { assumeUndamaged, isDamaged, Protocol, restoreIcmp } from "./ip/checksum.js";
import { Gathered, Reassembler } from "./ip/defrag.js";
import type { DeviceEntry } from "./ip/devices.js";
import { Fragmenter } from "./ip/fragment.js";
import { declaredLength, decreaseTtl, isLinkLocal, isOwnGroup, parseHeader, transportCaptured } from "./ip/header.js";
import { makeError, makeReset, mayAnswer, rejectError } from "./ip/icmp.js";
import { checkSource4, checkSource6, forwardable6 } from "./ip/martian.js";
import { endOf, type NodeSink, Outcome } from "./ip/outcome.js";
import { readOptions, recordRoute } from "./ip/options.js";
import { type Packet, PacketPool } from "./ip/packet.js";
import { Reason } from "./ip/reasons.js";
import type { RouteEntry } from "./ip/routes.js";
import { Routing } from "./ip/routing.js";
import { type TunnelResolver, Tunnels } from "./ip/tunnels.js";
import { Tags } from "./ip/vlan.js";
import { encapsulate, innerFrame, udpDestination, vniOf } from "./ip/vxlan.js";
import { Csum, Hook, type NetfilterHooks, type NodeServices, type Skb, Verdict } from "./skb.js";

export type { NodeSink, TunnelResolver };

export interface LinuxNodeOptions {
  readonly name: string;
  readonly facts: NodeFacts;
  /** Makes the node's netfilter, given what it may ask of the node. */
  readonly netfilter: (services: NodeServices) => NetfilterHooks;
  readonly tunnels?: TunnelResolver;
}

/** Users of a fragment queue: enum ip_defrag_users. */
const CONNTRACK_IN = 0;
const CONNTRACK_OUT = 1;
/** Answers to answers, tunnels in tunnels: deeper is a loop. */
const MAX_DEPTH = 8;

export class LinuxNode {
  readonly name: string;
  readonly facts: NodeFacts;
  readonly netfilter: NetfilterHooks;
  readonly services: NodeServices;
  /** Source MAC (`-m mac`; null: not known) and skb->mark of the packets that receive() and output() are given from now on. */
  frameSource: Uint8Array | null = null; frameMark = 0;
  private readonly routing: Routing;
  private readonly tunnels: Tunnels; private readonly tags: Tags;
  private readonly pool = new PacketPool(); private readonly fragmenters: Fragmenter[] = [];
  private readonly fragments4 = new Reassembler(4); private readonly fragments6 = new Reassembler(6);
  private readonly destinations = Array.from({ length: MAX_DEPTH + 1 }, () => new Uint8Array(16));
  private depth = 0;
  private readonly outcome = new Outcome();

  constructor(options: LinuxNodeOptions) {
    this.name = options.name;
    this.facts = options.facts;
    const routing = this.routing = new Routing(options.facts);
    this.tunnels = new Tunnels(options.facts, options.tunnels ?? (() => null)); this.tags = new Tags(routing.devices);
    this.services = {
      addressType: (bytes, offset, family, device) => routing.addressType(bytes, offset, family, device),
      deviceName: (index) => routing.devices.get(index)?.name ?? "", wayBack: (skb) => routing.wayBack(skb),
      masqueradeAddress: (device, skb) => routing.masqueradeAddress(device, skb), pathMtu: (skb) => routing.pathMtu(skb),
      reject: (skb, kind, hook) => this.reject(skb, kind, hook),
      sysctls: options.facts.sysctls,
    };
    this.netfilter = options.netfilter(this.services);
  }

  /** A frame enters from a device, which had taken a VLAN tag off it (0: none). Bytes begin behind that; `wireLength` is theirs. */
  receive(bytes: Uint8Array, offset: number, length: number, wireLength: number, etherType: number,
    packetType: number, device: number, timeNs: number, pin: Pin | null, sink: NodeSink, vlanProtocol = 0, vlanTci = 0): void {
    const packet = this.begin(bytes, offset, length, timeNs, pin, sink);
    this.enter(packet, wireLength, etherType, packetType, device, vlanProtocol, vlanTci);
    this.finish(packet, sink);
  }

  /** A process of the node sends a packet, before OUTPUT. The family is the packet's own. */
  output(bytes: Uint8Array, offset: number, length: number, timeNs: number, pin: Pin | null, sink: NodeSink): void {
    const packet = this.begin(bytes, offset, length, timeNs, pin, sink);
    packet.family = length > 0 && bytes[offset] >> 4 === 6 ? 6 : 4;
    packet.local = true;
    const problem = parseHeader(packet, declaredLength(packet));
    if (problem !== "") this.end(packet, endOf(problem), problem);
    else this.localOut(packet);
    this.finish(packet, sink);
  }

  private begin(bytes: Uint8Array, offset: number, length: number, timeNs: number, pin: Pin | null, sink: NodeSink): Packet {
    this.outcome.begin(sink);
    const packet = this.pool.take();
    packet.load(bytes, offset, length);
    packet.timeNs = timeNs;
    packet.pin = pin;
    packet.primary = true;
    packet.mark = this.frameMark;
    return packet;
  }

  private finish(packet: Packet, sink: NodeSink): void {
    sink.pinFlags |= packet.pinFlags;
    this.pool.give(packet);
    this.outcome.finish();
  }

  private end(packet: Packet, end: End, reason: string): void {
    this.outcome.end(packet, end, reason);
  }

  // ---- in ----------------------------------------------------------------------------------------------------

  private enter(packet: Packet, wireLength: number, etherType: number, packetType: number, index: number, tag = 0, tci = 0): void {
    const { tags } = this;
    if (tag !== 0 || isVlanTag(etherType)) {
      const stays = tags.takeOff(packet, wireLength, etherType, packetType, index, tag, tci);
      if (stays !== "") return this.end(packet, endOf(stays), stays);
      if (tags.device !== index) this.outcome.sink?.enter(tags.device, packet.bytes, 0, packet.captured);
      return this.enter(packet, tags.wireLength, tags.etherType, packetType, tags.device);
    }
    if (etherType !== 0x0800 && etherType !== 0x86dd) return this.end(packet, End.Dropped, Reason.NotIp);
    if (packetType === PacketType.OtherHost) return this.end(packet, End.Dropped, Reason.OtherHost);
    if (packetType > PacketType.OtherHost) return this.end(packet, End.Dropped, Reason.Outgoing);
    const device = this.routing.devices.get(index);
    if (device === undefined) return this.end(packet, End.Undecided, Reason.UnknownDevice);
    if (!device.up) return this.end(packet, End.Dropped, Reason.DeviceDown);
    packet.family = etherType === 0x0800 ? 4 : 6;
    packet.packetType = packetType;
    packet.inDevice = index;
    if (this.depth === 0) packet.sourceMac = this.frameSource;
    const problem = parseHeader(packet, wireLength);
    if (problem !== "") return this.end(packet, endOf(problem), problem);
    if (packet.family === 6) {
      const martian = checkSource6(packet);
      if (martian !== "") return this.end(packet, End.Dropped, martian);
    }
    packet.gso = packet.length > device.mtu && !packet.moreFragments && packet.fragmentOffset === 0
      && (packet.protocol === Protocol.Tcp || packet.protocol === Protocol.Udp);
    if (!this.reassemble(packet, CONNTRACK_IN)) return;
    if (!transportCaptured(packet)) return this.end(packet, End.Undecided, Reason.Truncated);
    if (packet.truncated) assumeUndamaged(packet);
    if (!this.hook(Hook.Prerouting, packet)) return;
    if (packet.family === 4) this.routeInput4(packet, device);
    else this.routeInput6(packet, device);
  }

  /** ip_route_input_slow and ip_rcv_options. */
  private routeInput4(packet: Packet, device: DeviceEntry): void {
    const { bytes } = packet;
    // Multicast: only a member's own stack would get a copy, and nothing is forwarded.
    if (bytes[16] >= 224 && bytes[16] < 240) return this.end(packet, End.Dropped, Reason.Multicast);
    const source = checkSource4(packet, device, this.routing.table(4));
    if (source !== "") return this.end(packet, End.Dropped, source);
    const route = this.routing.table(4).lookup(bytes, 16);
    packet.route = route;
    if (getU32(bytes, 16) === 0xffffffff || route?.type === "broadcast") return this.localInput(packet);
    if (bytes[0] > 0x45) {
      const problem = readOptions(packet, device.acceptSourceRoute);
      if (problem !== "") return this.end(packet, endOf(problem), problem);
    }
    if (route?.local === true) return this.localInput(packet);
    if (!device.forwarding4) return this.end(packet, End.Dropped, Reason.NotForwarding);
    if (route === null || route.type === "unreachable" || route.type === "prohibit" || route.type === "throw") {
      // ip_error: network unreachable where there is no route at all.
      const code = route?.type === "unreachable" ? 1 : route?.type === "prohibit" ? 13 : 0;
      return this.answer(packet, 3, code, 0, route === null ? Reason.NoRoute : Reason.Unreachable);
    }
    if (route.type !== "unicast") return this.end(packet, End.Dropped, Reason.Blackhole);
    this.forward4(packet, route);
  }

  /** ip_forward. */
  private forward4(packet: Packet, route: RouteEntry): void {
    if (packet.packetType !== PacketType.Host) return this.end(packet, End.Dropped, Reason.L2Multicast);
    const { bytes } = packet;
    if (bytes[8] <= 1) return this.answer(packet, 11, 0, 0, Reason.Ttl);
    const mtu = this.routing.mtu(route);
    packet.outDevice = route.device;
    if (packet.length > mtu && (bytes[6] & 0x40) !== 0) {
      const tooBig = packet.fragMaxSize > mtu || !(packet.ignoreDf || packet.gso);
      if (tooBig) return this.answer(packet, 3, 4, mtu, Reason.TooBig);
    }
    decreaseTtl(packet);
    if (!this.hook(Hook.Forward, packet)) return;
    if (packet.recordRoute > 0) {
      const address = this.routing.source(route, 4, bytes, 16);
      if (address !== null) recordRoute(packet, address.bytes);
    }
    this.sendOut(packet);
  }

  private routeInput6(packet: Packet, device: DeviceEntry): void {
    const { bytes } = packet;
    if (bytes[24] === 0xff) {
      if (isOwnGroup(bytes, 24)) return this.localInput(packet);
      return this.end(packet, End.Dropped, Reason.Multicast);
    }
    const linkLocal = isLinkLocal(bytes, 24);
    const route = linkLocal ? this.routing.table(6).lookupLocal(bytes, 24) : this.routing.table(6).lookup(bytes, 24);
    packet.route = route;
    if (route !== null && (route.local || route.type === "anycast")) return this.localInput(packet);
    // The kernel sends it back out of the device it came from, by that device's fe80::/64.
    if (linkLocal) return this.end(packet, End.Undecided, Reason.LinkLocalRoute);
    if (route === null || route.type === "unreachable" || route.type === "prohibit" || route.type === "throw") {
      // ip6_pkt_discard / ip6_pkt_prohibit: "no route" also for unreachable routes.
      const code = route?.type === "prohibit" ? 1 : 0;
      return this.answer(packet, 1, code, 0, route === null ? Reason.NoRoute : Reason.Unreachable);
    }
    if (route.type !== "unicast") return this.end(packet, End.Dropped, Reason.Blackhole);
    this.forward6(packet, route, device);
  }

  /** ip6_forward. */
  private forward6(packet: Packet, route: RouteEntry, device: DeviceEntry): void {
    if (!device.forwarding6) return this.end(packet, End.Dropped, Reason.NotForwarding);
    if (packet.packetType !== PacketType.Host) return this.end(packet, End.Dropped, Reason.L2Multicast);
    const { bytes } = packet;
    if (bytes[7] <= 1) return this.answer(packet, 3, 0, 0, Reason.Ttl);
    const source = forwardable6(bytes);
    // A link-local source is answered with "beyond scope" (RFC 4443, 3.1).
    if (source === Reason.LinkLocal) return this.answer(packet, 1, 2, 0, source);
    if (source !== "") return this.end(packet, End.Dropped, source);
    // ip6_dst_mtu_maybe_forward: the device's; a route's own MTU is looked at when the packet leaves.
    const mtu = Math.max(1280, this.routing.devices.get(route.device)?.mtu ?? 1280);
    packet.outDevice = route.device;
    if (packet.length > mtu && (packet.fragMaxSize > mtu || !(packet.ignoreDf || packet.gso))) {
      return this.answer(packet, 2, 0, mtu, Reason.TooBig);
    }
    bytes[7]--;
    if (this.hook(Hook.Forward, packet)) this.sendOut(packet);
  }

  private localInput(packet: Packet): void {
    if (!this.hook(Hook.Input, packet)) return;
    if (packet.protocol === Protocol.Udp && packet.route?.local === true && this.isTunnelled(packet)) {
      return this.decapsulate(packet);
    }
    if (packet.segmentsLeft > 0) return this.end(packet, End.Undecided, Reason.RoutingHeader);
    this.outcome.local(packet);
    this.end(packet, End.Delivered, "");
  }

  // ---- out ---------------------------------------------------------------------------------------------------

  /** ip_local_out, and routing again where a hook changed what routing depends on. */
  private localOut(packet: Packet): void {
    if (!this.routeOut(packet)) return;
    if (!this.reassemble(packet, CONNTRACK_OUT)) return;
    if (!transportCaptured(packet)) return this.end(packet, End.Undecided, Reason.Truncated);
    const route = packet.route;
    if (route !== null) packet.gso = packet.length > this.routing.mtu(route) && packet.protocol === Protocol.Tcp;
    if (packet.truncated) assumeUndamaged(packet);
    const { mark } = packet;
    const at = packet.family === 4 ? 16 : 24;
    const size = packet.family === 4 ? 4 : 16;
    const before = this.destinations[this.depth];
    before.set(packet.bytes.subarray(at, at + size));
    if (!this.hook(Hook.Output, packet)) return;
    const moved = !equalBytes(before, 0, packet.bytes, at, size);
    if ((moved || packet.mark !== mark) && !this.routeOut(packet)) return;
    this.sendOut(packet);
  }

  private routeOut(packet: Packet): boolean {
    const { bytes } = packet;
    const route = this.routing.table(packet.family).lookup(bytes, packet.family === 4 ? 16 : 24);
    packet.route = route;
    if (packet.family === 6 && (bytes[24] === 0xff || isLinkLocal(bytes, 24))) {
      // The socket names the device; the packet does not.
      this.end(packet, End.Undecided, Reason.LinkLocalRoute);
      return false;
    }
    if (route === null || (route.type !== "unicast" && !route.local)) {
      const multicast = packet.family === 4 && (bytes[16] >= 224 || route?.type === "broadcast");
      this.end(packet, multicast ? End.Undecided : End.Dropped, multicast ? Reason.LinkLocalRoute : Reason.NoOutRoute);
      return false;
    }
    packet.outDevice = route.local ? this.routing.devices.loopback : route.device;
    return true;
  }

  /** ip_output, ip_finish_output: POSTROUTING, then the link's MTU. */
  private sendOut(packet: Packet): void {
    if (!this.hook(Hook.Postrouting, packet)) return;
    const route = packet.route;
    if (route === null) throw new Error("a packet leaves without a route");
    if (packet.outDevice === this.routing.devices.loopback) return this.loop(packet);
    const mtu = this.routing.mtu(route);
    const { length, fragMaxSize } = packet;
    if (packet.gso) {
      const inMtu = packet.inDevice === 0 ? mtu : this.routing.devices.get(packet.inDevice)?.mtu ?? 0;
      if (inMtu > mtu && length > mtu) return this.end(packet, End.Undecided, Reason.GsoTooBig);
      return this.transmit(packet, packet.bytes, packet.captured);
    }
    // IPv4 cuts again whatever was reassembled; IPv6 only what is larger than the largest fragment was.
    const cut = length > mtu || (fragMaxSize > 0 && (packet.family === 4 || length > fragMaxSize));
    if (cut) this.cut(packet, mtu);
    else this.transmit(packet, packet.bytes, packet.captured);
  }

  private cut(packet: Packet, mtu: number): void {
    if (packet.truncated) return this.end(packet, End.Undecided, Reason.TruncatedFragment);
    if (packet.family === 4) {
      const df = (packet.bytes[6] & 0x40) !== 0;
      if (df && (!packet.ignoreDf || packet.fragMaxSize > mtu)) return this.answer(packet, 3, 4, mtu, Reason.TooBig);
    } else if ((packet.length > mtu && !packet.ignoreDf && !packet.local) || packet.fragMaxSize > mtu) {
      return this.answer(packet, 2, 0, mtu, Reason.TooBig);
    }
    const fragmenter = (this.fragmenters[this.depth] ??= new Fragmenter());
    if (!fragmenter.start(packet, mtu)) return this.end(packet, End.Dropped, Reason.TooBig);
    while (fragmenter.next()) this.transmit(packet, fragmenter.bytes, fragmenter.length);
  }

  private transmit(packet: Packet, bytes: Uint8Array, length: number): void {
    if (packet.missingSum >= 0) restoreIcmp(packet, packet.missingSum);
    const device = this.routing.devices.get(packet.outDevice);
    const route = packet.route;
    if (device === undefined || route === null) return this.end(packet, End.Undecided, Reason.UnknownDevice);
    if (!device.up) return this.end(packet, End.Dropped, Reason.DeviceDown);
    this.outcome.transmit(packet, device.index, bytes, length, route.gateway);
    if (device.vxlan !== null) this.encapsulate(packet, bytes, length, device, route);
    else this.end(packet, device.behind, device.behind === End.Undecided ? Reason.TunnelKind : "");
  }

  /** loopback_xmit and ip_rcv of what comes back: the route and the conntrack entry stay with the packet. */
  private loop(packet: Packet): void {
    packet.inDevice = this.routing.devices.loopback;
    packet.outDevice = 0;
    packet.packetType = PacketType.Host;
    packet.local = false;
    if (this.hook(Hook.Prerouting, packet)) this.localInput(packet);
  }

  // ---- tunnels -----------------------------------------------------------------------------------------------

  /** vxlan_xmit: the outer packet is the node's own, without the inner's conntrack entry but with its mark. */
  private encapsulate(inner: Packet, bytes: Uint8Array, length: number, device: DeviceEntry, route: RouteEntry): void {
    const vxlan = device.vxlan;
    const tunnel = route.gateway === null ? null : this.tunnels.find(route.gateway, device);
    if (vxlan === null || tunnel === null) return this.end(inner, End.Undecided, Reason.NoTunnelRemote);
    const { remote } = tunnel;
    const underlay = this.routing.table(remote.family).lookup(remote.bytes, 0);
    const source = vxlan.local
      ?? (underlay === null ? null : this.routing.source(underlay, remote.family, remote.bytes, 0));
    if (source === null) return this.end(inner, End.Dropped, Reason.NoOutRoute);
    if (!this.descend(inner)) return;
    const outer = this.pool.take();
    const piece = this.pool.take();
    piece.load(bytes, 0, length);
    if (bytes === inner.bytes) piece.length = inner.length;
    piece.family = inner.family;
    piece.headerLength = inner.headerLength;
    piece.protocol = inner.protocol;
    encapsulate(outer, piece, vxlan.vni, vxlan.port, source.bytes, remote.bytes, device.mac, tunnel.mac);
    this.pool.give(piece);
    outer.timeNs = inner.timeNs;
    outer.mark = inner.mark;
    outer.primary = inner.primary;
    outer.made = 1;
    this.localOut(outer);
    this.ascend(outer);
  }

  private isTunnelled(packet: Packet): boolean {
    return this.routing.devices.hasVxlanPort(udpDestination(packet));
  }

  /** vxlan_rcv: the inner frame enters on the tunnel's device, conntrack forgotten, mark kept. */
  private decapsulate(outer: Packet): void {
    const frame = innerFrame(outer);
    if (frame < 0) {
      return this.end(outer, outer.truncated ? End.Undecided : End.Dropped,
        outer.truncated ? Reason.Truncated : Reason.VxlanHeader);
    }
    const device = this.routing.devices.vxlan(vniOf(outer), udpDestination(outer));
    if (device === undefined) return this.end(outer, End.Dropped, Reason.VxlanNoVni);
    if (!this.descend(outer)) return;
    const inner = this.pool.take();
    const at = frame + 14;
    inner.load(outer.bytes, at, outer.captured - at);
    inner.timeNs = outer.timeNs;
    inner.mark = outer.mark;
    inner.primary = outer.primary;
    inner.pin = outer.pin;
    const { bytes } = outer;
    const packetType = equalBytes(bytes, frame, device.mac, 0, 6) ? PacketType.Host : (bytes[frame] & 1) === 0 ? PacketType.OtherHost
      : bytes[frame] === 0xff ? PacketType.Broadcast : PacketType.Multicast;
    this.outcome.sink?.enter(device.index, inner.bytes, 0, inner.captured);
    this.enter(inner, outer.length - at, getU16(bytes, frame + 12), packetType, device.index);
    this.ascend(inner);
  }

  // ---- answers -----------------------------------------------------------------------------------------------

  /** Ends the packet with an ICMP error about it, where one may be sent. */
  private answer(packet: Packet, type: number, code: number, info: number, reason: string): void {
    if (packet.echoesOptions) return this.end(packet, End.Undecided, Reason.OptionEcho);
    const sent = this.sendError(packet, type, code, info);
    this.end(packet, sent ? End.Answered : End.Dropped, reason);
  }

  private sendError(packet: Packet, type: number, code: number, info: number): boolean {
    if (!mayAnswer(packet, type) || packet.route?.type === "broadcast") return false;
    const table = this.routing.table(packet.family);
    const [from, to, size] = packet.family === 4 ? [12, 16, 4] : [8, 24, 16];
    const back = table.lookup(packet.bytes, from);
    // The address that was spoken to, where it is the node's own; else the one that leads back.
    const own = table.lookupLocal(packet.bytes, to);
    const source = own?.local === true ? packet.bytes.subarray(to, to + size)
      : back === null ? null : this.routing.answerSource(back, packet)?.bytes ?? null;
    if (back === null || (back.type !== "unicast" && !back.local) || source === null) return false;
    if (!this.descend(packet)) return false;
    const made = this.pool.take();
    makeError(made, packet, type, code, info, source, this.routing.mtu(back));
    this.sendMade(made, packet);
    return true;
  }

  /** Answer of a REJECT, called from within a hook. The TCP reset goes from the address spoken to. */
  private reject(skb: Skb, kind: string, _hook: Hook): void {
    const packet = skb as Packet;
    // What is damaged is not answered.
    if (isDamaged(packet)) return;
    if (kind === "tcp-reset") {
      if (!this.descend(packet)) return;
      const made = this.pool.take();
      packet.answered = packet.route?.type !== "broadcast" && makeReset(made, packet);
      if (packet.answered) this.sendMade(made, packet);
      else this.ascend(made);
      return;
    }
    const error = rejectError(kind);
    if (error === null || error[0] !== packet.family) {
      this.end(packet, End.Undecided, `undecided: REJECT --reject-with ${kind}`);
      return;
    }
    if (packet.echoesOptions) this.end(packet, End.Undecided, Reason.OptionEcho);
    else packet.answered = this.sendError(packet, error[1], error[2], 0);
  }

  /** The conntrack entry is attached before OUTPUT (nf_ct_attach), so NAT sees the answer as related. */
  private sendMade(made: Packet, original: Packet): void {
    made.timeNs = original.timeNs;
    made.made = 1;
    made.csum = Csum.Right;
    this.netfilter.attach(made, original);
    this.localOut(made);
    this.ascend(made);
  }

  private descend(packet: Packet): boolean {
    if (this.depth < MAX_DEPTH) {
      this.depth++;
      return true;
    }
    this.end(packet, End.Undecided, Reason.TooDeep);
    return false;
  }

  private ascend(done: Packet): void {
    this.depth--;
    if (this.outcome.sink !== null && done.primary) this.outcome.sink.pinFlags |= done.pinFlags;
    this.pool.give(done);
  }

  // ---- netfilter and addresses -------------------------------------------------------------------------------

  /** False where the packet ended. */
  private hook(hook: Hook, packet: Packet): boolean {
    const verdict = this.netfilter.hook(hook, packet);
    if (verdict === Verdict.Accept) return true;
    const { reason } = this.netfilter;
    if (verdict === Verdict.Undecided) this.end(packet, End.Undecided, reason);
    else if (verdict === Verdict.Stolen) this.end(packet, End.Held, reason);
    else this.end(packet, packet.answered ? End.Rejected : End.Dropped, reason);
    return false;
  }

  /** False where the fragment waits or is dropped. */
  private reassemble(packet: Packet, user: number): boolean {
    if (packet.family === 4 ? packet.fragmentOffset === 0 && !packet.moreFragments : packet.fragmentHeader === 0) {
      return true;
    }
    const fragments = packet.family === 4 ? this.fragments4 : this.fragments6;
    const gathered = fragments.gather(packet, user);
    if (gathered === Gathered.Complete) return true;
    this.end(packet, gathered === Gathered.Held ? End.Held : endOf(fragments.reason), fragments.reason);
    return false;
  }
}
