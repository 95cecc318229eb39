/**
 * The first screen: consequence first, then what could not be judged, then what the comparison rests on, then the
 * exit code and why. Prints data; computes nothing but layout.
 */
import { formatProblem } from "../cluster/problem.js";
import { changesOf, consequences, type NamedChange, openRows, waysText, worstOf } from "./changes.js";
import { coverageLines, servingLines } from "./coverage.js";
import { fixLines } from "./fixes.js";
import { fateLines } from "./fates.js";
import { count, type FindingRow, percent, type Report } from "./report.js";

/** Findings listed on the screen; the rest are in the JSON report. */
const LISTED = 12;

export interface TextOptions {
  /** Wraps a word in terminal colour; identity where there is none. */
  readonly paint: (style: "bold" | "red" | "yellow" | "green" | "dim", text: string) => string;
  readonly verbose: boolean;
}

export function renderText(report: Report, options: TextOptions): string {
  const lines: string[] = [];
  const { paint } = options;
  const [current, target] = report.planes;
  lines.push(paint("bold", `${current.profile}  ->  ${target.profile}`), "");
  lines.push(...findings(report, options), "");
  const fixes = report.fixes === undefined ? [] : fixLines(report.fixes, options);
  for (const block of [acceptedLines(report, options), fixes, hazardLines(report, options)]) if (block.length > 0) lines.push(...block, "");
  lines.push(...judged(report, options), "");
  lines.push(...ground(report, options));
  lines.push(...problemLines(report, options));
  lines.push("", paint("dim", "Predicts specified behaviour on this traffic; bugs of a live agent are outside it."));
  const { exitCode, why } = report.verdict;
  lines.push(`exit code ${paint("bold", String(exitCode))}: ${why}`);
  return `${lines.join("\n")}\n`;
}

function findings(report: Report, { paint }: TextOptions): string[] {
  const { exitCode, why } = report.verdict;
  if (report.findings.length === 0) {
    return [exitCode >= 2 ? paint("yellow", `Not judged: ${why}.`) : paint("green", "No difference in the traffic given.")];
  }
  const rows = openRows(report.findings);
  const lines = worstLines(changesOf(rows), paint);
  if (rows.length === 0) lines.push(paint("green", "No difference but what is accepted."));
  let listed = 0;
  for (const [title, group] of consequences(rows)) {
    const flows = group.reduce((sum, row) => sum + row.flows, 0);
    lines.push(paint("bold", `${title}: ${count(flows, "flow")}`));
    for (const row of group) {
      if (listed++ < LISTED) lines.push(...finding(row, paint));
    }
  }
  if (listed > LISTED) lines.push(`  … ${count(listed - LISTED, "more row")} in --output json`);
  return lines;
}

/** Of a report or review. */
interface AcceptedView extends Pick<Report, "limits" | "accepted"> {
  readonly findings: readonly Pick<FindingRow, "id" | "source" | "destination" | "protocol" | "flows" | "accepted">[];
}

/** What somebody answers for, and what entries for that did not do; nothing where none were given. */
export function acceptedLines({ findings: rows, limits, accepted }: AcceptedView, { paint, verbose }: TextOptions): string[] {
  if (accepted === null) return [];
  const known = rows.filter((row) => row.accepted !== undefined);
  const lines = [paint("bold", `Accepted, as of ${accepted.today}: ${count(sumOf(known), "flow")}`)];
  for (const row of known.slice(0, verbose ? known.length : LISTED)) {
    lines.push(`  ${row.id}  ${row.source} -> ${row.destination} ${row.protocol}: ${row.accepted!.owner} until ${row.accepted!.expires}`
      + ` (${row.accepted!.reason})`);
  }
  if (known.length > LISTED && !verbose) lines.push(`  … ${count(known.length - LISTED, "more row")} with --verbose`);
  for (const limit of limits) {
    if (limit.accepted === undefined) continue;
    lines.push(`  ${limit.id}  ${limit.subject}: ${limit.accepted.owner} until ${limit.accepted.expires}`);
  }
  lines.push(...entryWarnings(accepted).map((line) => paint("yellow", line)));
  return lines;
}

/** A line for each entry that accepts nothing. */
export function entryWarnings(accepted: NonNullable<Report["accepted"]>): string[] {
  return accepted.entries.filter(({ state }) => state !== "used").map((entry) => {
    const what = entry.state === "expired" ? `expired on ${entry.expires}, and accepts nothing of ${count(entry.rows, "row")} that it fits`
      : "fits nothing that was found";
    const scope = entry.scope === "" ? "" : ` (${entry.scope})`;
    return `  ${entry.where.file}:${entry.where.line}: ${entry.id}${scope} of ${entry.owner} ${what}`;
  });
}

function sumOf(rows: readonly Pick<FindingRow, "flows">[]): number {
  return rows.reduce((sum, row) => sum + row.flows, 0);
}

