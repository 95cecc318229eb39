/**
 * A node's own rules as they are judged: parsed, and open where the text is not whole. iptables-save prints tables one
 * by one, first the names of a table's chains, then the rules chain by chain. A text that ends before COMMIT lacks an
 * unknown rest, so every chain whose rules may go on in that rest ends undecided, and so does every table that may
 * have followed. A damaged line leaves its place undecided. Nothing missing ever passes for "no rule".
 */
import type { Family } from "../../cluster/address.js";
import type { Problem } from "../../cluster/problem.js";
import { parseRuleSet, type RuleSet } from "../../linux/netfilter/rule-set.js";
import { builtinChains, type Chain, type Rule, type Table, type TableName } from "../../linux/netfilter/rule.js";
import { type IpSets, parseIpSets } from "../../linux/netfilter/sets/ipsets.js";
import type { DumpText, NodeDump } from "../planeNode.js";

/** What a node's dump says; null where it says nothing of that. */
export interface NodeOwnRules {
  readonly v4: OwnRules | null;
  readonly v6: OwnRules | null;
  readonly sets: IpSets | null;
  readonly problems: readonly Problem[];
}

export interface OwnRules {
  readonly file: string;
  readonly set: RuleSet;
  /** Rule lines as they were read, by line number; blank elsewhere. */
  readonly lines: readonly string[];
  readonly problems: readonly Problem[];
}

/** Tables a packet passes on a node; `security` follows the verdict of filter and is seldom there. */
const PASSED: readonly TableName[] = ["raw", "mangle", "nat", "filter"];

export function readNodeDump(dump: NodeDump): NodeOwnRules {
  const [v4, v6] = [dump.v4 === null ? null : readOwnRules(dump.v4, 4), dump.v6 === null ? null : readOwnRules(dump.v6, 6)];
  const sets = dump.sets === null ? null : parseIpSets(dump.sets.text, dump.sets.file);
  return { v4, v6, sets: sets?.sets ?? null, problems: [...v4?.problems ?? [], ...v6?.problems ?? [], ...sets?.problems ?? []] };
}

export function readOwnRules(dump: DumpText, family: Family): OwnRules {
  const lines = dump.text.split(/\r?\n/);
  const cut = cutOff(lines);
  // Without its end the last line may say something else than it did.
  const whole = cut !== null && lines[lines.length - 1] !== "" ? [...lines.slice(0, -1), ""] : lines;
  const parsed = parseRuleSet(whole.join("\n"), dump.file, family);
  const problems = [...parsed.problems];
  for (const damaged of damagedLines(whole)) leaveOpen(parsed.rules, damaged, dump.file, problems);
  if (cut !== null) endOpen(parsed.rules, cut, whole, dump.file, problems);
  else leaveTablesOpen(parsed.rules, dump.file, problems);
  return { file: dump.file, set: parsed.rules, lines: whole, problems };
}

/** The table that the text ends in; null where it ends behind COMMIT. */
function cutOff(lines: readonly string[]): TableName | null {
  let open: string | null = null;
  for (const line of lines) {
    const table = /^\*(\S+)/.exec(line)?.[1];
    if (table !== undefined) open = table;
    else if (line.trim() === "COMMIT") open = null;
  }
  return open !== null && open in builtinChains ? open as TableName : null;
}

interface Damaged {
  readonly table: TableName;
  /** Chain of the rule line before; null where none of the table came before. */
  readonly chain: string | null;
  readonly line: number;
}

/** Lines in a table that are no rule, chain, comment or COMMIT, and rules of a chain that was never named. */
function damagedLines(lines: readonly string[]): Damaged[] {
  const found: Damaged[] = [];
  let table: TableName | null = null;
  let chain: string | null = null;
  let chains = new Set<string>();
  for (const [index, raw] of lines.entries()) {
    const line = raw.trim();
    if (line === "" || line.startsWith("#")) continue;
    if (line.startsWith("*")) {
      const name = line.slice(1);
      table = name in builtinChains ? name as TableName : null;
      chain = null;
      chains = new Set(table === null ? [] : builtinChains[table]);
    } else if (table === null || line === "COMMIT") {
      if (line === "COMMIT") table = null;
    } else if (/^:\S+ \S+/.test(line)) {
      chains.add(line.slice(1).split(" ")[0]);
    } else {
      const name = /^(?:\[\d+:\d+\] )?-A (\S+)/.exec(line)?.[1];
      if (name !== undefined && chains.has(name)) chain = name;
      else if (!/^(\[\d+:\d+\] )?-[A-Z] \S/.test(line) || name !== undefined) found.push({ table, chain, line: index + 1 });
    }
  }
  return found;
}

