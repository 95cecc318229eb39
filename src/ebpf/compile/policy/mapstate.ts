/**
 * The state of one policy map, kept so that the datapath's lookup gives the intended verdict.
 *
 * The lookup takes the longest matching key of the packet's identity and of identity 0 and compares the two.
 * That is only right while, for one identity, a longer key never has a lower precedence; insertion keeps this
 * true by leaving out entries that are covered and removing those that become covered
 * (`pkg/policy/mapstate.go`, `insertWithChanges`). What pruning takes out is remembered in `shadowed`.
 *
 *   traffic, 30 bits:  | direction 1 | protocol 8 | port prefix length 5 | port 16 |
 *
 * Allows of equal precedence never cover one another, so a map of plain allows is made of whole identity
 * lists.
 */
import type { CookieTable } from "./cookies.js";

/** As in the `egress` bit of the key. */
export const Traffic = { Ingress: 0, Egress: 1 } as const;

/** Low byte of the precedence at priority 0 (`pkg/policy/types/entry.go`, 1.20). */
export const DENY = 255;
export const ALLOW = 1;
export const FIRST_REDIRECT = 2;
const HIGHEST = 0xffffff;

/** Precedence of a verdict at an ordered level, 0 the first. */
export function precedenceOf(priority: number, low: number): number {
  return (HIGHEST - priority) * 256 + low;
}

export function trafficKey(
  direction: number,
  protocol: number,
  port: number,
  portPrefixLength: number,
): number {
  return (direction << 29) | (protocol << 21) | (portPrefixLength << 16) | port;
}
export const trafficDirection = (traffic: number): number => (traffic >>> 29) & 1;
export const trafficProtocol = (traffic: number): number => (traffic >>> 21) & 0xff;
export const trafficPortPrefixLength = (traffic: number): number => (traffic >>> 16) & 0x1f;
export const trafficPort = (traffic: number): number => traffic & 0xffff;

/** `lpm_prefix_length` of the value: 0 any, 8 protocol, 8 + n with n port bits. */
export function trafficLpmLength(traffic: number): number {
  return trafficProtocol(traffic) === 0 ? 0 : 8 + trafficPortPrefixLength(traffic);
}

/** Whether every packet of `inner` is one of `outer`. */
export function trafficCovers(outer: number, inner: number): boolean {
  if (trafficDirection(outer) !== trafficDirection(inner)) return false;
  const protocol = trafficProtocol(outer);
  if (protocol === 0) return true;
  if (protocol !== trafficProtocol(inner)) return false;
  const length = trafficPortPrefixLength(outer);
  if (length > trafficPortPrefixLength(inner)) return false;
  return length === 0 || (trafficPort(outer) ^ trafficPort(inner)) >>> (16 - length) === 0;
}

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
}

/**
 * Entries of one traffic key, sorted by identity. Columns that are one value throughout are kept as that
 * value.
 */
interface Slot {
  readonly traffic: number;
  ids: Uint32Array;
  precedence: Uint32Array | number;
  cookie: Uint32Array | number;
}

export class MapState {
  private readonly slots = new Map<number, Slot>();
  /** Precedences seen, by direction: entries of different directions never cover one another. */
  private readonly precedences: readonly Set<number>[] = [new Set(), new Set()];
  readonly shadowed: Shadowed[] = [];
  size = 0;

  constructor(private readonly cookies: CookieTable) {}

  /** Adds entries for all these identities, which are sorted; the list is shared, not copied. */
  insertAll(ids: Uint32Array, traffic: number, precedence: number, cookie: number): void {
    if (ids.length === 0) return;
    const slot = this.slots.get(traffic);
    const seen = this.precedences[trafficDirection(traffic)].add(precedence);
    if (seen.size > 1 || (precedence & 0xff) === DENY) {
      for (const id of ids) this.insert(id, traffic, precedence, cookie);
    } else if (slot === undefined) {
      this.slots.set(traffic, { traffic, ids, precedence, cookie });
      this.size += ids.length;
    } else {
      this.merge(slot, ids, cookie);
    }
  }

  /** Adds one entry as the agent would; `cookie` says where it comes from. */
  insert(identity: number, traffic: number, precedence: number, cookie: number): void {
    const slot = this.slots.get(traffic) ?? this.newSlot(traffic);
    const at = find(slot.ids, identity);
    if (at >= 0 && column(slot.precedence, at) === precedence) {
      spread(slot);
      const cookies = slot.cookie as Uint32Array;
      cookies[at] = this.cookies.join(cookies[at], cookie);
      return;
    }
    const seen = this.precedences[trafficDirection(traffic)].add(precedence);
    if (seen.size > 1 || (precedence & 0xff) === DENY) {
      const by = this.coveredBy(identity, traffic, precedence);
      if (by >= 0) {
        this.shadowed.push({ identity, traffic, precedence, cookie, by });
        return;
      }
      this.removeCovered(identity, traffic, precedence, cookie);
    }
    place(slot, identity, precedence, cookie);
    this.size++;
  }

