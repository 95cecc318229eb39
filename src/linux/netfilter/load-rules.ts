/**
 * An iptables-save or iptables-restore text, line by line, into a family's tables. What is wrong is a Problem with its
 * line, and where it was meant as a rule it becomes one that decides nothing (see parse-rule).
 */
import type { Family } from "../../cluster/address.js";
import type { Problem } from "../../cluster/problem.js";
import { jumpProblems } from "./jumps.js";
import { parseRule } from "./parse-rule.js";
import { printRule } from "./print.js";
import { builtinChains, type Chain, type Rule, type Table, type TableName, tableNames } from "./rule.js";
import { splitWords, type Word } from "./words.js";

/** Where the text goes. */
export interface Tables {
  readonly family: Family;
  readonly tables: Map<TableName, Table>;
  /** An empty table with its built-in chains, made if it is not there. */
  table(name: TableName): Table;
}

export class Loader {
  private readonly set: Tables;
  private readonly file: string;
  private readonly noflush: boolean;
  private readonly problems: Problem[] = [];
  private table: Table | null = null;
  private line = 0;
  /** Chains announced further down the text: jumps may name them before. */
  private announced: ReadonlySet<string> = new Set<string>();

  constructor(set: Tables, file: string, noflush: boolean) {
    this.set = set;
    this.file = file;
    this.noflush = noflush;
  }

  load(text: string): Problem[] {
    const lines = text.split("\n");
    for (let index = 0; index < lines.length; index++) {
      const line = lines[index].trim();
      this.line = index + 1;
      if (line.startsWith("*")) this.announced = chainsAhead(lines, index + 1);
      this.oneLine(line);
    }
    if (this.table !== null) {
      this.problem("error", `table ${this.table.name} ends without COMMIT`);
      this.problems.push(...jumpProblems(this.table, this.file, this.line));
    }
    return this.problems;
  }

  private oneLine(line: string): void {
    if (line === "" || line.startsWith("#")) return;
    if (line.startsWith("*")) {
      this.openTable(line.slice(1).trim());
    } else if (this.table === null) {
      this.problem("error", `"${shorten(line)}" stands outside a table; expected *table before it`);
    } else if (line === "COMMIT") {
      this.problems.push(...jumpProblems(this.table, this.file, this.line));
      this.table = null;
    } else if (line.startsWith(":")) {
      this.chainLine(this.table, line);
    } else {
      this.command(this.table, line);
    }
  }

  private openTable(name: string): void {
    if (!(tableNames as readonly string[]).includes(name)) {
      this.table = null;
      this.problem("error", `table ${name} is not one of ${tableNames.join(", ")}`);
      return;
    }
    if (this.table !== null) this.problem("error", `table ${this.table.name} ends without COMMIT`);
    const tableName = name as TableName;
    if (this.noflush && this.set.tables.get(tableName)?.frozen === true)
      throw new Error(`table ${name} is shared and takes no more rules`);
    if (!this.noflush) {
      const old = this.set.tables.get(tableName);
      this.set.tables.delete(tableName);
      const table = this.set.table(tableName);
      // A flush leaves the policies of the built-in chains as they were.
      for (const chain of table.chains.values())
        chain.policy = old?.chains.get(chain.name)?.policy ?? chain.policy;
    }
    this.table = this.set.table(tableName);
  }

  /** `:NAME POLICY [packets:bytes]`. */
  private chainLine(table: Table, line: string): void {
    const match = /^:(\S+)\s+(\S+)(?:\s+\[(\d+):(\d+)\])?$/.exec(line);
    if (match === null) {
      this.problem("error", `"${shorten(line)}" is not a chain line; expected :NAME POLICY [packets:bytes]`);
      return;
    }
    const [, name, policy, packets, bytes] = match;
    const old = table.chains.get(name);
    const isBuiltin = builtinChains[table.name].includes(name);
    const chain: Chain = old ?? { name, policy: null, packets: 0, bytes: 0, rules: [] };
    if (!isBuiltin) chain.rules = [];
    table.chains.set(name, chain);
    if (policy !== "-" && !(isBuiltin && (policy === "ACCEPT" || policy === "DROP"))) {
      this.problem(
        "error",
        `chain ${name} cannot have the policy ${policy}; expected ${isBuiltin ? "ACCEPT, DROP or -" : "-"}`,
      );
    } else if (policy !== "-") {
      chain.policy = policy as "ACCEPT" | "DROP";
    }
    if (packets !== undefined) {
      chain.packets = Number(packets);
      chain.bytes = Number(bytes);
    }
  }

