/**
 * A list:set: sets asked in order until one holds, or until one takes or gives up an entry (ip_set_list_set.c). And the
 * named slots that lists and rules refer to: `swap` changes what is in two slots, their names stay.
 */
import { Element, extensionsHold, Found, type SetClock, type SetContext, SetFlag, type SetQuery,
  type SetReference } from "./element.js";
import { IpSet, type Refusal } from "./ip-set.js";
import type { SetOptions, SetType } from "./set-types.js";

/** A set whose type is not known: kept as text, never decided. */
export class UnknownSet {
  readonly create: string;
  readonly lines: string[] = [];
  readonly undecided: string;

  constructor(typeName: string, create: string) {
    this.create = create;
    this.undecided = `sets of type ${typeName} are not modelled`;
  }
}

export interface Slot {
  name: string;
  set: IpSet | ListSet | UnknownSet;
  /** How many lists hold it. */
  references: number;
}

export interface Member {
  readonly slot: Slot;
  element: Element;
}

export class ListSet {
  readonly type: SetType;
  readonly options: SetOptions;
  readonly clock: SetClock;
  members: Member[] = [];

  constructor(type: SetType, options: SetOptions, clock: SetClock) {
    this.type = type;
    this.options = options;
    this.clock = clock;
  }

  setTimeout(element: Element, seconds: number | null): void {
    const value = seconds ?? this.options.timeout;
    if (this.options.timeout !== null && value !== null && value !== 0) element.expires = this.clock.now + value * 1e9;
  }

  /** null, or what is wrong. `where` names the place: before or after `beside`. */
  add(slot: Slot, element: Element, exist: boolean, where: "before" | "after" | null, beside: Slot | null): string | null {
    this.purge();
    const at = this.members.findIndex((member) => member.slot === slot);
    const besideAt = beside === null ? -1 : this.members.findIndex((member) => member.slot === beside);
    if (where !== null && (besideAt < 0 || beside === slot)) return `${beside?.name ?? ""} is not in the list`;
    if (at >= 0) {
      if (!exist) return `set ${slot.name} is in the list already`;
      this.members[at].element = element.settle(this.members[at].element);
      return null;
    }
    const place = where === null ? this.members.length : where === "before" ? besideAt : besideAt + 1;
    this.members.splice(place, 0, { slot, element: element.settle(null) });
    slot.references++;
    return null;
  }

  delete(slot: Slot, where: "before" | "after" | null, beside: Slot | null): Refusal {
    this.purge();
    const at = this.members.findIndex((member) => member.slot === slot);
    if (at < 0) return "missing";
    if (where !== null && this.members[where === "before" ? at + 1 : at - 1]?.slot !== beside) return "missing";
    this.members.splice(at, 1);
    slot.references--;
    return null;
  }

  flush(): void {
    for (const { slot } of this.members) slot.references--;
    this.members = [];
  }

  purge(): void {
    if (this.options.timeout === null) return;
    const gone = this.members.filter(({ element }) => this.clock.now > element.expires);
    if (gone.length === 0) return;
    for (const { slot } of gone) slot.references--;
    this.members = this.members.filter(({ element }) => this.clock.now <= element.expires);
  }

  /**
   * list_set_ktest. A member that is not decided leaves it open unless a later one holds. One that has timed out is
   * asked, and counts in the set it is, before its own time is looked at.
   */
  test(query: SetQuery, flags: number, context: SetContext): Found {
    let below = flags & ~SetFlag.MatchCounters;
    if ((flags & SetFlag.SkipSubcounters) !== 0) below |= SetFlag.SkipCounters;
    let undecided = false;
    for (let index = 0; index < this.members.length; index++) {
      const { slot, element } = this.members[index];
      const found = testSlot(slot, query, below, context);
      if (found === Found.Undecided && this.clock.now <= element.expires) undecided = true;
      if (found !== Found.Yes) continue;
      if (extensionsHold(element, this.options.counters, this.clock, query, flags, context.skb.length)) return Found.Yes;
    }
    return undecided ? Found.Undecided : Found.No;
  }
}

/** ip_set_test: --return-nomatch turns round what networks say; a nomatch entry is no match without it. */
export function testSlot(slot: Slot, query: SetQuery, flags: number, context: SetContext): Found {
  const { set } = slot;
  if (set instanceof UnknownSet) return Found.Undecided;
  const found = set.test(query, flags, context);
  if (set instanceof ListSet || found === Found.No || found === Found.Undecided) return found;
  const wanted = (flags & SetFlag.ReturnNomatch) !== 0 && set.layout.prefixes >= 0 ? Found.Nomatch : Found.Yes;
  return found === wanted ? Found.Yes : Found.No;
}

/** ip_set_add; of a list, the first member that takes it. */
export function addToSlot(slot: Slot, reference: SetReference, flags: number, timeout: number | null,
  context: SetContext): Refusal {
  const { set } = slot;
  if (set instanceof UnknownSet) return "undecided";
  if (set instanceof IpSet) return set.addPacket(reference, flags, timeout, context);
  for (const member of set.members) {
    if (set.clock.now > member.element.expires) continue;
    const refusal = addToSlot(member.slot, reference, flags, timeout, context);
    if (refusal === null || refusal === "undecided") return refusal;
  }
  return null;
}

/** ip_set_del; of a list, the first member that has it. */
export function deleteFromSlot(slot: Slot, reference: SetReference, context: SetContext): Refusal {
  const { set } = slot;
  if (set instanceof UnknownSet) return "undecided";
  if (set instanceof IpSet) return set.deletePacket(reference, context);
  for (const member of set.members) {
    if (set.clock.now > member.element.expires) continue;
    const refusal = deleteFromSlot(member.slot, reference, context);
    if (refusal === null || refusal === "undecided") return refusal;
  }
  return null;
}

/** Why a slot is not decided. */
export function undecidedOf(slot: Slot): string {
  const { set } = slot;
  if (!(set instanceof ListSet)) return set.undecided;
  for (const member of set.members) {
    const why = undecidedOf(member.slot);
    if (why !== "") return why;
  }
  return "";
}
