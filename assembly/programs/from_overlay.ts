/**
 * cil_from_overlay (bpf/bpf_overlay.c): a packet that came out of a tunnel, with its sender's identity.
 *
 *     identity -> fragments -> services and returning translations -> endpoint of this node | the node itself
 */
import { ConfigOption, DropReason, Identity, LinkPacketType, UndecidedReason } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Address } from "./address";
import { Deliver } from "./deliver";
import { Dsr } from "./dsr";
import { EgressGateway } from "./egress_gateway";
import { Identities, Mark } from "./identity";
import { Maps } from "./maps";
import { Nodeport } from "./nodeport";
import { Options } from "./options";
import { Packet } from "./packet";
import { Passage } from "./passage";
import { Tunnel } from "./tunnel";
import { GO_ON, Verdict } from "./verdict";

const ADDRESS: usize = memory.data(16, 16);

export function fromOverlay(): i32 {
  if (!Ethernet.fits(Packet.captured)) return Verdict.undecided(UndecidedReason.TRUNCATED);
  const type = Ethernet.type(Packet.frame);
  if (type != Ethernet.IPV4 && type != Ethernet.IPV6) return Verdict.PASS;
  Packet.family = type == Ethernet.IPV4 ? 4 : 6;
  const identity = Tunnel.identity;
  // A node says remote-node for itself, so nobody has a reason to say host.
  if (identity == <u32>Identity.HOST) return -DropReason.DROP_INVALID_IDENTITY;
  Packet.sourceIdentity = identity;
  const enabled = Packet.family == 4 ? ConfigOption.ENABLE_IPV4 : ConfigOption.ENABLE_IPV6;
  if (!Options.has(enabled)) return -DropReason.DROP_UNKNOWN_L3;
  const short = Packet.parse();
  if (short < 0) return short;
  if (Packet.fragment && !Options.fragments) return -DropReason.DROP_FRAG_NOSUPPORT;
  Dsr.received = false;
  if (Options.has(ConfigOption.ENABLE_NODEPORT)) {
    const verdict = Nodeport.ingress();
    if (verdict != GO_ON) return verdict;
  }
  return deliver(identity);
}

/** What is for no endpoint of this node is for the node itself: host policies wait behind cilium_host. */
function deliver(carried: u32): i32 {
  const identity = sender(carried);
  Packet.sourceIdentity = identity;
  const leaves = EgressGateway.arrival(identity);
  if (leaves != GO_ON) return leaves;
  // The reply will pass the node's netfilter, which must know the connection (from 1.18).
  if (Dsr.received && !Options.hostRouting && Options.version >= 18) {
    Passage.packetType = <u8>LinkPacketType.Host;
    return Verdict.PASS;
  }
  Address.read(ADDRESS, Packet.destination, Packet.family);
  const endpoint = Maps.endpoint(ADDRESS);
  if (endpoint !== null && !Deliver.toHost(endpoint)) {
    Packet.fromTunnel = true;
    return Deliver.local(endpoint, identity);
  }
  // Up to 1.18 the IPv6 path leaves the mark alone; host policies ask the address.
  if (Packet.family == 4 || Options.version >= 19) Mark.setIdentity(identity);
  const expired = Deliver.countHop();
  return expired != GO_ON ? expired : Verdict.HOST;
}

/** Of a node the address says more (kube-apiserver, a node's labels), and of a client whose request another node balanced. */
function sender(carried: u32): u32 {
  if (!Identities.isRemoteNode(carried) && !(Dsr.received && carried == Identities.world)) return carried;
  Address.read(ADDRESS, Packet.source, Packet.family);
  const info = Maps.ipcache(ADDRESS);
  return info === null ? carried : Identities.known(info, ADDRESS);
}
