/**
 * North-south service traffic at a device of the node (bpf/lib/nodeport.h): requests from outside to a
 * frontend, and replies on their way back.
 *
 *     request   wildcard 158 -> source range 177 -> ClusterIP 174 -> backend -> host port 134
 *               -> DNAT -> conntrack
 *               -> endpoint of this node | SNAT to the node and out again
 *     reply     source NAT undone -> service address restored -> out again
 */
import {
  Config, ConfigOption, CtBit, CtDirection, CtEntry, CtStatus, CtTuple, DropReason, DsrMode, Identity, IpcacheEntry, NodeEntry,
  Program, RevNatEntry, ServiceEntry, ServiceFlag, ServiceFlag2, TupleFlag, UndecidedReason,
} from "../abi.gen";
import { Address } from "./address";
import { Conntrack, ENTRY_DSR, ENTRY_NODEPORT, FORWARD, REVERSE } from "./conntrack";
import { Deliver } from "./deliver";
import { Dsr } from "./dsr";
import { DsrIpip } from "./dsr_ipip";
import { EgressGateway } from "./egress_gateway";
import { Fragments } from "./fragments";
import { Frontend } from "./frontend";
import { HostPolicy } from "./host_policy";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { ICMP, ICMPV6, Packet } from "./packet";
import { Service } from "./service";
import { ServiceMaps } from "./service_maps";
import { PUNT, Snat } from "./snat";
import { Steps } from "./steps";
import { Translate } from "./translate";
import { Tunnel } from "./tunnel";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ADDRESS: usize = memory.data(16, 16);
const FRONTEND: usize = memory.data(16, 16);

export class Nodeport {
  /** nodeport_lb4: GO_ON where the packet goes on into the node, translated or not. */
  static ingress(): i32 {
    const tuple = changetype<CtTuple>(TUPLE);
    Tuple.fromPacket(tuple);
    const serves = Service.serves(Packet.protocol);
    if (!serves && Packet.protocol != (Packet.family == 4 ? ICMP : ICMPV6)) return GO_ON;
    if (serves) {
      const short = Fragments.ports(tuple);
      if (short < 0) return short;
      const found = Frontend.lookup(tuple, false);
      if (found !== null) return request(found, tuple);
      if (Options.dsr) {
        const balanced = Dsr.receive(tuple);
        if (balanced != GO_ON) return balanced == Verdict.PASS ? GO_ON : balanced;
      }
    }
    return serves || Options.masquerade ? reply(tuple) : GO_ON;
  }

  /**
   * The reply of a backend on this node to a client outside, seen as it leaves the pod. It must be
   * translated.
   */
  static replyOfLocalBackend(): i32 {
    const verdict = restoreService(changetype<CtTuple>(TUPLE));
    return verdict == GO_ON ? -DropReason.DROP_NAT_NO_MAPPING : verdict;
  }

  /**
   * nodeport_rev_dnat_fwd_ipv4: the same at the device where it leaves, for replies that came through the
   * stack. GO_ON where nothing was to be done, PASS where the service's address was put back.
   */
  static restoreOutgoing(): i32 {
    return restore(true);
  }

  /** The same on its way into a tunnel, which is no matter of routes. */
  static restoreIntoTunnel(): i32 {
    return restore(false);
  }
}

function restore(byRoute: bool): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  if (!Service.serves(Packet.protocol)) return GO_ON;
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  const entry = Conntrack.peek(tuple, <u8>TupleFlag.OUT);
  if (entry === null) return GO_ON;
  const port = frontendOf(entry, tuple);
  if (port == 0) return GO_ON;
  if (byRoute) {
    const route = Deliver.byRoute(false);
    if (route == Verdict.REDIRECT && Packet.redirect != Packet.device) return route;
    if (route < 0) return route;
  }
  const status = Conntrack.lookup(tuple, CtDirection.INGRESS, REVERSE, ENTRY_NODEPORT | ENTRY_DSR, 0);
  if (status != CtStatus.REPLY) return status < 0 ? status : GO_ON;
  if (Overdue.doubtful) return Overdue.undecided();
  const wrong = Translate.reverse(tuple, FRONTEND, port, false);
  return wrong < 0 ? wrong : Verdict.PASS;
}