  /** The map's content, in an order that does not depend on insertion. */
  entries(): MapEntries {
    const map = {
      identity: new Uint32Array(this.size),
      traffic: new Uint32Array(this.size),
      precedence: new Uint32Array(this.size),
      cookie: new Uint32Array(this.size),
    };
    let row = 0;
    for (const slot of [...this.slots.values()].sort((a, b) => a.traffic - b.traffic)) {
      const end = row + slot.ids.length;
      map.identity.set(slot.ids, row);
      map.traffic.fill(slot.traffic, row, end);
      fill(map.precedence, slot.precedence, row, end);
      fill(map.cookie, slot.cookie, row, end);
      row = end;
    }
    return map;
  }

  private newSlot(traffic: number): Slot {
    const slot: Slot = {
      traffic,
      ids: new Uint32Array(0),
      precedence: new Uint32Array(0),
      cookie: new Uint32Array(0),
    };
    this.slots.set(traffic, slot);
    return slot;
  }

  /** Union of two sorted lists at one precedence. */
  private merge(slot: Slot, ids: Uint32Array, cookie: number): void {
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
    slot.cookie = cookies.subarray(0, count);
  }

  /** Cookie of an entry that makes the new one useless, or -1. */
  private coveredBy(identity: number, traffic: number, precedence: number): number {
    const deny = (precedence & 0xff) === DENY;
    for (const slot of this.slots.values()) {
      if (!trafficCovers(slot.traffic, traffic)) continue;
      for (const owner of identity === 0 ? [0] : [identity, 0]) {
        const at = find(slot.ids, owner);
        if (at < 0) continue;
        const found = column(slot.precedence, at);
        const sameKey = owner === identity && slot.traffic === traffic;
        // Denies of one precedence: the wider one is enough. Allows of one precedence all stay.
        if (found > precedence || (deny && found === precedence && !sameKey)) return column(slot.cookie, at);
      }
    }
    return -1;
  }

  private removeCovered(identity: number, traffic: number, precedence: number, by: number): void {
    const deny = (precedence & 0xff) === DENY;
    for (const slot of this.slots.values()) {
      if (!trafficCovers(traffic, slot.traffic)) continue;
      const goes = (at: number): boolean => {
        if (identity !== 0 && slot.ids[at] !== identity) return false;
        const found = column(slot.precedence, at);
        const sameKey = slot.ids[at] === identity && slot.traffic === traffic;
        return found < precedence || (found === precedence && deny && !sameKey);
      };
      const [first, last] =
        identity === 0 ? [0, slot.ids.length - 1] : [find(slot.ids, identity), find(slot.ids, identity)];
      // From the end, so that removing one does not move those still to be looked at.
      for (let at = last; at >= first && at >= 0; at--) {
        if (!goes(at)) continue;
        this.shadowed.push({
          identity: slot.ids[at],
          traffic: slot.traffic,
          precedence: column(slot.precedence, at),
          cookie: column(slot.cookie, at),
          by,
        });
        take(slot, at);
        this.size--;
      }
    }
  }
}

function column(values: Uint32Array | number, at: number): number {
  return typeof values === "number" ? values : values[at];
}

function fill(target: Uint32Array, values: Uint32Array | number, start: number, end: number): void {
  if (typeof values === "number") target.fill(values, start, end);
  else target.set(values, start);
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
  if (typeof slot.precedence === "number") slot.precedence = new Uint32Array(length).fill(slot.precedence);
  if (typeof slot.cookie === "number") slot.cookie = new Uint32Array(length).fill(slot.cookie);
}

function place(slot: Slot, identity: number, precedence: number, cookie: number): void {
  spread(slot);
  const at = lowerBound(slot.ids, identity);
  slot.ids = withValue(slot.ids, at, identity);
  slot.precedence = withValue(slot.precedence as Uint32Array, at, precedence);
  slot.cookie = withValue(slot.cookie as Uint32Array, at, cookie);
}

function take(slot: Slot, at: number): void {
  spread(slot);
  slot.ids = without(slot.ids, at);
  slot.precedence = without(slot.precedence as Uint32Array, at);
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
