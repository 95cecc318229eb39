/**
 * Egress gateways (bpf/lib/egress_gateway.h, CiliumEgressGatewayPolicy): what a selected pod sends out of the cluster goes
 * through a tunnel to the gateway node and leaves there with the policy's address. Policies are by source address and
 * destination prefix. IPv6 from 1.18.
 *
 *     pod's node: to_netdev -> tunnel      gateway: from_overlay -> by the routes, to_netdev -> source NAT
 *     reply:      gateway, behind its source NAT -> tunnel -> pod's node
 */
import {
  ConfigOption, CtDirection, CtStatus, CtTuple, DropReason, EgressPolicyEntry, Identity, IpcacheEntry, TupleFlag, UndecidedReason,
} from "../abi.gen";
import { Address } from "./address";
import { Conntrack, FORWARD } from "./conntrack";
import { Deliver } from "./deliver";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet } from "./packet";
import { Policy } from "./policy";
import { Snat } from "./snat";
import { Tunnel } from "./tunnel";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const SOURCE: usize = memory.data(16, 16);
const DESTINATION: usize = memory.data(16, 16);
/** Gateways that are none, as loaded: nobody matches the policy, and a destination that is excluded from it. */
const NO_GATEWAY: u32 = 0;
const EXCLUDED: u32 = 0x01000000;
/** Ours: a policy whose gateway is not evaluated. */
const UNKNOWN: u32 = 0x02000000;
/** identity_is_cidr_range still ends where CIDR identities had 16 bits. */
const FIRST_CIDR: u32 = 0x01000001;
const LAST_CIDR: u32 = 0x0100ffff;

export class EgressGateway {
  @inline
  static get on(): bool {
    return Options.has(ConfigOption.ENABLE_EGRESS_GATEWAY) && (Packet.family == 4 || Options.version >= 18);
  }

  /** egress_gw_handle_request: GO_ON, into the tunnel to the gateway, or 194. `own`: the node itself sends. */
  static request(own: bool): i32 {
    if (!EgressGateway.on || own || Mark.magic == Mark.EGRESS_GATEWAY_DONE) return GO_ON;
    const tuple = changetype<CtTuple>(TUPLE);
    Tuple.fromPacket(tuple);
    const outbound = Options.version == 16 ? established(tuple) : opened(tuple);
    return outbound == Verdict.PASS ? throughGateway() : outbound;
  }

  /** 1.16 asks at the pod already: `status` is the connection's. */
  static fromPod(status: i32): i32 {
    if (!EgressGateway.on || Options.version != 16) return GO_ON;
    if (status != CtStatus.REPLY && status != CtStatus.RELATED) return throughGateway();
    return !Overdue.doubtful || throughGateway() == GO_ON ? GO_ON : Overdue.undecided();
  }

  /** egress_gw_snat_needed: GO_ON with the address in Snat, 204 where the gateway has none, PASS: no policy. */
  static translation(tuple: CtTuple, local: bool): i32 {
    if (!EgressGateway.on) return Verdict.PASS;
    Address.copy(DESTINATION, Tuple.daddr(tuple));
    const policy = matching(Tuple.saddr(tuple), DESTINATION);
    if (policy === null) return Verdict.PASS;
    if (gatewayOf(policy) == UNKNOWN) return Verdict.undecided(UndecidedReason.EGRESS_GATEWAY);
    const address = changetype<usize>(policy) + EgressPolicyEntry.EGRESS_IP;
    if (Address.isZero(address)) return -DropReason.DROP_NO_EGRESS_IP;
    Address.copy(Snat.address, address);
    // A local endpoint's connection is tracked already.
    if (!local) Snat.needsCt = true;
    return GO_ON;
  }

  /** At the gateway, out of the tunnel: GO_ON, or out of the cluster by the routes, marked with `identity`. */
  static arrival(identity: u32): i32 {
    if (!EgressGateway.on) return GO_ON;
    Address.read(SOURCE, Packet.source, Packet.family);
    Address.read(DESTINATION, Packet.destination, Packet.family);
    const policy = matching(SOURCE, DESTINATION);
    if (policy === null) return GO_ON;
    if (gatewayOf(policy) == UNKNOWN) return Verdict.undecided(UndecidedReason.EGRESS_GATEWAY);
    if (Address.isZero(changetype<usize>(policy) + EgressPolicyEntry.EGRESS_IP)) return -DropReason.DROP_NO_EGRESS_IP;
    const expired = Deliver.countHop();
    if (expired != GO_ON) return expired;
    Mark.setIdentity(identity);
    Mark.setMagic(Mark.EGRESS_GATEWAY_DONE);
    const route = Deliver.byRoute(false);
    return route == Verdict.PASS ? Verdict.undecided(UndecidedReason.ROUTE_DEVICE) : route;
  }

