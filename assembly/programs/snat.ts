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
 * The port is kept where it is in range and free. Else the first try is random, and each later one is the
 * number after the last, pressed into the range by multiplication, which climbs to the end and starts again.
 */
import {
  CtBit, CtDirection, CtStatus, CtTuple, DropReason, Errno, NatEntry, PinFlag, PinRecord, StepKind, TupleFlag,
  UndecidedReason, UpdateFlag,
} from "../abi.gen";
import { Ethernet } from "../wire/ethernet";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Tcp } from "../wire/tcp";
import { Address } from "./address";
import { Chance } from "./chance";
import { Conntrack, ENTRY_ANY, FORWARD, REVERSE } from "./conntrack";
import { Fragments } from "./fragments";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { ICMP, ICMPV6, Packet } from "./packet";
import { Service } from "./service";
import { SnatIcmp } from "./snat_icmp";
import { Steps } from "./steps";
import { Translate } from "./translate";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const TARGET: usize = memory.data(16, 16);
const STATE: usize = memory.data(<i32>NatEntry.SIZE, 16);
const ENTRY: usize = memory.data(<i32>NatEntry.SIZE, 16);
const TWIN: usize = memory.data(<i32>CtTuple.SIZE, 16);
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

/** snat_v4_nat_handle_mapping: find, repair or make the pair; its OUT side is in `state`. */
function outward(tuple: CtTuple): i32 {
  const known = Maps.nat(tuple);
  if (Snat.needsCt) {
    const verdict = trackOutward(tuple);
    if (verdict < 0) return verdict;
  }
  if (known === null) return newMapping(tuple);
  Snat.take(known);
  const twin = changetype<CtTuple>(TWIN);
  twinOf(tuple, twin);
  if (Address.equal(STATE, TARGET) && (Snat.state.needs_ct != 0) == Snat.needsCt) {
    // With the entry of the connection its translation is collected, and a new one may have another port.
    if (Overdue.doubtful && Snat.state.port != tuple.sport) return stillDoubted(tuple);
    // 1.16 does not look whether the IN side is still there.
    if (Options.version > 16 && Maps.nat(twin) === null) return writeTwin(tuple, twin, <u32>UpdateFlag.ANY);
    return GO_ON;
  }
  // Another source address, or another way of being kept alive: the old pair goes.
  if (Maps.deleteNat(tuple) < 0) return -DropReason.DROP_NAT_NO_MAPPING;
  if (Maps.nat(twin) !== null) Maps.deleteNat(twin);
  return newMapping(tuple);
}

/** What got through by the entry makes it anew, but not the mapping as it is: the doubt stays on it. */
function stillDoubted(tuple: CtTuple): i32 {
  const flow = changetype<CtTuple>(TRACKED);
  Tuple.copy(flow, tuple);
  Tuple.swapAddresses(flow);
  const known = Conntrack.peek(flow, <u8>TupleFlag.OUT);
  if (known !== null) known.bits |= <u16>CtBit.DOUBTED;
  return Overdue.undecided();
}

/** The reverse key of `tuple` for the mapping in `state` (set_v4_rtuple). */
function twinOf(tuple: CtTuple, twin: CtTuple): void {
  Address.copy(Tuple.saddr(twin), Tuple.daddr(tuple));
  Address.copy(Tuple.daddr(twin), STATE);
  twin.sport = tuple.dport;
  twin.dport = Snat.state.port;
  twin.nexthdr = tuple.nexthdr;
  twin.flags = <u8>TupleFlag.IN;
  twin.node = tuple.node;
}

function writeTwin(tuple: CtTuple, twin: CtTuple, flag: u32): i32 {
  const entry = changetype<NatEntry>(ENTRY);
  Address.copy(ENTRY, Tuple.saddr(tuple));
  entry.port = tuple.sport;
  entry.needs_ct = Snat.needsCt ? 1 : 0;
  entry.created = Packet.now;
  const result = Maps.setNat(twin, entry, flag);
  return result < 0 ? Verdict.refused(result, DropReason.DROP_NAT_NO_MAPPING) : GO_ON;
}

/** snat_v4_new_mapping. */
function newMapping(tuple: CtTuple): i32 {
  const state = Snat.state;
  const twin = changetype<CtTuple>(TWIN);
  Address.copy(STATE, TARGET);
  state.needs_ct = Snat.needsCt ? 1 : 0;
  state.created = Packet.now;
  twinOf(tuple, twin);
  const wanted = bswap(tuple.sport);
  let port = wanted;
  if (wanted < Snat.minPort || wanted > Snat.maxPort) port = draw(tuple);
  const tries = Options.config.snat_collision_retries;
  for (let attempt: u32 = 0; attempt < tries; attempt++) {
    state.port = bswap(port);
    twin.dport = state.port;
    const entry = changetype<NatEntry>(ENTRY);
    Address.copy(ENTRY, Tuple.saddr(tuple));
    entry.port = tuple.sport;
    entry.needs_ct = state.needs_ct;
    entry.created = state.created;
    const made = Maps.setNat(twin, entry, <u32>UpdateFlag.NOEXIST);
    if (made == -Errno.ENOMEM) return Verdict.undecided(UndecidedReason.MAP_MEMORY);
    if (made == 0) return writeOut(tuple, twin);
    port = attempt == 0 ? draw(tuple) : clamp(port + 1);
  }
  return -DropReason.DROP_NAT_NO_MAPPING;
}