/** Ids, and the first objects or options that make each possible. */
export function hazardLines({ hazards }: Report, { paint, verbose }: TextOptions): string[] {
  if (hazards.length === 0) return [];
  const lines = [paint("bold", "Hazards that apply, which no packet shows beforehand (twinplane explain ID):")];
  for (const { id, title, because } of hazards) {
    const shown = verbose ? because : because.slice(0, 2);
    lines.push(`  ${paint("yellow", id)}  ${title}`, ...shown.map((one) => paint("dim", `      ${one}`)));
    if (because.length > shown.length) lines.push(paint("dim", `      and ${because.length - shown.length} more`));
  }
  return lines;
}

/** The worst of more changes than can be taken in at once. */
export function worstLines(changes: readonly NamedChange[], paint: TextOptions["paint"]): string[] {
  const worst = worstOf(changes);
  if (changes.length <= worst.length) return [];
  return [paint("bold", `The ${worst.length === 1 ? "" : `${worst.length} `}worst of ${count(changes.length, "change")}:`),
    ...worst.map(({ title, row }, index) =>
      `  ${index + 1}. ${title}: ${waysText(row)}, ${count(row.flows, "flow")} (${paintedId(row.id, paint)})`), ""];
}

export function paintedId(id: string, paint: TextOptions["paint"]): string {
  return paint(id === "UNEXPLAINED" ? "red" : "yellow", id);
}

function finding(row: FindingRow, paint: TextOptions["paint"]): string[] {
  const port = row.port > 0 ? `:${row.port}` : "";
  const lines = [
    `  ${paintedId(row.id, paint)}  ${row.source} -> ${row.destination}${port} ${row.protocol},`
      + ` ${count(row.flows, "flow")}, ${count(row.packets, "packet")}`,
    `      now:  ${row.current}`,
    `      then: ${row.target}`,
  ];
  for (const because of row.becauses.slice(0, 2)) {
    const where = because.where === null ? "" : ` (${because.where.file}:${because.where.line})`;
    lines.push(paint("dim", `      because ${because.object} ${because.rule}${where}`));
  }
  const { file, line, record, flow } = row.example;
  lines.push(paint("dim", `      first: ${file} ${line ? "line" : "packet"} ${record}, ${flow}`));
  return lines;
}

function judged(report: Report, { paint }: TextOptions): string[] {
  const { packets } = report;
  const matched = packets.replayed === 0 ? 0 : packets.matched / packets.replayed;
  const lines = [
    `${count(packets.replayed, "packet")} replayed from ${count(packets.records, "record")}`
      + ` (${packets.copies} further copies of the same packets); ${percent(matched)} match the cluster`,
    `  same ${packets.same}, same but for the random choice ${packets.otherChoice}, different ${packets.different},`
      + ` consequences ${packets.consequence}, moot ${packets.moot}, contradicted ${packets.contradicted}, held fragments ${packets.held}`,
  ];
  if (packets.inferred > 0) {
    lines.push(`  ${count(packets.inferred, "packet")} from where nothing was captured, put in at the sender; the way from there`
      + " to the capture is inferred");
  }
  const undecided = `  undecided ${packets.undecided}`;
  lines.push(packets.undecided > 0 ? paint("yellow", undecided) : undecided);
  for (const [reason, number] of report.undecided) lines.push(`    ${number}  ${reason}`);
  const unexplained = report.findings.filter((row) => row.id === "UNEXPLAINED").length;
  lines.push(unexplained > 0 ? paint("red", `  unexplained ${unexplained}`) : "  unexplained 0");
  if (packets.aside.length > 0) lines.push(`  aside: ${packets.aside.map(([why, number]) => `${number} ${why}`).join(", ")}`);
  for (const { id, limit, subject, used, max } of report.limits) {
    lines.push(paint("yellow", `  limit ${id}: ${limit} of ${subject} ${used} of ${max}`));
  }
  return lines;
}

/** What the comparison rests on, a line each, without colours. */
export function trustLines(report: Report): string[] {
  const captures = report.captures.map(({ file, packets, notes }) =>
    `${file}: ${count(packets, "packet")}${notes.length === 0 ? "" : `; ${notes.join("; ")}`}`);
  return [...ground(report, { paint: (_style, text) => text, verbose: true }).filter((line) => !line.startsWith("Never exercised"))
    .map((line) => line.trim()), ...captures];
}

