/**
 * A node's own rules against the generated ones: which lines are reproduced, which are not, in what order. Both are
 * read and printed by the same parser and printer, so spelling and counters do not count.
 *
 * Inside a chain the first match wins, so lines are compared in their order. In the chains that all services share
 * the order between services is kube-proxy's chance (Go's map order); there only lines of one service keep theirs,
 * and the jumps to node ports stand last.
 */
import type { Because } from "../../dataplane.js";
import type { Family } from "../../cluster/address.js";
import { printRule } from "../../linux/netfilter/print.js";
import type { RuleSet } from "../../linux/netfilter/rule-set.js";
import { builtinChains, type Chain, type Rule, type TableName, tableNames } from "../../linux/netfilter/rule.js";
import { commentOf, ownerOf, ownerOfChain } from "./owners.js";
import { chainsOfContainers } from "./containerChains.js";
import { CONTAINER, differsOnlyIn, evened } from "./variants.js";

/** A line that one side has, or has elsewhere. */
export interface OddLine {
  readonly table: TableName;
  readonly chain: string;
  /** In the dump, 1-based; 0 where the dump has no such line. */
  readonly line: number;
  /** `-A CHAIN …`, or `:CHAIN POLICY`. */
  readonly text: string;
  readonly owner: string;
  /** What else is known of it; empty: nothing. */
  readonly note: string;
  readonly becauses: readonly Because[];
}

export interface Verification {
  /** Rule lines of the dump, and those of them that the generated rules have at their place. */
  readonly lines: number;
  readonly reproduced: number;
  /** Of those reproduced, how many in another spelling, by what is different. */
  readonly variants: readonly (readonly [variant: string, lines: number])[];
  readonly notGenerated: readonly OddLine[];
  readonly notInDump: readonly OddLine[];
  /** Both have the line, and something that must stand behind it stands before it. */
  readonly outOfOrder: readonly OddLine[];
  /** Policies of built-in chains that differ. */
  readonly policies: readonly OddLine[];
}

export interface Side {
  readonly set: RuleSet;
  readonly because: (line: number) => readonly Because[];
}

const SHARED: Readonly<Partial<Record<TableName, readonly string[]>>> = {
  // portmap's lines stand as pods were started.
  nat: ["KUBE-SERVICES", "KUBE-NODEPORTS", "CNI-HOSTPORT-DNAT"],
  // NPM's lines stand as policies arrived.
  filter: ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "AZURE-NPM-INGRESS",
    "AZURE-NPM-EGRESS"],
};
const LAST_RULE = /NOTE: this must be the last rule in this chain|^-A AZURE-NPM-(IN|E)GRESS (?!.*-POLICY-)/;
/** Chains of a pod or a policy, for each of which a shared chain has lines. */
const GROUP_CHAIN = /^(CNI-DN-|AZURE-NPM-(IN|E)GRESS-)/;
/** Service chains; kube-proxy deletes those that nothing leads to, not always at once. */
const SERVICE_CHAIN = /^KUBE-(SVC|SVL|SEP|FW|EXT|XLB)-/;

export function verifyRules(dump: RuleSet, made: Side, family: Family): Verification {
  const report = new Reporter(dump, made, family);
  for (const table of tableNames) {
    const [own, ours] = [dump.tables.get(table)?.chains, made.set.tables.get(table)?.chains];
    const twins = table === "nat" ? chainsOfContainers(own, ours, family) : new Map<string, string>();
    const taken = new Set(twins.values());
    for (const name of new Set([...own?.keys() ?? [], ...ours?.keys() ?? []])) {
      if (own?.has(name) !== true && taken.has(name)) continue;
      report.chain(table, name, own?.get(name) ?? null, ours?.get(twins.get(name) ?? name) ?? null, twins);
    }
  }
  return report.result();
}

interface Line {
  readonly rule: Rule;
  readonly text: string;
  /** The text with the generated side's names of containers' chains; what lines are paired by. */
  readonly key: string;
}

