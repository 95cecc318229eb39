/**
 * Source NAT of Cilium (bpf/lib/nat.h): the mapping, its port, and the rewriting in both directions, for TCP,
 * UDP, SCTP and ICMP echo. ICMP errors are in snat_icmp.ts, the question whether to translate in
 * masquerade.ts.
 *
 * A mapping is a pair in one map, keys in the packet's own order:
 *
 *     OUT  pod -> remote       to: node address and port
 *     IN   remote -> node      to: pod address and port
 *
 * nat_mapping.ts finds and makes them.
 */
import { CtTuple, DropReason, NatEntry, TupleFlag } from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Tcp } from "../wire/tcp";
import { Address } from "./address";
import { Conntrack } from "./conntrack";
import { Fragments } from "./fragments";
import { Maps } from "./maps";
import { inward, outward } from "./nat_mapping";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { ICMP, ICMPV6, Packet } from "./packet";
import { Service } from "./service";
import { SnatIcmp } from "./snat_icmp";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON } from "./verdict";

const TARGET: usize = memory.data(16, 16);
const STATE: usize = memory.data(<i32>NatEntry.SIZE, 16);
const TRACKED: usize = memory.data(<i32>CtTuple.SIZE, 16);

/** NAT_PUNT_TO_STACK: leave the packet as it is. */
export const PUNT: i32 = -<i32>DropReason.DROP_NAT_NOT_NEEDED;

export class Snat {
  // ---- the target of a translation
  static minPort: u16 = 0;
  static maxPort: u16 = 0;
  static needsCt: bool = false;
  static fromLocalEndpoint: bool = false;

  /** 16 bytes: the source address to put in. */
  @inline
  static get address(): usize {
    return TARGET;
  }

  /** What the mapping says, after `outward` or `inward`. */
  @inline
  static get state(): NatEntry {
    return changetype<NatEntry>(STATE);
  }

  @inline
  static get stateAt(): usize {
    return STATE;
  }

  static resetTarget(): void {
    Address.clear(TARGET);
    Snat.minPort = Options.config.nodeport_snat_port_min;
    Snat.maxPort = Options.config.nodeport_snat_port_max;
    Snat.needsCt = false;
    Snat.fromLocalEndpoint = false;
  }

  /** __snat_v4_nat for a service request: the tuple is in the packet's order and its flags are OUT. */
  static service(tuple: CtTuple): i32 {
    const verdict = outward(tuple);
    if (verdict < 0) return verdict;
    return Translate.rewrite(Ethernet.LENGTH, Packet.l4, tuple.nexthdr, Packet.hasL4, true, STATE,
      tuple.sport,
      Snat.state.port, Tcp.SOURCE_PORT, 0);
  }

  /**
   * snat_v4_nat: a packet on its way out. `tuple` has addresses and protocol. PUNT where nothing is to be
   * done.
   */
  static egress(tuple: CtTuple): i32 {
    tuple.flags = <u8>TupleFlag.OUT;
    const protocol = tuple.nexthdr;
    if (Service.serves(protocol)) {
      if (!Options.fragments && Packet.fragment) return -DropReason.DROP_FRAG_NOSUPPORT;
      const short = Fragments.ports(tuple);
      if (short < 0) return short;
      Tuple.swapPorts(tuple);
      if (!Snat.fromLocalEndpoint && bswap(tuple.sport) < Options.config.nodeport_snat_port_min) return PUNT;
      return Snat.service(tuple);
    }
    if (protocol != (Packet.family == 4 ? ICMP : ICMPV6)) return PUNT;
    return icmpEgress(tuple);
  }

  /** snat_v4_rev_nat: a packet on its way in. PUNT where no mapping can be meant, 167 where there is none. */
  static ingress(tuple: CtTuple): i32 {
    Tuple.fromPacket(tuple);
    tuple.flags = <u8>TupleFlag.IN;
    const protocol = tuple.nexthdr;
    if (Service.serves(protocol)) {
      const short = Fragments.ports(tuple);
      if (short < 0) return short;
      Tuple.swapPorts(tuple);
      const port = bswap(tuple.dport);
      if (port < Snat.minPort || port > Snat.maxPort) return PUNT;
      const missing = inward(tuple);
      if (missing < 0) return missing;
      return Translate.rewrite(Ethernet.LENGTH, Packet.l4, protocol, Packet.hasL4, false, STATE, tuple.dport,
        Snat.state.port, Tcp.DESTINATION_PORT, 0);
    }
    if (protocol != (Packet.family == 4 ? ICMP : ICMPV6)) return PUNT;
    return icmpIngress(tuple);
  }

