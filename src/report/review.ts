/** A review on the screen: consequence first, by which changed lines, then what was not exercised or judged. Prints data. */
import { formatProblem, type Where } from "../cluster/problem.js";
import type { ChangedLine } from "../compare/finding.js";
import type { Review, ReviewRow } from "../review/report.js";
import { isExercised } from "../compare/coverage.js";
import { coverageLines, neverExercised, servingLines, servingOf } from "./coverage.js";
import { fateLines } from "./fates.js";
import { count, percent } from "./report.js";
import { acceptedLines, type TextOptions } from "./text.js";

/** Rows listed on the screen; the rest are in the JSON. */
const LISTED = 20;
const GROUPS: readonly (readonly [string, (row: ReviewRow) => boolean])[] = [
  ["UNEXPLAINED, please report", (row) => row.unexplained],
  ["Newly dropped", (row) => !row.unexplained && row.change === "dropped"],
  ["Newly opened", (row) => !row.unexplained && row.change === "opened"],
  ["Changed otherwise", (row) => !row.unexplained && row.change === "other"],
];

export function renderReview(review: Review, { paint, verbose }: TextOptions): string {
  const { packets, truth, verdict } = review;
  const lines = [paint("bold", `${review.before.join(" ")}  ->  ${review.after.join(" ")}, both on ${review.profile}`), ""];
  if (review.rows.length === 0) {
    lines.push(verdict.exitCode >= 2 ? paint("yellow", `Not judged: ${verdict.why}.`)
      : paint("green", "Nothing in the traffic given fares differently."));
  }
  const open = review.rows.filter((row) => row.accepted === undefined);
  let listed = 0;
  if (review.rows.length > 0 && open.length === 0) lines.push(paint("green", "Nothing fares differently but what is accepted."));
  for (const [title, wanted] of GROUPS) {
    const rows = open.filter(wanted);
    if (rows.length === 0) continue;
    lines.push(paint("bold", `${title}: ${sums(rows)}`));
    for (const row of rows) if (listed++ < LISTED) lines.push(...rowLines(row, paint));
  }
  if (listed > LISTED) lines.push(`  … ${count(listed - LISTED, "more row")} in --output json`);
  if (review.effects.length > 0) lines.push("", paint("bold", "By changed object and pod"));
  for (const { object, pod, dropped, opened, other } of review.effects) {
    const said = [["dropped", dropped], ["opened", opened], ["other", other]] as const;
    lines.push(`  ${object}: ${pod}  ${said.filter(([, one]) => one.flows > 0)
      .map(([word, one]) => `${word} ${count(one.flows, "flow")}, ${count(one.packets, "packet")}`).join("; ")}`);
  }
  const accepted = acceptedLines({ ...review, findings: review.rows }, { paint, verbose });
  if (accepted.length > 0) lines.push("", ...accepted);
  lines.push(...readdressedLines(review, verbose), "", ...unexercisedLines(review, paint), ...limitLines(review, paint));
  const matched = packets.replayed === 0 ? 0 : packets.matched / packets.replayed;
  lines.push(`${count(packets.replayed, "packet")} replayed from ${count(packets.records, "record")};`
    + ` ${percent(matched)} match the cluster;`
    + ` same ${packets.same + packets.otherChoice}, different ${packets.different}, consequences ${packets.consequence}`);
  const newly = review.newlyUndecided > 0 ? `, of those ${review.newlyUndecided} decided before` : "";
  const undecided = `  undecided ${packets.undecided}${newly}`;
  lines.push(packets.undecided > 0 ? paint("yellow", undecided) : undecided);
  for (const [reason, number] of review.undecided) lines.push(`    ${number}  ${reason}`);
  lines.push(`Trust: ${truth.agreed} of ${truth.views} recorded views are as the cluster before the change has them on ${review.profile}`);
  if (review.flows !== null) lines.push(...fateLines(review.flows.fates, "the cluster before the change", paint));
  lines.push(...coverageLines({ all: review.coverage.policy.all, never: neverExercised(review.coverage) }, verbose));
  const used = new Set(review.coverage.rows.filter((row) => row.kind === "frontend" && isExercised(row)).map((row) => row.object));
  const idle = new Set(review.coverage.rows.map((row) => row.object).filter((object) => !used.has(object)));
  lines.push(...servingLines(servingOf(review.coverage, idle), verbose));
  const shown = verbose ? review.problems : review.problems.filter((one) => one.severity === "error");
  for (const problem of shown.slice(0, verbose ? undefined : 8)) lines.push(paint("yellow", formatProblem(problem)));
  const hidden = review.problems.length - Math.min(shown.length, verbose ? Infinity : 8);
  if (hidden > 0) lines.push(`${count(hidden, "further problem")} of the inputs: -v`);
  lines.push("", `exit code ${paint("bold", String(verdict.exitCode))}: ${verdict.why}`);
  return `${lines.join("\n")}\n`;
}

