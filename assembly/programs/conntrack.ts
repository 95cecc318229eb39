/**
 * Connection tracking as Cilium does it (bpf/lib/conntrack.h): two maps a family (TCP and everything else),
 * keys in Cilium's layout, lifetimes, closing and re-opening. No sequence numbers, no windows, no expiry at
 * lookup: an entry that is past its lifetime matches until it is collected (overdue.ts).
 *
 * `lookup` leaves what it found in the static fields; `draft` is the entry `create` writes, filled by the
 * caller between `blank()` and `create()`.
 */
import { CtBit, CtDirection, CtEntry, CtStatus, CtTuple, DropReason, StepKind, TupleFlag } from "../abi.gen";
import { Icmp } from "../wire/icmp";
import { Icmpv6 } from "../wire/icmpv6";
import { Tcp } from "../wire/tcp";
import { Address } from "./address";
import { Maps } from "./maps";
import { Fragments } from "./fragments";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { ICMP, ICMPV6, Packet, SCTP, TCP, UDP } from "./packet";
import { Steps } from "./steps";
import { Tuple } from "./tuple";
import { Verdict } from "./verdict";

/** What may match, ct_entry_type; ANY is no restriction. */
export const ENTRY_ANY: u32 = 0;
export const ENTRY_NODEPORT: u32 = 1;
export const ENTRY_DSR: u32 = 2;
export const ENTRY_SERVICE: u32 = 4;

export const FORWARD: i32 = 0;
export const REVERSE: i32 = 1;
export const BOTH: i32 = 2;

const ACTION_NONE: i32 = 0;
const ACTION_CREATE: i32 = 1;
const ACTION_CLOSE: i32 = 2;

const DRAFT: usize = memory.data(<i32>CtEntry.SIZE, 16);
const RELATED: usize = memory.data(<i32>CtTuple.SIZE, 16);
const FOUND_ADDRESS: usize = memory.data(16, 16);

/** The entry that the last lookup matched, or 0. */
let met: usize = 0;

export class Conntrack {
  static revNat: u16 = 0;
  static bits: u16 = 0;
  static natPort: u16 = 0;
  static backendId: u32 = 0;
  static syn: bool = false;
  /** The entry that the last lookup found, or the last peek, may be collected already. */
  static overdue: bool = false;

  @inline
  static get natAddress(): usize {
    return FOUND_ADDRESS;
  }

  @inline
  static get draft(): CtEntry {
    return changetype<CtEntry>(DRAFT);
  }

  @inline
  static has(bit: u16): bool {
    return (Conntrack.bits & bit) != 0;
  }

  static blank(): void {
    memory.fill(DRAFT, 0, CtEntry.SIZE);
  }

  /**
   * Fills tuple ports and the RELATED flag from the packet (ct_extract_ports): port fields swapped against
   * the packet, ICMP echo identifiers in place of ports. Addresses and protocol must be there.
   */
  static extractPorts(tuple: CtTuple): i32 {
    const protocol = tuple.nexthdr;
    if (protocol == (Packet.family == 4 ? ICMP : ICMPV6)) {
      // Fragmented ICMP is never tracked from 1.18 on; before, each fragment was read as if it had a header.
      if (Packet.fragment && Options.version >= 18) return -DropReason.DROP_INVALID;
      return Packet.family == 4 ? icmpPorts(tuple) : icmpv6Ports(tuple);
    }
    if (protocol == TCP || protocol == UDP || (protocol == SCTP && Options.sctp)) {
      return Fragments.ports(tuple);
    }
    if (!Options.extendedIpProtocols) return -DropReason.DROP_CT_UNKNOWN_PROTO;
    tuple.sport = 0;
    tuple.dport = 0;
    return 0;
  }

  /**
   * ct_lookup: the flags of the tuple by direction and scope, ports from the packet, then the lookup itself.
   */
  static lookupPacket(tuple: CtTuple, direction: i32, scope: i32): i32 {
    tuple.flags = tupleFlags(direction, scope);
    const wrong = Conntrack.extractPorts(tuple);
    if (wrong < 0) return wrong;
    if (scope == FORWARD) Tuple.reverse(tuple);
    return find(tuple, direction, scope, ENTRY_ANY, 0);
  }

