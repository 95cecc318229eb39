/**
 * Whether a packet that leaves the node is given the node's address (bpf/lib/nat.h, snat_v4_needs_masquerade;
 * bpf/lib/nodeport_egress.h). GO_ON: yes, with the target in Snat; PUNT: no.
 *
 * Where masquerading is left to the node's iptables, only the question is answered whether their rules could
 * touch the packet; what they would do with it is not known here.
 */
import {
  Config, ConfigOption, CtTuple, DeviceEntry, DeviceKind, DropReason, EndpointFlag, EndpointInfo, NodeEntry, TupleFlag,
  UndecidedReason,
} from "../abi.gen";
import { Address } from "./address";
import { Conntrack } from "./conntrack";
import { EgressGateway } from "./egress_gateway";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet } from "./packet";
import { Service } from "./service";
import { PUNT, Snat } from "./snat";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);

/** No prefix given (Config.native_routing_cidr4_length). */
const NO_PREFIX: u8 = 255;

export class Masquerade {
  /** `tuple` has the packet's addresses and protocol, flags OUT. */
  static needed(tuple: CtTuple): i32 {
    Snat.resetTarget();
    const sender = Maps.endpoint(Tuple.saddr(tuple));
    if (sender !== null && sender.parent_ifindex != 0 && sender.parent_ifindex != Packet.device) {
      return Verdict.undecided(UndecidedReason.OWN_INTERFACE);
    }
    // The node's own connections: their port is reserved, so that no pod's translation takes it.
    const ofHost = Mark.magic == Mark.HOST || (sender !== null
      && (sender.flags & <u32>EndpointFlag.HOST) != 0);
    if (Service.serves(tuple.nexthdr) && ofHost) return keepAddress(Tuple.saddr(tuple));
    if (!Options.masquerade) return PUNT;
    const masquerade = ownAddress();
    if (Address.equal(Tuple.saddr(tuple), masquerade)) return keepAddress(masquerade);
    if (sender !== null) {
      Snat.fromLocalEndpoint = true;
      const answers = isReply(tuple);
      if (answers < 0 && answers != PUNT) return answers;
      if (answers == PUNT && !Conntrack.overdue && !Overdue.doubtful) return PUNT;
      // A reply whose entry may be collected is masqueraded like any other packet then.
      if (answers == PUNT) return decide(tuple, sender, masquerade) == PUNT ? PUNT : Overdue.undecided();
    }
    return decide(tuple, sender, masquerade);
  }

  /**
   * A packet that the stack sends out of an uplink: undecided where a rule of the nat table's POSTROUTING may
   * match, else GO_ON. The agent's rules (pkg/datapath/iptables, installMasqueradeRules) are for pods of this
   * node to destinations outside the native routing CIDR, without the nodes; a masquerade agent's exceptions
   * are its own. Replies are not new connections, and the table does not see them.
   */
  static byIptables(): i32 {
    if (!familyMasqueraded()) return GO_ON;
    const tuple = changetype<CtTuple>(TUPLE);
    Tuple.fromPacket(tuple);
    const sender = Maps.endpoint(Tuple.saddr(tuple));
    if (sender === null || (sender.flags & <u32>EndpointFlag.HOST) != 0) return GO_ON;
    if (excluded(Tuple.daddr(tuple)) || (isReply(tuple) == PUNT && !Conntrack.overdue)) return GO_ON;
    if (!Options.masqueradeAgent && !Options.has(ConfigOption.ENABLE_REMOTE_NODE_MASQUERADE)) {
      const remote = Maps.ipcache(Tuple.daddr(tuple));
      if (remote !== null && Identities.isRemoteNode(Identities.known(remote, Tuple.daddr(tuple)))) {
        return GO_ON;
      }
    }
    return Verdict.undecided(UndecidedReason.MASQUERADE);
  }
}

