/**
 * Rules that are given line by line, as generators make them, to a RuleSet: what is equal for several nodes, or
 * before and after a change, is read once and is one object. The text that these lines make, read by RuleSet.load,
 * gives the same tables; only the lines' numbers are not known here.
 *
 * What is remembered is bounded: when it has grown to several times what one node needs, it is forgotten, and
 * tables that no node uses any more go by themselves.
 */
import type { Family } from "../../cluster/address.js";
import type { Problem } from "../../cluster/problem.js";
import { jumpProblems } from "./jumps.js";
import { parseRule } from "./parse-rule.js";
import { RuleSet } from "./rule-set.js";
import { splitWords } from "./words.js";
import { builtinChains, type Chain, type Rule, type Table, type TableName } from "./rule.js";

export interface RuleLine {
  readonly chain: string;
  /** What follows `-A CHAIN `. */
  readonly text: string;
  /** Why a packet that comes to the rule is undecided, whatever its text says. */
  readonly undecided?: string;
}

export interface TableLines<Line extends RuleLine = RuleLine> {
  readonly name: TableName;
  /** The user's chains, in the order of their lines. */
  readonly chains: Iterable<string>;
  /** Rules of a chain stand in its order; those of several chains may be mixed. */
  readonly rules: readonly Line[];
}

/** A line that was read. */
interface ReadLine {
  readonly rules: readonly Rule[];
  /** What follows `-j` or `-g`; empty where neither is there. */
  readonly target: string;
  /** Whether that was a chain of the table. */
  readonly jumps: boolean;
  /** Nothing is wrong with it. */
  readonly sound: boolean;
}

/** Lines remembered at most, as a multiple of those of the largest rule set so far. */
const KEPT = 4;
/** Different rules of a chain of one name that are remembered. */
const VARIANTS = 16;

export class RuleCache {
  private readonly family: Family;
  /** By table and text. */
  private readonly read = new Map<TableName, Map<string, ReadLine>>();
  private readonly chains = new Map<TableName, Map<string, Chain[]>>();
  private readonly tables = new Map<TableName, WeakRef<Table>[]>();
  /** The last that was built of each table. */
  private readonly last = new Map<TableName, { readonly lines: TableLines; readonly table: WeakRef<Table> }>();
  private largest = 4096;

  constructor(family: Family) {
    this.family = family;
  }

  /** `file` stands in the problems. Every table is frozen. */
  build(tables: readonly TableLines[], file: string): { rules: RuleSet; problems: Problem[] } {
    const rules = new RuleSet(this.family);
    const problems: Problem[] = [];
    this.forget(tables.reduce((sum, { rules: lines }) => sum + lines.length, 0));
    for (const lines of tables) {
      const last = this.last.get(lines.name);
      const known = last !== undefined && sameLines(last.lines, lines) ? last.table.deref() : undefined;
      const table = known ?? this.table(lines, file, problems);
      rules.tables.set(lines.name, table);
      if (known === undefined && problems.length === 0) this.last.set(lines.name, { lines, table: new WeakRef(table) });
    }
    return { rules, problems };
  }

  private table(lines: TableLines, file: string, problems: Problem[]): Table {
    const { name } = lines;
    const read = mapOf(this.read, name, () => new Map<string, ReadLine>());
    const rulesOf = new Map<string, Rule[]>();
    for (const chain of builtinChains[name]) rulesOf.set(chain, []);
    for (const chain of lines.chains) if (!rulesOf.has(chain)) rulesOf.set(chain, []);
    const isChain = (chain: string): boolean => rulesOf.has(chain);
    const problem = (what: string): void => {
      problems.push({ where: { file, line: 0 }, severity: "error", what });
    };
    for (const { chain, text, undecided } of lines.rules) {
      const list = rulesOf.get(chain);
      const key = undecided === undefined ? text : `${text}\n${undecided}`;
      let known = read.get(key);
      if (known === undefined || known.jumps !== isChain(known.target)) {
        known = this.readLine(name, text, isChain, problem);
        if (undecided !== undefined) known = { ...known, rules: known.rules.map((rule) => doubtful(rule, undecided)) };
        if (known.sound) read.set(key, known);
      }
      if (list === undefined) problem(`chain ${chain} is not in table ${name}`);
      else if (known.rules.length === 1) list.push(known.rules[0]);
      else list.push(...known.rules);
    }
    const chains = [...rulesOf].map(([chain, rules]) => this.chain(name, chain, rules));
    const known = this.known(name, chains);
    if (known !== null) return known;
    const table: Table = { name, chains: new Map(chains.map((chain) => [chain.name, chain])), frozen: true };
    problems.push(...jumpProblems(table, file));
    mapOf(this.tables, name, () => []).push(new WeakRef(table));
    return table;
  }

  /** Reads a line: one rule, or several where it lists addresses. What is wrong with it is said each time. */
  private readLine(table: TableName, text: string, isChain: (name: string) => boolean, problem: (what: string) =>
    void): ReadLine {
    const words = splitWords(text);
    if (words === null) {
      problem("a double quote is not closed");
      return { rules: [], target: "", jumps: false, sound: false };
    }
    const { rules, faults } = parseRule(words, { family: this.family, table, file: "", line: 0, isChain });
    for (const fault of faults) problem(fault);
    const jump = words.findIndex(({ text: word }) => word === "-j" || word === "-g");
    const target = jump < 0 ? "" : words[jump + 1]?.text ?? "";
    return { rules, target, jumps: isChain(target), sound: faults.length === 0 };
  }

  /** A chain of this name with these very rules, made if there is none. */
  private chain(table: TableName, name: string, rules: readonly Rule[]): Chain {
    const variants = mapOf(mapOf(this.chains, table, () => new Map<string, Chain[]>()), name, () => []);
    for (const variant of variants) if (equal(variant.rules, rules)) return variant;
    const policy = builtinChains[table].includes(name) ? "ACCEPT" : null;
    const made: Chain = { name, policy, packets: 0, bytes: 0, rules: rules.slice() };
    if (variants.push(made) > VARIANTS) variants.shift();
    return made;
  }

  /** A table in use of exactly these chains, or null. */
  private known(name: TableName, chains: readonly Chain[]): Table | null {
    const alive: WeakRef<Table>[] = [];
    let found: Table | null = null;
    for (const reference of this.tables.get(name) ?? []) {
      const table = reference.deref();
      if (table === undefined) continue;
      alive.push(reference);
      if (found === null && table.chains.size === chains.length && equal([...table.chains.values()], chains)) found = table;
    }
    this.tables.set(name, alive);
    return found;
  }

  private forget(lines: number): void {
    this.largest = Math.max(this.largest, lines);
    let held = 0;
    for (const read of this.read.values()) held += read.size;
    if (held < this.largest * KEPT) return;
    this.read.clear();
    this.chains.clear();
    this.tables.clear();
    this.last.clear();
  }
}

function doubtful(rule: Rule, why: string): Rule {
  return { ...rule, matches: [...rule.matches, { kind: "unmodelled", text: why }] };
}

/** Lines are mostly the same objects, where their maker remembers too. */
function sameLines(a: TableLines, b: TableLines): boolean {
  if (a === b) return true;
  if (a.rules.length !== b.rules.length || !equal([...a.chains], [...b.chains])) return false;
  for (let index = 0; index < a.rules.length; index++) {
    const [one, other] = [a.rules[index], b.rules[index]];
    if (one !== other && (one.chain !== other.chain || one.text !== other.text
      || one.undecided !== other.undecided)) return false;
  }
  return true;
}

function equal<T>(a: readonly T[], b: readonly T[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}

function mapOf<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