/** nodeport_rev_dnat_get_info_ipv4: the address a reply of this connection comes from into FRONTEND, and its port; 0: none. */
function frontendOf(entry: CtEntry, tuple: CtTuple): u16 {
  if (!(entry.bits & <u16>CtBit.NODE_PORT)) {
    if (!Options.dsr || !(entry.bits & <u16>CtBit.DSR_INTERNAL)) return 0;
    return Dsr.restored(tuple, changetype<usize>(entry), entry.nat_port, FRONTEND);
  }
  if (entry.rev_nat_index == 0) return 0;
  const frontend = ServiceMaps.revNat(entry.rev_nat_index);
  if (frontend === null) return 0;
  Address.copy(FRONTEND, changetype<usize>(frontend) + RevNatEntry.ADDRESS);
  return frontend.port;
}

/** nodeport_svc_lb4. */
function request(found: ServiceEntry, tuple: CtTuple): i32 {
  // What is refused is refused because of this service.
  Service.revNat = found.rev_nat_index;
  if (Frontend.wildcard) return -DropReason.DROP_NO_SERVICE;
  if (!Frontend.sourceAllowed(found, Tuple.saddr(tuple))) return -DropReason.DROP_NOT_IN_SRC_RANGE;
  // A redirected frontend can be reached from outside, whatever it was before.
  if (found.flags2 & <u8>ServiceFlag2.LOCALREDIRECT) return Verdict.undecided(UndecidedReason.LOCAL_REDIRECT);
  if (!(found.flags & <u8>ServiceFlag.ROUTABLE)) return -DropReason.DROP_IS_CLUSTER_IP;
  if (found.flags2 & <u8>ServiceFlag2.L7_LOADBALANCER) return Verdict.undecided(UndecidedReason.L7_PROXY);
  if (found.flags2 & <u8>ServiceFlag2.NAT_46X64) return Verdict.undecided(UndecidedReason.NAT46X64);
  const named = Dsr.byIpip ? DsrIpip.named() : null;
  const verdict = named === null ? Service.local(found, tuple, true) : Service.named(found, tuple, named);
  if (verdict == -DropReason.DROP_NO_SERVICE) return Service.unavailable(found);
  if (verdict < 0) return verdict;
  const local = Maps.endpoint(Service.backend) !== null;
  if (!local && (found.flags & <u8>ServiceFlag.HOSTPORT)) return -DropReason.DROP_INVALID;
  if (local && Frontend.delegates(found)) return Verdict.undecided(UndecidedReason.L7_PROXY);
  const uses = Dsr.uses(found, tuple.nexthdr);
  if (uses && Options.config.dsr_mode == <u8>DsrMode.IPIP_BY_XDP) return Verdict.undecided(UndecidedReason.DSR);
  const direct = !local && uses;
  // In an IP header of its own the request is not translated; up to 1.19 that holds for a local backend too.
  const whole = uses && Dsr.byIpip && (direct || Options.version < 20);
  Address.copy(FRONTEND, Tuple.daddr(tuple));
  const port = tuple.sport;
  const wrong = whole ? DsrIpip.leave(tuple, Service.chosen()) : Translate.dnat(tuple, Service.chosen(), loopback(tuple));
  if (wrong < 0) return wrong;
  // A reply of direct server return is never seen on this node again, so nothing is tracked here.
  if (direct) return whole ? DsrIpip.send(Service.chosen()) : Dsr.send(FRONTEND, port);
  const untracked = trackRequest(found, tuple);
  if (untracked < 0) return untracked;
  return local ? GO_ON : toRemoteBackend();
}

/** Up to 1.17 a client from outside that is its own backend gets the loopback address too, before SNAT takes that for its own. */
function loopback(tuple: CtTuple): usize {
  if (Options.version > 17 || Packet.family == 6 || !Address.equal(Tuple.saddr(tuple), Service.backend)) return 0;
  return changetype<usize>(Options.config) + Config.SERVICE_LOOPBACK_IPV4;
}

/** The entry by which replies are known as those of a NodePort request. */
function trackRequest(found: ServiceEntry, tuple: CtTuple): i32 {
  Tuple.reverse(tuple);
  const status = Conntrack.lookup(tuple, CtDirection.EGRESS, FORWARD, ENTRY_NODEPORT, found.rev_nat_index);
  if (status == CtStatus.ESTABLISHED) Conntrack.confirm(tuple);
  if (status < 0 || status == CtStatus.ESTABLISHED) return status < 0 ? status : GO_ON;
  Conntrack.blank();
  const draft = Conntrack.draft;
  draft.rev_nat_index = found.rev_nat_index;
  draft.src_sec_id = Identities.world;
  draft.bits = <u16>CtBit.NODE_PORT;
  return Conntrack.create(tuple, CtDirection.EGRESS, false);
}

