/**
 * cil_from_container (bpf/bpf_lxc.c): a packet leaves a pod.
 *
 *     Ethernet type -> fragments -> source address -> service -> conntrack -> identity -> egress policy
 *     -> conntrack entry -> proxy | reply of a NodePort backend | endpoint of this node | stack
 */
import {
  ConfigOption, CtBit, CtDirection, CtStatus, CtTuple, DeviceEntry, DeviceFlag, DropReason, ServiceEntry,
  ServiceFlag2, TupleFlag, UndecidedReason, Config,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Address } from "./address";
import { Answer } from "./answer";
import { BOTH, Conntrack, FORWARD } from "./conntrack";
import { Destination } from "./destination";
import { Fragments } from "./fragments";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { Policy } from "./policy";
import { Service } from "./service";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ASIDE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const NAT_ADDRESS: usize = memory.data(16, 16);
const ADDRESS: usize = memory.data(16, 16);

// ---- what service translation leaves for the rest (lb4_ctx_store_state)
let serviceRevNat: u16 = 0;
let loopback: bool = false;
let natPort: u16 = 0;

export function fromPod(device: DeviceEntry): i32 {
  let verdict = admit(device);
  if (verdict != GO_ON) return verdict;
  serviceRevNat = 0;
  loopback = false;
  natPort = 0;
  Address.clear(NAT_ADDRESS);
  if (Options.has(ConfigOption.ENABLE_PER_PACKET_LB)) {
    verdict = translateService();
    if (verdict != GO_ON) return verdict;
  } else if (addressesService()) return Verdict.undecided(UndecidedReason.SOCKET_LB);
  return forward(device);
}

/** Everything before load balancing. */
function admit(device: DeviceEntry): i32 {
  const cut = Packet.need(0, Ethernet.LENGTH, DropReason.DROP_UNSUPPORTED_L2);
  if (cut < 0) return cut;
  if (!Ethernet.supported(Packet.frame)) return -DropReason.DROP_UNSUPPORTED_L2;
  const type = Ethernet.type(Packet.frame);
  const ipv4 = Options.has(ConfigOption.ENABLE_IPV4);
  // ARP is answered by the program or passed up; either way it is the link's business.
  if (ipv4 && type == Ethernet.ARP) return Verdict.undecided(UndecidedReason.LINK_LAYER);
  if (!(type == Ethernet.IPV4 && ipv4) && !(type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6))) {
    return -DropReason.DROP_UNKNOWN_L3;
  }
  const short = Packet.parse();
  if (short < 0) return short;
  if (Packet.fragment && !Options.fragments) {
    // 1.16 and 1.17 go on and read what stands where the ports would be.
    if (Packet.family == 6 || Options.version >= 18) return -DropReason.DROP_FRAG_NOSUPPORT;
    return Verdict.undecided(UndecidedReason.FRAGMENT);
  }
  if (Packet.family == 6 && Packet.protocol == ICMPV6 && Packet.l4 + 1 <= Packet.captured) {
    const message = Icmpv6.type(Packet.frame + Packet.l4);
    if (message == Icmpv6.NEIGHBOUR_SOLICITATION) return Verdict.undecided(UndecidedReason.LINK_LAYER);
    if (message == Icmpv6.NEIGHBOUR_ADVERTISEMENT) return Verdict.PASS;
  }
  return sourceIsItsOwn(device) ? GO_ON : -DropReason.DROP_INVALID_SIP;
}

/** is_valid_lxc_src_ip. */
function sourceIsItsOwn(device: DeviceEntry): bool {
  if (!Options.has(ConfigOption.ENABLE_SOURCE_IP_VERIFICATION)
    || (device.flags & <u8>DeviceFlag.ANY_SOURCE)) {
    return true;
  }
  const own = changetype<usize>(device) + (Packet.family == 4 ? DeviceEntry.IPV4 : DeviceEntry.IPV6);
  if (Packet.family == 4) return load<u32>(own) == load<u32>(Packet.source);
  return Address.equal(own, Packet.source);
}

/** __per_packet_lb_svc_xlate: GO_ON with the packet translated, or left alone. */
function translateService(): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  if (!Service.serves(Packet.protocol)) return GO_ON;
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  const found = frontend(tuple);
  if (found === null) return GO_ON;
  if (found.flags2 & <u8>ServiceFlag2.L7_LOADBALANCER) return Verdict.undecided(UndecidedReason.L7_PROXY);
  if (found.flags2 & <u8>ServiceFlag2.LOCALREDIRECT) return Verdict.undecided(UndecidedReason.LOCAL_REDIRECT);
  const verdict = Service.local(found, tuple, false);
  if (verdict == -DropReason.DROP_NO_SERVICE
    && Options.has(ConfigOption.SERVICE_NO_BACKEND_RESPONSE_REJECT)) {
    return Answer.portUnreachable();
  }
  if (verdict < 0) return verdict;
  const backend = Service.chosen();
  serviceRevNat = found.rev_nat_index;
  // A pod that reaches itself through a service gets a source address that is not its own: Linux would drop
  // it.
  loopback = Address.equal(Tuple.saddr(tuple), Service.backend);
  return Translate.dnat(tuple, backend, loopback ? loopbackAddress() : 0);
}

