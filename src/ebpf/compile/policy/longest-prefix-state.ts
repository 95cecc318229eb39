/**
 * The state of one policy map as 1.16 keeps it (`pkg/policy/mapstate.go`, `denyPreferredInsertWithChanges`).
 *
 * Its datapath takes the entry with the longer protocol and port, deny or not, so where a deny must win over a longer
 * allow the agent adds denies as long as the allow. It also compares CIDRs: an allow of an identity inside a denied
 * prefix becomes a deny. Redundant allows stay.
 */
import type { Prefix } from "../../../cluster/address.js";
import { prefixContains } from "../../../cluster/address.js";
import type { CookieTable } from "./cookies.js";
import type { PolicyState, Shadowed } from "./mapstate.js";
import { columnsOf, type MapEntries } from "./slots.js";
import { trafficCovers, trafficDirection, trafficProtocol } from "./traffic.js";
import { isDeny, type ValueTable } from "./values.js";

interface Entry {
  readonly identity: number;
  readonly traffic: number;
  readonly value: number;
  readonly cookie: number;
}

const NONE: ReadonlySet<number> = new Set();

export class LongestPrefixState implements PolicyState {
  /** By traffic, then identity. */
  private readonly slots = new Map<number, Map<number, Entry>>();
  /** Identities with entries that stand for prefixes. */
  private readonly withPrefixes = new Set<number>();
  readonly shadowed: Shadowed[] = [];
  size = 0;

  /**
   * @param denies whether any rule of the map denies, by direction
   * @param prefixesOf what an identity stands for outside the cluster: a CIDR's prefix, all for world
   */
  constructor(private readonly cookies: CookieTable, private readonly values: ValueTable, private readonly denies: readonly boolean[],
    private readonly prefixesOf: (identity: number) => readonly Prefix[]) {}

  insertAll(ids: Uint32Array, traffic: number, value: number, cookie: number): void {
    for (const identity of ids) this.insert({ identity, traffic, value, cookie });
  }

  insert(entry: Entry): void {
    const direction = trafficDirection(entry.traffic);
    if (!this.denies[direction]) {
      this.put(entry);
      return;
    }
    // Nothing is added to a map that denies everything.
    const all = this.get(0, direction << 29);
    if (all !== undefined && this.isDeny(all)) this.shadow(entry, all.cookie);
    else if (this.isDeny(entry)) this.insertDeny(entry);
    else this.insertAllow(entry);
  }

  entries(): MapEntries {
    const slots = [...this.slots].filter(([, entries]) => entries.size > 0).sort(([a], [b]) => a - b).map(([traffic, entries]) => {
      const sorted = [...entries.values()].sort((a, b) => a.identity - b.identity);
      return {
        traffic,
        ids: Uint32Array.from(sorted, ({ identity }) => identity),
        value: Uint32Array.from(sorted, ({ value }) => value),
        cookie: Uint32Array.from(sorted, ({ cookie }) => cookie),
      };
    });
    return columnsOf(slots, this.size, this.values);
  }

  private insertDeny(entry: Entry): void {
    const deletes: Entry[] = [];
    const adds: Entry[] = [];
    for (const allow of this.related(entry, false)) {
      const [wider, narrower] = [trafficCovers(entry.traffic, allow.traffic), trafficCovers(allow.traffic, entry.traffic)];
      const same = wider && narrower;
      if (this.contains(allow.identity, entry.identity)) {
        if (wider && !same) adds.push({ ...entry, traffic: allow.traffic });
      } else if (wider) {
        if (entry.identity === 0 || entry.identity === allow.identity) deletes.push(allow);
        else if (this.contains(entry.identity, allow.identity)) adds.push({ ...entry, identity: allow.identity, traffic: allow.traffic });
      } else if (entry.identity !== 0 && this.contains(entry.identity, allow.identity)) {
        adds.push({ ...entry, identity: allow.identity });
      }
    }
    for (const gone of deletes) this.remove(gone, entry.cookie);
    for (const added of adds) this.put(added);
    const needed = new Set(adds.map(({ identity, traffic }) => `${identity}/${traffic}`));
    const redundant: Entry[] = [];
    for (const deny of this.related(entry, true)) {
      const sameKey = deny.identity === entry.identity && deny.traffic === entry.traffic;
      if ((deny.identity === 0 || deny.identity === entry.identity) && trafficCovers(deny.traffic, entry.traffic)) {
        if (!sameKey) {
          this.shadow(entry, deny.cookie);
          return;
        }
      } else if ((entry.identity === 0 || entry.identity === deny.identity) && trafficCovers(entry.traffic, deny.traffic)
        && !needed.has(`${deny.identity}/${deny.traffic}`)) redundant.push(deny);
    }
    for (const gone of redundant) this.remove(gone, entry.cookie);
    this.put(entry);
  }