  /**
   * The mapping in `state`, whose IN side is at `tuple`, goes with the connection that it belongs to: undecided where that
   * one may be collected, DROP_NAT_NO_MAPPING where it is.
   */
  static doubt(tuple: CtTuple): i32 {
    if (Options.config.ct_gc_seconds == 0) return GO_ON;
    const flow = changetype<CtTuple>(TRACKED);
    Tuple.copy(flow, tuple);
    Address.copy(Tuple.daddr(flow), STATE);
    flow.dport = Snat.state.port;
    Tuple.swapPorts(flow);
    const known = Conntrack.peek(flow, <u8>TupleFlag.OUT);
    if (known !== null) return Conntrack.overdue ? Overdue.undecided() : GO_ON;
    return Maps.nat(tuple) === null ? -DropReason.DROP_NAT_NO_MAPPING : GO_ON;
  }

  /** The same of a mapping whose OUT side is at `tuple`. */
  static doubtOut(tuple: CtTuple): i32 {
    if (Options.config.ct_gc_seconds == 0) return GO_ON;
    const flow = changetype<CtTuple>(TRACKED);
    Tuple.copy(flow, tuple);
    Tuple.swapAddresses(flow);
    const known = Conntrack.peek(flow, <u8>TupleFlag.OUT);
    if (known !== null) return Conntrack.overdue ? Overdue.undecided() : GO_ON;
    return Maps.nat(tuple) === null ? -DropReason.DROP_NAT_NO_MAPPING : GO_ON;
  }

  /** Copies an entry's address and port into `state`. */
  @inline
  static take(entry: NatEntry): void {
    memory.copy(STATE, changetype<usize>(entry), NatEntry.SIZE);
  }
}

function icmpEgress(tuple: CtTuple): i32 {
  if (Packet.fragment && Options.version >= 18) return -DropReason.DROP_INVALID;
  const short = Packet.need(Packet.l4, Icmp.LENGTH, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const kind = SnatIcmp.outbound(Packet.frame + Packet.l4);
  if (kind < 0) return kind;
  if (kind == SnatIcmp.ECHO) {
    tuple.dport = 0;
    tuple.sport = Icmp.echoId(Packet.frame + Packet.l4);
    // From 1.18 the identifier is not pressed into the port range.
    if (Options.version >= 18) {
      Snat.minPort = 0;
      Snat.maxPort = 0xffff;
    }
    const verdict = outward(tuple);
    if (verdict < 0) return verdict;
    return Translate.rewrite(Ethernet.LENGTH, Packet.l4, tuple.nexthdr, true, true, STATE, tuple.sport,
      Snat.state.port, Icmp.ECHO_ID, 0);
  }
  const verdict = SnatIcmp.quoteOut();
  if (verdict < 0) return verdict;
  return Translate.rewrite(Ethernet.LENGTH, Packet.l4, tuple.nexthdr, true, true, STATE, 0, 0, 0, 0);
}

function icmpIngress(tuple: CtTuple): i32 {
  if (Packet.fragment && Options.version >= 18) return -DropReason.DROP_INVALID;
  const short = Packet.need(Packet.l4, Icmp.LENGTH, DropReason.DROP_INVALID);
  if (short < 0) return short;
  const icmp = Packet.frame + Packet.l4;
  const echoReply = Icmp.type(icmp) == (Packet.family == 4 ? Icmp.ECHO_REPLY : Icmpv6.ECHO_REPLY);
  if (echoReply) {
    tuple.dport = Icmp.echoId(icmp);
    tuple.sport = 0;
    const missing = inward(tuple);
    if (missing < 0) return missing;
    return Translate.rewrite(Ethernet.LENGTH, Packet.l4, tuple.nexthdr, true, false, STATE, tuple.dport,
      Snat.state.port, Icmp.ECHO_ID, 0);
  }
  if (!SnatIcmp.translatesInbound(icmp)) return PUNT;
  const verdict = SnatIcmp.quoteIn();
  if (verdict < 0) return verdict;
  return Translate.rewrite(Ethernet.LENGTH, Packet.l4, tuple.nexthdr, true, false, STATE, 0, 0, 0,
    SnatIcmp.outerDiff);
}