/**
 * Where pods are balanced at their sockets, no packet is addressed to a service: what a capture shows of one was sent
 * before connect() would have translated it.
 */
function addressesService(): bool {
  if (!Options.has(ConfigOption.ENABLE_SOCKET_LB) || !Service.serves(Packet.protocol)) return false;
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  return Fragments.ports(tuple) >= 0 && frontend(tuple) !== null;
}

/** The frontend of this packet; for a node's address and port, the node port's (from 1.20). */
function frontend(tuple: CtTuple): ServiceEntry | null {
  const nodePorts = Options.has(ConfigOption.ENABLE_NODEPORT);
  const found = Service.lookup(tuple, nodePorts);
  if (found !== null || !nodePorts || Options.version < 20) return found;
  // A connection that was made before the fallback existed keeps its way.
  const known = changetype<CtTuple>(ASIDE);
  Tuple.copy(known, tuple);
  Tuple.reverse(known);
  if (Conntrack.peek(known, <u8>TupleFlag.OUT) !== null) return null;
  const nodePort = Service.lookupNodePort(tuple);
  if (nodePort === null) return null;
  Address.copy(NAT_ADDRESS, Tuple.daddr(tuple));
  natPort = tuple.sport;
  return nodePort;
}

function loopbackAddress(): usize {
  return changetype<usize>(Options.config)
    + (Packet.family == 4 ? Config.SERVICE_LOOPBACK_IPV4 : Config.SERVICE_LOOPBACK_IPV6);
}

/** handle_ipv4_from_lxc. */
function forward(device: DeviceEntry): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  // After a translation only the forward direction may match; 1.16 still tried both.
  const scope = serviceRevNat != 0 && Options.version > 16 ? FORWARD : BOTH;
  const status = Conntrack.lookupPacket(tuple, CtDirection.EGRESS, scope);
  if (status < 0) return status;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  const remote = Identities.of(info, ADDRESS);
  Packet.sourceIdentity = device.sec_id;
  Packet.destinationIdentity = remote;
  let proxyPort: u16 = 0;
  if (status == CtStatus.NEW || status == CtStatus.ESTABLISHED) {
    if (!loopback) {
      const verdict = Policy.egress(device.policy, remote, tuple.nexthdr, tuple.dport);
      if (verdict != GO_ON) return denied(verdict);
      proxyPort = Policy.proxyPort;
    }
    const verdict = track(tuple, status, device.sec_id, proxyPort);
    if (verdict != GO_ON) return verdict;
  } else {
    if (Conntrack.has(<u16>CtBit.PROXY_REDIRECT)) {
      Packet.mark = Mark.TO_PROXY;
      return Verdict.PROXY;
    }
    if (Conntrack.has(<u16>CtBit.NODE_PORT) && Service.serves(tuple.nexthdr)
      && Options.has(ConfigOption.ENABLE_NODEPORT)) return Nodeport.replyOfLocalBackend();
  }
  return Destination.forward(device.sec_id, status, proxyPort, loopback, info);
}

/** policy-deny-response=icmp answers instead of dropping (from 1.19). */
function denied(verdict: i32): i32 {
  const answers = Options.has(ConfigOption.POLICY_DENY_RESPONSE_ICMP) && Options.version >= 19;
  const byPolicy = verdict == -DropReason.DROP_POLICY || verdict == -DropReason.DROP_POLICY_DENY;
  return answers && byPolicy ? Verdict.undecided(UndecidedReason.POLICY_RESPONSE) : verdict;
}

/** Makes the entry of a new connection, and again where the old one belongs to another service or proxy. */
function track(tuple: CtTuple, status: i32, identity: u32, proxyPort: u16): i32 {
  const redirected = proxyPort != 0;
  if (status == CtStatus.ESTABLISHED && Conntrack.revNat == serviceRevNat
    && Conntrack.has(<u16>CtBit.PROXY_REDIRECT) == redirected) return GO_ON;
  Conntrack.blank();
  const draft = Conntrack.draft;
  draft.rev_nat_index = serviceRevNat;
  draft.src_sec_id = identity;
  if (loopback) draft.bits |= <u16>CtBit.LB_LOOPBACK;
  if (redirected) draft.bits |= <u16>CtBit.PROXY_REDIRECT;
  if (Options.version >= 20) {
    Address.copy(changetype<usize>(draft), NAT_ADDRESS);
    draft.nat_port = natPort;
  }
  return Conntrack.create(tuple, CtDirection.EGRESS, true);
}
