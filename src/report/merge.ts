/**
 * Several reports as one: recordings that have nothing to do with one another (each with its own times and its own
 * conntrack state), replayed one by one and read together. Counts are summed; findings that agree in everything that
 * is printed are one, with the names of the recordings that show it; of verdicts the one that says most wins.
 */
import type { Problem } from "../cluster/problem.js";
import { formatProblem } from "../cluster/problem.js";
import { count, type FindingRow, type LimitRow, type PlaneSummary, type Report, type TruthSummary, type UntouchedRule }
  from "./report.js";

export interface NamedReport {
  readonly name: string;
  readonly report: Report;
}

/** One recording in a line. */
export interface StoryRow {
  readonly name: string;
  readonly packets: number;
  readonly undecided: number;
  /** Views the current side reproduced, of those recorded. */
  readonly agreed: number;
  readonly views: number;
  /** Ids of the differences it shows, each once, in the order of its own report. */
  readonly ids: readonly string[];
  readonly verdict: Report["verdict"];
}

export interface MergedFinding extends FindingRow {
  /** Recordings that show it. */
  readonly stories: readonly string[];
}

export interface MergedReport extends Report {
  readonly stories: readonly StoryRow[];
  readonly findings: readonly MergedFinding[];
}

type Counted = readonly (readonly [string, number])[];

/** At least one report; all of the same two profiles. */
export function mergeReports(parts: readonly NamedReport[]): MergedReport {
  if (parts.length === 0) throw new Error("no reports to merge");
  const reports = parts.map((part) => part.report);
  const first = reports[0];
  const findings = mergeFindings(parts);
  const limits = mergeLimits(reports);
  return {
    twinplane: first.twinplane,
    stories: parts.map(storyOf),
    captures: reports.flatMap((one) => one.captures),
    facts: uniqueBy(reports.flatMap((one) => one.facts), (one) => `${one.node} ${one.source}`),
    rules: uniqueBy(reports.flatMap((one) => one.rules), (one) => `${one.node} ${one.family} ${one.source}`),
    planes: [mergePlanes(reports.map((one) => one.planes[0])), mergePlanes(reports.map((one) => one.planes[1]))],
    followCapture: reports.every((one) => one.followCapture),
    packets: mergePackets(reports.map((one) => one.packets)),
    undecided: mergeCounted(reports.map((one) => one.undecided)),
    findings, refused: uniqueBy(reports.flatMap((one) => one.refused), (one) => JSON.stringify(one)), limits,
    hazards: mergeHazards(reports), accepted: mergeAccepted(reports),
    truth: mergeTruth(reports.map((one) => one.truth)),
    entries: null, flows: null,
    untouched: {
      services: inAll(reports.map((one) => one.untouched.services)),
      policies: inAll(reports.map((one) => one.untouched.policies)),
      rules: mergeRules(reports.map((one) => one.untouched.rules)),
      serving: mergeServing(reports.flatMap((one) => one.untouched.serving)),
    },
    problems: uniqueBy(reports.flatMap((one): readonly Problem[] => one.problems), formatProblem),
    verdict: mergeVerdicts(parts, findings.filter(isCounted).length, limits.filter((one) => one.exceeded && isCounted(one)).length),
  };
}

function storyOf({ name, report }: NamedReport): StoryRow {
  return {
    name, packets: report.packets.replayed, undecided: report.packets.undecided, agreed: report.truth.agreed,
    views: report.truth.views, ids: [...new Set(report.findings.map((row) => row.id))], verdict: report.verdict,
  };
}

/** In the order of a single report: what is unexplained first, then by packets. */
function mergeFindings(parts: readonly NamedReport[]): MergedFinding[] {
  const merged = new Map<string, MergedFinding>();
  for (const { name, report } of parts) {
    for (const row of report.findings) {
      const key = JSON.stringify([row.id, row.facet, row.source, row.destination, row.protocol, row.port, row.current, row.target]);
      const before = merged.get(key);
      merged.set(key, before === undefined ? { ...row, stories: [name] } : {
        ...before, flows: before.flows + row.flows, packets: before.packets + row.packets,
        stories: before.stories.includes(name) ? before.stories : [...before.stories, name],
      });
    }
  }
  return [...merged.values()].sort((a, b) => Number(b.id === "UNEXPLAINED") - Number(a.id === "UNEXPLAINED") || b.packets - a.packets);
}

/** Of one cluster's rules, those that no recording exercised. */
function mergeRules(rules: readonly Report["untouched"]["rules"][]): Report["untouched"]["rules"] {
  const text = ({ object, what, where }: UntouchedRule): string => JSON.stringify([object, what, where?.file ?? "", where?.line ?? 0]);
  const others = rules.slice(1).map(({ never }) => new Set(never.map(text)));
  return { all: Math.max(0, ...rules.map(({ all }) => all)),
    never: (rules[0]?.never ?? []).filter((one) => others.every((never) => never.has(text(one)))) };
}

