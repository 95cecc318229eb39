/** What `iptables-save -c` says: rules and policies with their counters, in one order whatever front end printed them. */

export interface CountedLine {
  readonly table: string;
  readonly chain: string;
  /** From 1; 0: the policy of a built-in chain. */
  readonly position: number;
  /** What follows `-A CHAIN`; of a chain line its policy. */
  readonly text: string;
  readonly packets: number;
  readonly bytes: number;
}

export type Counters = readonly CountedLine[];

const EMPTY_CHAIN = /^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/;

/** Sorted by table and chain, in a chain by position. Tables in which no rule is are left out: legacy prints all it ever had. */
export function countersOf(text: string): Counters {
  const lines: CountedLine[] = [];
  const positions = new Map<string, number>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const chain = /^:(\S+) (\S+) \[(\d+):(\d+)\]/.exec(line);
    if (chain !== null) lines.push({ table, chain: chain[1], position: 0, text: chain[2], packets: Number(chain[3]), bytes: Number(chain[4]) });
    const rule = /^\[(\d+):(\d+)\] -A (\S+) ?(.*)$/.exec(line);
    if (rule === null) continue;
    const key = `${table} ${rule[3]}`;
    const position = (positions.get(key) ?? 0) + 1;
    positions.set(key, position);
    lines.push({ table, chain: rule[3], position, text: rule[4], packets: Number(rule[1]), bytes: Number(rule[2]) });
  }
  const used = new Set(lines.filter((line) => line.position > 0 || !EMPTY_CHAIN.test(line.chain)).map((line) => line.table));
  return lines.filter((line) => used.has(line.table)).sort((a, b) => order(a.table, b.table) || order(a.chain, b.chain) || a.position - b.position);
}

/** Lines that are not the same; with `textOnly` counters may differ. */
export function differing(kernel: Counters, model: Counters, textOnly: boolean): string[] {
  const found: string[] = [];
  for (let at = 0; at < Math.max(kernel.length, model.length); at++) {
    const [one, other] = [print(kernel[at], textOnly), print(model[at], textOnly)];
    if (one === other) continue;
    found.push(`kernel ${print(kernel[at], false)} / model ${print(model[at], false)}`);
    // Behind a missing line all others differ too.
    if (print(kernel[at], true) !== print(model[at], true)) break;
  }
  return found;
}

function print(line: CountedLine | undefined, textOnly: boolean): string {
  if (line === undefined) return "nothing";
  const { table, chain, position, text, packets, bytes } = line;
  return `${table} ${chain} ${position} ${text}${textOnly ? "" : ` [${packets}:${bytes}]`}`;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