  private insertAllow(entry: Entry): void {
    const adds: Entry[] = [];
    let turned: Entry | null = null;
    for (const deny of this.related(entry, true)) {
      const [wider, narrower] = [trafficCovers(deny.traffic, entry.traffic), trafficCovers(entry.traffic, deny.traffic)];
      if (this.contains(entry.identity, deny.identity)) {
        if (wider && !narrower) adds.push({ ...deny, traffic: entry.traffic });
      } else if (wider) {
        if (deny.identity === 0 || deny.identity === entry.identity) {
          this.shadow(entry, deny.cookie);
          return;
        }
        if (this.contains(deny.identity, entry.identity)) turned = deny;
      } else if (deny.identity !== 0 && this.contains(deny.identity, entry.identity)) {
        adds.push({ ...deny, identity: entry.identity });
      }
    }
    for (const added of adds) this.put(added);
    if (turned === null) {
      this.put(entry);
      return;
    }
    this.shadow(entry, turned.cookie);
    this.put({ ...entry, value: turned.value, cookie: turned.cookie });
  }

  /** Entries of the direction whose protocol can be the entry's too, and whose identity can be inside or around its own. */
  private related(entry: Entry, deny: boolean): Entry[] {
    const protocol = trafficProtocol(entry.traffic);
    const found: Entry[] = [];
    // Only prefixes hold one another; a pod's identity meets itself and identity 0.
    const others = this.prefixesOf(entry.identity).length > 0 ? this.withPrefixes : NONE;
    const identities = entry.identity === 0 ? null : new Set([entry.identity, 0, ...others]);
    for (const [traffic, entries] of this.slots) {
      const other = trafficProtocol(traffic);
      if (trafficDirection(traffic) !== trafficDirection(entry.traffic)) continue;
      if (protocol !== 0 && other !== 0 && protocol !== other) continue;
      const candidates = identities === null ? entries.values() : [...identities].map((identity) => entries.get(identity));
      for (const one of candidates) if (one !== undefined && this.isDeny(one) === deny) found.push(one);
    }
    return found;
  }

  /** `identityIsSupersetOf`: identity 0 holds all others, a prefix those inside it; nothing holds itself. */
  private contains(outer: number, inner: number): boolean {
    if (outer === inner) return false;
    if (outer === 0) return true;
    const inners = inner === 0 ? [] : this.prefixesOf(inner);
    return inners.length > 0 && this.prefixesOf(outer).some((prefix) =>
      inners.some((one) => one.length >= prefix.length && prefixContains(prefix, one.address)));
  }

  private isDeny(entry: Entry): boolean {
    return isDeny(this.values.precedence(entry.value));
  }

  private get(identity: number, traffic: number): Entry | undefined {
    return this.slots.get(traffic)?.get(identity);
  }

  /** Deny is sticky; two allows or two denies join (`addKeyWithChanges`, `Merge`). */
  private put(entry: Entry): void {
    const known = this.get(entry.identity, entry.traffic);
    let slot = this.slots.get(entry.traffic);
    if (slot === undefined) {
      slot = new Map();
      this.slots.set(entry.traffic, slot);
    }
    if (known === undefined) {
      if (this.prefixesOf(entry.identity).length > 0) this.withPrefixes.add(entry.identity);
      slot.set(entry.identity, entry);
      this.size++;
    } else if (this.isDeny(known) === this.isDeny(entry)) {
      slot.set(entry.identity, { ...known, value: this.values.merged(known.value, entry.value),
        cookie: this.cookies.join(known.cookie, entry.cookie) });
    } else if (this.isDeny(entry)) {
      this.shadow(known, entry.cookie);
      slot.set(entry.identity, entry);
    } else this.shadow(entry, known.cookie);
  }

  private remove(entry: Entry, by: number): void {
    if (!this.slots.get(entry.traffic)?.delete(entry.identity)) return;
    this.size--;
    this.shadow(entry, by);
  }

  private shadow({ identity, traffic, value, cookie }: Entry, by: number): void {
    this.shadowed.push({ identity, traffic, precedence: this.values.precedence(value), cookie, by });
  }
}