/** An undecided rule where the damaged line stood: behind the last rule of its chain that came before it. */
function leaveOpen(set: RuleSet, damaged: Damaged, file: string, problems: Problem[]): void {
  const table = set.table(damaged.table);
  const chains = damaged.chain === null ? builtinChains[damaged.table] : [damaged.chain];
  for (const name of chains) {
    const chain = table.chains.get(name) as Chain;
    const at = chain.rules.findLastIndex((rule) => rule.line < damaged.line);
    chain.rules.splice(at + 1, 0, openRule(file, damaged.line, "line that cannot be read"));
  }
  problems.push({ where: { file, line: damaged.line }, severity: "error",
    what: `what this line said is lost; packets that come to this place of ${damaged.chain ?? `table ${damaged.table}`}`
      + " are undecided" });
}

/** Programs that always have rules in several tables: a chain of theirs in one, and the tables they have. */
const TOGETHER: readonly (readonly [chain: RegExp, tables: readonly TableName[]])[] = [
  [/^KUBE-SERVICES$/, ["nat", "filter"]],
  [/^cali-/, ["raw", "mangle", "nat", "filter"]],
];

/**
 * Tables that the node has and the dump does not: it was taken with `-t`, or ends between two tables. A dump of no
 * table ends before the first, because the tools print nothing at all of a node without rules.
 */
function leaveTablesOpen(set: RuleSet, file: string, problems: Problem[]): void {
  const there = [...set.tables.keys()];
  const chains = [...set.tables.values()].flatMap((table) => [...table.chains.keys()]);
  const expected = there.length === 0 ? PASSED
    : TOGETHER.flatMap(([chain, tables]) => (chains.some((name) => chain.test(name)) ? tables : []));
  const lacking = PASSED.filter((name) => expected.includes(name) && !set.tables.has(name));
  if (lacking.length === 0) return;
  openTables(set, lacking, file, 0, `table ${lacking.join(", ")}, which the dump lacks,`);
  const what = there.length === 0 ? "no table in this dump" : `no table ${lacking.join(", ")} in this dump, though the programs that`
    + ` wrote table ${there.join(", ")} have rules there`;
  problems.push({ where: { file, line: 0 }, severity: "error",
    what: `${what}; expected what iptables-save prints without -t; packets that pass ${lacking.length === 1 ? "it" : "them"} are`
      + " undecided" });
}

function openTables(set: RuleSet, names: readonly TableName[], file: string, line: number, what: string): void {
  for (const name of names) {
    const table = set.table(name);
    for (const chain of builtinChains[name]) (table.chains.get(chain) as Chain).rules.push(openRule(file, line, what));
  }
}

function endOpen(set: RuleSet, cut: TableName, lines: readonly string[], file: string, problems: Problem[]): void {
  const table = set.table(cut);
  const last = lines.length;
  const open = chainsThatGoOn(table);
  for (const chain of open) chain.rules.push(openRule(file, last, "rest of the dump, which is cut off,"));
  const unseen = PASSED.filter((name) => !set.tables.has(name));
  openTables(set, unseen, file, last, "rest of the dump, which is cut off,");
  const rest = unseen.length === 0 ? "" : `, and so are all that pass table ${unseen.join(", ")}, which may have followed`;
  problems.push({ where: { file, line: last }, severity: "error",
    what: `the dump is cut off in table ${cut}: packets that come to the end of ${open.length} of its ${table.chains.size} chains`
      + ` are undecided${rest}` });
}

/**
 * Chains whose rules may go on behind the end of the text. Where rules stand chain by chain in the order of the chain
 * lines, those before the last chain seen are whole; in any other order none is known to be.
 */
function chainsThatGoOn(table: Table): Chain[] {
  const chains = [...table.chains.values()];
  const withRules = chains.filter((chain) => chain.rules.length > 0);
  if (withRules.length === 0) return chains;
  for (let index = 1; index < withRules.length; index++) {
    const before = withRules[index - 1].rules;
    if (before[before.length - 1].line >= withRules[index].rules[0].line) return chains;
  }
  return chains.slice(chains.indexOf(withRules[withRules.length - 1]));
}

/** Matches nothing and rules nothing out: who comes here is not judged. */
function openRule(file: string, line: number, what: string): Rule {
  return {
    file, line, source: null, destination: null, inDevice: null, outDevice: null, protocol: null,
    matches: [{ kind: "unmodelled", text: what }], target: { kind: "none" }, packets: 0, bytes: 0,
  };
}
