/**
 * The report of a review as plain data: what a change of the cluster drops, opens or moves of the traffic given, by which
 * lines, and what of the change the traffic did not exercise. Computed here; renderers compute nothing.
 */
import type { Acceptance } from "../accepted/accepted.js";
import { type AcceptedInput, type AcceptedReport, acceptRows } from "../accepted/report.js";
import { UNEXPLAINED } from "../compare/catalogue/index.js";
import type { ChangedLine, Finding } from "../compare/finding.js";
import { type CoverageReport, isExercised } from "../compare/coverage.js";
import { statementKey } from "../compare/statements.js";
import type { Because } from "../dataplane.js";
import { count, type FindingRow, type LimitRow, type Report, unlessIncomplete } from "../report/report.js";
import type { Session } from "../session.js";
import type { ClusterChanges, ObjectChange } from "./changes.js";
import type { Readdressed } from "./readdress.js";

export type ReviewFailOn = "dropped" | "opened" | "any" | "none";

/** What a row is called where it is to be accepted; by its change, or UNEXPLAINED. */
export const REVIEW_IDS = { dropped: "DROPPED", opened: "OPENED", other: "CHANGED" } as const;

/** Flows that fare alike before and alike after, and not the same. */
export interface ReviewRow {
  /** Of REVIEW_IDS, or UNEXPLAINED. */
  readonly id: string;
  /** `other`: it arrives on both sides or on neither, elsewhere or with another answer. */
  readonly change: "dropped" | "opened" | "other";
  readonly source: string;
  /** As the sender addressed it: a pod, a service, a node, an address. */
  readonly destination: string;
  /** The pod, node or address that it came to, where it arrives. */
  readonly receiver: string;
  readonly protocol: string;
  /** 0 where the protocol has none. */
  readonly port: number;
  readonly before: string;
  readonly after: string;
  readonly flows: number;
  readonly packets: number;
  /** No changed line makes it: an error of the model, or of what it was told. */
  readonly unexplained: boolean;
  readonly causes: readonly ChangedLine[];
  /** What else decided on either side, each once: default denies, services. */
  readonly becauses: readonly Because[];
  readonly example: FindingRow["example"];
  /** Who answers for it; absent: nobody. */
  readonly accepted?: Acceptance;
}

/** What one changed object does to one pod's traffic. */
export interface PolicyEffect {
  readonly object: string;
  readonly pod: string;
  readonly dropped: Count;
  readonly opened: Count;
  readonly other: Count;
  readonly lines: readonly ChangedLine[];
}

export interface Count {
  flows: number;
  packets: number;
}

export interface UnexercisedObject extends ObjectChange {
  /** Its changed lines that no packet met; empty where the object is no policy. */
  readonly lines: readonly ChangedLine[];
}

export interface Review {
  readonly twinplane: string;
  readonly profile: string;
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly changed: readonly ObjectChange[];
  /** The gravest first. */
  readonly rows: readonly ReviewRow[];
  readonly effects: readonly PolicyEffect[];
  readonly notExercised: readonly UnexercisedObject[];
  /** Of the cluster after the change. */
  readonly coverage: CoverageReport;
  /** Decided before, undecided after. */
  readonly newlyUndecided: number;
  /** Of the target's maps, those that the change fills; `newly`: exceeded after and not before. */
  readonly limits: readonly (LimitRow & { readonly newly: boolean })[];
  /** null: no file of accepted differences was given. */
  readonly accepted: AcceptedReport<ReviewRow, LimitRow>["summary"];
  /** Pods that are judged under the addresses of the traffic, and have others in the snapshot after. */
  readonly readdressed: readonly Readdressed[];
  readonly captures: Report["captures"];
  readonly packets: Report["packets"];
  readonly undecided: Report["undecided"];
  readonly truth: Report["truth"];
  /** Connections of flow logs; null: captures were given. */
  readonly flows: Report["flows"];
  readonly facts: Report["facts"];
  readonly problems: Report["problems"];
  readonly verdict: Report["verdict"];
}

export interface ReviewInput {
  readonly session: Session;
  readonly changes: ClusterChanges;
  /** Coverage of each cluster by its own plane. */
  readonly coverages: readonly [CoverageReport, CoverageReport];
  readonly limitsBefore: readonly LimitRow[];
  readonly before: readonly string[];
  readonly after: readonly string[];
  readonly failOn: ReviewFailOn;
  readonly accepted: AcceptedInput | null;
  readonly readdressed: readonly Readdressed[];
}