  /** ct_lazy_lookup: the tuple has its ports already. `revNat` narrows SERVICE and NODEPORT entries. */
  static lookup(tuple: CtTuple, direction: i32, scope: i32, types: u32, revNat: u16): i32 {
    tuple.flags = tupleFlags(direction, scope);
    return find(tuple, direction, scope, types, revNat);
  }

  /** Whether an entry with these flags is there; touches nothing but its place in the LRU list. */
  static peek(tuple: CtTuple, flags: u8): CtEntry | null {
    const kept = tuple.flags;
    tuple.flags = flags;
    const entry = present(tuple);
    tuple.flags = kept;
    return entry;
  }

  /** The packet by which `find` met an entry got through: see Overdue.confirm. */
  static confirm(tuple: CtTuple): void {
    if (met != 0) Overdue.confirm(changetype<CtEntry>(met), tuple.nexthdr == TCP);
  }

  /**
   * Writes the draft under `tuple`, and under the address pair for ICMP errors where `related`. Accounted as
   * a SYN whatever the packet is, so a connection picked up midway starts with the short lifetime.
   */
  static create(tuple: CtTuple, direction: i32, related: bool): i32 {
    const tcp = tuple.nexthdr == TCP;
    const entry = changetype<CtEntry>(DRAFT);
    touch(entry, tcp, direction, tcp ? Tcp.SYN : 0);
    if (related) {
      const errors = changetype<CtTuple>(RELATED);
      Address.copy(Tuple.daddr(errors), Tuple.daddr(tuple));
      Address.copy(Tuple.saddr(errors), Tuple.saddr(tuple));
      errors.sport = 0;
      errors.dport = 0;
      errors.nexthdr = Packet.family == 4 ? ICMP : ICMPV6;
      errors.flags = tuple.flags | <u8>TupleFlag.RELATED;
      errors.node = tuple.node;
      const refused = Maps.setConntrack(errors, entry);
      if (refused < 0) return Verdict.refused(refused, DropReason.DROP_CT_CREATE_FAILED);
    }
    const refused = Maps.setConntrack(tuple, entry);
    if (refused < 0) return Verdict.refused(refused, DropReason.DROP_CT_CREATE_FAILED);
    if (TRACE) {
      Steps.write(StepKind.CONNTRACK, Maps.conntrackNumber(tuple), changetype<usize>(tuple), CtTuple.SIZE,
        0, 0, direction);
    }
    return 0;
  }
}

/** ct_lookup_select_tuple_type. */
function tupleFlags(direction: i32, scope: i32): u8 {
  if (direction == CtDirection.SERVICE) return <u8>TupleFlag.SERVICE;
  const egress = direction == CtDirection.EGRESS;
  if (scope == FORWARD) return egress ? <u8>TupleFlag.OUT : <u8>TupleFlag.IN;
  return egress ? <u8>TupleFlag.IN : <u8>TupleFlag.OUT;
}

function find(tuple: CtTuple, direction: i32, scope: i32, types: u32, revNat: u16): i32 {
  Conntrack.revNat = 0;
  Conntrack.bits = 0;
  Conntrack.natPort = 0;
  met = 0;
  let flags: u8 = 0;
  let action = ACTION_NONE;
  if (tuple.nexthdr == TCP && Packet.hasL4) {
    const short = Packet.need(Packet.l4 + 12, 2, DropReason.DROP_CT_INVALID_HDR);
    if (short < 0) return short;
    flags = Tcp.flags(Packet.frame + Packet.l4);
    if (flags & (Tcp.RST | Tcp.FIN)) action = ACTION_CLOSE;
    else if ((flags & Tcp.SYN) && !(flags & Tcp.ACK)) action = ACTION_CREATE;
  }
  if (scope != FORWARD) {
    // REPLY and RELATED come before ESTABLISHED: replies are not subject to policy.
    if (findOne(tuple, direction, types, revNat, action, flags)) {
      return (tuple.flags & TupleFlag.RELATED) ? CtStatus.RELATED : CtStatus.REPLY;
    }
    if (scope != BOTH) return CtStatus.NEW;
    Tuple.reverse(tuple);
    Tuple.flip(tuple);
  }
  return findOne(tuple, direction, types, revNat, action, flags) ? CtStatus.ESTABLISHED : CtStatus.NEW;
}