function ground(report: Report, { paint, verbose }: TextOptions): string[] {
  const { truth } = report;
  const [current, target] = report.planes;
  const lines = [
    `Trust: ${truth.agreed} of ${truth.views} recorded views reproduced by the current side`
      + `${report.followCapture ? ", first packets pinned to the recorded choice" : ""}; ${truth.disagreed} disagreed`,
    `  answers came back as the sender expects: ${current.flowsClosed} of ${current.flowsAnswered} flows (current),`
      + ` ${target.flowsClosed} of ${target.flowsAnswered} (target)`,
  ];
  for (const [reason, views] of truth.undecided) lines.push(`  ${views} views undecided: ${reason}`);
  for (const line of truth.disagreements.slice(0, verbose ? 100 : 5)) lines.push(paint("red", `  ${line}`));
  lines.push(...entryLines(report, paint), ...flowLines(report, paint), ...rulesLines(report, paint));
  const assumed = report.facts.filter((one) => one.source === "assumed").map((one) => one.node);
  if (assumed.length > 0) lines.push(paint("yellow", `  devices and routes assumed, not read: ${assumed.join(", ")}`));
  const { services, policies } = report.untouched;
  if (services.length > 0) lines.push(`Never exercised: ${count(services.length, "service")}${shortList(services)}`);
  if (policies.length > 0) {
    const word = policies.length === 1 ? "1 policy" : `${policies.length} policies`;
    lines.push(`Never exercised: ${word}${shortList(policies)}`);
  }
  lines.push(...coverageLines(report.untouched.rules, verbose), ...servingLines(report.untouched.serving, verbose));
  return lines;
}

/** conntrack entries: how many the current side translates as the node did, and why some were not replayed. */
function entryLines({ entries }: Report, paint: TextOptions["paint"]): string[] {
  if (entries === null) return [];
  const { replayed, disagreeing } = entries;
  const lines = [`  ${replayed} of ${count(entries.entries, "conntrack entry", "conntrack entries")} replayed:`
    + ` ${replayed - disagreeing} translated and delivered as the node had it, ${disagreeing} otherwise`];
  if (entries.headless > 0) {
    lines.push(paint("yellow", `  ${count(entries.headless, "connection")} from a node without entries of its own for them:`
      + " what that node did to them first is not judged"));
  }
  for (const [reason, number] of entries.unplaced) {
    lines.push(paint("yellow", `  ${count(number, "entry", "entries")} undecided: ${reason}`));
  }
  return lines;
}

/** Flow logs: what of them was replayed, what that leaves open, and why some was not. */
function flowLines({ flows }: Report, paint: TextOptions["paint"]): string[] {
  if (flows === null) return [];
  const lines = [`  ${flows.replayed} of ${count(flows.connections, "recorded connection")} replayed, each as its first packet;`
    + ` ${count(flows.events, "event")}, ${flows.answers} of answers,`
    + ` ${flows.alike} of further connections that differ in the client's port alone`];
  if (flows.verdicts.length > 0) {
    lines.push(`  recorded verdicts, not relied on: ${flows.verdicts.map(([verdict, number]) => `${number} ${verdict}`).join(", ")}`);
  }
  if (flows.policyVerdicts.length > 0) {
    lines.push(`  policy verdicts among them: ${flows.policyVerdicts.map(([verdict, number]) => `${number} ${verdict}`).join(", ")}`);
  }
  lines.push(...fateLines(flows.fates, "the current side", paint));
  if (flows.notExercised > 0) {
    lines.push(paint("yellow", `  ${count(flows.notExercised, "connection")} recorded behind the balancing only: the service stage is`
      + " not exercised for them"));
  }
  if (flows.readdressed > 0) {
    lines.push(paint("yellow", `  ${count(flows.readdressed, "connection")} of pods or services found by name: with the addresses`
      + " they have in the snapshot"));
  }
  if (flows.lost > 0) lines.push(paint("yellow", `  ${count(flows.lost, "event")} lost before being recorded, by the log's own account`));
  for (const [why, number] of flows.aside) lines.push(`  ${count(number, "line")} left aside: ${why}`);
  for (const [reason, number] of flows.unplaced) {
    lines.push(paint("yellow", `  ${count(number, "connection")} undecided: ${reason}`));
  }
  return lines;
}

/** Nodes with rules of their own, how far generated ones are the same, and that the rest is generated. */
function rulesLines(report: Report, paint: TextOptions["paint"]): string[] {
  const own = report.rules.filter((one) => one.source !== "generated");
  if (own.length === 0) return [];
  const generated = report.rules.filter((one) => one.source === "generated").map((one) => `${one.node} IPv${one.family}`);
  const lines = own.map((one) => `  rules of ${one.verified} by what is generated; judged by its own, ${one.source}`);
  if (generated.length > 0) lines.push(paint("yellow", `  rules generated, not read: ${generated.join(", ")}`));
  return lines;
}

/** What was wrong with the inputs; nothing where nothing was. */
export function problemLines(report: Report, { paint, verbose }: TextOptions): string[] {
  const lines: string[] = [];
  for (const capture of report.captures) {
    for (const note of capture.notes) lines.push(paint("yellow", `${capture.file}: ${note}`));
  }
  const shown = verbose ? report.problems : report.problems.slice(0, 20);
  for (const problem of shown) lines.push(paint(problem.severity === "error" ? "red" : "yellow", formatProblem(problem)));
  const hidden = report.problems.length - shown.length;
  if (hidden > 0) lines.push(`… ${hidden} more problems with --verbose`);
  return lines.length === 0 ? [] : ["", ...lines];
}

function shortList(names: readonly string[]): string {
  return ` (${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""})`;
}