export function reviewOf(input: ReviewInput): Review {
  const { session: { report, comparison }, changes, coverages, failOn } = input;
  const byKey = new Map([...comparison.findings.values()].map((one) => [findingKey(one), one]));
  const found = report.findings.map((row) => rowOf(row, byKey.get(findingKey(row))!)).sort(byGravity);
  const over = report.limits.map((one) => ({ ...one, newly: one.exceeded
    && !input.limitsBefore.some((was) => was.exceeded && was.id === one.id && was.subject === one.subject) }));
  const { findings: rows, limits, summary } = acceptRows(found, over, input.accepted);
  const newly = limits.filter((one) => one.newly && one.accepted === undefined);
  const { newlyUndecided } = comparison.counts;
  return {
    twinplane: report.twinplane, profile: report.planes[1].profile, before: input.before, after: input.after,
    changed: changes.objects, rows, effects: effectsOf(rows), notExercised: notExercised(changes, coverages, rows, session(input)),
    coverage: coverages[1], newlyUndecided, limits, captures: report.captures, packets: report.packets, undecided: report.undecided,
    truth: report.truth, flows: report.flows, facts: report.facts, problems: report.problems, accepted: summary,
    readdressed: input.readdressed,
    verdict: unlessIncomplete(verdictOf(report.verdict, rows, newly.length, newlyUndecided, failOn), report.problems),
  };
}

function session({ session: { comparison } }: ReviewInput): (address: string) => boolean {
  return (service) => comparison.coverage.addressed(service);
}

function rowOf(row: FindingRow, { causes, receiver }: Finding): ReviewRow {
  const { facet, reachesNow, source, destination, protocol, port, flows, packets, becauses, example, id } = row;
  const change = facet !== "reached" ? "other" : reachesNow ? "dropped" : "opened";
  return {
    id: id === UNEXPLAINED ? id : REVIEW_IDS[change], change, source, destination, receiver, protocol, port,
    before: row.current, after: row.target, flows, packets, unexplained: id === UNEXPLAINED, causes,
    becauses: others(becauses, causes), example,
  };
}

function others(becauses: readonly Because[], causes: readonly ChangedLine[]): Because[] {
  const text = (one: Because): string =>
    JSON.stringify([one.object, statementKey(one) ?? one.rule, one.where?.file ?? "", one.where?.line ?? 0]);
  const caused = new Set(causes.map(text));
  return [...new Map(becauses.map((one) => [text(one), one]))].filter(([key]) => !caused.has(key)).map(([, one]) => one);
}

function findingKey(one: Pick<FindingRow, "id" | "facet" | "source" | "destination" | "protocol" | "port" | "current" | "target">): string {
  return JSON.stringify([one.id, one.facet, one.source, one.destination, one.protocol, one.port, one.current, one.target]);
}

const GRAVITY = { dropped: 0, opened: 1, other: 2 } as const;

function byGravity(a: ReviewRow, b: ReviewRow): number {
  return Number(b.unexplained) - Number(a.unexplained) || GRAVITY[a.change] - GRAVITY[b.change] || b.packets - a.packets
    || (rowText(a) < rowText(b) ? -1 : 1);
}

function rowText(row: ReviewRow): string {
  return JSON.stringify([row.source, row.destination, row.protocol, row.port, row.before, row.after]);
}

/** By changed object and by the pod whose traffic it judges: the sender under an egress rule, else the receiver. */
function effectsOf(rows: readonly ReviewRow[]): PolicyEffect[] {
  const effects = new Map<string, { object: string; pod: string; dropped: Count; opened: Count; other: Count; lines: ChangedLine[] }>();
  for (const row of rows) {
    const objects = new Set(row.causes.map((one) => one.object));
    for (const object of objects) {
      const lines = row.causes.filter((one) => one.object === object);
      const pod = lines.some((one) => /(^|\.)egress/.test(one.rule)) ? row.source : row.receiver;
      const key = JSON.stringify([object, pod]);
      const effect = effects.get(key) ?? { object, pod, dropped: none(), opened: none(), other: none(), lines: [] };
      effects.set(key, effect);
      effect[row.change].flows += row.flows;
      effect[row.change].packets += row.packets;
      for (const line of lines) if (!effect.lines.some((one) => lineText(one) === lineText(line))) effect.lines.push(line);
    }
  }
  return [...effects].sort(([a, x], [b, y]) => y.dropped.packets - x.dropped.packets || y.opened.packets - x.opened.packets
    || (a < b ? -1 : 1)).map(([, one]) => one);
}