/** `ingress[0].from[1] of default/web was removed (web.yaml:12)`. */
export function causeText({ object, rule, change, where }: ChangedLine): string {
  return `${object} ${rule}, ${change}${placeText(where)}`;
}

function rowLines(row: ReviewRow, paint: TextOptions["paint"]): string[] {
  const port = row.port > 0 ? `:${row.port}` : "";
  const lines = [`  ${row.source} -> ${row.destination}${port} ${row.protocol}, ${sums([row])}`,
    `      before: ${row.before}`, `      after:  ${row.after}`];
  for (const cause of row.causes) lines.push(paint("yellow", `      by ${causeText(cause)}`));
  if (row.unexplained) lines.push(paint("red", "      no changed line makes it"));
  for (const { object, rule, where } of row.becauses.slice(0, 3)) {
    lines.push(paint("dim", `      because ${object} ${rule}${placeText(where)}`));
  }
  const { file, line, record, flow } = row.example;
  lines.push(paint("dim", `      first: ${file} ${line ? "line" : "packet"} ${record}, ${flow}`));
  return lines;
}

function unexercisedLines({ changed, notExercised }: Review, paint: TextOptions["paint"]): string[] {
  if (changed.length === 0) return [paint("yellow", "No object differs before and after."), ""];
  if (notExercised.length === 0) return [`${count(changed.length, "changed object")}, each exercised by this traffic`, ""];
  const lines = [paint("bold", `Changed, not exercised by this traffic: ${notExercised.length} of`
    + ` ${count(changed.length, "changed object")}`)];
  for (const { kind, namespace, name, change, before, after, lines: own } of notExercised.slice(0, LISTED)) {
    lines.push(`  ${change} ${kind} ${namespace === "" ? name : `${namespace}/${name}`}${placeText(after ?? before)}`);
    for (const line of own.slice(0, 5)) lines.push(paint("dim", `      ${line.change} ${line.rule}${placeText(line.where)}`));
  }
  if (notExercised.length > LISTED) lines.push(`  … ${notExercised.length - LISTED} more in --output json`);
  return [...lines, ""];
}

/** Pods of a later snapshot that are judged as those of the traffic. */
function readdressedLines({ readdressed }: Review, verbose: boolean): string[] {
  if (readdressed.length === 0) return [];
  const lines = ["", `${count(readdressed.length, "pod")} of other addresses after the change, judged under those of the traffic:`];
  const shown = readdressed.slice(0, verbose ? undefined : 5);
  for (const { pod, before, after } of shown) lines.push(`  ${pod}: ${before.join(", ")}, after it ${after.join(", ")}`);
  if (shown.length < readdressed.length) lines.push(`  … ${count(readdressed.length - shown.length, "more pod")} with --verbose`);
  return lines;
}

function limitLines({ limits }: Review, paint: TextOptions["paint"]): string[] {
  return limits.map(({ id, limit, subject, used, max, newly }) =>
    paint(newly ? "red" : "yellow", `limit ${id}: ${limit} of ${subject} ${used} of ${max}${newly ? ", newly exceeded" : ""}`));
}

export function placeText(where: Where | null): string {
  return where === null ? "" : ` (${where.file}${where.line > 0 ? `:${where.line}` : ""})`;
}

function sums(rows: readonly ReviewRow[]): string {
  const total = (of: (row: ReviewRow) => number): number => rows.reduce((sum, row) => sum + of(row), 0);
  return `${count(total((row) => row.flows), "flow")}, ${count(total((row) => row.packets), "packet")}`;
}
