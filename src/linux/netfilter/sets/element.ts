/** What an entry of a set carries beside its key, what a rule asks of a set, and the clock of timeouts. Types mostly. */
import type { NodeServices, Skb } from "../../skb.js";
import type { Packet } from "../packet.js";

/** An entry's extensions. Entries of a set without any share PLAIN and NOMATCH. */
export class Element {
  /** The entry excludes what it matches. */
  nomatch = false;
  /** ns of SetClock; Infinity: stays. */
  expires = Infinity;
  /** -1 where an added entry does not say it: 0, or what the entry had. */
  packets = -1;
  bytes = -1;
  /** null where it is not said (by packets): none, or what the entry had. */
  comment: string | null = "";
  /** skbinfo as `ipset save` prints it, with a space before each option. */
  skbinfo = "";
  /** hash:net,iface alone. */
  iface = "";
  physdev = false;
  wildcard = false;
  /** hash:net,iface: the next entry of the same network, in order of addition. */
  next: Element | null = null;

  copy(): Element {
    return Object.assign(new Element(), this);
  }

  /** Becomes an entry; `old` is the one it replaces. */
  settle(old: Element | null): this {
    if (this.packets < 0) this.packets = old?.packets ?? 0;
    if (this.bytes < 0) this.bytes = old?.bytes ?? 0;
    this.comment ??= old?.comment ?? "";
    return this;
  }
}

export const PLAIN = new Element().settle(null);
export const NOMATCH = new Element().settle(null);
NOMATCH.nomatch = true;

/** Virtual time since the first packet, ns: a dump's timeouts count from there, or from the time given at load. */
export class SetClock {
  now = 0;
  private origin = -1;

  tick(nowNs: number): void {
    if (this.origin < 0) this.origin = nowNs - this.now;
    else if (nowNs - this.origin > this.now) this.now = nowNs - this.origin;
  }
}

/** A set as a rule names it: `src` or `dst` for each dimension. */
export interface SetReference {
  readonly set: string;
  /** How many dimensions are given; a set of more never matches. */
  readonly dimensions: number;
  /** Bit i: dimension i is `src`. */
  readonly sources: number;
}

/** ip_set's cmdflags. */
export const SetFlag = { ReturnNomatch: 1, SkipCounters: 2, SkipSubcounters: 4, MatchCounters: 8, Exist: 16 } as const;

export interface CounterTest {
  readonly op: "eq" | "ne" | "lt" | "gt";
  readonly value: number;
}

/** What a set's lookup may look at. */
export interface SetContext {
  readonly skb: Skb;
  readonly packet: Packet;
  readonly services: NodeServices;
  readonly nowNs: number;
}

export interface SetQuery extends SetReference {
  readonly flags: number;
  readonly packets: CounterTest | null;
  readonly bytes: CounterTest | null;
}

export const Found = { No: 0, Yes: 1, /** A nomatch entry. */ Nomatch: 2, Undecided: 3 } as const;
export type Found = (typeof Found)[keyof typeof Found];

/** ip_set_match_extensions: counts the packet, then says whether the entry still stands and its counters fit. */
export function extensionsHold(
  element: Element, counts: boolean, clock: SetClock, query: SetQuery, flags: number, length: number,
): boolean {
  if (clock.now > element.expires) return false;
  if (!counts) return true;
  if ((flags & SetFlag.SkipCounters) === 0) {
    element.packets++;
    element.bytes += length;
  }
  return (flags & SetFlag.MatchCounters) === 0
    || (counterHolds(query.packets, element.packets) && counterHolds(query.bytes, element.bytes));
}

function counterHolds(test: CounterTest | null, value: number): boolean {
  if (test === null) return true;
  switch (test.op) {
    case "eq":
      return value === test.value;
    case "ne":
      return value !== test.value;
    case "lt":
      return value < test.value;
    case "gt":
      return value > test.value;
  }
}