/** Of each service, what no recording used that addressed it. */
function mergeServing(all: Report["untouched"]["serving"]): Report["untouched"]["serving"] {
  const names = [...new Set(all.map(({ service }) => service))].sort();
  return names.map((service) => ({ service, ...mergeRules(all.filter((one) => one.service === service)) }));
}

/** The same limit of the same thing counts once, at its fullest. */
function mergeLimits(reports: readonly Report[]): LimitRow[] {
  const merged = new Map<string, LimitRow>();
  for (const row of reports.flatMap((one) => one.limits)) {
    const key = `${row.id} ${row.limit} ${row.subject}`;
    const before = merged.get(key);
    if (before === undefined || row.used > before.used) merged.set(key, row);
  }
  return [...merged.values()];
}

function isCounted({ accepted }: { readonly accepted?: unknown }): boolean {
  return accepted === undefined;
}

function mergeHazards(reports: readonly Report[]): Report["hazards"] {
  return uniqueBy(reports.flatMap((one) => one.hazards), ({ id, because }) => `${id} ${because.join()}`);
}

/** The same entries in every part; used where one part used them. */
function mergeAccepted(reports: readonly Report[]): Report["accepted"] {
  const [first] = reports;
  if (first.accepted === null) return null;
  return { today: first.accepted.today, entries: first.accepted.entries.map((entry, index) => {
    const rows = sum(reports, (one) => one.accepted?.entries[index].rows ?? 0);
    return { ...entry, rows, state: entry.state === "expired" ? "expired" : rows === 0 ? "never matched" : "used" };
  }) };
}

function mergePlanes(planes: readonly PlaneSummary[]): PlaneSummary {
  return {
    name: planes[0].name, profile: planes[0].profile, flowsAnswered: sum(planes, (one) => one.flowsAnswered),
    flowsClosed: sum(planes, (one) => one.flowsClosed), pinsTaken: sum(planes, (one) => one.pinsTaken),
    pinsRefused: sum(planes, (one) => one.pinsRefused),
  };
}

function mergePackets(packets: readonly Report["packets"][]): Report["packets"] {
  const of = (key: Exclude<keyof Report["packets"], "aside">): number => sum(packets, (one) => one[key]);
  return {
    records: of("records"), copies: of("copies"), replayed: of("replayed"), inferred: of("inferred"), matched: of("matched"),
    same: of("same"),
    otherChoice: of("otherChoice"), different: of("different"), consequence: of("consequence"), moot: of("moot"),
    contradicted: of("contradicted"),
    held: of("held"), undecided: of("undecided"), aside: mergeCounted(packets.map((one) => one.aside)),
  };
}

function mergeTruth(truths: readonly TruthSummary[]): TruthSummary {
  return {
    views: sum(truths, (one) => one.views), agreed: sum(truths, (one) => one.agreed),
    disagreed: sum(truths, (one) => one.disagreed),
    undecided: mergeCounted(truths.map((one) => one.undecided)), consumed: sum(truths, (one) => one.consumed),
    disagreements: truths.flatMap((one) => one.disagreements),
  };
}

/** 2 before 3 before 1: an input that was not read, then one that could not be judged, is not made good by the rest. */
function mergeVerdicts(parts: readonly NamedReport[], findings: number, limits: number): Report["verdict"] {
  for (const exitCode of [2, 3]) {
    const failed = parts.filter((part) => part.report.verdict.exitCode === exitCode);
    if (failed.length > 0) {
      const more = failed.length === 1 ? "" : `; and ${failed.length - 1} more`;
      return { exitCode, why: `${failed[0].name}: ${failed[0].report.verdict.why}${more}` };
    }
  }
  const found = parts.find((part) => part.report.verdict.exitCode !== 0);
  if (found === undefined) return { exitCode: 0, why: parts[0].report.verdict.why };
  const kinds = new Set(parts.flatMap((part) => part.report.findings.map((row) => row.id))).size;
  const what = [
    ...(findings > 0 ? [`${count(findings, "difference")} of ${count(kinds, "kind")}`] : []),
    ...(limits > 0 ? [count(limits, "limit")] : []),
  ];
  return { exitCode: found.report.verdict.exitCode, why: what.join(" and ") };
}

function mergeCounted(lists: readonly Counted[]): Counted {
  const merged = new Map<string, number>();
  for (const [text, number] of lists.flat()) merged.set(text, (merged.get(text) ?? 0) + number);
  return [...merged].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
}

function inAll(lists: readonly (readonly string[])[]): string[] {
  return lists[0].filter((name) => lists.every((list) => list.includes(name)));
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function uniqueBy<T>(items: readonly T[], keyOf: (item: T) => string): T[] {
  return [...new Map(items.map((item) => [keyOf(item), item])).values()];
}
