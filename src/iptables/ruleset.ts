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

/** The text of a node's tables of one family. */
export interface NodeRules {
  readonly text: string;
  /** What `ipset restore` loads before it; empty where no part has sets. */
  readonly sets: string;
  /** Where rule line `-A CHAIN …` of a table comes from; empty for a line that is not of this text. */
  because(table: string, line: string): readonly Because[];
  /** The same by the line's number in the text, 1-based. */
  becauseAt(line: number): readonly Because[];
  /** Lines of rules that are not modelled, and why. */
  readonly undecided: ReadonlyMap<number, string>;
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
export function joinRules(parts: readonly RulePart[]): NodeRules {
  const lines: string[] = [];
  const origins = new Map<string, readonly Because[]>();
  const byLine: (readonly Because[])[] = [];
  const undecided = new Map<number, string>();
  for (const table of TABLES) {
    if (table !== "filter" && table !== "nat" && !isUsed(parts, table)) continue;
    lines.push(`*${table}`);
    for (const chain of BUILTIN[table]) lines.push(`:${chain} ACCEPT [0:0]`);
    for (const chain of chainsOf(parts, table)) lines.push(`:${chain} - [0:0]`);
    for (const rule of [...jumpsOf(parts, table), ...parts.flatMap((part) => part.rules)]) {
      if (rule.table !== table) continue;
      const line = ruleLine(rule);
      const number = lines.push(line);
      byLine[number] = rule.becauses;
      if (rule.undecided !== undefined) undecided.set(number, rule.undecided);
      remember(origins, table, line, rule.becauses);
    }
    lines.push("COMMIT");
  }
  lines.push("");
  return {
    text: lines.join("\n"),
    sets: parts.flatMap((part) => part.sets ?? []).map((line) => `${line}\n`).join(""),
    because: (table, line) => origins.get(`${table} ${line}`) ?? [],
    becauseAt: (line) => byLine[line] ?? [],
    undecided,
  };
}

/** `-A CHAIN text`. */
export function ruleLine(rule: Rule): string {
  return `-A ${rule.chain} ${rule.text}`;
}

function isUsed(parts: readonly RulePart[], table: TableName): boolean {
  return parts.some((part) => [...part.jumps, ...part.chains, ...part.rules].some((entry) => entry.table === table));
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
      const at = jump.place === undefined ? chain.length : jump.place === "head" ? head : placeAfter(chain, jump.place.after, head);
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

/** Chain lines without repetition; a jump's own chain is never missing, because its part names it. */
function chainsOf(parts: readonly RulePart[], table: TableName): Set<string> {
  const chains = new Set<string>();
  for (const part of parts) {
    for (const entry of part.chains) if (entry.table === table) chains.add(entry.chain);
  }
  return chains;
}

/** Two rules may have the same text (the same address in two slices): their becauses join. */
function remember(origins: Map<string, readonly Because[]>, table: string, line: string,
  becauses: readonly Because[]): void {
  const key = `${table} ${line}`;
  const known = origins.get(key);
  origins.set(key, known === undefined ? becauses : [...known, ...becauses]);
}
