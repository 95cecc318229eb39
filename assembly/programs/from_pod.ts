/**
 * cil_from_container (bpf/bpf_lxc.c): a packet leaves a pod.
 *
 *     Ethernet type -> fragments -> source address -> service -> conntrack -> identity -> egress policy
 *     -> conntrack entry -> proxy | reply of a NodePort backend | endpoint of this node | stack
 */
import {
  ConfigOption, CtBit, CtDirection, CtStatus, CtTuple, DeviceEntry, DeviceFlag, DropReason, UndecidedReason,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Address } from "./address";
import { BOTH, Conntrack, FORWARD } from "./conntrack";
import { Destination } from "./destination";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { PodService } from "./pod_service";
import { Policy } from "./policy";
import { Service } from "./service";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ADDRESS: usize = memory.data(16, 16);

export function fromPod(device: DeviceEntry): i32 {
  let verdict = admit(device);
  if (verdict != GO_ON) return verdict;
  verdict = PodService.translate();
  return verdict == GO_ON ? forward(device) : verdict;
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

/** handle_ipv4_from_lxc. */
function forward(device: DeviceEntry): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  // After a translation only the forward direction may match; 1.16 still tried both.
  const scope = PodService.revNat != 0 && Options.version > 16 ? FORWARD : BOTH;
  const status = Conntrack.lookupPacket(tuple, CtDirection.EGRESS, scope);
  if (status < 0) return status;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  const remote = Identities.of(info, ADDRESS);
  Packet.sourceIdentity = device.sec_id;
  Packet.destinationIdentity = remote;
  let proxyPort: u16 = 0;
  if (status == CtStatus.NEW || status == CtStatus.ESTABLISHED) {
    if (!PodService.loopback) {
      const verdict = Policy.egress(device.policy, remote, tuple.nexthdr, tuple.dport);
      if (verdict != GO_ON) return denied(verdict);
      proxyPort = Policy.proxyPort;
    }
    const verdict = track(tuple, status, device.sec_id, proxyPort);
    if (verdict != GO_ON) return verdict;
  } else {
    if (Conntrack.overdue) {
      const verdict = Policy.asNew(device.policy, remote, tuple, true);
      if (verdict != GO_ON) return verdict;
    }
    if (Conntrack.has(<u16>CtBit.PROXY_REDIRECT)) {
      Packet.mark = Mark.TO_PROXY;
      return Verdict.PROXY;
    }
    if (Conntrack.has(<u16>CtBit.NODE_PORT) && Service.serves(tuple.nexthdr)
      && Options.has(ConfigOption.ENABLE_NODEPORT)) return Nodeport.replyOfLocalBackend();
  }
  return Destination.forward(device.sec_id, status, proxyPort, PodService.loopback, info);
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
  if (status == CtStatus.ESTABLISHED && Conntrack.revNat == PodService.revNat
    && Conntrack.has(<u16>CtBit.PROXY_REDIRECT) == redirected) return GO_ON;
  Conntrack.blank();
  const draft = Conntrack.draft;
  draft.rev_nat_index = PodService.revNat;
  draft.src_sec_id = identity;
  if (PodService.loopback) draft.bits |= <u16>CtBit.LB_LOOPBACK;
  if (redirected) draft.bits |= <u16>CtBit.PROXY_REDIRECT;
  if (Options.version >= 20) {
    Address.copy(changetype<usize>(draft), PodService.natAddress);
    draft.nat_port = PodService.natPort;
  }
  return Conntrack.create(tuple, CtDirection.EGRESS, true);
}
