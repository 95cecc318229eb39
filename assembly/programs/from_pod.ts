/**
 * cil_from_container (bpf/bpf_lxc.c): a packet leaves a pod.
 *
 *     Ethernet type -> fragments -> source address -> service -> conntrack -> identity -> egress policy
 *     -> conntrack entry -> proxy | reply of a NodePort backend | endpoint of this node | stack
 */
import {
  ConfigOption, CtBit, CtDirection, CtStatus, CtTuple, DeviceEntry, DropReason,
} from "../abi.gen";
import { Address } from "./address";
import { admit } from "./admit";
import { Answer } from "./answer";
import { BOTH, Conntrack, FORWARD } from "./conntrack";
import { Destination } from "./destination";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { Packet } from "./packet";
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
  return answers && byPolicy ? Answer.prohibited(-verdict) : verdict;
}

/** Makes the entry of a new connection, and again where the old one belongs to another service or proxy. */
function track(tuple: CtTuple, status: i32, identity: u32, proxyPort: u16): i32 {
  const redirected = proxyPort != 0;
  if (status == CtStatus.ESTABLISHED && Conntrack.revNat == PodService.revNat
    && Conntrack.has(<u16>CtBit.PROXY_REDIRECT) == redirected) {
    Conntrack.confirm(tuple);
    return GO_ON;
  }
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
