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

export interface Rule {
  readonly table: TableName;
  readonly chain: string;
  /** What follows `-A CHAIN `. */
  readonly text: string;
  readonly becauses: readonly Because[];
}

/** What one program adds to a node's tables. */
export interface RulePart {
  /** Rules in built-in chains, in the order they stand there. */
  readonly jumps: readonly Rule[];
  /** The program's own chains, in the order of their chain lines. */
  readonly chains: readonly { readonly table: TableName; readonly chain: string }[];
  readonly rules: readonly Rule[];
}

/** The text of a node's tables of one family. */
export interface NodeRules {
  readonly text: string;
  /** Where rule line `-A CHAIN …` of a table comes from; empty for a line that is not of this text. */
  because(table: string, line: string): readonly Because[];
  /** The same by the line's number in the text, 1-based. */
  becauseAt(line: number): readonly Because[];
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
  for (const table of ["filter", "nat"] as const) {
    lines.push(`*${table}`);
    for (const chain of BUILTIN[table]) lines.push(`:${chain} ACCEPT [0:0]`);
    for (const chain of chainsOf(parts, table)) lines.push(`:${chain} - [0:0]`);
    for (const rule of [...parts.flatMap((part) => part.jumps), ...parts.flatMap((part) => part.rules)]) {
      if (rule.table !== table) continue;
      const line = ruleLine(rule);
      byLine[lines.push(line)] = rule.becauses;
      remember(origins, table, line, rule.becauses);
    }
    lines.push("COMMIT");
  }
  lines.push("");
  return {
    text: lines.join("\n"),
    because: (table, line) => origins.get(`${table} ${line}`) ?? [],
    becauseAt: (line) => byLine[line] ?? [],
  };
}

/** `-A CHAIN text`. */
export function ruleLine(rule: Rule): string {
  return `-A ${rule.chain} ${rule.text}`;
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
