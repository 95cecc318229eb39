/**
 * Rule text for one node and one IP family, and where each rule comes from.
 *
 * Generators (kube-proxy, masquerade agents) each write a RulePart: jumps from built-in chains, own chains,
 * own rules. `joinRules` puts the parts into one text that `iptables-restore` loads on an empty node. The
 * becauses stay beside the text, so the text is byte for byte what the generator's original writes.
 *
 * Guarantees: the text depends on the parts and their order only. Does not check that the rules are well
 * formed.
 */
import type { Because } from "../dataplane.js";
import type { TableLines } from "../linux/netfilter/rule-cache.js";
import { chainsOf, equalRules, equalSets, LastTables, piecesOf, type Places, placesOf } from "./tables.js";

export type TableName = "raw" | "mangle" | "nat" | "filter";
/** Order of the tables in the text; raw and mangle are left out where no part has anything in them. */
const TABLES: readonly TableName[] = ["raw", "mangle", "filter", "nat"];

export interface Rule {
  readonly table: TableName;
  readonly chain: string;
  /** What follows `-A CHAIN `. */
  readonly text: string;
  readonly becauses: readonly Because[];
  /**
   * The program has rules here that are not modelled: why. The rule's own text decides nothing, and a packet that
   * comes to it is undecided.
   */
  readonly undecided?: string;
}

/** A rule in a built-in chain, and where it is put when other programs' rules stand there already. */
export interface Jump extends Rule {
  /**
   * `head`: before all that stand there (`iptables -I`). `{after}`: behind the jump to that chain; at the head
   * where there is none. Absent: at the end (`iptables -A`).
   */
  readonly place?: "head" | { readonly after: string };
}

/** What one program adds to a node's tables. */
export interface RulePart {
  /** Rules in built-in chains, in the order they stand there. Several with one place keep their order. */
  readonly jumps: readonly Jump[];
  /** The program's own chains, in the order of their chain lines. */
  readonly chains: readonly { readonly table: TableName; readonly chain: string }[];
  readonly rules: readonly Rule[];
  /** Lines for `ipset restore`: create and add; names are the part's own. */
  readonly sets?: readonly string[];
}

/** A node's tables of one family, as lines and as text. */
export interface NodeRules {
  /** Tables in the order of the text, with their chains and rules. */
  readonly tables: readonly TableLines<Rule>[];
  /** Made when it is asked for. */
  readonly text: string;
  /** What `ipset restore` loads before it; empty where no part has sets. */
  readonly sets: string;
  /** Where rule line `-A CHAIN …` of a table comes from; empty for a line that is not of this text. */
  because(table: string, line: string): readonly Because[];
  /** The same by the rule's position in its chain, from 1. */
  becauseAt(table: string, chain: string, position: number): readonly Because[];
  /** The same by the line's number in the text, 1-based. */
  becauseOfLine(line: number): readonly Because[];
  /** Whether the other has the same sets, chains and rules, and the same becauses. */
  equals(other: NodeRules): boolean;
}

/** Built-in chains in the order iptables-save prints them. */
const BUILTIN: Readonly<Record<TableName, readonly string[]>> = {
  raw: ["PREROUTING", "OUTPUT"],
  mangle: ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"],
  nat: ["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"],
  filter: ["INPUT", "FORWARD", "OUTPUT"],
};

/**
 * One text for all parts: per table the chain lines, the jumps of the parts in their order, then their rules.
 */
export function joinRules(parts: readonly RulePart[], last = new LastTables()): NodeRules {
  const tables = TABLES.filter((table) => table === "filter" || table === "nat" || isUsed(parts, table)).map((name) => last.of({
    name, chains: chainsOf(parts, name), pieces: [jumpsOf(parts, name), ...parts.map(({ rules }) => piecesOf(rules)[name])],
  }));
  return new JoinedRules(tables, parts.map(({ sets }) => setText(sets ?? [])).join(""));
}

/** Of lines that several nodes have in common. */
const setTexts = new WeakMap<readonly string[], string>();

function setText(lines: readonly string[]): string {
  if (lines.length === 0) return "";
  let text = setTexts.get(lines);
  if (text === undefined) setTexts.set(lines, text = lines.map((line) => `${line}\n`).join(""));
  return text;
}