/** The entry, unless it is collected by now. */
function present(tuple: CtTuple): CtEntry | null {
  const entry = Maps.conntrack(tuple);
  Conntrack.overdue = entry !== null && Overdue.is(entry);
  if (!Conntrack.overdue || !Overdue.isCollected(entry!)) return entry;
  Conntrack.overdue = false;
  Overdue.collect(tuple);
  return null;
}

/** __ct_lookup: true where a live match was found; false also where a SYN re-opens a closing entry. */
function findOne(tuple: CtTuple, direction: i32, types: u32, revNat: u16, action: i32, flags: u8): bool {
  const entry = present(tuple);
  if (entry === null || !matches(entry, types, revNat)) return false;
  Overdue.meet(entry, Conntrack.overdue);
  met = changetype<usize>(entry);
  const syn = (flags & Tcp.SYN) != 0;
  const tcp = tuple.nexthdr == TCP;
  const closing = (entry.bits & CLOSING) != 0;
  if (direction == CtDirection.SERVICE && syn && closing && graceOver(entry)) return false;
  if ((entry.bits & CLOSING) != CLOSING) touch(entry, tcp, direction, flags);
  if (action == ACTION_CREATE) {
    if (closing) {
      entry.bits &= ~(CLOSING | <u16>CtBit.SEEN_NON_SYN);
      entry.rx_flags_seen = 0;
      entry.tx_flags_seen = 0;
      touch(entry, tcp, direction, flags);
      return false;
    }
  } else if (action == ACTION_CLOSE) close(entry, direction, flags);
  fill(entry, direction, syn);
  return true;
}

const CLOSING: u16 = <u16>CtBit.RX_CLOSING | <u16>CtBit.TX_CLOSING;

function matches(entry: CtEntry, types: u32, revNat: u16): bool {
  if (types == ENTRY_ANY) return true;
  if ((types & ENTRY_SERVICE) && entry.rev_nat_index == revNat) return true;
  if ((types & ENTRY_NODEPORT) && (entry.bits & CtBit.NODE_PORT) && entry.rev_nat_index != 0) {
    if (revNat == 0 || entry.rev_nat_index == revNat) return true;
  }
  return (types & ENTRY_DSR) != 0 && Options.dsr && (entry.bits & CtBit.DSR_INTERNAL) != 0;
}

/** ct_entry_expired_rebalance: only the sending side is seen for a service. */
function graceOver(entry: CtEntry): bool {
  return entry.last_tx_report + Options.config.ct_service_close_grace <= Packet.now;
}

/**
 * FIN: its own direction. Both for a service, and for every RST: Cilium means "a RST before both SYNs were seen", but
 * `ct_entry_seen_both_syns` masks one byte with TCP_FLAG_SYN in network order, 0x200, and so is never true (x86, arm64; recorded).
 */
function close(entry: CtEntry, direction: i32, flags: u8): void {
  if (direction == CtDirection.SERVICE || (flags & Tcp.RST)) entry.bits |= CLOSING;
  else if (direction == CtDirection.INGRESS) entry.bits |= <u16>CtBit.RX_CLOSING;
  else entry.bits |= <u16>CtBit.TX_CLOSING;
  if ((entry.bits & CLOSING) != CLOSING) return;
  live(entry, Options.config.ct_close_timeout, direction, flags);
}

