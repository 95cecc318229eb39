/**
 * The state of one policy map with rules that pass (`pkg/policy/mapstate.go`, `insertWithPasses`, 1.20).
 *
 * A pass is no entry of the datapath. It stays beside the entries, and what later tiers say of the traffic it covers is
 * lifted to the levels kept free behind it; where only a part of an entry's traffic is passed, that part gets an entry of
 * its own. Entries are looked through one by one: such policies are few.
 */
import type { CookieTable } from "./cookies.js";
import type { PolicyState, Shadowed } from "./mapstate.js";
import { columnsOf, type MapEntries } from "./slots.js";
import { trafficCovers, trafficDirection } from "./traffic.js";
import { DENY, isDeny, precedenceOf, sameLevel, type ValueTable } from "./values.js";

interface Key {
  readonly identity: number;
  readonly traffic: number;
}

/** `passMeta`: at which precedence a tier passes, and which precedences are the tier's. */
interface Pass {
  readonly precedence: number;
  readonly tierMax: number;
  readonly tierMin: number;
  readonly cookie: number;
}

interface Entry extends Key {
  /** null: only passes are known of the key. */
  value: number | null;
  cookie: number;
  /** At most one a tier, the last tier first. */
  passes: readonly Pass[];
}

export class PassState implements PolicyState {
  private readonly all = new Map<string, Entry>();
  readonly shadowed: Shadowed[] = [];

  /** @param bases first levels of the tiers, ascending, by direction */
  constructor(private readonly cookies: CookieTable, private readonly values: ValueTable,
    private readonly bases: readonly (readonly number[])[]) {}

  get size(): number {
    return [...this.all.values()].filter(({ value }) => value !== null).length;
  }

  insertAll(ids: Uint32Array, traffic: number, value: number, cookie: number): void {
    for (const identity of ids) this.insert({ identity, traffic }, value, cookie);
  }

  entries(): MapEntries {
    const byTraffic = new Map<number, Entry[]>();
    for (const entry of this.all.values()) {
      if (entry.value !== null) byTraffic.set(entry.traffic, [...(byTraffic.get(entry.traffic) ?? []), entry]);
    }
    const slots = [...byTraffic].sort(([a], [b]) => a - b).map(([traffic, found]) => {
      found.sort((a, b) => a.identity - b.identity);
      return {
        traffic,
        ids: Uint32Array.from(found, ({ identity }) => identity),
        value: Uint32Array.from(found, ({ value }) => value!),
        cookie: Uint32Array.from(found, ({ cookie }) => cookie),
      };
    });
    return columnsOf(slots, this.size, this.values);
  }

  private insert(key: Key, value: number, cookie: number): void {
    const { precedence, proxyPort } = this.values.get(value);
    const tier = this.tierOf(precedence, trafficDirection(key.traffic));
    if ((precedence & 0xff) === 0 && proxyPort === 0) this.insertPass(key, { precedence, ...tier, cookie });
    else this.insertEntry(key, value, cookie, tier.tierMax);
  }

  private tierOf(precedence: number, direction: number): { tierMax: number; tierMin: number } {
    const bases = this.bases[direction];
    let at = bases.length - 1;
    while (at > 0 && precedenceOf(bases[at], DENY) < precedence) at--;
    const next = bases[at + 1];
    return { tierMax: precedenceOf(bases[at], DENY), tierMin: next === undefined ? 0x100 : precedenceOf(next, 0) + 0x100 };
  }

  private insertPass(key: Key, pass: Pass): void {
    for (const found of this.covering(key)) {
      const precedence = this.precedence(found);
      if (precedence !== null && pass.tierMax >= precedence && precedence > pass.precedence) return;
      if (found.passes.some((one) => one.tierMin === pass.tierMin && one.precedence >= pass.precedence)) return;
    }
    for (const found of this.covered(key)) this.prune(found, key, pass.precedence, pass.cookie);
    const known = this.get(key);
    if (known === undefined) this.put({ ...key, value: null, cookie: 0, passes: [pass] });
    else known.passes = collected(known.passes, pass);
  }