interface Pair {
  readonly dump: Line;
  /** Place in the dump's chain. */
  readonly from: number;
  /** Place in the generated chain. */
  readonly at: number;
}

class Reporter {
  private lines = 0;
  private reproduced = 0;
  private readonly variants = new Map<string, number>();
  private readonly notGenerated: OddLine[] = [];
  private readonly notInDump: OddLine[] = [];
  private readonly outOfOrder: OddLine[] = [];
  private readonly policies: OddLine[] = [];
  private readonly jumpedTo: Set<string>;

  constructor(dump: RuleSet, private readonly made: Side, private readonly family: Family) {
    this.jumpedTo = jumpedTo(dump);
  }

  /** @param twins the generated side's names of the dump's chains, where they are others */
  chain(table: TableName, name: string, dump: Chain | null, made: Chain | null, twins: ReadonlyMap<string, string>): void {
    const [own, ours] = [this.printed(dump, twins), this.printed(made, new Map())];
    this.lines += own.length;
    if (dump !== null && made !== null && dump.policy !== made.policy) {
      this.policies.push({ table, chain: name, line: 0, text: `:${name} ${dump.policy ?? "-"}`, owner: "unknown",
        note: `generated as ${made.policy ?? "-"}`, becauses: [] });
    }
    const { pairs, left, missing } = this.match(name, own, ours);
    const known = new Set(ours.map((one) => one.text));
    for (const line of left) this.odd(table, name, line, known.has(line.text) ? "stands there once too often" : this.noteOf(name));
    for (const line of missing) {
      this.notInDump.push({ table, chain: name, line: 0, text: line.text, owner: this.owner(table, name, line.rule),
        note: dump === null ? "the dump has no such chain" : "", becauses: this.made.because(line.rule.line) });
    }
    const moved = movedPairs(pairs, SHARED[table]?.includes(name) === true);
    this.reproduced += pairs.length - moved.size;
    for (const { dump: line, at } of moved) {
      this.outOfOrder.push({ table, chain: name, line: line.rule.line, text: line.text, owner: this.owner(table, name, line.rule),
        note: `generated as rule ${at + 1} of ${ours.length}`, becauses: this.made.because(ours[at].rule.line) });
    }
  }

  result(): Verification {
    const { lines, reproduced, notGenerated, notInDump, outOfOrder, policies } = this;
    return { lines, reproduced, variants: [...this.variants], notGenerated, notInDump, outOfOrder, policies };
  }

  private printed(chain: Chain | null, twins: ReadonlyMap<string, string>): Line[] {
    return (chain?.rules ?? []).map((rule) => {
      const text = `-A ${chain?.name}${printRule(rule, this.family)}`;
      return { rule, text, key: twins.size === 0 ? text : text.replace(/(^-A | -[jg] )(CNI-DN-\S+)/g,
        (whole, before: string, name: string) => (twins.has(name) ? before + twins.get(name) : whole)) };
    });
  }

  /** Equal lines are paired first, the first with the first; of the rest those that differ in spelling. */
  private match(chain: string, own: readonly Line[], ours: readonly Line[]): { pairs: Pair[]; left: Line[]; missing: Line[] } {
    const free = new Map<string, number[]>();
    ours.forEach((line, at) => push(free, line.text, at));
    const pairs: Pair[] = [];
    const rest: { dump: Line; from: number }[] = [];
    own.forEach((dump, from) => {
      const at = isReadable(dump.rule) ? free.get(dump.key)?.shift() : undefined;
      if (at === undefined) rest.push({ dump, from });
      else {
        if (dump.key !== dump.text) this.spelled([CONTAINER]);
        pairs.push({ dump, from, at });
      }
    });
    const spelled = new Map<string, number[]>();
    for (const at of [...free.values()].flat().sort((a, b) => a - b)) push(spelled, evened(ours[at].text, chain), at);
    const left = rest.filter(({ dump, from }) => {
      const candidates = isReadable(dump.rule) ? spelled.get(evened(dump.key, chain)) ?? [] : [];
      for (const [index, at] of candidates.entries()) {
        const names = differsOnlyIn(dump.key, ours[at].text, chain);
        if (names === null) continue;
        candidates.splice(index, 1);
        this.spelled(new Set(dump.key === dump.text ? names : [...names, CONTAINER]));
        pairs.push({ dump, from, at });
        return false;
      }
      return true;
    }).map(({ dump }) => dump);
    const taken = new Set(pairs.map((pair) => pair.at));
    pairs.sort((a, b) => a.from - b.from);
    return { pairs, left, missing: ours.filter((_, at) => !taken.has(at)) };
  }

