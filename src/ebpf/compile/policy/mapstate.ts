/**
 * The state of one policy map, kept so that the datapath's lookup gives the intended verdict.
 *
 * The lookup takes the longest matching key of the packet's identity and of identity 0 and compares the two.
 * That is only right while, for one identity, a longer key never has a lower precedence; insertion keeps this
 * true by leaving out entries that are covered and removing those that become covered
 * (`pkg/policy/mapstate.go`, `insertWithChanges`, 1.17 to 1.20; 1.16 is in longest-prefix-state.ts). What pruning takes
 * out is remembered in `shadowed`.
 *
 * Allows of equal precedence never cover one another, so a map of plain allows is made of whole identity
 * lists.
 */
import type { CookieTable } from "./cookies.js";
import { trafficCovers, trafficDirection, trafficLpmLength } from "./traffic.js";
import { ALLOW, derivedAuth, EXPLICIT_AUTH, isDeny, type ValueTable } from "./values.js";

export interface Shadowed {
  readonly identity: number;
  readonly traffic: number;
  readonly precedence: number;
  readonly cookie: number;
  /** Cookie of the entry that covers it. */
  readonly by: number;
}

/** Sorted by traffic, then identity: columns of one map. */
export interface MapEntries {
  readonly identity: Uint32Array;
  readonly traffic: Uint32Array;
  readonly precedence: Uint32Array;
  readonly cookie: Uint32Array;
  /** Host order; empty where no entry has one. */
  readonly proxyPort: Uint16Array;
  /** Type, and bit 7 for explicit; empty where no entry has one. */
  readonly auth: Uint8Array;
}

/** How the agent of some version keeps a map. */
export interface PolicyState {
  /** Adds entries for all these identities, which are sorted; the list is shared, not copied. */
  insertAll(ids: Uint32Array, traffic: number, value: number, cookie: number): void;
  entries(): MapEntries;
  readonly shadowed: readonly Shadowed[];
  readonly size: number;
}

/**
 * Entries of one traffic key, sorted by identity. Columns that are one value throughout are kept as that
 * value.
 */
export interface Slot {
  readonly traffic: number;
  ids: Uint32Array;
  value: Uint32Array | number;
  cookie: Uint32Array | number;
}

export class MapState implements PolicyState {
  private readonly slots = new Map<number, Slot>();
  /** Values seen, by direction: entries of different directions never cover one another. */
  private readonly seen: readonly Set<number>[] = [new Set(), new Set()];
  readonly shadowed: Shadowed[] = [];
  size = 0;

  /** @param auth whether any rule of the map speaks of authentication (`authRules`), by direction */
  constructor(private readonly cookies: CookieTable, private readonly values: ValueTable,
    private readonly auth: readonly [boolean, boolean] = [false, false]) {}

  insertAll(ids: Uint32Array, traffic: number, value: number, cookie: number): void {
    if (ids.length === 0) return;
    const slot = this.slots.get(traffic);
    if (!this.isPlain(traffic, value)) {
      for (const id of ids) this.insert(id, traffic, value, cookie);
    } else if (slot === undefined) {
      this.slots.set(traffic, { traffic, ids, value, cookie });
      this.size += ids.length;
    } else {
      this.merge(slot, ids, value, cookie);
    }
  }

  /** Adds one entry as the agent would; `cookie` says where it comes from. */
  insert(identity: number, traffic: number, value: number, cookie: number): void {
    if (!this.isPlain(traffic, value)) {
      const { precedence } = this.values.get(value);
      if (this.auth[trafficDirection(traffic)] && !isDeny(precedence)) {
        this.insertAuth(identity, traffic, value, cookie);
        return;
      }
      const by = this.coveredBy(identity, traffic, precedence);
      if (by >= 0) {
        this.shadowed.push({ identity, traffic, precedence, cookie, by });
        return;
      }
      this.removeCovered(identity, traffic, precedence, cookie);
    }
    this.put(identity, traffic, value, cookie);
  }

  /** The map's content, in an order that does not depend on insertion. */
  entries(): MapEntries {
    return columnsOf([...this.slots.values()].sort((a, b) => a.traffic - b.traffic), this.size, this.values);
  }

  /** Whether nothing in the direction can cover it or be covered by it: there is only one, allowing value so far. */
  private isPlain(traffic: number, value: number): boolean {
    const direction = trafficDirection(traffic);
    const seen = this.seen[direction].add(value);
    return seen.size === 1 && !this.auth[direction] && !isDeny(this.values.precedence(value));
  }

  /** Adds an entry, or joins it to the one of the same key and level. */
  private put(identity: number, traffic: number, value: number, cookie: number): void {
    const slot = this.slots.get(traffic) ?? this.newSlot(traffic);
    const at = find(slot.ids, identity);
    if (at < 0) {
      place(slot, identity, value, cookie);
      this.size++;
      return;
    }
    spread(slot);
    const [values, cookies] = [slot.value as Uint32Array, slot.cookie as Uint32Array];
    values[at] = this.values.merged(values[at], value);
    cookies[at] = this.cookies.join(cookies[at], cookie);
  }