  private command(table: Table, line: string): void {
    const counters = line.startsWith("[") ? /^\[(\d+):(\d+)\]\s*/.exec(line) : null;
    const words = splitWords(counters === null ? line : line.slice(counters[0].length));
    if (words === null) {
      this.problem("error", "a double quote is not closed");
      this.undecidable(table, line, "a double quote is not closed");
      return;
    }
    const verb = words[0]?.text ?? "";
    const chainName = words[1]?.text ?? "";
    const chain = table.chains.get(chainName);
    if (verb === "-N" || verb === "--new-chain") {
      if (chain === undefined && chainName !== "")
        table.chains.set(chainName, { name: chainName, policy: null, packets: 0, bytes: 0, rules: [] });
      else this.problem("error", `chain "${chainName}" is there already or has no name`);
      return;
    }
    if (chain === undefined) {
      this.problem(
        "error",
        chainName === ""
          ? `"${shorten(line)}" names no chain`
          : `chain ${chainName} is not in table ${table.name}`,
      );
      return;
    }
    switch (verb) {
      case "-A":
      case "--append":
        this.append(table, chain, chain.rules.length, words.slice(2), counters);
        return;
      case "-I":
      case "--insert": {
        const numbered = /^\d+$/.test(words[2]?.text ?? "");
        const at = numbered ? Number(words[2].text) - 1 : 0;
        if (at < 0 || at > chain.rules.length)
          this.problem("error", `chain ${chainName} has no place ${at + 1} to insert at`);
        else this.append(table, chain, at, words.slice(numbered ? 3 : 2), counters);
        return;
      }
      case "-D":
      case "--delete":
        this.delete(table, chain, words.slice(2));
        return;
      case "-F":
      case "--flush":
        chain.rules = [];
        return;
      case "-X":
      case "--delete-chain":
        if (chain.policy !== null || chain.rules.length > 0 || this.isReferenced(table, chainName)) {
          this.problem(
            "error",
            `chain ${chainName} is built in, not empty or still jumped to, and cannot be deleted`,
          );
        } else {
          table.chains.delete(chainName);
        }
        return;
      case "-P":
      case "--policy": {
        const policy = words[2]?.text;
        if (chain.policy !== null && (policy === "ACCEPT" || policy === "DROP")) chain.policy = policy;
        else
          this.problem("error", `-P ${chainName} ${policy ?? ""} needs a built-in chain and ACCEPT or DROP`);
        return;
      }
      default:
        this.problem(
          "error",
          `"${shorten(line)}" is not a line of iptables-restore known here; expected -A, -I, -D, -F, -N, -P or -X`,
        );
    }
  }

  private readonly isChain = (name: string): boolean =>
    this.announced.has(name) || this.table?.chains.has(name) === true;

  private append(
    table: Table,
    chain: Chain,
    at: number,
    words: readonly Word[],
    counters: RegExpExecArray | null,
  ): void {
    const rules = this.parse(table, words, true);
    if (counters !== null) {
      for (const rule of rules) {
        rule.packets = Number(counters[1]);
        rule.bytes = Number(counters[2]);
      }
    }
    if (rules.length === 1 && at === chain.rules.length) chain.rules.push(rules[0]);
    else chain.rules.splice(at, 0, ...rules);
  }

  private delete(table: Table, chain: Chain, words: readonly Word[]): void {
    if (words.length === 1 && /^\d+$/.test(words[0].text)) {
      const at = Number(words[0].text) - 1;
      if (at in chain.rules) chain.rules.splice(at, 1);
      else this.problem("error", `chain ${chain.name} has no rule ${words[0].text}`);
      return;
    }
    for (const wanted of this.parse(table, words, false)) {
      const text = printRule(wanted, this.set.family);
      const at = chain.rules.findIndex((rule) => printRule(rule, this.set.family) === text);
      if (at >= 0) chain.rules.splice(at, 1);
      else this.problem("error", `chain ${chain.name} has no such rule to delete`);
    }
  }

  private parse(table: Table, words: readonly Word[], report: boolean): readonly Rule[] {
    const { file, line, isChain } = this;
    const { rules, faults } = parseRule(words, { family: this.set.family, table: table.name, file, line, isChain });
    if (report) for (const fault of faults) this.problem("warning", fault);
    return rules;
  }

  /** A line that was meant as a rule and cannot be read: whoever passes there is not judged. */
  private undecidable(table: Table, line: string, what: string): void {
    const name = /^(?:\[\d+:\d+\]\s*)?-A\s+(\S+)/.exec(line)?.[1];
    const chain = name === undefined ? undefined : table.chains.get(name);
    chain?.rules.push({
      file: this.file,
      line: this.line,
      source: null,
      destination: null,
      inDevice: null,
      outDevice: null,
      protocol: null,
      matches: [{ kind: "unmodelled", text: what }],
      target: { kind: "none" },
      packets: 0,
      bytes: 0,
    });
  }

  private isReferenced(table: Table, name: string): boolean {
    for (const chain of table.chains.values()) {
      for (const { target } of chain.rules) if (target.kind === "jump" && target.chain === name) return true;
    }
    return false;
  }

  private problem(severity: "error" | "warning", what: string): void {
    this.problems.push({ where: { file: this.file, line: this.line }, severity, what });
  }
}

/** Names on the chain lines from here to COMMIT. */
function chainsAhead(lines: readonly string[], from: number): Set<string> {
  const names = new Set<string>();
  for (let index = from; index < lines.length; index++) {
    const line = lines[index].trim();
    if (line === "COMMIT") break;
    const name = line.startsWith(":") ? /^:(\S+)/.exec(line)?.[1] : undefined;
    if (name !== undefined) names.add(name);
  }
  return names;
}

function shorten(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
