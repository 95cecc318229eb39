/**
 * cil_from_netdev (bpf/bpf_host.c): a frame comes in by a device of the node. Services and returning
 * translations first; then, with host routing, straight to an endpoint, else up into the stack.
 */
import { ConfigOption, DropReason, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Address } from "./address";
import { Deliver } from "./deliver";
import { Dsr } from "./dsr";
import { DsrIpip } from "./dsr_ipip";
import { HostPolicy } from "./host_policy";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Neighbour } from "./neighbour";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";
import { Vlan } from "./vlan";

const ADDRESS: usize = memory.data(16, 16);

export function fromNetdev(): i32 {
  if (Packet.tagged) return Vlan.filter(false);
  if (!Ethernet.fits(Packet.captured)) return Verdict.undecided(UndecidedReason.TRUNCATED);
  const type = Ethernet.type(Packet.frame);
  const ipv4 = type == Ethernet.IPV4 && Options.has(ConfigOption.ENABLE_IPV4);
  const ipv6 = type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6);
  if (!ipv4 && !ipv6) return foreign(type);
  const short = Packet.parse();
  if (short < 0) return short;
  if (Dsr.byIpip) {
    const request = DsrIpip.receive();
    if (request < 0) return request;
  }
  Address.read(ADDRESS, Packet.source, Packet.family);
  Packet.sourceIdentity = Identities.resolveSource(0, ADDRESS);
  if (Packet.fragment && !Options.fragments) {
    return Packet.family == 4 && Options.version < 18
      ? Verdict.undecided(UndecidedReason.FRAGMENT) : -DropReason.DROP_FRAG_NOSUPPORT;
  }
  if (Packet.family == 6 && Packet.protocol == ICMPV6) {
    const short = Packet.need(Packet.l4, 1, DropReason.DROP_INVALID);
    if (short < 0) return short;
    if (Icmpv6.type(Packet.frame + Packet.l4) == Icmpv6.NEIGHBOUR_SOLICITATION) return Neighbour.fromNetwork();
  }
  const exempt = HostPolicy.on ? HostPolicy.message() : GO_ON;
  if (exempt < 0) return exempt;
  HostPolicy.judged = exempt == Verdict.PASS;
  // Up to 1.18 what host policies exempt is no matter for services either.
  if (Options.has(ConfigOption.ENABLE_NODEPORT) && (!HostPolicy.judged || Options.version >= 19)) {
    const verdict = Nodeport.ingress();
    if (verdict != GO_ON) return verdict;
  }
  if (HostPolicy.on && !HostPolicy.judged) {
    const verdict = HostPolicy.ingress(Packet.family == 4 ? 0 : Identities.world);
    if (verdict != GO_ON) return verdict;
  }
  // Without host routing the packet must pass netfilter, or its reply would look invalid there.
  if (!Options.hostRouting) return Verdict.PASS;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const endpoint = Maps.endpoint(ADDRESS);
  if (endpoint === null || Deliver.toHost(endpoint)) return Verdict.PASS;
  return Deliver.local(endpoint, Packet.sourceIdentity);
}

/** Anything that is not for Cilium goes to the stack, where a host firewall lets it. */
function foreign(type: u16): i32 {
  if (!HostPolicy.on || type == Ethernet.ARP) return Verdict.PASS;
  return Ethernet.supported(Packet.frame) ? -DropReason.DROP_UNKNOWN_L3 : -DropReason.DROP_UNSUPPORTED_L2;
}