  private newSlot(traffic: number): Slot {
    const slot: Slot = {
      traffic,
      ids: new Uint32Array(0),
      value: new Uint32Array(0),
      cookie: new Uint32Array(0),
    };
    this.slots.set(traffic, slot);
    return slot;
  }

  /** Union of two sorted lists of one value. */
  private merge(slot: Slot, ids: Uint32Array, value: number, cookie: number): void {
    const before = slot.ids;
    const merged = new Uint32Array(before.length + ids.length);
    const cookies = new Uint32Array(merged.length);
    let [left, right, count] = [0, 0, 0];
    while (left < before.length || right < ids.length) {
      const takeLeft = right === ids.length || (left < before.length && before[left] <= ids[right]);
      const both = takeLeft && right < ids.length && before[left] === ids[right];
      merged[count] = takeLeft ? before[left] : ids[right];
      const own = takeLeft ? column(slot.cookie, left) : cookie;
      cookies[count++] = both ? this.cookies.join(own, cookie) : own;
      if (takeLeft) left++;
      if (both || !takeLeft) right++;
    }
    this.size += count - before.length;
    slot.ids = merged.subarray(0, count);
    slot.value = value;
    slot.cookie = cookies.subarray(0, count);
  }

  /** Cookie of an entry that makes the new one useless, or -1. */
  private coveredBy(identity: number, traffic: number, precedence: number): number {
    const deny = isDeny(precedence);
    for (const slot of this.slots.values()) {
      if (!trafficCovers(slot.traffic, traffic)) continue;
      for (const owner of identity === 0 ? [0] : [identity, 0]) {
        const at = find(slot.ids, owner);
        if (at < 0) continue;
        const found = this.values.precedence(column(slot.value, at));
        const sameKey = owner === identity && slot.traffic === traffic;
        // Denies of one precedence: the wider one is enough. Allows of one precedence all stay.
        if (found > precedence || (deny && found === precedence && !sameKey)) return column(slot.cookie, at);
      }
    }
    return -1;
  }

  private removeCovered(identity: number, traffic: number, precedence: number, by: number): void {
    const deny = isDeny(precedence);
    for (const slot of this.slots.values()) {
      if (!trafficCovers(traffic, slot.traffic)) continue;
      const own = find(slot.ids, identity);
      const [first, last] = identity === 0 ? [0, slot.ids.length - 1] : [own, own];
      // From the end, so that removing one does not move those still to be looked at.
      for (let at = last; at >= first && at >= 0; at--) {
        const found = this.values.precedence(column(slot.value, at));
        const sameKey = slot.ids[at] === identity && slot.traffic === traffic;
        if (found < precedence || (found === precedence && deny && !sameKey)) this.shadow(slot, at, by);
      }
    }
  }

  private shadow(slot: Slot, at: number, by: number): void {
    this.shadowed.push({
      identity: slot.ids[at],
      traffic: slot.traffic,
      precedence: this.values.precedence(column(slot.value, at)),
      cookie: column(slot.cookie, at),
      by,
    });
    take(slot, at);
    this.size--;
  }

  /**
   * An allow in a map whose rules ask for authentication (`authPreferredInsert`): only entries of the same identity
   * cover one another, an explicit type survives a better redirect, and an entry without one takes the type of the
   * narrowest entry around it.
   */
  private insertAuth(identity: number, traffic: number, value: number, cookie: number): void {
    let { precedence, proxyPort, auth } = this.values.get(value);
    const explicit = (auth & EXPLICIT_AUTH) !== 0;
    let derived = false;
    for (const { slot, at } of this.around(identity, traffic)) {
      const found = this.values.get(column(slot.value, at));
      if (found.precedence > precedence) {
        if (isDeny(found.precedence) || !explicit) {
          this.shadowed.push({ identity, traffic, precedence, cookie, by: column(slot.cookie, at) });
          return;
        }
        ({ precedence, proxyPort } = found);
        break;
      }
      if (derived || explicit || slot.traffic === traffic || (found.auth & EXPLICIT_AUTH) === 0) continue;
      if (allowPrecedence(found.precedence) < allowPrecedence(precedence)) continue;
      auth = derivedAuth(found.auth);
      derived = true;
    }
    this.spreadAuth(identity, traffic, { precedence, proxyPort, auth }, cookie);
    this.put(identity, traffic, this.values.of(precedence, proxyPort, auth), cookie);
  }

  /** What a new allow does to the entries of its identity inside it. */
  private spreadAuth(identity: number, traffic: number, own: { precedence: number; proxyPort: number; auth: number }, by: number)
    : void {
    const explicit = (own.auth & EXPLICIT_AUTH) !== 0;
    let done = false;
    for (const { slot, at } of this.within(identity, traffic)) {
      spread(slot);
      const values = slot.value as Uint32Array;
      let found = this.values.get(values[at]);
      if (found.precedence < own.precedence) {
        if ((found.auth & EXPLICIT_AUTH) === 0) {
          this.shadow(slot, at, by);
          continue;
        }
        values[at] = this.values.of(own.precedence, own.proxyPort, found.auth);
        found = this.values.get(values[at]);
      }
      if (done || !explicit || slot.traffic === traffic) continue;
      if (isDeny(found.precedence) || (found.auth & EXPLICIT_AUTH) !== 0) done = true;
      else values[at] = this.values.of(found.precedence, found.proxyPort, derivedAuth(own.auth));
    }
  }