/** tail_nodeport_nat_egress: source NAT to the node's own address, then out by the routes. */
function toRemoteBackend(): i32 {
  const info = behindTunnel();
  Snat.resetTarget();
  const own = ownAddress(info !== null);
  if (Address.isZero(own)) {
    return Verdict.undecided(info !== null ? UndecidedReason.ROUTER_ADDRESS : UndecidedReason.NO_NODE_FACTS);
  }
  Address.copy(Snat.address, own);
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  Tuple.swapPorts(tuple);
  tuple.flags = <u8>TupleFlag.OUT;
  const expired = Deliver.countHop();
  if (expired != GO_ON) return expired;
  const verdict = Snat.service(tuple);
  if (verdict < 0) return verdict;
  Mark.setMagic(Mark.SNAT_DONE);
  // The request came from outside, and the node of the backend must know that (VNI).
  return info !== null ? Tunnel.to(info, Packet.sourceIdentity) : Deliver.byRoute(false);
}

/** What the ipcache knows of a destination that is behind a tunnel; null: it is not. */
function behindTunnel(): IpcacheEntry | null {
  if (!Options.has(ConfigOption.TUNNEL_MODE)) return null;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  return info !== null && Identities.tunnelled(info) ? info : null;
}

/** Into a tunnel a request goes from cilium_host's address (IPV4_GATEWAY), else from the node's. */
function ownAddress(tunnelled: bool): usize {
  const node = changetype<usize>(Options.node);
  if (tunnelled) return node + (Packet.family == 4 ? NodeEntry.ROUTER4 : NodeEntry.ROUTER6);
  return node + (Packet.family == 4 ? NodeEntry.IPV4 : NodeEntry.IPV6);
}

/** tail_nodeport_nat_ingress: undo a source NAT, and then a service's translation. */
function reply(tuple: CtTuple): i32 {
  Snat.resetTarget();
  const verdict = Snat.ingress(tuple);
  if (verdict == PUNT || verdict == -DropReason.DROP_NAT_NO_MAPPING) return GO_ON;
  if (verdict < 0) return verdict;
  Mark.setMagic(Mark.SNAT_DONE);
  if (HostPolicy.on && Steps.program == <u8>Program.FROM_NETDEV) {
    const judged = HostPolicy.ingress(0);
    if (judged != GO_ON) return judged;
    HostPolicy.judged = true;
  }
  // Where every service's backends answer directly, no reply of a service comes through here.
  const restored = Dsr.always ? GO_ON : restoreService(tuple);
  return restored == GO_ON && Steps.program == <u8>Program.FROM_NETDEV ? EgressGateway.reply() : restored;
}

/**
 * nodeport_rev_dnat_ipv4: the reply comes from the service again and goes straight out; GO_ON if it is none.
 */
function restoreService(tuple: CtTuple): i32 {
  Tuple.fromPacket(tuple);
  if (!Service.serves(Packet.protocol)) return GO_ON;
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  const status = Conntrack.lookup(tuple, CtDirection.INGRESS, REVERSE, ENTRY_NODEPORT, 0);
  if (status != CtStatus.REPLY) return status < 0 ? status : GO_ON;
  if (Overdue.doubtful) return Overdue.undecided();
  const frontend = ServiceMaps.revNat(Conntrack.revNat);
  if (frontend !== null) {
    const address = changetype<usize>(frontend) + RevNatEntry.ADDRESS;
    const wrong = Translate.reverse(tuple, address, frontend.port, false);
    if (wrong < 0) return wrong;
  }
  Mark.setMagic(Mark.SNAT_DONE);
  const info = behindTunnel();
  const expired = Deliver.countHop();
  if (expired != GO_ON) return expired;
  if (info === null) return Deliver.byRoute(false);
  // Up to 1.17 with the label of the program's own: the pod's at a pod, else the host's.
  const atPod = Options.version < 18 && Steps.program == <u8>Program.FROM_CONTAINER;
  return Tunnel.to(info, atPod ? Packet.sourceIdentity : <u32>Identity.REMOTE_NODE);
}
