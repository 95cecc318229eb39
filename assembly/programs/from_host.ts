/**
 * cil_from_host (bpf/bpf_host.c): the stack sends a packet through cilium_host, which it does for pods of the
 * node where endpoints have no routes of their own. The source's identity comes from the mark.
 */
import { ConfigOption, DropReason, Identity } from "../abi.gen";
import { Address } from "./address";
import { Deliver } from "./deliver";
import { HostPolicy } from "./host_policy";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Options } from "./options";
import { Packet } from "./packet";
import { Tunnel } from "./tunnel";
import { GO_ON, Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

export function fromHost(): i32 {
  const short = Packet.parse();
  if (short < 0) return short;
  const carried = inheritIdentity();
  Address.read(ADDRESS, Packet.source, Packet.family);
  Packet.sourceIdentity = Identities.resolveSource(carried, ADDRESS);
  if (HostPolicy.on) {
    const verdict = hostPolicy(carried);
    if (verdict != GO_ON) return verdict;
  }
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const endpoint = Maps.endpoint(ADDRESS);
  if (endpoint !== null) {
    if (Deliver.toHost(endpoint)) return Verdict.PASS;
    return Deliver.local(endpoint, Packet.sourceIdentity);
  }
  const info = Maps.ipcache(ADDRESS);
  if (Options.has(ConfigOption.TUNNEL_MODE) && info !== null && Identities.tunnelled(info)) {
    return Tunnel.to(info, Packet.sourceIdentity);
  }
  // A packet that is routed here although nothing is known of its destination would come back for ever.
  const unknown = info === null || info.sec_identity == <u32>Identity.WORLD
    || info.sec_identity == <u32>(Packet.family == 4 ? Identity.WORLD_IPV4 : Identity.WORLD_IPV6);
  return unknown ? -DropReason.DROP_UNROUTABLE : Verdict.PASS;
}

/** The address is asked only where the mark says no more than "reserved" (resolve_srcid). */
function hostPolicy(carried: u32): i32 {
  const exempt = HostPolicy.message();
  if (exempt != GO_ON) return exempt < 0 ? exempt : GO_ON;
  const info = Identities.isReserved(carried) ? Maps.ipcache(ADDRESS) : null;
  const identity = Packet.sourceIdentity;
  const verdict = HostPolicy.egress(identity, info === null ? 0 : Identities.known(info, ADDRESS));
  Packet.sourceIdentity = identity;
  return verdict;
}

/** inherit_identity_from_host: what the mark says of the source; the mark is cleared. */
export function inheritIdentity(): u32 {
  const magic = Mark.magic;
  let identity = Identities.world;
  if (magic == Mark.PROXY_INGRESS || magic == Mark.PROXY_EGRESS
    || magic == Mark.IDENTITY) identity = Mark.identity;
  else if (magic == Mark.HOST) identity = <u32>Identity.HOST;
  Packet.mark = 0;
  return identity;
}