function writeOut(tuple: CtTuple, twin: CtTuple): i32 {
  // 1.16 wants the OUT entry to be new; later versions overwrite.
  const flag = Options.version == 16 ? <u32>UpdateFlag.NOEXIST : <u32>UpdateFlag.ANY;
  if (TRACE) {
    Steps.write(StepKind.SNAT, Steps.NO_MAP, STATE, Address.LENGTH, <u32>bswap(Snat.state.port), 0, 0);
  }
  const refused = Maps.setNat(tuple, Snat.state, flag);
  if (refused >= 0) return GO_ON;
  Maps.deleteNat(twin);
  return Verdict.refused(refused, DropReason.DROP_NAT_NO_MAPPING);
}

/** A random port of the range, or the one that the capture shows. */
function draw(tuple: CtTuple): u16 {
  if (Service.pin != 0) {
    const pin = changetype<PinRecord>(Service.pin);
    const port = bswap(pin.source_port);
    if (pin.flags & <u32>PinFlag.SOURCE_PORT) {
      if (port >= Snat.minPort && port <= Snat.maxPort) {
        Service.pinned |= 1;
        return port;
      }
      Service.pinned |= 2;
    }
  }
  return clamp(<u16>Chance.next(tuple));
}

/** __snat_clamp_port_range; 1.16 takes a remainder that never reaches the last port. */
function clamp(value: u16): u16 {
  if (Options.version == 16) return <u16>(<u32>value % (<u32>Snat.maxPort - Snat.minPort)) + Snat.minPort;
  const ports = <u32>Snat.maxPort - Snat.minPort + 1;
  return <u16>(Snat.minPort + ((<u32>value * ports) >> 16));
}

function trackOutward(tuple: CtTuple): i32 {
  const tracked = changetype<CtTuple>(TRACKED);
  Tuple.copy(tracked, tuple);
  // Ports are in the order of a forward tuple already.
  Tuple.swapAddresses(tracked);
  const status = Conntrack.lookup(tracked, CtDirection.EGRESS, FORWARD, ENTRY_ANY, 0);
  if (status > CtStatus.NEW) Conntrack.confirm(tracked);
  if (status != CtStatus.NEW) return status < 0 ? status : GO_ON;
  Conntrack.blank();
  return Conntrack.create(tracked, CtDirection.EGRESS, false);
}

/** snat_v4_rev_nat_handle_mapping: the IN side into `state`; from 1.18 a lost OUT side is made again. */
function inward(tuple: CtTuple): i32 {
  const known = Maps.nat(tuple);
  if (known === null) return -DropReason.DROP_NAT_NO_MAPPING;
  Snat.take(known);
  const state = Snat.state;
  const doubt = Snat.doubt(tuple);
  if (doubt < 0) return doubt;
  Overdue.translatedBack = true;
  if (Options.version >= 18) {
    const refused = restoreOut(tuple);
    if (refused < 0) return refused;
  }
  if (state.needs_ct == 0) return GO_ON;
  const tracked = changetype<CtTuple>(TRACKED);
  Tuple.copy(tracked, tuple);
  Address.copy(Tuple.daddr(tracked), STATE);
  tracked.dport = state.port;
  Tuple.swapPorts(tracked);
  const status = Conntrack.lookup(tracked, CtDirection.INGRESS, REVERSE, ENTRY_ANY, 0);
  return status < 0 ? status : GO_ON;
}

/** The OUT side of the mapping in `state`, whose IN side is at `tuple`, where it is gone. */
function restoreOut(tuple: CtTuple): i32 {
  const state = Snat.state;
  const twin = changetype<CtTuple>(TWIN);
  Address.copy(Tuple.saddr(twin), STATE);
  twin.sport = state.port;
  Address.copy(Tuple.daddr(twin), Tuple.saddr(tuple));
  twin.dport = tuple.sport;
  twin.nexthdr = tuple.nexthdr;
  twin.flags = <u8>TupleFlag.OUT;
  twin.node = tuple.node;
  if (Maps.nat(twin) !== null) return GO_ON;
  const entry = changetype<NatEntry>(ENTRY);
  Address.copy(ENTRY, Tuple.daddr(tuple));
  entry.port = tuple.dport;
  entry.needs_ct = state.needs_ct;
  entry.created = Packet.now;
  const refused = Maps.setNat(twin, entry, <u32>UpdateFlag.ANY);
  return refused < 0 ? Verdict.refused(refused, DropReason.DROP_NAT_NO_MAPPING) : GO_ON;
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
