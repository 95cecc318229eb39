/**
 * Tables that are put together of several programs' parts, and what of them several nodes have in common: there are hundreds
 * of nodes, and most of what stands on them is the same. What is remembered is kept by the lists themselves, which nobody
 * changes once they are a part's or a table's.
 */
import type { TableLines } from "../linux/netfilter/rule-cache.js";
import type { Rule, RulePart, TableName } from "./ruleset.js";

/** A table before its pieces are put together. */
interface TablePieces {
  readonly name: TableName;
  readonly chains: ReadonlySet<string>;
  readonly pieces: readonly (readonly Rule[])[];
}

/** The tables of the node before: most nodes have some table in common, which is then one object. */
export class LastTables {
  private readonly last = new Map<TableName, TablePieces & { readonly lines: TableLines<Rule> }>();

  of(table: TablePieces): TableLines<Rule> {
    const last = this.last.get(table.name);
    if (last !== undefined && last.pieces.length === table.pieces.length && equalSets(last.chains, table.chains)
      && table.pieces.every((piece, at) => equalRules(piece, last.pieces[at]))) return last.lines;
    const lines = { name: table.name, chains: table.chains, rules: ([] as Rule[]).concat(...table.pieces) };
    this.last.set(table.name, { ...table, lines });
    return lines;
  }
}

/** A part's rules by table. */
const pieces = new WeakMap<readonly Rule[], Readonly<Record<TableName, readonly Rule[]>>>();

export function piecesOf(rules: readonly Rule[]): Readonly<Record<TableName, readonly Rule[]>> {
  let found = pieces.get(rules);
  if (found === undefined) {
    const made: Record<TableName, Rule[]> = { raw: [], mangle: [], filter: [], nat: [] };
    for (const rule of rules) made[rule.table].push(rule);
    pieces.set(rules, found = made);
  }
  return found;
}

/** Chain lines without repetition; a jump's own chain is never missing, because its part names it. */
export function chainsOf(parts: readonly RulePart[], table: TableName): ReadonlySet<string> {
  const own = parts.map(({ chains }) => chainNames(chains)[table]).filter(({ size }) => size > 0);
  if (own.length === 1) return own[0];
  const [first, ...rest] = own;
  if (first === undefined) return NO_CHAINS;
  const last = unions.get(first);
  if (last !== undefined && last.rest.length === rest.length && rest.every((some, at) => equalSets(some, last.rest[at]))) return last.all;
  const all = new Set(first);
  for (const some of rest) for (const name of some) all.add(name);
  unions.set(first, { rest, all });
  return all;
}

const NO_CHAINS: ReadonlySet<string> = new Set();

/** Of several parts' chains: what was last put to the first's, and all of them together. */
const unions = new WeakMap<ReadonlySet<string>, { readonly rest: readonly ReadonlySet<string>[]; readonly all: ReadonlySet<string> }>();

/** A part's chains by table. */
const names = new WeakMap<RulePart["chains"], Readonly<Record<TableName, ReadonlySet<string>>>>();

function chainNames(chains: RulePart["chains"]): Readonly<Record<TableName, ReadonlySet<string>>> {
  let found = names.get(chains);
  if (found === undefined) {
    const made: Record<TableName, Set<string>> = { raw: new Set(), mangle: new Set(), filter: new Set(), nat: new Set() };
    for (const { table, chain } of chains) made[table].add(chain);
    names.set(chains, found = made);
  }
  return found;
}

/** Of one table. */
export function equalRules(a: readonly Rule[], b: readonly Rule[]): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) {
    const [one, other] = [a[index], b[index]];
    if (one === other) continue;
    if (one.table !== other.table || one.chain !== other.chain || one.text !== other.text || one.undecided !== other.undecided
      || JSON.stringify(one.becauses) !== JSON.stringify(other.becauses)) return false;
  }
  return true;
}

/** With the same order. */
export function equalSets(a: Iterable<string>, b: Iterable<string>): boolean {
  if (a === b) return true;
  const chains = [...b];
  let count = 0;
  for (const chain of a) if (chain !== chains[count++]) return false;
  return count === chains.length;
}

/** Of lists that are whole: tables that several nodes have in common. */
const places = new WeakMap<readonly Rule[], Places>();

export function placesOf(rules: readonly Rule[]): Places {
  let found = places.get(rules);
  if (found === undefined) places.set(rules, found = new Places(rules));
  return found;
}

/** Where the rules of each chain stand in a list in which those of several may be mixed. */
export class Places {
  /** Indexes into the list, those of one chain together and ascending. */
  private readonly order: Int32Array;
  /** First place in `order`, and how many. */
  private readonly chains = new Map<string, { first: number; count: number }>();

  constructor(rules: readonly Rule[]) {
    this.order = new Int32Array(rules.length);
    for (const { chain } of rules) {
      const known = this.chains.get(chain);
      if (known === undefined) this.chains.set(chain, { first: 0, count: 1 });
      else known.count++;
    }
    let first = 0;
    for (const chain of this.chains.values()) {
      chain.first = first;
      first += chain.count;
      chain.count = 0;
    }
    for (let index = 0; index < rules.length; index++) {
      const chain = this.chains.get(rules[index].chain)!;
      this.order[chain.first + chain.count++] = index;
    }
  }

  /** Index of a chain's rule, position from 1; -1 where there is none. */
  of(chain: string, position: number): number {
    const found = this.chains.get(chain);
    return found === undefined || position < 1 || position > found.count ? -1 : this.order[found.first + position - 1];
  }
}
