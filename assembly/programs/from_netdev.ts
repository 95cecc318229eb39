/**
 * cil_from_netdev (bpf/bpf_host.c): a frame comes in by a device of the node. Services and returning
 * translations first; then, with host routing, straight to an endpoint, else up into the stack.
 */
import { ConfigOption, DropReason, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmpv6 } from "../wire/icmpv6";
import { Address } from "./address";
import { Deliver } from "./deliver";
import { Identities } from "./identity";
import { Maps } from "./maps";
import { Neighbour } from "./neighbour";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { ICMPV6, Packet } from "./packet";
import { GO_ON, Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

export function fromNetdev(): i32 {
  if (!Ethernet.fits(Packet.captured)) return Verdict.undecided(UndecidedReason.TRUNCATED);
  const type = Ethernet.type(Packet.frame);
  const ipv4 = type == Ethernet.IPV4 && Options.has(ConfigOption.ENABLE_IPV4);
  const ipv6 = type == Ethernet.IPV6 && Options.has(ConfigOption.ENABLE_IPV6);
  // Anything that is not for Cilium goes to the stack.
  if (!ipv4 && !ipv6) return Verdict.PASS;
  const short = Packet.parse();
  if (short < 0) return short;
  if (Options.has(ConfigOption.ENABLE_HOST_FIREWALL)) return Verdict.undecided(UndecidedReason.HOST_FIREWALL);
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
  if (Options.has(ConfigOption.ENABLE_NODEPORT)) {
    const verdict = Nodeport.ingress();
    if (verdict != GO_ON) return verdict;
  }
  // Without host routing the packet must pass netfilter, or its reply would look invalid there.
  if (!Options.hostRouting) return Verdict.PASS;
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const endpoint = Maps.endpoint(ADDRESS);
  if (endpoint === null || Deliver.toHost(endpoint)) return Verdict.PASS;
  return Deliver.local(endpoint, Packet.sourceIdentity);
}
