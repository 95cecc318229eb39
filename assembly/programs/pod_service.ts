/**
 * Services at the pod that asks (bpf/bpf_lxc.c, __per_packet_lb_svc_xlate): the packet is translated before it is
 * judged. What the rest of the program needs to know of it stays in the static fields (lb4_ctx_store_state).
 *
 *     frontend, or a node's address and node port (1.20) -> backend -> DNAT, and a source of its own where the pod
 *     reaches itself
 */
import {
  Config, ConfigOption, CtTuple, DropReason, ServiceEntry, ServiceFlag2, TupleFlag, UndecidedReason,
} from "../abi.gen";
import { Address } from "./address";
import { Conntrack } from "./conntrack";
import { Fragments } from "./fragments";
import { Frontend } from "./frontend";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet } from "./packet";
import { Service } from "./service";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TUPLE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const ASIDE: usize = memory.data(<i32>CtTuple.SIZE, 16);
const NAT_ADDRESS: usize = memory.data(16, 16);

export class PodService {
  /** Service the packet was translated for; 0: none. */
  static revNat: u16 = 0;
  /** The pod reaches itself. */
  static loopback: bool = false;
  /** Port the packet was sent to where that is to be remembered for replies, wire order; 0: the service's own. */
  static natPort: u16 = 0;
  /** The packet is a node port's, or an older connection's whose entry may be collected. */
  static doubtful: bool = false;

  /** The address that goes with `natPort`, 16 bytes. */
  @inline
  static get natAddress(): usize {
    return NAT_ADDRESS;
  }

  /** GO_ON with the packet translated or left alone, an answer, a drop, or undecided. */
  static translate(): i32 {
    PodService.revNat = 0;
    PodService.loopback = false;
    PodService.natPort = 0;
    PodService.doubtful = false;
    Address.clear(NAT_ADDRESS);
    if (Options.has(ConfigOption.ENABLE_PER_PACKET_LB)) return translateService();
    return addressesService() ? Verdict.undecided(UndecidedReason.SOCKET_LB) : GO_ON;
  }
}

/** __per_packet_lb_svc_xlate: GO_ON with the packet translated, or left alone. */
function translateService(): i32 {
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  if (!Service.serves(Packet.protocol)) return GO_ON;
  const short = Fragments.ports(tuple);
  if (short < 0) return short;
  const found = frontend(tuple);
  if (PodService.doubtful) return Overdue.undecided();
  if (found === null) return GO_ON;
  if ((found.flags2 & <u8>ServiceFlag2.L7_LOADBALANCER) || Frontend.delegates(found)) {
    return Verdict.undecided(UndecidedReason.L7_PROXY);
  }
  if (found.flags2 & <u8>ServiceFlag2.LOCALREDIRECT) return Verdict.undecided(UndecidedReason.LOCAL_REDIRECT);
  const verdict = Service.local(found, tuple, false);
  if (verdict == -DropReason.DROP_NO_SERVICE) {
    // Passed on as it is: out of the program, past conntrack and policy.
    const unavailable = Service.unavailable(found);
    return unavailable == GO_ON ? Verdict.PASS : unavailable;
  }
  if (verdict < 0) return verdict;
  const backend = Service.chosen();
  PodService.revNat = found.rev_nat_index;
  // A pod that reaches itself through a service gets a source address that is not its own: Linux would drop
  // it.
  PodService.loopback = hasLoopback() && Address.equal(Tuple.saddr(tuple), Service.backend);
  return Translate.dnat(tuple, backend, PodService.loopback ? loopbackAddress() : 0);
}

/**
 * Where pods are balanced at their sockets, no packet is addressed to a service: what a capture shows of one was sent
 * before connect() would have translated it.
 */
function addressesService(): bool {
  if (!Options.has(ConfigOption.ENABLE_SOCKET_LB) || !Service.serves(Packet.protocol)) return false;
  const tuple = changetype<CtTuple>(TUPLE);
  Tuple.fromPacket(tuple);
  return Fragments.ports(tuple) >= 0 && (frontend(tuple) !== null || PodService.doubtful);
}

/** The frontend of this packet; for a node's address and port, the node port's (from 1.20). */
function frontend(tuple: CtTuple): ServiceEntry | null {
  const nodePorts = Options.has(ConfigOption.ENABLE_NODEPORT);
  const found = Frontend.lookup(tuple, nodePorts);
  if (found !== null || !nodePorts || Options.version < 20) return found;
  // A connection that was made before the fallback existed keeps its way.
  const known = changetype<CtTuple>(ASIDE);
  Tuple.copy(known, tuple);
  Tuple.reverse(known);
  const kept = Conntrack.peek(known, <u8>TupleFlag.OUT) !== null;
  if (kept && !Conntrack.overdue) return null;
  const nodePort = Frontend.lookupNodePort(tuple);
  if (nodePort === null) return null;
  if (kept) {
    PodService.doubtful = true;
    return null;
  }
  Address.copy(PodService.natAddress, Tuple.daddr(tuple));
  PodService.natPort = tuple.sport;
  return nodePort;
}

/** IPv6 has a loopback address from 1.19 on; before it the pod reaches itself under its own. */
function hasLoopback(): bool {
  return Packet.family == 4 || Options.version >= 19;
}

function loopbackAddress(): usize {
  return changetype<usize>(Options.config)
    + (Packet.family == 4 ? Config.SERVICE_LOOPBACK_IPV4 : Config.SERVICE_LOOPBACK_IPV6);
}
