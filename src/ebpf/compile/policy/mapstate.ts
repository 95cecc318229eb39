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
import { column, columnsOf, find, keepOnly, type MapEntries, mergeInto, type Slot, spread } from "./slots.js";
import { trafficCovers, trafficDirection, trafficLpmLength } from "./traffic.js";
import { ALLOW, derivedAuth, EXPLICIT_AUTH, isDeny, type ValueTable } from "./values.js";

export type { MapEntries };

export interface Shadowed {
  readonly identity: number;
  readonly traffic: number;
  readonly precedence: number;
  readonly cookie: number;
  /** Cookie of the entry that covers it. */
  readonly by: number;
}

/** How the agent of some version keeps a map. */
export interface PolicyState {
  /** Adds entries for all these identities, which are sorted; the list is shared, not copied. */
  insertAll(ids: Uint32Array, traffic: number, value: number, cookie: number): void;
  entries(): MapEntries;
  readonly shadowed: readonly Shadowed[];
  readonly size: number;
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
    if (this.isPlain(traffic, value)) {
      this.join(ids, traffic, value, cookie);
      return;
    }
    const { precedence } = this.values.get(value);
    if (this.auth[trafficDirection(traffic)] && !isDeny(precedence)) {
      for (const id of ids) this.insertAuth(id, traffic, value, cookie);
      return;
    }
    // Entries of one list are of different identities and leave one another alone, so they can go in together.
    const kept = this.uncovered(ids, traffic, precedence, cookie);
    if (kept.length === 0) return;
    this.removeCovered(kept, traffic, precedence, cookie);
    this.join(kept, traffic, value, cookie);
  }

  /** Adds one entry as the agent would; `cookie` says where it comes from. */
  insert(identity: number, traffic: number, value: number, cookie: number): void {
    this.insertAll(Uint32Array.of(identity), traffic, value, cookie);
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

  /** Adds entries, or joins them to those of the same key and level. */
  private join(ids: Uint32Array, traffic: number, value: number, cookie: number): void {
    const slot = this.slots.get(traffic);
    if (slot === undefined) {
      this.slots.set(traffic, { traffic, ids, value, cookie });
      this.size += ids.length;
    } else this.size += mergeInto(slot, ids, value, cookie, this.values, this.cookies);
  }

  /** The identities for which nothing makes the new entry useless; the others are noted. */
  private uncovered(ids: Uint32Array, traffic: number, precedence: number, cookie: number): Uint32Array {
    const deny = isDeny(precedence);
    const covering = [...this.slots.values()].filter((slot) => slot.ids.length > 0 && trafficCovers(slot.traffic, traffic));
    if (covering.length === 0) return ids;
    /** Cookie of the slot's entry for `owner` where it beats the new entry of `identity`, or -1. */
    const beats = (slot: Slot, owner: number, identity: number): number => {
      const at = find(slot.ids, owner);
      if (at < 0) return -1;
      const found = this.values.precedence(column(slot.value, at));
      const sameKey = owner === identity && slot.traffic === traffic;
      // Denies of one precedence: the wider one is enough. Allows of one precedence all stay.
      return found > precedence || (deny && found === precedence && !sameKey) ? column(slot.cookie, at) : -1;
    };
    const byAll = ids[0] === 0 ? -1 : Math.max(...covering.map((slot) => beats(slot, 0, ids[0])));
    const kept: number[] = [];
    for (const identity of ids) {
      let by = byAll;
      for (let index = 0; by < 0 && index < covering.length; index++) by = beats(covering[index], identity, identity);
      if (by < 0) kept.push(identity);
      else this.shadowed.push({ identity, traffic, precedence, cookie, by });
    }
    return kept.length === ids.length ? ids : Uint32Array.from(kept);
  }

  /** Takes away what the new entries make useless. */
  private removeCovered(ids: Uint32Array, traffic: number, precedence: number, by: number): void {
    const deny = isDeny(precedence);
    for (const slot of this.slots.values()) {
      if (slot.ids.length === 0 || !trafficCovers(traffic, slot.traffic)) continue;
      const goes = (at: number): boolean => {
        const found = this.values.precedence(column(slot.value, at));
        if (found > precedence || (found === precedence && !deny)) return false;
        const own = find(ids, slot.ids[at]) >= 0;
        return (own || ids[0] === 0) && (found < precedence || !(own && slot.traffic === traffic));
      };
      const going = new Set<number>();
      for (let at = 0; at < slot.ids.length; at++) if (goes(at)) going.add(at);
      if (going.size === 0) continue;
      for (const at of going) this.note(slot, at, by);
      this.size -= going.size;
      keepOnly(slot, (at) => !going.has(at));
    }
  }

  private note(slot: Slot, at: number, by: number): void {
    this.shadowed.push({
      identity: slot.ids[at],
      traffic: slot.traffic,
      precedence: this.values.precedence(column(slot.value, at)),
      cookie: column(slot.cookie, at),
      by,
    });
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
    this.join(Uint32Array.of(identity), traffic, this.values.of(precedence, proxyPort, auth), cookie);
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
          this.note(slot, at, by);
          keepOnly(slot, (other) => other !== at);
          this.size--;
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