/** snat_v4_needs_masquerade after the question whether it is a reply. */
function decide(tuple: CtTuple, sender: EndpointInfo | null, masquerade: usize): i32 {
  const gateway = EgressGateway.translation(tuple, sender !== null);
  if (gateway != Verdict.PASS) return gateway;
  if (excluded(Tuple.daddr(tuple))) return PUNT;
  if (sender !== null) {
    if (sender.flags & exempting()) return PUNT;
  }
  if (Options.has(ConfigOption.ENABLE_IP_MASQ_AGENT) && Maps.notMasqueraded(Tuple.daddr(tuple))) {
    return PUNT;
  }
  const remote = Maps.ipcache(Tuple.daddr(tuple));
  if (remote === null && Options.version < 18) return PUNT;
  if (remote !== null && Identities.isRemoteNode(Identities.known(remote, Tuple.daddr(tuple)))) {
    if (Options.has(ConfigOption.ENABLE_REMOTE_NODE_MASQUERADE) && Options.version >= 19) {
      return to(masquerade);
    }
    if (!Options.has(ConfigOption.TUNNEL_MODE) || (remote.flags & 1) != 0) return PUNT;
  }
  return sender !== null ? to(masquerade) : PUNT;
}

/**
 * nat_ipv4_masquerade: each device's program has the device's own primary address (bpfMasqAddrs). The node's entry has
 * that of the device towards the other nodes.
 */
function ownAddress(): usize {
  if (Packet.device != Options.node.direct_routing_ifindex) {
    const device = Maps.device(Packet.device);
    if (device !== null) {
      const own = changetype<usize>(device) + (Packet.family == 4 ? DeviceEntry.IPV4 : DeviceEntry.IPV6);
      if (device.kind == <u8>DeviceKind.UPLINK && !Address.isZero(own)) return own;
    }
  }
  return changetype<usize>(Options.node) + (Packet.family == 4 ? NodeEntry.MASQUERADE4 : NodeEntry.MASQUERADE6);
}

/** ENDPOINT_MASK_SKIP_MASQ_V4, ENDPOINT_MASK_SKIP_MASQ_V6; before 1.19 only the host. */
function exempting(): u32 {
  if (Options.version < 19) return <u32>EndpointFlag.HOST;
  return <u32>EndpointFlag.HOST | <u32>(Packet.family == 4 ? EndpointFlag.NO_SNAT_V4 : EndpointFlag.NO_SNAT_V6);
}

function familyMasqueraded(): bool {
  return Options.has(Packet.family == 4
    ? ConfigOption.IPTABLES_MASQUERADE_IPV4 : ConfigOption.IPTABLES_MASQUERADE_IPV6);
}

function keepAddress(address: usize): i32 {
  Snat.needsCt = true;
  return to(address);
}

function to(address: usize): i32 {
  if (Address.isZero(address)) return Verdict.undecided(UndecidedReason.NO_NODE_FACTS);
  Address.copy(Snat.address, address);
  return GO_ON;
}

/** A reply to a connection that came from outside keeps the pod's address (ct_is_reply). PUNT: it is one. */
function isReply(tuple: CtTuple): i32 {
  const verdict = Conntrack.extractPorts(tuple);
  if (verdict == -DropReason.DROP_CT_UNKNOWN_PROTO) return GO_ON;
  if (verdict < 0) return verdict;
  const known = Conntrack.peek(tuple, <u8>TupleFlag.IN);
  tuple.sport = 0;
  tuple.dport = 0;
  return known !== null ? PUNT : GO_ON;
}

/** The destination lies in ipv4-native-routing-cidr, or where none is given in the node's own pod prefix. */
function excluded(address: usize): bool {
  const config = changetype<usize>(Options.config);
  const node = changetype<usize>(Options.node);
  if (Packet.family == 4) {
    const length = Options.config.native_routing_cidr4_length;
    if (length != NO_PREFIX) return Address.inPrefix(address, config + Config.NATIVE_ROUTING_CIDR4, length);
    return inPodPrefix(address, node + NodeEntry.POD_CIDR4, Options.node.pod_cidr4_length);
  }
  const length = Options.config.native_routing_cidr6_length;
  if (length != NO_PREFIX) return Address.inPrefix(address, config + Config.NATIVE_ROUTING_CIDR6, length);
  return inPodPrefix(address, node + NodeEntry.POD_CIDR6, Options.node.pod_cidr6_length);
}

/** A node without a pod prefix has an all-zero entry. */
function inPodPrefix(address: usize, prefix: usize, length: u8): bool {
  return length != 0 && Address.inPrefix(address, prefix, length);
}