  private spelled(names: Iterable<string>): void {
    for (const name of names) this.variants.set(name, (this.variants.get(name) ?? 0) + 1);
  }

  private odd(table: TableName, chain: string, line: Line, note: string): void {
    this.notGenerated.push({ table, chain, line: line.rule.line, text: line.text, owner: this.owner(table, chain, line.rule), note,
      becauses: [] });
  }

  private owner(table: TableName, chain: string, rule: Rule): string {
    return ownerOf(chain, builtinChains[table].includes(chain), rule);
  }

  private noteOf(chain: string): string {
    return ownerOfChain(chain) === "kube-proxy" && SERVICE_CHAIN.test(chain) && !this.jumpedTo.has(chain)
      ? "left over: no rule leads to this chain" : "";
  }
}

/** A line that the parser did not understand is reproduced by none. */
function isReadable(rule: Rule): boolean {
  return rule.target.kind !== "unmodelled" && rule.matches.every((match) => match.kind !== "unmodelled");
}

function push(lists: Map<string, number[]>, key: string, value: number): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
}

function jumpedTo(set: RuleSet): Set<string> {
  const chains = new Set<string>();
  for (const table of set.tables.values()) {
    for (const chain of table.chains.values()) {
      for (const { target } of chain.rules) if (target.kind === "jump") chains.add(target.chain);
    }
  }
  return chains;
}

/** The least set of lines to move for the rest to stand in the generated order. */
function movedPairs(pairs: readonly Pair[], shared: boolean): Set<Pair> {
  if (!shared) return outsideLongestRun(pairs);
  const moved = new Set<Pair>();
  const groups = new Map<string, Pair[]>();
  for (const pair of pairs) {
    const group = groups.get(serviceOf(pair.dump.rule)) ?? [];
    group.push(pair);
    groups.set(serviceOf(pair.dump.rule), group);
  }
  for (const group of groups.values()) for (const pair of outsideLongestRun(group)) moved.add(pair);
  const lastOther = pairs.findLastIndex((pair) => !LAST_RULE.test(pair.dump.text));
  pairs.forEach((pair, index) => {
    if (index < lastOther && LAST_RULE.test(pair.dump.text)) moved.add(pair);
  });
  return moved;
}

/** `namespace/name:port`, with which the comments of a service port's lines begin; the pod's or policy's chain. */
function serviceOf(rule: Rule): string {
  if (rule.target.kind === "jump" && GROUP_CHAIN.test(rule.target.chain)) return rule.target.chain;
  return commentOf(rule).split(" ")[0];
}

/** Those that are not in a longest run of rising places (patience sorting). */
function outsideLongestRun(pairs: readonly Pair[]): Set<Pair> {
  const tops: number[] = [];
  const before = new Int32Array(pairs.length).fill(-1);
  pairs.forEach(({ at }, index) => {
    let [low, high] = [0, tops.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (pairs[tops[middle]].at < at) low = middle + 1;
      else high = middle;
    }
    if (low > 0) before[index] = tops[low - 1];
    tops[low] = index;
  });
  const kept = new Set<number>();
  for (let index = tops.at(-1) ?? -1; index >= 0; index = before[index]) kept.add(index);
  return new Set(pairs.filter((_, index) => !kept.has(index)));
}
