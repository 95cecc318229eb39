/** Nodes' own rules against the generated ones, as text. Prints data; computes nothing but layout. */
import { formatProblem, type Problem } from "../cluster/problem.js";
import type { Because } from "../dataplane.js";
import { count } from "./report.js";

export interface VerifiedLine {
  readonly table: string;
  readonly chain: string;
  /** In the dump; 0: the dump has no such line. */
  readonly line: number;
  readonly text: string;
  readonly owner: string;
  readonly note: string;
  readonly becauses: readonly Because[];
}

/** One dump: a node and a family. */
export interface VerifiedDump {
  readonly node: string;
  readonly family: 4 | 6;
  readonly file: string;
  readonly lines: number;
  readonly reproduced: number;
  readonly variants: readonly (readonly [variant: string, lines: number])[];
  /** kube-proxy's options that the dump states. */
  readonly options: readonly (readonly [option: string, value: string])[];
  /** Signs of a kube-proxy of another age. */
  readonly writtenBy: readonly string[];
  readonly notGenerated: readonly VerifiedLine[];
  readonly notInDump: readonly VerifiedLine[];
  readonly outOfOrder: readonly VerifiedLine[];
  readonly policies: readonly VerifiedLine[];
  readonly problems: readonly Problem[];
}

export interface VerifyReport {
  readonly dumps: readonly VerifiedDump[];
  readonly problems: readonly Problem[];
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

/** Lines listed of a chain where not all are asked for. */
const LISTED = 12;

/** Exit codes: 0 all reproduced, 1 differences, 2 unreadable input, 3 nothing to compare. */
export function verifyVerdict(dumps: readonly VerifiedDump[], unreadable: number): VerifyReport["verdict"] {
  if (unreadable > 0) return { exitCode: 2, why: `${count(unreadable, "input")} could not be read` };
  if (dumps.length === 0) return { exitCode: 3, why: "no node has a dump of its rules" };
  if (dumps.every((one) => one.reproduced === 0)) return { exitCode: 3, why: "no line of the dumps is one that is generated" };
  const odd = dumps.filter((one) => differences(one) > 0 || one.problems.some((problem) => problem.severity === "error"));
  if (odd.length === 0) return { exitCode: 0, why: "every line is reproduced, and nothing else is generated" };
  return { exitCode: 1, why: `differences in ${odd.map((one) => `${one.node} IPv${one.family}`).join(", ")}` };
}

export function differences(dump: VerifiedDump): number {
  return dump.notGenerated.length + dump.notInDump.length + dump.outOfOrder.length + dump.policies.length;
}

/** `node1 IPv4: 412 of 415 lines reproduced`; what the comparison of traffic rests on. */
export function trustLine(dump: VerifiedDump): string {
  return `${dump.node} IPv${dump.family}: ${dump.reproduced} of ${dump.lines} lines reproduced`
    + `${dump.notInDump.length === 0 ? "" : `, ${dump.notInDump.length} generated that it lacks`}`;
}

export function renderVerify(report: VerifyReport, verbose: boolean): string {
  const lines = report.dumps.flatMap((dump) => [...renderDump(dump, verbose), ""]);
  for (const problem of report.problems) lines.push(formatProblem(problem));
  if (report.problems.length > 0) lines.push("");
  for (const dump of report.dumps) lines.push(`rules of ${trustLine(dump)}`);
  lines.push(`exit code ${report.verdict.exitCode}: ${report.verdict.why}`);
  return `${lines.join("\n")}\n`;
}

function renderDump(dump: VerifiedDump, verbose: boolean): string[] {
  const lines = [`${dump.node}, IPv${dump.family}, ${dump.file}: ${dump.reproduced} of ${dump.lines} lines reproduced`];
  for (const sign of dump.writtenBy) lines.push(`  ${sign}; the generator writes what 1.33 writes`);
  for (const [option, value] of dump.options) lines.push(`  read from the dump: ${option} ${value}`);
  for (const [variant, number] of dump.variants) lines.push(`  ${count(number, "line")} with another spelling: ${variant}`);
  for (const text of new Set(dump.problems.map(formatProblem))) lines.push(`  ${text}`);
  // An old kube-proxy writes every service in another way; which lines these are says nothing more.
  const most = verbose ? Number.POSITIVE_INFINITY : dump.writtenBy.length > 0 ? 3 : LISTED;
  lines.push(...section("in the dump, not generated", dump.notGenerated, most));
  lines.push(...section("generated, not in the dump", dump.notInDump, most));
  lines.push(...section("in both, in another order", dump.outOfOrder, most));
  lines.push(...section("policies of built-in chains", dump.policies, most));
  return lines;
}

/** Lines by table and chain; chains of one kind, which differ in a hash, together. */
function section(title: string, odd: readonly VerifiedLine[], most: number): string[] {
  if (odd.length === 0) return [];
  const chains = new Map<string, VerifiedLine[]>();
  for (const line of odd) {
    const key = `${line.table} ${line.chain.replace(/-[A-Z2-7]{16}$|(?<=-)[0-9a-f]{8,}$/, "-…")}`;
    const list = chains.get(key);
    if (list === undefined) chains.set(key, [line]);
    else list.push(line);
  }
  const lines = [`  ${title}: ${odd.length} (${byOwner(odd)})`];
  for (const [chain, list] of chains) {
    lines.push(`    ${chain} (${byOwner(list)})`);
    for (const line of list.slice(0, most)) lines.push(...oneLine(line));
    if (list.length > most) lines.push(`      … ${list.length - most} more with --verbose`);
  }
  return lines;
}

/** `kube-proxy 4, Docker 1`. */
function byOwner(odd: readonly VerifiedLine[]): string {
  const counts = new Map<string, number>();
  for (const { owner } of odd) counts.set(owner, (counts.get(owner) ?? 0) + 1);
  return [...counts].map(([owner, number]) => `${owner} ${number}`).join(", ");
}

function oneLine(line: VerifiedLine): string[] {
  const place = line.line === 0 ? "" : `line ${line.line}: `;
  const lines = [`      ${place}${line.text}${line.note === "" ? "" : `  (${line.note})`}`];
  for (const because of line.becauses.slice(0, 2)) {
    const where = because.where === null ? "" : ` (${because.where.file}:${because.where.line})`;
    lines.push(`        because ${because.object} ${because.rule}${where}`);
  }
  return lines;
}
