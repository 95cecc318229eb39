/**
 * Entries of one traffic key as columns, sorted by identity, and the columns of a whole map.
 */
import type { CookieTable } from "./cookies.js";
import type { ValueTable } from "./values.js";

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

export function column(values: Uint32Array | number, at: number): number {
  return typeof values === "number" ? values : values[at];
}

/** Place of an identity in a sorted list, or -1. */
export function find(ids: Uint32Array, identity: number): number {
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
export function spread(slot: Slot): void {
  const { length } = slot.ids;
  if (typeof slot.value === "number") slot.value = new Uint32Array(length).fill(slot.value);
  if (typeof slot.cookie === "number") slot.cookie = new Uint32Array(length).fill(slot.cookie);
}

/** Keeps the entries for which this holds; the slot gets columns of its own. */
export function keepOnly(slot: Slot, keeps: (at: number) => boolean): void {
  spread(slot);
  const [value, cookie] = [slot.value as Uint32Array, slot.cookie as Uint32Array];
  const places = slot.ids.map((_, at) => at).filter(keeps);
  slot.ids = places.map((at) => slot.ids[at]);
  slot.value = places.map((at) => value[at]);
  slot.cookie = places.map((at) => cookie[at]);
}

/** Adds entries of one value, joined to those that are there; returns how many are new. */
export function mergeInto(slot: Slot, ids: Uint32Array, value: number, cookie: number, values: ValueTable, cookies: CookieTable): number {
  const before = slot.ids;
  const uniform = slot.value === value;
  const merged = new Uint32Array(before.length + ids.length);
  const [newValues, newCookies] = [uniform ? merged : new Uint32Array(merged.length), new Uint32Array(merged.length)];
  let [left, right, count] = [0, 0, 0];
  while (left < before.length || right < ids.length) {
    const takeLeft = right === ids.length || (left < before.length && before[left] <= ids[right]);
    const both = takeLeft && right < ids.length && before[left] === ids[right];
    const ownCookie = takeLeft ? column(slot.cookie, left) : cookie;
    newCookies[count] = both ? cookies.join(ownCookie, cookie) : ownCookie;
    if (!uniform) {
      const ownValue = takeLeft ? column(slot.value, left) : value;
      newValues[count] = both ? values.merged(ownValue, value) : ownValue;
    }
    merged[count++] = takeLeft ? before[left] : ids[right];
    if (takeLeft) left++;
    if (both || !takeLeft) right++;
  }
  slot.ids = merged.subarray(0, count);
  slot.value = uniform ? value : newValues.subarray(0, count);
  slot.cookie = newCookies.subarray(0, count);
  return count - before.length;
}