/** What is asked for seldom is made when it is asked for: a large node has 60,000 rules, and most never meet a packet. */
class JoinedRules implements NodeRules {
  private written: string | null = null;
  private readonly origins = new Map<string, Map<string, readonly Because[]>>();
  private readonly places = new Map<string, Places>();

  constructor(readonly tables: readonly TableLines<Rule>[], readonly sets: string) {}

  get text(): string {
    this.written ??= this.write();
    return this.written;
  }

  because(table: string, line: string): readonly Because[] {
    let origins = this.origins.get(table);
    if (origins === undefined) {
      origins = new Map();
      for (const rule of this.rulesOf(table)) remember(origins, ruleLine(rule), rule.becauses);
      this.origins.set(table, origins);
    }
    return origins.get(line) ?? [];
  }

  becauseAt(table: string, chain: string, position: number): readonly Because[] {
    const rules = this.rulesOf(table);
    let places = this.places.get(table);
    if (places === undefined) {
      places = placesOf(rules);
      this.places.set(table, places);
    }
    const at = places.of(chain, position);
    return at < 0 ? [] : rules[at].becauses;
  }

  becauseOfLine(line: number): readonly Because[] {
    let before = 0;
    for (const { name, chains, rules } of this.tables) {
      // `*table`, the chain lines; after the rules COMMIT.
      const first = before + 2 + BUILTIN[name as TableName].length + [...chains].length;
      if (line < first + rules.length) return rules[line - first]?.becauses ?? [];
      before = first + rules.length;
    }
    return [];
  }

  equals(other: NodeRules): boolean {
    return this.sets === other.sets && this.tables.length === other.tables.length
      && this.tables.every((table, at) => equalTables(table, other.tables[at]));
  }

  private rulesOf(table: string): readonly Rule[] {
    return this.tables.find(({ name }) => name === table)?.rules ?? [];
  }

  private write(): string {
    const lines: string[] = [];
    for (const { name, chains, rules } of this.tables) {
      lines.push(`*${name}`);
      for (const chain of BUILTIN[name as TableName]) lines.push(`:${chain} ACCEPT [0:0]`);
      for (const chain of chains) lines.push(`:${chain} - [0:0]`);
      for (const rule of rules) lines.push(ruleLine(rule));
      lines.push("COMMIT");
    }
    lines.push("");
    return lines.join("\n");
  }
}

function equalTables(a: TableLines<Rule>, b: TableLines<Rule>): boolean {
  return a === b || (a.name === b.name && equalRules(a.rules, b.rules) && equalSets(a.chains, b.chains));
}

/** `-A CHAIN text`. */
export function ruleLine(rule: Rule): string {
  return `-A ${rule.chain} ${rule.text}`;
}

function isUsed(parts: readonly RulePart[], table: TableName): boolean {
  return chainsOf(parts, table).size > 0
    || parts.some(({ jumps, rules }) => jumps.some((jump) => jump.table === table) || piecesOf(rules)[table].length > 0);
}

/** The rules of built-in chains, each part's put where it says, in the order of the parts. */
function jumpsOf(parts: readonly RulePart[], table: TableName): Jump[] {
  const placed = new Map<string, Jump[]>();
  for (const part of parts) {
    const heads = new Map<string, number>();
    for (const jump of part.jumps) {
      if (jump.table !== table) continue;
      const chain = placed.get(jump.chain) ?? [];
      placed.set(jump.chain, chain);
      const head = heads.get(jump.chain) ?? 0;
      const at = jump.place === undefined ? chain.length : jump.place === "head" ? head
        : placeAfter(chain, jump.place.after, head);
      chain.splice(at, 0, jump);
      if (at === head && jump.place !== undefined) heads.set(jump.chain, head + 1);
    }
  }
  return BUILTIN[table].flatMap((chain) => placed.get(chain) ?? []);
}

function placeAfter(chain: readonly Jump[], target: string, head: number): number {
  const at = chain.findLastIndex((jump) => jump.text.endsWith(`-j ${target}`));
  return at < 0 ? head : at + 1;
}

/** Two rules may have the same text (the same address in two slices): their becauses join. */
function remember(origins: Map<string, readonly Because[]>, line: string, becauses: readonly Because[]): void {
  const known = origins.get(line);
  origins.set(line, known === undefined ? becauses : [...known, ...becauses]);
}
