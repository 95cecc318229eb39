/**
 * Host policies (bpf/lib/host_firewall.h, enable-host-firewall): what the node itself, its processes and its host-network
 * pods may send and receive. Packets between pods and the outside pass by; so do replies and errors about known
 * connections, and the ICMPv6 messages that RFC 4890 keeps open.
 *
 *     ingress   from_netdev (behind NodePort), cilium_host, a pod of the node
 *     egress    to_netdev (before NAT), cilium_host, the device of a pod of the node
 */
import {
  ConfigOption, CtBit, CtDirection, CtStatus, CtTuple, DropReason, Identity, PolicyPort,
} from "../abi.gen";
import { Icmpv6 } from "../wire/icmpv6";
import { Address } from "./address";
import { BOTH, Conntrack } from "./conntrack";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { Policy } from "./policy";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ADDRESS: usize = memory.data(16, 16);

/** Last of the inverse neighbour and listener messages, and of the secure and router discovery ones. */
const INVERSE_SOLICITATION: u8 = 141;
const LISTENER_REPORT2: u8 = 143;
const CERTIFICATION_SOLICITATION: u8 = 148;
const CERTIFICATION_ADVERTISEMENT: u8 = 149;
const ROUTER_DISCOVERY: u8 = 151;
const ROUTER_TERMINATION: u8 = 153;

export class HostPolicy {
  /** The packet under way was judged, or is exempt (ctx_skip_host_fw). */
  static judged: bool = false;

  @inline
  static get on(): bool {
    return Options.has(ConfigOption.ENABLE_HOST_FIREWALL);
  }

  /**
   * icmp6_host_handle: GO_ON where policy decides, PASS where the message is exempt, else forbidden (176). Up to 1.19 a
   * solicitation that is not answered here is policy's.
   */
  static message(): i32 {
    if (Packet.family == 4 || Packet.protocol != ICMPV6) return GO_ON;
    const short = Packet.need(Packet.l4, 1, DropReason.DROP_INVALID);
    if (short < 0) return short;
    const type = Icmpv6.type(Packet.frame + Packet.l4);
    if (type == Icmpv6.ECHO_REQUEST || type == Icmpv6.ECHO_REPLY) return GO_ON;
    if (type == Icmpv6.NEIGHBOUR_SOLICITATION && Options.version < 20) return GO_ON;
    const open = (type >= Icmpv6.DESTINATION_UNREACHABLE && type <= Icmpv6.PARAMETER_PROBLEM)
      || (type >= Icmpv6.LISTENER_QUERY && type <= Icmpv6.NEIGHBOUR_ADVERTISEMENT)
      || (type >= INVERSE_SOLICITATION && type <= LISTENER_REPORT2)
      || (type >= CERTIFICATION_SOLICITATION && type <= CERTIFICATION_ADVERTISEMENT)
      || (type >= ROUTER_DISCOVERY && type <= ROUTER_TERMINATION);
    return open ? Verdict.PASS : -DropReason.DROP_FORBIDDEN_ICMP6;
  }

  /**
   * The node sends: `identity` is what the packet carries, `byAddress` what the ipcache has for its source. A packet with
   * the node's address that is not the node's own was masqueraded: it is tracked, so that its reply passes.
   */
  static egress(identity: u32, byAddress: u32): i32 {
    const own = identity == <u32>Identity.HOST;
    const masqueraded = byAddress == <u32>Identity.HOST && !(Options.version < 18 && Options.masquerade);
    if (!own && !masqueraded) return GO_ON;
    const tuple = changetype<CtTuple>(TUPLE);
    Tuple.fromPacket(tuple);
    const status = Conntrack.lookupPacket(tuple, CtDirection.EGRESS, BOTH);
    if (status < 0) return status;
    if (status == CtStatus.REPLY || status == CtStatus.RELATED) return own ? returning(tuple, 0, true) : GO_ON;
    let proxyPort: u16 = 0;
    if (own) {
      Address.read(ADDRESS, Packet.destination, Packet.family);
      const info = Maps.ipcache(ADDRESS);
      const remote = info === null ? 0 : Identities.known(info, ADDRESS);
      Packet.sourceIdentity = identity;
      Packet.destinationIdentity = remote;
      const verdict = Policy.hostEgress(Options.node.host_policy, remote, tuple.nexthdr, tuple.dport);
      if (verdict != GO_ON) return verdict;
      proxyPort = Policy.proxyPort;
    }
    const full = track(tuple, status, CtDirection.EGRESS, own ? identity : 0, proxyPort);
    if (full < 0) return full;
    return proxyPort != 0 ? Verdict.PROXY : GO_ON;
  }

  /** Something comes to an address of the node; `carried` stands where the ipcache does not know the source. */
  static ingress(carried: u32): i32 {
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const info = Maps.ipcache(ADDRESS);
    if (info === null || Identities.known(info, ADDRESS) != <u32>Identity.HOST) return GO_ON;
    const tuple = changetype<CtTuple>(TUPLE);
    Tuple.fromPacket(tuple);
    const status = Conntrack.lookupPacket(tuple, CtDirection.INGRESS, BOTH);
    if (status < 0) return status;
    Address.read(ADDRESS, Packet.source, Packet.family);
    const sender = Maps.ipcache(ADDRESS);
    const source = sender === null ? carried : Identities.known(sender, ADDRESS);
    Packet.sourceIdentity = source;
    Packet.destinationIdentity = Identity.HOST;
    if (status == CtStatus.REPLY || status == CtStatus.RELATED) return returning(tuple, source, false);
    const untracked = !Options.fragments && Packet.fragment;
    const verdict = Policy.ingress(Options.node.host_policy, source, tuple.nexthdr, tuple.dport, untracked);
    if (verdict != GO_ON) return verdict;
    // On ingress no proxy is asked; a rule whose peers are not known ends the packet's way here as well.
    if (Policy.proxyPort == <u16>PolicyPort.UNDECIDED) return Verdict.PROXY;
    return track(tuple, status, CtDirection.INGRESS, source, Policy.proxyPort);
  }
}

/** Replies pass; where the entry they match may be collected, policy is asked too. `remote` of ingress: the source. */
function returning(tuple: CtTuple, remote: u32, egress: bool): i32 {
  if (!Conntrack.overdue) return GO_ON;
  if (egress) {
    Address.read(ADDRESS, Packet.destination, Packet.family);
    const info = Maps.ipcache(ADDRESS);
    remote = info === null ? 0 : Identities.known(info, ADDRESS);
  }
  return Policy.asNew(Options.node.host_policy, remote, tuple, egress);
}

function track(tuple: CtTuple, status: i32, direction: i32, source: u32, proxyPort: u16): i32 {
  if (status != CtStatus.NEW) {
    Conntrack.confirm(tuple);
    return GO_ON;
  }
  Conntrack.blank();
  const draft = Conntrack.draft;
  draft.src_sec_id = source;
  if (proxyPort != 0) draft.bits |= <u16>CtBit.PROXY_REDIRECT;
  return Conntrack.create(tuple, direction, true);
}