  /** At the gateway, a reply behind its source NAT: into the tunnel to the pod's node, as world's. GO_ON: it is none. */
  static reply(): i32 {
    if (!EgressGateway.on) return GO_ON;
    Address.read(SOURCE, Packet.destination, Packet.family);
    Address.read(DESTINATION, Packet.source, Packet.family);
    const policy = Maps.egressPolicy(SOURCE, DESTINATION);
    if (policy === null || !leads(policy)) return GO_ON;
    if (gatewayOf(policy) == UNKNOWN) {
      return Maps.endpoint(SOURCE) !== null ? GO_ON : Verdict.undecided(UndecidedReason.EGRESS_GATEWAY);
    }
    const info = Maps.ipcache(SOURCE);
    if (info === null || !Identities.tunnelled(info)) return GO_ON;
    const expired = Deliver.countHop();
    return expired != GO_ON ? expired : Tunnel.to(info, Identity.WORLD);
  }
}

/** Not the reply of a connection from outside: PASS, else GO_ON or a drop. */
function opened(tuple: CtTuple): i32 {
  const wrong = Conntrack.extractPorts(tuple);
  if (wrong == -DropReason.DROP_CT_UNKNOWN_PROTO) return GO_ON;
  if (wrong < 0) return wrong;
  if (Conntrack.peek(tuple, <u8>TupleFlag.IN) === null) return Verdict.PASS;
  if (!Conntrack.overdue) return GO_ON;
  return throughGateway() == GO_ON ? GO_ON : Overdue.undecided();
}

/** 1.16 looks for the entry that the pod's program made, and refreshes it. */
function established(tuple: CtTuple): i32 {
  const status = Conntrack.lookupPacket(tuple, CtDirection.EGRESS, FORWARD);
  if (status == -DropReason.DROP_CT_UNKNOWN_PROTO) return GO_ON;
  if (status < 0) return status;
  return status == CtStatus.ESTABLISHED ? Verdict.PASS : GO_ON;
}

/** egress_gw_handle_packet. */
function throughGateway(): i32 {
  Address.read(SOURCE, Packet.source, Packet.family);
  Address.read(DESTINATION, Packet.destination, Packet.family);
  if (isCluster(DESTINATION, false)) return GO_ON;
  const policy = Maps.egressPolicy(SOURCE, DESTINATION);
  if (policy === null) return GO_ON;
  const gateway = gatewayOf(policy);
  if (policy.cookie != 0) Policy.cookie = policy.cookie;
  if (gateway == UNKNOWN) return Verdict.undecided(UndecidedReason.EGRESS_GATEWAY);
  if (gateway == NO_GATEWAY) return -DropReason.DROP_NO_EGRESS_GATEWAY;
  if (gateway == EXCLUDED || Maps.isHost4(changetype<usize>(policy) + EgressPolicyEntry.GATEWAY_IP)) return GO_ON;
  const sender = Maps.endpoint(SOURCE);
  const identity = sender !== null ? sender.sec_id : Mark.magic == Mark.IDENTITY ? Mark.identity : 0;
  return Tunnel.toNode(changetype<usize>(policy) + EgressPolicyEntry.GATEWAY_IP, identity);
}

/** egress_gw_snat_needed_hook: what goes to the cluster itself keeps its address. */
function matching(source: usize, destination: usize): EgressPolicyEntry | null {
  if (isCluster(destination, true)) return null;
  const policy = Maps.egressPolicy(source, destination);
  if (policy === null || !leads(policy)) return null;
  if (policy.cookie != 0) Policy.cookie = policy.cookie;
  return policy;
}

function leads(policy: EgressPolicyEntry): bool {
  const gateway = gatewayOf(policy);
  return gateway != NO_GATEWAY && gateway != EXCLUDED;
}

/** First word of the gateway's address, as it stands. */
function gatewayOf(policy: EgressPolicyEntry): u32 {
  return load<u32>(changetype<usize>(policy) + EgressPolicyEntry.GATEWAY_IP);
}

/** identity_is_cluster of an address; one the ipcache does not know is unknown, which is in the cluster, or not asked. */
function isCluster(address: usize, onlyKnown: bool): bool {
  const info: IpcacheEntry | null = Maps.ipcache(address);
  if (info === null) return !onlyKnown;
  const identity = info.sec_identity;
  if (identity == <u32>Identity.WORLD || (identity >= FIRST_CIDR && identity <= LAST_CIDR)) return false;
  if (!Options.has(ConfigOption.DUAL_STACK)) return true;
  return identity != <u32>Identity.WORLD_IPV4 && identity != <u32>Identity.WORLD_IPV6;
}
