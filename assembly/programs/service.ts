/**
 * Service load balancing for a packet (bpf/lib/lb.h): keep or choose a backend for its frontend (frontend.ts). The choice
 * is kept in a SERVICE conntrack entry, so it is made once a connection. Selection is by Maglev, or random over
 * slots 1..count; where a capture shows a random choice (a pin) and the slot list has it, that one is taken.
 *
 * Works on a tuple in conntrack's order: daddr is the frontend, sport its port, dport the client's port.
 */
import {
  BackendEntry, BackendState, ConfigOption, CtDirection, CtStatus, CtTuple, DropReason, LbAlgorithm, PinFlag,
  PinRecord, ServiceEntry, ServiceKey, StepKind, UndecidedReason,
} from "../abi.gen";
import { Address } from "./address";
import { Affinity } from "./affinity";
import { Answer } from "./answer";
import { Chance } from "./chance";
import { Conntrack, ENTRY_SERVICE, REVERSE } from "./conntrack";
import { Frontend } from "./frontend";
import { Maglev } from "./maglev";
import { Maps } from "./maps";
import { Options } from "./options";
import { Overdue } from "./overdue";
import { SCTP, TCP, UDP } from "./packet";
import { ServiceMaps } from "./service_maps";
import { Steps } from "./steps";
import { Tuple } from "./tuple";
import { GO_ON, Verdict } from "./verdict";

export class Service {
  /** The backend chosen or kept; valid after `local` said GO_ON. */
  static backend: usize = 0;
  static backendId: u32 = 0;
  /** Service whose slots were used, 0 where none was. */
  static revNat: u32 = 0;
  static cookie: u32 = 0;

  // ---- the pin of the frame under way
  /** PinRecord, or 0. */
  static pin: usize = 0;
  /** 1: taken, 2: offered and refused. */
  static pinned: u8 = 0;

  @inline
  static chosen(): BackendEntry {
    return changetype<BackendEntry>(Service.backend);
  }

  /** Protocols that services exist for (lb_is_svc_proto). */
  @inline
  static serves(protocol: u8): bool {
    return protocol == TCP || protocol == UDP || (protocol == SCTP && Options.sctp);
  }

  /**
   * lb4_local: the backend of this packet. GO_ON with `backend` set; DROP_NO_SERVICE where there is none. The
   * flags of the tuple are kept.
   */
  static local(found: ServiceEntry, tuple: CtTuple, northSouth: bool): i32 {
    const flags = tuple.flags;
    Service.revNat = found.rev_nat_index;
    Service.cookie = found.cookie;
    const status = Conntrack.lookup(tuple, CtDirection.SERVICE, REVERSE, ENTRY_SERVICE, found.rev_nat_index);
    let verdict = status;
    const affine = Affinity.has(found);
    if (affine) Affinity.clientAddress(found, Tuple.saddr(tuple));
    const overdue = status == CtStatus.REPLY && Conntrack.overdue;
    // Which backend the capture shows says whether the entry was collected.
    if (status == CtStatus.NEW || (overdue && Service.pin != 0)) verdict = firstChoice(found, tuple, northSouth, affine);
    else if (status == CtStatus.REPLY) verdict = keep(found, tuple, northSouth);
    else if (status >= 0) verdict = -DropReason.DROP_UNKNOWN_CT;
    if (overdue && verdict == GO_ON) {
      if (mayChoose(found, tuple, northSouth, affine)) Conntrack.confirm(tuple);
      else verdict = Overdue.undecided();
    }
    tuple.flags = flags;
    if (affine && verdict == GO_ON) verdict = Affinity.refresh(Service.backendId);
    if (TRACE) {
      Steps.write(StepKind.SERVICE, Steps.NO_MAP, changetype<usize>(Frontend.key), ServiceKey.SIZE, Service.backendId, found.cookie,
        found.rev_nat_index);
    }
    return verdict;
  }

  /** lb4_local with a backend that the packet's outer header named: nothing is chosen, and its entry names none. */
  static named(found: ServiceEntry, tuple: CtTuple, backend: BackendEntry): i32 {
    const flags = tuple.flags;
    Service.revNat = found.rev_nat_index;
    Service.cookie = found.cookie;
    Service.backend = changetype<usize>(backend);
    let status = Conntrack.lookup(tuple, CtDirection.SERVICE, REVERSE, ENTRY_SERVICE, <u16>Service.revNat);
    if (status == CtStatus.NEW) {
      Conntrack.blank();
      Conntrack.draft.rev_nat_index = found.rev_nat_index;
      status = Conntrack.create(tuple, CtDirection.SERVICE, false);
    } else if (status > CtStatus.NEW) Conntrack.confirm(tuple);
    tuple.flags = flags;
    return status < 0 ? status : GO_ON;
  }

  /**
   * What becomes of a packet that finds no backend: answered (service-no-backend-response), dropped, or where services
   * without endpoints are not routable (from 1.19) passed on as it is, unless a Local policy keeps it here.
   */
  static unavailable(found: ServiceEntry): i32 {
    if (Frontend.leavesUnroutable()) return Frontend.passesOn(found) ? GO_ON : -<i32>DropReason.DROP_NO_SERVICE;
    return Options.has(ConfigOption.SERVICE_NO_BACKEND_RESPONSE_REJECT)
      ? Answer.portUnreachable() : -<i32>DropReason.DROP_NO_SERVICE;
  }

  /** A backend for a new flow into `backend` and `backendId`. GO_ON, or undecided, or DROP_NO_SERVICE. */
  static select(found: ServiceEntry, tuple: CtTuple, northSouth: bool): i32 {
    if (found.count == 0) return -DropReason.DROP_NO_SERVICE;
    const algorithm = Maglev.algorithm(found, northSouth);
    if (algorithm == <u32>LbAlgorithm.RANDOM) return Service.selectRandom(found, tuple);
    return algorithm == <u32>LbAlgorithm.MAGLEV ? selectMaglev(found, tuple) : -<i32>DropReason.DROP_NO_SERVICE;
  }

