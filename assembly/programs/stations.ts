/**
 * Where a frame on its way can be, and what happens there: a device's ingress with its program, the node's stack, a
 * device's egress with its program, a tunnel, the link to the next node. Each station says which comes next.
 *
 * A kernel's checks of the IP header hold in the stack and in the pod that receives. A frame larger than a
 * device's MTU is undecided at that device, whoever sends it there: fragments and "too big" are not made.
 */
import {
  AllNodes, ConfigOption, DeviceFlag, DeviceKind, EmissionKind, FrameEnd, FrameRecord, Identity, KernelReason,
  LinkPacketType, Program, StackExit, UndecidedReason,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Address } from "./address";
import { answer, At, fail, finish, intoEndpoint, leftCluster, outToEndpoint } from "./ends";
import { Entry } from "./entry";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Masquerade } from "./masquerade";
import { Options } from "./options";
import { Outcome } from "./outcome";
import { Packet, TCP } from "./packet";
import { Passage } from "./passage";
import { Onward, Stack } from "./stack";
import { Tunnel } from "./tunnel";
import { GO_ON, Verdict } from "./verdict";
import { Vlan } from "./vlan";
import { Waiting } from "./waiting";

const ADDRESS: usize = memory.data(16, 16);

export class Stations {
  /**
   * A process of the node sends: connect() may have translated the destination, then the node's routes decide.
   */
  static fromProcess(record: FrameRecord): i32 {
    if (!Options.managed) return fail(Verdict.undecided(UndecidedReason.NO_NODE_FACTS), Program.STACK);
    if (record.ether_type != Ethernet.IPV4 && record.ether_type != Ethernet.IPV6) {
      return fail(Verdict.undecided(UndecidedReason.LINK_LAYER), Program.STACK);
    }
    const short = Packet.parse();
    if (short < 0) return fail(short, Program.STACK);
    // Cilium's rules in the OUTPUT chain mark what the node itself sends.
    if (!Options.unmarked) Mark.setMagic(Mark.HOST);
    Packet.sourceIdentity = Identity.HOST;
    // TCP leaves the size of its segments to the device.
    Passage.merged = Packet.protocol == TCP && !Packet.fragment;
    if (Options.has(ConfigOption.ENABLE_SOCKET_LB)) {
      const program = Packet.family == 4 ? Program.SOCK4_CONNECT : Program.SOCK6_CONNECT;
      const verdict = Entry.enter(program);
      if (Verdict.isUndecided(verdict)) return fail(verdict, program);
      // connect() fails with EHOSTUNREACH: the application has its answer, nothing is sent.
      if (verdict < 0) return finish(FrameEnd.Rejected, -verdict, program);
    }
    return Stations.stack(false);
  }

  static device(): i32 {
    if (!Options.managed) return fail(Verdict.undecided(UndecidedReason.NO_NODE_FACTS), Program.STACK);
    const device = Maps.device(Packet.device);
    if (device === null) return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
    Passage.enter(device);
    if (device.flags & <u8>DeviceFlag.UNMANAGED) return upStack();
    // The program at the device below meets the frame with its tag.
    if (device.flags & <u8>DeviceFlag.VLAN_FILTERED) Packet.tagged = true;
    if (device.kind == <u8>DeviceKind.POD) {
      return onward(Program.FROM_CONTAINER, Entry.enter(Program.FROM_CONTAINER));
    }
    if (device.kind == <u8>DeviceKind.UPLINK) {
      return onward(Program.FROM_NETDEV, Entry.enter(Program.FROM_NETDEV));
    }
    if (device.kind == <u8>DeviceKind.TUNNEL) return outOfUnseenTunnel();
    return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
  }

  /** `received`: from a device, not from a process of the node. */
  static stack(received: bool): i32 {
    if (Options.hostStack) {
      Waiting.begin(received);
      return finish(FrameEnd.AtStack, 0, Program.STACK);
    }
    // The programs may not have parsed what they passed on untouched.
    const unread = Packet.parse();
    const refused = received ? Stack.receive() : GO_ON;
    if (refused < 0) return fail(refused, Program.STACK);
    // Routing needs no more than the header that was found good; what is behind it may be anything.
    if (unread < 0 && (!received || Verdict.isUndecided(unread))) return fail(unread, Program.STACK);
    const onwards = Stack.route(received, Passage.packetType);
    if (onwards < 0) return fail(onwards, Program.STACK);
    if (onwards == Onward.LOCAL) return local(received);
    if (onwards == Onward.UPLINK) {
      const open = Masquerade.byIptables();
      return open < 0 ? fail(open, Program.STACK) : At.EGRESS;
    }
    return onwards == Onward.ENDPOINT ? outToEndpoint() : throughHost();
  }

