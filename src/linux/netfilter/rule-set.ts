/**
 * The rules of one family: loads iptables-save and iptables-restore texts, prints them as iptables-save does.
 *
 * load() follows iptables-restore: without `noflush` a table named in the text is emptied first; with it, a
 * chain line empties or creates that chain and the rest stays. Real iptables-restore refuses a whole table
 * for one bad line; here every bad line is a Problem, and where it was meant as a rule it becomes one that
 * decides nothing (see parse-rule).
 */
import type { Family } from "../../cluster/address.js";
import type { Problem } from "../../cluster/problem.js";
import { Loader } from "./load-rules.js";
import { printRule } from "./print.js";
import { type ListShape, stampsFor } from "./recent.js";
import { builtinChains, type Table, type TableName, tableNames } from "./rule.js";

export interface LoadOptions {
  readonly file: string;
  readonly noflush: boolean;
}

/** Packets and bytes of a rule, position from 0; of the chain's policy at the position after the last rule. */
export type CounterSource = (table: TableName, chain: string, position: number) => readonly [number, number];

export class RuleSet {
  readonly family: Family;
  readonly tables = new Map<TableName, Table>();

  constructor(family: Family) {
    this.family = family;
  }

  load(text: string, options: Partial<LoadOptions> = {}): Problem[] {
    return new Loader(this, options.file ?? "<inline>", options.noflush ?? false).load(text);
  }

  /**
   * iptables-save: every table that was named. Counters come from the text; false: none, but those of chains;
   * or from where the rules are counted.
   */
  save(counters: boolean | CounterSource = true): string {
    const source = typeof counters === "function" ? counters : null;
    const lines: string[] = [];
    for (const name of tableNames) {
      const table = this.tables.get(name);
      if (table === undefined) continue;
      lines.push(`*${name}`);
      for (const chain of table.chains.values()) {
        const [packets, bytes] =
          source === null || chain.policy === null
            ? [chain.packets, chain.bytes]
            : source(name, chain.name, chain.rules.length);
        lines.push(`:${chain.name} ${chain.policy ?? "-"} [${packets}:${bytes}]`);
      }
      for (const chain of table.chains.values()) {
        for (const [position, rule] of chain.rules.entries()) {
          const [packets, bytes] = source?.(name, chain.name, position) ?? [rule.packets, rule.bytes];
          const shown = counters === false ? "" : `[${packets}:${bytes}] `;
          lines.push(`${shown}-A ${chain.name}${printRule(rule, this.family)}`);
        }
      }
      lines.push("COMMIT");
    }
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
  }

  /** An empty table with its built-in chains, made if it is not there. */
  table(name: TableName): Table {
    let table = this.tables.get(name);
    if (table === undefined) {
      table = { name, chains: new Map() };
      for (const chain of builtinChains[name]) {
        table.chains.set(chain, { name: chain, policy: "ACCEPT", packets: 0, bytes: 0, rules: [] });
      }
      this.tables.set(name, table);
    }
    return table;
  }

  /** Lists that rules name by `recent --name`: these stay alive. The first rule's mask, the most times. */
  recentLists(): Map<string, ListShape> {
    const lists = new Map<string, ListShape>();
    for (const table of this.tables.values()) for (const [name, shape] of recentOf(table)) joinShape(lists, name, shape);
    return lists;
  }
}

/** Parses one text into a new RuleSet. */
export function parseRuleSet(
  text: string,
  file: string,
  family: Family,
): { rules: RuleSet; problems: Problem[] } {
  const rules = new RuleSet(family);
  return { rules, problems: rules.load(text, { file }) };
}

const recents = new WeakMap<Table, ReadonlyMap<string, ListShape>>();

function recentOf(table: Table): ReadonlyMap<string, ListShape> {
  const known = recents.get(table);
  if (known !== undefined) return known;
  const lists = new Map<string, ListShape>();
  for (const chain of table.chains.values()) {
    for (const rule of chain.rules)
      for (const match of rule.matches) {
        if (match.kind === "recent") joinShape(lists, match.list, { mask: match.mask, stamps: stampsFor(match.hitcount) });
      }
  }
  if (table.frozen === true) recents.set(table, lists);
  return lists;
}

function joinShape(lists: Map<string, ListShape>, name: string, shape: ListShape): void {
  const known = lists.get(name);
  lists.set(name, known === undefined ? shape : { mask: known.mask, stamps: Math.max(known.stamps, shape.stamps) });
}
