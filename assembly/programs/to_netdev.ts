/**
 * cil_to_netdev (bpf/bpf_host.c): a frame leaves the node by one of its devices. A NodePort backend's reply
 * gets the service's address back; other traffic is masqueraded or has its port reserved. PASS: out it goes.
 */
import { ConfigOption, CtTuple, DropReason, Identity, TupleFlag } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Address } from "./address";
import { EgressGateway } from "./egress_gateway";
import { HostPolicy } from "./host_policy";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Masquerade } from "./masquerade";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { Packet } from "./packet";
import { PUNT, Snat } from "./snat";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";
import { Vlan } from "./vlan";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ADDRESS: usize = memory.data(16, 16);

export function toNetdev(): i32 {
  if (Packet.tagged) return Vlan.filter(true);
  const type = Ethernet.type(Packet.frame);
  const ipv4 = type == Ethernet.IPV4 && Options.has(ConfigOption.ENABLE_IPV4);
  const ipv6 = type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6);
  const judges = HostPolicy.on && Mark.magic != Mark.SNAT_DONE;
  if (!ipv4 && !ipv6) return judges ? foreign(type) : Verdict.PASS;
  const short = Packet.parse();
  if (short < 0) return short;
  if (judges) {
    const verdict = hostPolicy();
    if (verdict != GO_ON) return verdict;
  }
  const gateway = EgressGateway.request(Mark.magic == Mark.HOST || Mark.magic == Mark.OVERLAY);
  if (gateway != GO_ON) return gateway;
  if (!Options.has(ConfigOption.ENABLE_NODEPORT) || Mark.magic == Mark.SNAT_DONE || Mark.magic == Mark.OVERLAY) {
    return Verdict.PASS;
  }
  const restored = Nodeport.restoreOutgoing();
  if (restored != GO_ON) {
    if (restored == Verdict.PASS) Mark.setMagic(Mark.SNAT_DONE);
    return restored;
  }
  return translate();
}

function foreign(type: u16): i32 {
  if (!Ethernet.supported(Packet.frame)) return -DropReason.DROP_UNSUPPORTED_L2;
  return type == Ethernet.ARP ? Verdict.PASS : -DropReason.DROP_UNKNOWN_L3;
}

/** handle_to_netdev_ipv4: only whether the node itself sends counts, which the mark says; a tunnel's packet is its own. */
function hostPolicy(): i32 {
  const exempt = HostPolicy.message();
  if (exempt != GO_ON) return exempt < 0 ? exempt : GO_ON;
  const own = Mark.magic == Mark.HOST || Mark.magic == Mark.OVERLAY;
  Address.read(ADDRESS, Packet.source, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  const byAddress = info === null ? 0 : Identities.known(info, ADDRESS);
  if (own) return HostPolicy.egress(Identity.HOST, byAddress);
  return HostPolicy.egress(byAddress == <u32>Identity.HOST ? 0 : byAddress, byAddress);
}

/** nodeport_snat_fwd_ipv4. */
function translate(): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  tuple.flags = <u8>TupleFlag.OUT;
  let verdict = Masquerade.needed(tuple);
  if (verdict == GO_ON) verdict = Snat.egress(tuple);
  if (verdict == PUNT) return Verdict.PASS;
  if (verdict < 0) return verdict;
  Mark.setMagic(Mark.SNAT_DONE);
  return Verdict.PASS;
}
