/** What `check` found, as data and as text: the gravest first, then what it rests on, then the exit code and why. */
import type { Problem, Where } from "../cluster/problem.js";
import { count, type LimitRow } from "./report.js";

export interface CheckResult {
  readonly profile: string;
  readonly endpoints: number;
  readonly identities: number;
  /** Most policy-map entries of one endpoint, and what an endpoint may have. */
  readonly mostEntries: number;
  readonly maxEntries: number;
  /** Limits at 80 percent and above. */
  readonly limits: readonly LimitRow[];
}

/** An object that one of the validator's checks flags; see src/check/flags.ts. */
export interface FlagRow {
  readonly check: string;
  readonly id: string;
  readonly object: string;
  readonly where: Where;
  readonly what: string;
  readonly pods: number;
  readonly examples: readonly string[];
}

export interface CheckReport {
  readonly twinplane: string;
  readonly current: string;
  readonly target: string;
  /** What shows the current side; empty where the user named it. */
  readonly detected: string;
  readonly flags: readonly FlagRow[];
  readonly checked: readonly { readonly check: string; readonly objects: number; readonly flagged: number; readonly otherwise: string }[];
  readonly size: CheckResult;
  readonly hazards: readonly { readonly id: string; readonly title: string; readonly because: readonly string[] }[];
  readonly problems: readonly Problem[];
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

export interface CheckVerdictInput {
  readonly unreadable: number;
  /** Errors among the problems, where --strict counts them. */
  readonly strictErrors: number;
  readonly endpoints: number;
  readonly flags: number;
  readonly limits: number;
}

export function checkVerdict(input: CheckVerdictInput): CheckReport["verdict"] {
  if (input.unreadable > 0) return { exitCode: 2, why: `${count(input.unreadable, "input")} could not be read` };
  if (input.strictErrors > 0) return { exitCode: 2, why: `${count(input.strictErrors, "error")} in the inputs (--strict)` };
  if (input.endpoints === 0) return { exitCode: 3, why: "the manifests hold no Pod object, so there is nothing to check" };
  const parts = [];
  if (input.flags > 0) parts.push(count(input.flags, "flag"));
  if (input.limits > 0) parts.push(count(input.limits, "exceeded limit"));
  return parts.length > 0 ? { exitCode: 1, why: parts.join(" and ") } : { exitCode: 0, why: "nothing found that would change" };
}

/** Rows of a kind listed on the screen; the rest are in the JSON report. */
const LISTED = 12;

export function renderCheck(report: CheckReport): string {
  const { current, target, detected, verdict } = report;
  const lines = [`${current}  ->  ${target}${detected === "" ? "" : `   (current side: ${detected})`}`, ""];
  lines.push(...flagLines(report), ...sizeLines(report), ...hazardLines(report));
  lines.push(`exit code ${verdict.exitCode}: ${verdict.why}`);
  return `${lines.join("\n")}\n`;
}

function flagLines({ flags, checked }: CheckReport): string[] {
  const lines: string[] = [];
  for (const row of flags.slice(0, LISTED)) {
    lines.push(`  ${row.id}  ${row.object} (${placeOf(row.where)}), ${count(row.pods, "pod")}: ${namesOf(row)}`, `      ${row.what}`);
  }
  if (flags.length > LISTED) lines.push(`  … ${count(flags.length - LISTED, "more flag")} in --output json`);
  if (lines.length > 0) lines.unshift("Flags from the manifests");
  const looked = checked.filter(({ objects }) => objects > 0).map(({ check, objects, flagged, otherwise }) =>
    `${check} ${flagged} of ${objects} flagged${flagged < objects ? ` (${flagged === 0 ? "" : "the rest: "}${otherwise})` : ""}`);
  lines.push(`Azure's five checks: ${looked.length === 0 ? "no object has what they look for" : looked.join("; ")}`, "");
  return lines;
}

function sizeLines({ size }: CheckReport): string[] {
  const lines = [`${size.profile}: ${size.endpoints} endpoints, ${size.identities} identities;`
    + ` the fullest policy map has ${size.mostEntries} of ${size.maxEntries} entries`];
  for (const one of size.limits) {
    const word = one.exceeded ? "exceeded" : "near";
    lines.push(`${word}  ${one.id}  ${one.limit} of ${one.subject}: ${one.used} of ${one.max}; ${one.consequence}`);
    for (const object of one.because.slice(0, 3)) lines.push(`    because ${object}`);
  }
  if (size.limits.length === 0) lines.push("no limit is at 80 percent or above");
  return [...lines, ""];
}

function hazardLines({ hazards }: CheckReport): string[] {
  if (hazards.length === 0) return [];
  return ["Hazards: what no packet shows beforehand", ...hazards.flatMap(({ id, title, because }) =>
    [`  ${id}  ${title}`, ...because.slice(0, 3).map((line) => `      because ${line}`),
      ...(because.length > 3 ? [`      … ${because.length - 3} more`] : [])]), ""];
}

export function placeOf({ file, line }: Where): string {
  return line > 0 ? `${file}:${line}` : file;
}

function namesOf({ pods, examples }: { readonly pods: number; readonly examples: readonly string[] }): string {
  return `${examples.join(", ")}${pods > examples.length ? ", …" : ""}`;
}