  /** Out of a node's kernel that the host walked; `Packet.redirect` is the device that it was sent to. */
  static resume(exit: StackExit): i32 {
    const short = Packet.parse();
    if (short < 0) return fail(short, Program.STACK);
    if (exit == StackExit.LOCAL) return local(true);
    if (exit == StackExit.ENDPOINT) return outToEndpoint();
    if (exit == StackExit.CILIUM_HOST) {
      const onwards = Stack.leaveByHost();
      return onwards < 0 ? fail(onwards, Program.STACK) : throughHost();
    }
    const onwards = Stack.leaveByUplink();
    if (onwards < 0) return fail(onwards, Program.STACK);
    return onwards == Onward.UPLINK ? At.EGRESS : throughHost();
  }

  /** Out of an uplink, and into the next node where there is one. */
  static egress(): i32 {
    const ifindex = Packet.redirect;
    Packet.device = ifindex;
    const device = Maps.device(ifindex);
    if (device === null) return fail(Verdict.undecided(UndecidedReason.NO_DEVICE), Program.NONE);
    if (!(device.flags & <u8>DeviceFlag.UNMANAGED)) {
      const verdict = Entry.enter(Program.TO_NETDEV);
      if (verdict < 0) return fail(verdict, Program.TO_NETDEV);
      if (verdict == Verdict.REDIRECT) return At.EGRESS;
      if (verdict == Verdict.TUNNEL) return At.TUNNEL;
      if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, Program.TO_NETDEV);
    }
    if (Packet.tagged) return fail(Verdict.undecided(UndecidedReason.VLAN_ONWARD), Program.TO_NETDEV);
    if (!Passage.fits(device)) return fail(Verdict.undecided(UndecidedReason.MTU), Program.TO_NETDEV);
    Outcome.emit(EmissionKind.Out, ifindex);
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const route = Maps.route(ADDRESS);
    if (route === null || route.ifindex != ifindex) {
      return fail(Verdict.undecided(UndecidedReason.NO_ROUTE), Program.FABRIC);
    }
    if (route.next_node == <u16>AllNodes.ALL) return leftCluster();
    Packet.device = route.next_ifindex;
    Packet.mark = 0;
    Packet.sourceIdentity = 0;
    Packet.fromTunnel = false;
    Passage.packetType = <u8>LinkPacketType.Host;
    Passage.toNode(route.next_node);
    Outcome.emit(EmissionKind.In, Packet.device);
    return At.DEVICE;
  }

  /** Into the tunnel device: its egress program, the kernel's outer headers, and the outer packet's own route. */
  static tunnel(): i32 {
    const program = Entry.enter(Program.TO_OVERLAY);
    if (program < 0) return fail(program, Program.TO_OVERLAY);
    const ifindex = Options.node.tunnel_ifindex;
    if (ifindex != 0) Outcome.emit(EmissionKind.Out, ifindex);
    const mark = Packet.mark;
    const closed = Tunnel.encapsulate();
    if (closed < 0) return fail(closed, Program.TO_OVERLAY);
    Packet.mark = mark;
    return outer();
  }
}

/** After an ingress program. */
function onward(program: Program, verdict: i32): i32 {
  if (verdict < 0) return fail(verdict, program);
  if (verdict == Verdict.PASS) return upStack();
  if (verdict == Verdict.REDIRECT) return At.EGRESS;
  // The tag stays on: only VLAN devices of whoever receives it would take it.
  if (Packet.tagged) return fail(Verdict.undecided(UndecidedReason.VLAN_ONWARD), program);
  if (verdict == Verdict.ENDPOINT) return intoEndpoint();
  if (verdict == Verdict.TUNNEL) return At.TUNNEL;
  if (verdict == Verdict.HOST) return intoHost();
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, program);
  return verdict == Verdict.IPIP ? inIp() : answer(program);
}

/** Into cilium_ipip4 or cilium_ipip6, which have no program: the kernel's outer header, and the outer packet's own route. */
function inIp(): i32 {
  const closed = Tunnel.encapsulateInIp();
  return closed < 0 ? fail(closed, Program.STACK) : outer();
}

