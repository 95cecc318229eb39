/**
 * Mappings of source NAT (bpf/lib/nat.h): found, repaired or made, and the port that a new one gets. A mapping is a pair in one
 * map; snat.ts says how it looks. The port is kept where it is in range and free. Else the first try is random, and each later
 * one is the number after the last, pressed into the range by multiplication, which climbs to the end and starts again.
 */
import {
  CtBit, CtDirection, CtStatus, CtTuple, DropReason, Errno, NatEntry, PinFlag, PinRecord, StepKind, TupleFlag, UndecidedReason,
  UpdateFlag,
} from "../abi.gen";
import { Address } from "./address";
import { Chance } from "./chance";
import { Conntrack, ENTRY_ANY, FORWARD, REVERSE } from "./conntrack";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { Packet } from "./packet";
import { Service } from "./service";
import { Snat } from "./snat";
import { Steps } from "./steps";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

const ENTRY: usize = memory.data(<i32>NatEntry.SIZE, 16);
const TWIN: usize = memory.data(<i32>CtTuple.SIZE, 16);
const TRACKED: usize = memory.data(<i32>CtTuple.SIZE, 16);

/** snat_v4_nat_handle_mapping: find, repair or make the pair; its OUT side is in `state`. */
export function outward(tuple: CtTuple): i32 {
  const known = Maps.nat(tuple);
  if (Snat.needsCt) {
    const verdict = trackOutward(tuple);
    if (verdict < 0) return verdict;
  }
  if (known === null) return newMapping(tuple);
  Snat.take(known);
  const twin = changetype<CtTuple>(TWIN);
  twinOf(tuple, twin);
  if (Address.equal(Snat.stateAt, Snat.address) && (Snat.state.needs_ct != 0) == Snat.needsCt) {
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
  Address.copy(Tuple.daddr(twin), Snat.stateAt);
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
  Address.copy(Snat.stateAt, Snat.address);
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
    Steps.write(StepKind.SNAT, Steps.NO_MAP, Snat.stateAt, Address.LENGTH, <u32>bswap(Snat.state.port), 0, 0);
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
export function inward(tuple: CtTuple): i32 {
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
  Address.copy(Tuple.daddr(tracked), Snat.stateAt);
  tracked.dport = state.port;
  Tuple.swapPorts(tracked);
  const status = Conntrack.lookup(tracked, CtDirection.INGRESS, REVERSE, ENTRY_ANY, 0);
  return status < 0 ? status : GO_ON;
}

/** The OUT side of the mapping in `state`, whose IN side is at `tuple`, where it is gone. */
function restoreOut(tuple: CtTuple): i32 {
  const state = Snat.state;
  const twin = changetype<CtTuple>(TWIN);
  Address.copy(Tuple.saddr(twin), Snat.stateAt);
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