  /** The same at random, over the active slots; what bpf_sock always does. */
  static selectRandom(found: ServiceEntry, tuple: CtTuple): i32 {
    if (found.count == 0) return -DropReason.DROP_NO_SERVICE;
    if (takePin(found)) return GO_ON;
    return pick(<u16>(Chance.next(tuple) % found.count) + 1);
  }

  /** Takes the backend that the client named to Affinity has, where it has one that is there. */
  static keepAffine(found: ServiceEntry): bool {
    const id = Affinity.kept(found);
    if (id == 0) return false;
    const backend = ServiceMaps.backend(id);
    if (backend === null) return false;
    Service.backendId = id;
    Service.backend = changetype<usize>(backend);
    return true;
  }

  /** The backend in a slot of the service whose key was found last. */
  static slot(slot: u16): i32 {
    return pick(slot);
  }
}

function firstChoice(found: ServiceEntry, tuple: CtTuple, northSouth: bool, affine: bool): i32 {
  if (found.count == 0) return -DropReason.DROP_NO_SERVICE;
  const verdict = affine && Service.keepAffine(found) ? GO_ON : Service.select(found, tuple, northSouth);
  if (verdict < 0) return verdict;
  Conntrack.blank();
  Conntrack.draft.rev_nat_index = found.rev_nat_index;
  Conntrack.draft.backend_id = Service.backendId;
  return Conntrack.create(tuple, CtDirection.SERVICE, false);
}

/** A known flow: its backend, unless that is gone, or no longer active and this is a SYN. */
function keep(found: ServiceEntry, tuple: CtTuple, northSouth: bool): i32 {
  const syn = Conntrack.syn;
  Service.backendId = Conntrack.backendId;
  const kept = ServiceMaps.backend(Conntrack.backendId);
  if (kept !== null && (kept.flags == <u8>BackendState.ACTIVE || !syn)) {
    Service.backend = changetype<usize>(kept);
    return GO_ON;
  }
  const verdict = Service.select(found, tuple, northSouth);
  if (verdict < 0) return verdict;
  const entry = Maps.conntrack(tuple);
  if (entry !== null) {
    entry.backend_id = Service.backendId;
    entry.rev_nat_index = found.rev_nat_index;
  }
  return GO_ON;
}

/** A first choice could come to the backend that is taken now: where its entry is collected, this is what happens. */
function mayChoose(found: ServiceEntry, tuple: CtTuple, northSouth: bool, affine: bool): bool {
  const id = Service.backendId;
  if (affine) {
    const bound = Affinity.kept(found);
    if (bound != 0 && ServiceMaps.backend(bound) !== null) return bound == id;
  }
  if (found.count != 0 && Maglev.algorithm(found, northSouth) == <u32>LbAlgorithm.MAGLEV) {
    const place = Maglev.place(found, tuple, Frontend.key.node);
    return place != 0 && load<u32>(place) == id;
  }
  const key = Frontend.key;
  let listed = false;
  for (let slot: u16 = 1; slot <= found.count && !listed; slot++) {
    key.backend_slot = slot;
    const entry = ServiceMaps.service(key);
    listed = entry !== null && entry.backend_id == id;
  }
  key.backend_slot = 0;
  return listed;
}

function pick(slot: u16): i32 {
  const key = Frontend.key;
  key.backend_slot = slot;
  const entry = ServiceMaps.service(key);
  if (entry === null) return -DropReason.DROP_NO_SERVICE;
  const backend = ServiceMaps.backend(entry.backend_id);
  if (backend === null) return -DropReason.DROP_NO_SERVICE;
  Service.backendId = entry.backend_id;
  Service.backend = changetype<usize>(backend);
  return GO_ON;
}

/** The flow's backend by its hash; a capture's choice is not asked, only compared with. */
function selectMaglev(found: ServiceEntry, tuple: CtTuple): i32 {
  const place = Maglev.place(found, tuple, Frontend.key.node);
  if (place == 0) return -DropReason.DROP_NO_SERVICE;
  const id = load<u32>(place);
  // No table of Cilium's holds 0: this one was left empty for want of memory (src/ebpf/compile/maglev.ts).
  if (id == 0) return Verdict.undecided(UndecidedReason.MAGLEV);
  const backend = ServiceMaps.backend(id);
  if (backend === null) return -DropReason.DROP_NO_SERVICE;
  Service.backendId = id;
  Service.backend = changetype<usize>(backend);
  if (pinsBackend()) Service.pinned = isPinned() ? 1 : 2;
  return GO_ON;
}

/** Takes the backend that the capture shows, where an active slot has it. */
function takePin(found: ServiceEntry): bool {
  if (!pinsBackend()) return false;
  for (let slot: u16 = 1; slot <= found.count; slot++) {
    if (pick(slot) < 0) continue;
    if (isPinned()) {
      Service.pinned = 1;
      return true;
    }
  }
  Service.pinned = 2;
  return false;
}

/** The capture shows a backend, and no service was asked about it yet. */
function pinsBackend(): bool {
  if (Service.pin == 0 || Service.pinned != 0) return false;
  return (changetype<PinRecord>(Service.pin).flags & <u32>PinFlag.BACKEND) != 0;
}

/** The backend chosen last is the one that the capture shows. */
function isPinned(): bool {
  return Service.chosen().port == changetype<PinRecord>(Service.pin).backend_port
    && Address.equal(Service.backend + BackendEntry.ADDRESS, Service.pin + PinRecord.BACKEND);
}