  /** Entries of the identity that cover the key or are it, narrowest first. */
  private around(identity: number, traffic: number): { slot: Slot; at: number }[] {
    return this.entriesOf(identity, (slot) => trafficCovers(slot.traffic, traffic)).reverse();
  }

  /** Entries of the identity that the key covers or is, widest first. */
  private within(identity: number, traffic: number): { slot: Slot; at: number }[] {
    return this.entriesOf(identity, (slot) => trafficCovers(traffic, slot.traffic));
  }

  private entriesOf(identity: number, wanted: (slot: Slot) => boolean): { slot: Slot; at: number }[] {
    return [...this.slots.values()].filter(wanted)
      .flatMap((slot) => {
        const at = find(slot.ids, identity);
        return at < 0 ? [] : [{ slot, at }];
      })
      .sort((a, b) => trafficLpmLength(a.slot.traffic) - trafficLpmLength(b.slot.traffic));
  }
}

/** As if there were no redirect. */
function allowPrecedence(precedence: number): number {
  return Math.floor(precedence / 256) * 256 + ALLOW;
}

/** Slots as columns of one map. */
export function columnsOf(slots: readonly Slot[], size: number, values: ValueTable): MapEntries {
  const map = {
    identity: new Uint32Array(size),
    traffic: new Uint32Array(size),
    precedence: new Uint32Array(size),
    cookie: new Uint32Array(size),
  };
  let [proxyPort, auth] = [NO_PORTS, NO_AUTH];
  let row = 0;
  for (const slot of slots) {
    const end = row + slot.ids.length;
    map.identity.set(slot.ids, row);
    map.traffic.fill(slot.traffic, row, end);
    if (typeof slot.cookie === "number") map.cookie.fill(slot.cookie, row, end);
    else map.cookie.set(slot.cookie, row);
    if (typeof slot.value === "number") map.precedence.fill(values.precedence(slot.value), row, end);
    const plain = typeof slot.value === "number" && isPlainValue(values.get(slot.value));
    for (let at = row; at < end && !plain; at++) {
      const value = values.get(column(slot.value, at - row));
      map.precedence[at] = value.precedence;
      if (value.proxyPort !== 0) {
        if (proxyPort.length === 0) proxyPort = new Uint16Array(size);
        proxyPort[at] = value.proxyPort;
      }
      if (value.auth !== 0) {
        if (auth.length === 0) auth = new Uint8Array(size);
        auth[at] = value.auth;
      }
    }
    row = end;
  }
  return { ...map, proxyPort, auth };
}

function isPlainValue({ proxyPort, auth }: { proxyPort: number; auth: number }): boolean {
  return proxyPort === 0 && auth === 0;
}

const NO_PORTS = new Uint16Array(0);
const NO_AUTH = new Uint8Array(0);

function column(values: Uint32Array | number, at: number): number {
  return typeof values === "number" ? values : values[at];
}

/** Place of an identity in a sorted list, or -1. */
function find(ids: Uint32Array, identity: number): number {
  const at = lowerBound(ids, identity);
  return at < ids.length && ids[at] === identity ? at : -1;
}

function lowerBound(ids: Uint32Array, identity: number): number {
  let [low, high] = [0, ids.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ids[middle] < identity) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Gives the slot columns of its own, which may be written to. */
function spread(slot: Slot): void {
  const { length } = slot.ids;
  if (typeof slot.value === "number") slot.value = new Uint32Array(length).fill(slot.value);
  if (typeof slot.cookie === "number") slot.cookie = new Uint32Array(length).fill(slot.cookie);
}

function place(slot: Slot, identity: number, value: number, cookie: number): void {
  spread(slot);
  const at = lowerBound(slot.ids, identity);
  slot.ids = withValue(slot.ids, at, identity);
  slot.value = withValue(slot.value as Uint32Array, at, value);
  slot.cookie = withValue(slot.cookie as Uint32Array, at, cookie);
}

function take(slot: Slot, at: number): void {
  spread(slot);
  slot.ids = without(slot.ids, at);
  slot.value = without(slot.value as Uint32Array, at);
  slot.cookie = without(slot.cookie as Uint32Array, at);
}

function withValue(values: Uint32Array, at: number, value: number): Uint32Array {
  const longer = new Uint32Array(values.length + 1);
  longer.set(values.subarray(0, at));
  longer[at] = value;
  longer.set(values.subarray(at), at + 1);
  return longer;
}

function without(values: Uint32Array, at: number): Uint32Array {
  const shorter = new Uint32Array(values.length - 1);
  shorter.set(values.subarray(0, at));
  shorter.set(values.subarray(at + 1), at);
  return shorter;
}