/** A tunnel's packet, made by the node's kernel, goes out by the node's routes. */
function outer(): i32 {
  Passage.tunnelled = true;
  const onwards = Stack.route(false, Passage.packetType);
  if (onwards < 0) return fail(onwards, Program.STACK);
  return onwards == Onward.UPLINK ? At.EGRESS
    : fail(Verdict.undecided(UndecidedReason.ROUTE_DEVICE), Program.STACK);
}

/** Only what is addressed to this node on its link gets past the device (skb->pkt_type). */
function upStack(): i32 {
  if (Packet.tagged) {
    Vlan.receive();
    return At.END;
  }
  const type = Ethernet.type(Packet.frame);
  if (type != Ethernet.IPV4 && type != Ethernet.IPV6) {
    const stacked = type == Ethernet.VLAN || type == Ethernet.QINQ;
    return fail(Verdict.undecided(stacked ? UndecidedReason.VLAN_STACKED : UndecidedReason.LINK_LAYER), Program.STACK);
  }
  if (Passage.packetType == <u8>LinkPacketType.OtherHost) {
    return finish(FrameEnd.Dropped, KernelReason.OTHERHOST, Program.STACK);
  }
  return At.STACK;
}

/** Out through cilium_host, whose program takes it to an endpoint or into a tunnel. */
function throughHost(): i32 {
  const verdict = Entry.enter(Program.FROM_HOST);
  if (verdict < 0) return fail(verdict, Program.FROM_HOST);
  if (verdict == Verdict.ENDPOINT) return intoEndpoint();
  if (verdict == Verdict.TUNNEL) return At.TUNNEL;
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, Program.FROM_HOST);
  // An answer would come by here again, on its way to whom it answers.
  const why = verdict == Verdict.ANSWER ? UndecidedReason.TTL : UndecidedReason.LOOP;
  return fail(Verdict.undecided(why), Program.FROM_HOST);
}

/** Into cilium_host, as a packet for this node. */
function intoHost(): i32 {
  const verdict = Entry.enter(Program.TO_HOST);
  if (verdict < 0) return fail(verdict, Program.TO_HOST);
  if (verdict == Verdict.PROXY) return finish(FrameEnd.Redirected, 0, Program.TO_HOST);
  Passage.packetType = <u8>LinkPacketType.Host;
  return At.STACK;
}

/** For this node: a process of it has the packet, unless it is a tunnel's, whose inner packet then comes in. */
function local(received: bool): i32 {
  const opened = received ? Tunnel.decapsulate() : GO_ON;
  if (opened < 0) return fail(opened, Program.STACK);
  if (opened == GO_ON) {
    Outcome.emit(EmissionKind.Local, 0);
    return finish(FrameEnd.Delivered, 0, Program.STACK);
  }
  Passage.tunnelled = false;
  Packet.mark = 0;
  Packet.device = Options.node.tunnel_ifindex;
  if (Packet.device != 0) Outcome.emit(EmissionKind.In, Packet.device);
  Passage.readChecksum();
  return outOfTunnel();
}

/** The inner packet's Ethernet header is the other node's: the kernel would not take it for itself. */
function outOfTunnel(): i32 {
  Passage.packetType = <u8>LinkPacketType.OtherHost;
  return onward(Program.FROM_OVERLAY, Entry.enter(Program.FROM_OVERLAY));
}

/**
 * A frame that was captured on a tunnel device without the tunnel's packet around it. The identity that Cilium's tunnel
 * would have brought is that of the sender, where the sender is a pod or node behind the tunnel.
 */
function outOfUnseenTunnel(): i32 {
  const type = Ethernet.type(Packet.frame);
  const known = Options.has(ConfigOption.TUNNEL_MODE) && (type == Ethernet.IPV4 || type == Ethernet.IPV6)
    && Packet.parse() >= 0;
  if (known) {
    Address.read(ADDRESS, Packet.source, Packet.family);
    const info = Maps.ipcache(ADDRESS);
    if (info !== null && Identities.tunnelled(info) && info.sec_identity > <u32>Identity.WORLD) {
      Tunnel.vni = info.sec_identity;
      Tunnel.received = 0;
      return outOfTunnel();
    }
  }
  return fail(Verdict.undecided(UndecidedReason.TUNNEL_DEVICE), Program.FROM_OVERLAY);
}