  private insertEntry(key: Key, value: number, cookie: number, tierMax: number): void {
    const { precedence } = this.values.get(value);
    const done = new Set<string>();
    const around = this.around(key, precedence, tierMax, done, true);
    if (around === null) {
      this.shadowed.push({ ...key, precedence, cookie, by: this.blame(key, precedence) });
      return;
    }
    const parts = around.parts.filter((part) => add(done, textOf(part)));
    const bailed = around.bail > 0;
    for (const found of this.narrower(key)) {
      const covered = key.identity === 0 || found.identity === key.identity;
      const part = { identity: found.identity === 0 ? key.identity : found.identity, traffic: found.traffic };
      if (textOf(part) !== textOf(key) && found.passes.some((pass) => pass.precedence > tierMax) && add(done, textOf(part))) {
        parts.push(part);
      }
      if (!bailed && covered) this.prune(found, key, precedence, cookie);
    }
    if (!this.putPassed(key, value, cookie, around) && !bailed) this.join(key, value, cookie);
    // The parts that are passed, which may lead to further, narrower parts.
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const own = this.around(part, precedence, tierMax, done, false)!;
      parts.push(...own.parts.filter((one) => add(done, textOf(one))));
      this.putPassed(part, value, cookie, own);
    }
  }

  /**
   * What lies around a new entry: the passes of earlier tiers that cover it, the best precedence of an earlier tier that
   * beats it, and the identities for which a part of it is passed. null: it is covered on its own tier.
   */
  private around(key: Key, precedence: number, tierMax: number, done: Set<string>, whole: boolean)
    : { passes: readonly Pass[]; bail: number; parts: Key[] } | null {
    let passes: readonly Pass[] = [];
    let bail = 0;
    const parts = new Map<string, Key>();
    for (const found of this.broader(key)) {
      const covers = key.identity !== 0 || found.identity === 0;
      const part = { identity: found.identity, traffic: key.traffic };
      for (const pass of found.passes) {
        if (pass.tierMin > precedence) {
          if (!covers) {
            parts.set(textOf(part), part);
            break;
          }
          passes = collected(passes, pass);
        } else if (whole && covers && pass.precedence > precedence) return null;
      }
      const own = this.precedence(found);
      if (own === null) continue;
      const beats = own > precedence || (isDeny(precedence) && own === precedence && textOf(found) !== textOf(key));
      if (!beats) continue;
      if (covers) {
        if (own > tierMax) bail = Math.max(bail, own);
        else if (whole) return null;
      } else if (own <= tierMax) done.add(textOf(part));
    }
    return { passes, bail, parts: [...parts.values()] };
  }

  /** Puts the entry where the passes lift it, if that beats what bars it. */
  private putPassed(key: Key, value: number, cookie: number, { passes, bail }: { passes: readonly Pass[]; bail: number }): boolean {
    if (passes.length === 0) return false;
    const own = this.values.get(value);
    const precedence = passes.reduce((lifted, pass) => lifted - pass.tierMin + pass.precedence, own.precedence);
    if (precedence <= bail) return false;
    for (const found of this.covered(key)) this.prune(found, key, precedence, cookie);
    this.join(key, this.values.of(precedence, own.proxyPort, own.auth), cookie);
    return true;
  }

  /** `pruneCoveredNarrowerKey`: takes away what the precedence beats, passes of the same tier and the verdict. */
  private prune(found: Entry, key: Key, precedence: number, by: number): void {
    found.passes = found.passes.filter((pass) =>
      precedence < pass.tierMin || precedence > pass.tierMax || pass.precedence > precedence);
    const own = this.precedence(found);
    if (own !== null && (own < precedence || (isDeny(own) && own === precedence && textOf(found) !== textOf(key)))) {
      this.shadowed.push({ identity: found.identity, traffic: found.traffic, precedence: own, cookie: found.cookie, by });
      found.value = null;
    }
    if (found.value === null && found.passes.length === 0) this.all.delete(textOf(found));
  }

  /** `addKeyWithChanges`. */
  private join(key: Key, value: number, cookie: number): void {
    const known = this.get(key);
    if (known === undefined) this.put({ ...key, value, cookie, passes: [] });
    else if (known.value === null) [known.value, known.cookie] = [value, cookie];
    else {
      const [before, now] = [this.values.precedence(known.value), this.values.precedence(value)];
      if (sameLevel(before, now) && isDeny(before) === isDeny(now)) {
        known.value = this.values.merged(known.value, value);
        known.cookie = this.cookies.join(known.cookie, cookie);
      } else if (before < now) [known.value, known.cookie] = [value, cookie];
    }
  }

  private blame(key: Key, precedence: number): number {
    return this.covering(key).find((found) => (this.precedence(found) ?? 0) >= precedence)?.cookie ?? 0;
  }

  /** Wider or equal traffic, the same identity or 0. */
  private covering(key: Key): Entry[] {
    return this.where((one) => trafficCovers(one.traffic, key.traffic) && (one.identity === key.identity || one.identity === 0));
  }

  /** Wider or equal traffic; for identity 0 of every identity. */
  private broader(key: Key): Entry[] {
    return key.identity === 0 ? this.where((one) => trafficCovers(one.traffic, key.traffic)) : this.covering(key);
  }

  /** Narrower or equal traffic, the same identity, or any for 0. */
  private covered(key: Key): Entry[] {
    return this.where((one) => trafficCovers(key.traffic, one.traffic) && (key.identity === 0 || one.identity === key.identity));
  }

  /** As `covered`, and identity 0. */
  private narrower(key: Key): Entry[] {
    return this.where((one) => trafficCovers(key.traffic, one.traffic)
      && (key.identity === 0 || one.identity === key.identity || one.identity === 0));
  }

  private where(wanted: (entry: Entry) => boolean): Entry[] {
    return [...this.all.values()].filter(wanted);
  }

  private precedence({ value }: Entry): number | null {
    return value === null ? null : this.values.precedence(value);
  }

  private get(key: Key): Entry | undefined {
    return this.all.get(textOf(key));
  }

  private put(entry: Entry): void {
    this.all.set(textOf(entry), entry);
  }
}

/** The passes with one more: of one tier the better stays. */
function collected(passes: readonly Pass[], added: Pass): Pass[] {
  const same = passes.find((one) => one.tierMin === added.tierMin);
  if (same !== undefined && same.precedence >= added.precedence) return [...passes];
  return [...passes.filter((one) => one !== same), added].sort((a, b) => a.tierMin - b.tierMin);
}

function textOf({ identity, traffic }: Key): string {
  return `${identity}/${traffic}`;
}

/** Whether it was not there. */
function add(known: Set<string>, text: string): boolean {
  if (known.has(text)) return false;
  known.add(text);
  return true;
}