/** ct_update_timeout. */
function touch(entry: CtEntry, tcp: bool, direction: i32, flags: u8): void {
  const service = direction == CtDirection.SERVICE;
  const config = Options.config;
  let lifetime = service ? config.ct_service_timeout_other : config.ct_connection_timeout_other;
  if (tcp) {
    if (!(flags & Tcp.SYN)) entry.bits |= <u16>CtBit.SEEN_NON_SYN;
    if (!(entry.bits & CtBit.SEEN_NON_SYN)) lifetime = config.ct_syn_timeout;
    else lifetime = service ? config.ct_service_timeout_tcp : config.ct_connection_timeout_tcp;
  }
  live(entry, lifetime, direction, flags);
}

/** __ct_update_timeout: new lifetime, and the flags and time of a report where one is due. */
function live(entry: CtEntry, lifetime: u32, direction: i32, flags: u8): void {
  const now = Packet.now;
  entry.lifetime = now + lifetime;
  const masked = flags & <u8>Options.config.ct_report_flags;
  const interval = Options.config.ct_report_interval;
  if (direction == CtDirection.INGRESS) {
    const seen = masked | entry.rx_flags_seen;
    if (entry.last_rx_report + interval < now || seen != entry.rx_flags_seen) {
      entry.rx_flags_seen = seen;
      entry.last_rx_report = now;
    }
    return;
  }
  const seen = masked | entry.tx_flags_seen;
  if (entry.last_tx_report + interval < now || seen != entry.tx_flags_seen) {
    entry.tx_flags_seen = seen;
    entry.last_tx_report = now;
  }
}

/** ct_lookup_fill_state. */
function fill(entry: CtEntry, direction: i32, syn: bool): void {
  Conntrack.revNat = entry.rev_nat_index;
  if (direction == CtDirection.SERVICE) {
    Conntrack.backendId = entry.backend_id;
    Conntrack.syn = syn;
    return;
  }
  Conntrack.bits = entry.bits;
  Conntrack.natPort = entry.nat_port;
  Address.copy(FOUND_ADDRESS, changetype<usize>(entry));
}

function icmpPorts(tuple: CtTuple): i32 {
  const short = Packet.need(Packet.l4, 2, DropReason.DROP_CT_INVALID_HDR);
  if (short < 0) return short;
  const icmp = Packet.frame + Packet.l4;
  const type = Icmp.type(icmp);
  tuple.sport = 0;
  tuple.dport = 0;
  if (type == Icmp.ECHO || type == Icmp.ECHO_REPLY) {
    const cut = Packet.need(Packet.l4 + Icmp.ECHO_ID, 2, DropReason.DROP_CT_INVALID_HDR);
    if (cut < 0) return cut;
    if (type == Icmp.ECHO) tuple.dport = Icmp.echoId(icmp);
    else tuple.sport = Icmp.echoId(icmp);
  } else if (type == Icmp.DESTINATION_UNREACHABLE || type == Icmp.TIME_EXCEEDED
    || type == Icmp.PARAMETER_PROBLEM) {
    tuple.flags |= <u8>TupleFlag.RELATED;
  }
  return 0;
}

function icmpv6Ports(tuple: CtTuple): i32 {
  const short = Packet.need(Packet.l4, 1, DropReason.DROP_CT_INVALID_HDR);
  if (short < 0) return short;
  const icmp = Packet.frame + Packet.l4;
  const type = Icmpv6.type(icmp);
  tuple.sport = 0;
  tuple.dport = 0;
  if (type == Icmpv6.ECHO_REQUEST || type == Icmpv6.ECHO_REPLY) {
    const cut = Packet.need(Packet.l4 + Icmpv6.ECHO_ID, 2, DropReason.DROP_CT_INVALID_HDR);
    if (cut < 0) return cut;
    if (type == Icmpv6.ECHO_REQUEST) tuple.dport = Icmpv6.echoId(icmp);
    else tuple.sport = Icmpv6.echoId(icmp);
  } else if (type >= Icmpv6.DESTINATION_UNREACHABLE && type <= Icmpv6.PARAMETER_PROBLEM) {
    tuple.flags |= <u8>TupleFlag.RELATED;
  }
  return 0;
}