function none(): Count {
  return { flows: 0, packets: 0 };
}

/** Changed objects that decided nothing of this traffic, and changed lines of policies that did not. */
function notExercised({ objects, lines }: ClusterChanges, [before, after]: readonly [CoverageReport, CoverageReport],
  rows: readonly ReviewRow[], addressed: (service: string) => boolean): UnexercisedObject[] {
  const met = [before, after].map((one) => new Set(one.rows.filter(isExercised).map((row) => `${row.object} ${row.what}`)));
  const causes = new Set(rows.flatMap((row) => row.causes.map(lineText)));
  const isMet = (line: ChangedLine): boolean => causes.has(lineText(line))
    || met.some((side) => side.has(`${line.object} ${line.rule.replace(/: denies .*$/, "")}`));
  return objects.flatMap((object): UnexercisedObject[] => {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    const titles = [name, `${object.kind} ${name}`];
    if (!POLICY_KINDS.has(object.kind)) {
      const service = object.kind === "Service" ? name : object.service === "" ? null : `${object.namespace}/${object.service}`;
      const used = service === null ? rows.some((row) => row.causes.some((one) => titles.includes(one.object))) : addressed(service);
      return used ? [] : [{ ...object, lines: [] }];
    }
    const own = lines.filter((one) => titles.includes(one.object) && (one.object === name) === (object.kind === "NetworkPolicy"));
    const unmet = own.filter((one) => !isMet(one));
    return own.length > 0 && unmet.length === 0 ? [] : [{ ...object, lines: unmet }];
  });
}

const POLICY_KINDS: ReadonlySet<string> = new Set(["NetworkPolicy", "CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy",
  "AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "ClusterNetworkPolicy"]);

export function lineText({ object, rule, change, where }: ChangedLine): string {
  return JSON.stringify([object, statementKey({ object, rule, where }) ?? rule, rule, change, where?.file ?? "", where?.line ?? 0]);
}

/** As a comparison's, with what a review counts. Undecided never passes: what the change made undecided is not judged. */
function verdictOf(base: Report["verdict"], rows: readonly ReviewRow[], limits: number, newlyUndecided: number, failOn: ReviewFailOn)
  : Report["verdict"] {
  if (base.exitCode >= 2) return base;
  if (newlyUndecided > 0) {
    return { exitCode: 3, why: `${count(newlyUndecided, "packet")} decided before the change cannot be judged after it` };
  }
  const flows = (wanted: (row: ReviewRow) => boolean): number =>
    rows.filter((row) => row.accepted === undefined && wanted(row)).reduce((sum, row) => sum + row.flows, 0);
  const accepted = rows.length - rows.filter((row) => row.accepted === undefined).length;
  const found: (readonly [flows: number, text: string, counts: boolean])[] = [
    [flows((row) => row.unexplained), "unexplained", failOn !== "none"],
    [flows((row) => !row.unexplained && row.change === "dropped"), "newly dropped", failOn === "any" || failOn === "dropped"],
    [flows((row) => !row.unexplained && row.change === "opened"), "newly opened", failOn === "any" || failOn === "opened"],
    [flows((row) => !row.unexplained && row.change === "other"), "changed otherwise", failOn === "any"],
  ];
  const parts = found.filter(([number]) => number > 0).map(([number, text]) => `${count(number, "flow")} ${text}`);
  if (limits > 0) parts.push(`${count(limits, "limit")} newly exceeded`);
  if (parts.length === 0 && accepted > 0) return { exitCode: 0, why: `nothing but ${count(accepted, "accepted row")} fares differently` };
  const fails = found.some(([number, , counts]) => number > 0 && counts) || (limits > 0 && failOn !== "none");
  if (fails) return { exitCode: 1, why: parts.join(", ") };
  return { exitCode: 0, why: parts.length > 0 ? `${parts.join(", ")}; not counted by --fail-on ${failOn}`
    : "nothing in the traffic given fares differently" };
}

