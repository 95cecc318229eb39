/**
 * The report of a comparison as plain data: what every renderer prints and what `--output json` is. Computed once,
 * here; renderers compute nothing.
 */
import type { AcceptedRow, Acceptance } from "../accepted/accepted.js";
import { incompleteFiles, type Problem, type Where } from "../cluster/problem.js";
import type { HazardNote } from "../compare/catalogue/index.js";
import type { Predicted } from "../compare/predicted.js";
import type { FatesSummary } from "../compare/recorded-fates.js";
import type { Because } from "../dataplane.js";
import type { FixReport } from "../fix/fixes.js";

export interface CaptureSummary {
  readonly file: string;
  readonly node: string;
  readonly packets: number;
  /** One line for each thing worth knowing (damage, counters above zero). */
  readonly notes: readonly string[];
}

export interface PlaneSummary {
  readonly name: string;
  readonly profile: string;
  /** TCP and UDP flows with answers, and those whose answers came back as the sender expects. */
  readonly flowsAnswered: number;
  readonly flowsClosed: number;
  readonly pinsTaken: number;
  readonly pinsRefused: number;
}

export interface FindingRow {
  readonly id: string;
  readonly title: string;
  readonly facet: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  readonly current: string;
  readonly target: string;
  /** It arrives on the current side. */
  readonly reachesNow: boolean;
  readonly flows: number;
  readonly packets: number;
  readonly becauses: readonly Because[];
  /** Who answers for it; absent: it counts. */
  readonly accepted?: Acceptance;
  /** What will be seen after a switch, for `score`; null where flows cannot show it. */
  readonly predicted: Predicted | null;
  /** Where to look first. */
  readonly example: {
    readonly file: string;
    /** Record of a capture; where `line`, a line of a text. */
    readonly record: number;
    readonly line: boolean;
    readonly flow: string;
  };
}

/** A capacity limit that the compiled target takes up by 80 percent or more. */
export interface LimitRow {
  readonly id: string;
  readonly limit: string;
  readonly subject: string;
  readonly used: number;
  readonly max: number;
  readonly exceeded: boolean;
  readonly consequence: string;
  readonly because: readonly string[];
  readonly accepted?: Acceptance;
}

/** How the current plane did against what the kernel was recorded to do. */
export interface TruthSummary {
  readonly views: number;
  readonly agreed: number;
  readonly disagreed: number;
  readonly undecided: readonly (readonly [reason: string, views: number])[];
  /** Packets that were recorded once, consumed by the kernel and so in the plane. */
  readonly consumed: number;
  readonly disagreements: readonly string[];
}

/** Rules of one node and family. */
export interface RulesRow {
  readonly node: string;
  readonly family: 4 | 6;
  /** `generated`, or the file of the node's own rules. */
  readonly source: string;
  /** How far the generated rules are the node's own; empty where there are none to hold them against. */
  readonly verified: string;
}

/** conntrack entries that were replayed as first packet and first answer. */
export interface EntrySummary {
  readonly entries: number;
  readonly replayed: number;
  /** Of those, how many the current side has otherwise than the node had them. */
  readonly disagreeing: number;
  /** Of those replayed, how many begin on a node of the cluster that has no entry of them. */
  readonly headless: number;
  readonly unplaced: readonly (readonly [reason: string, entries: number])[];
}

/** Connections of flow logs, each replayed as its first packet. */
export interface FlowSummary {
  /** Events of the logs, and those of them that are of answers or of connections like others that are replayed. */
  readonly events: number;
  readonly answers: number;
  readonly alike: number;
  /** Events that the logs themselves say they lost. */
  readonly lost: number;
  /** What the logs hold beside connections, by why it is left aside. */
  readonly aside: readonly (readonly [why: string, lines: number])[];
  /** What the logs say became of them, by events; where no policy engine reports, FORWARDED says nothing. */
  readonly verdicts: readonly (readonly [verdict: string, events: number])[];
  /** Those of them that the recorded dataplane's policy gave (Hubble's policy-verdict events). */
  readonly policyVerdicts: readonly (readonly [verdict: string, events: number])[];
  readonly connections: number;
  readonly replayed: number;
  /** Of those replayed: to a backend, where the log does not tell whether a service was asked first. */
  readonly notExercised: number;
  /** Of those replayed: with an address of the snapshot in place of the recorded one, found by name. */
  readonly readdressed: number;
  readonly unplaced: readonly (readonly [reason: string, connections: number])[];
  /** What the log tells of them, held against the current side. */
  readonly fates: FatesSummary;
}

export interface UntouchedRule {
  readonly object: string;
  /** `ingress[0].from[1]`. */
  readonly what: string;
  readonly where: Where | null;
}

export interface Report {
  /** Patches that were tried; absent: not asked for. */
  readonly fixes?: FixReport;
  readonly twinplane: string;
  readonly captures: readonly CaptureSummary[];
  readonly facts: readonly { readonly node: string; readonly source: "read" | "assumed" }[];
  /** Where the current side's rules are from; empty where it has none. */
  readonly rules: readonly RulesRow[];
  readonly planes: readonly [PlaneSummary, PlaneSummary];
  readonly followCapture: boolean;
  readonly packets: {
    readonly records: number;
    readonly copies: number;
    /** Injected into both planes. */
    readonly replayed: number;
    /** Of those, sent by a pod, node or outside host that nobody captured: put in there, their way to the capture inferred. */
    readonly inferred: number;
    /** Of those, with an address that the cluster knows. */
    readonly matched: number;
    readonly same: number;
    readonly otherChoice: number;
    readonly different: number;
    readonly consequence: number;
    readonly moot: number;
    /** Recorded after packets that neither side delivers: not judged. */
    readonly contradicted: number;
    readonly held: number;
    readonly undecided: number;
    /** Not injected, by why. */
    readonly aside: readonly (readonly [why: string, packets: number])[];
  };
  readonly undecided: readonly (readonly [reason: string, packets: number])[];
  readonly findings: readonly FindingRow[];
  /** What both sides refuse alike, for `score`. */
  readonly refused: readonly Predicted[];
  readonly limits: readonly LimitRow[];
  /** What packets would not show beforehand and can arise between these profiles. */
  readonly hazards: readonly HazardNote[];
  /** Entries of accepted differences and what they did, by the day they were held against; null: none were given. */
  readonly accepted: { readonly today: string; readonly entries: readonly AcceptedRow[] } | null;
  readonly truth: TruthSummary;
  /** null: no conntrack entries were given to replay. */
  readonly entries: EntrySummary | null;
  /** null: no flow logs were given to replay. */
  readonly flows: FlowSummary | null;
  /** Services and policies that no packet touched. */
  readonly untouched: {
    readonly services: readonly string[];
    readonly policies: readonly string[];
    /** Rules by peer, their ports, and default denies: how many there are, and those that no packet met, the worst first. */
    readonly rules: { readonly all: number; readonly never: readonly UntouchedRule[] };
    /** By service that some packet addressed: its frontends and backends, and those of them that no flow used. */
    readonly serving: readonly { readonly service: string; readonly all: number; readonly never: readonly UntouchedRule[] }[];
  };
  readonly problems: readonly Problem[];
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

/** The least that `minJudged` may be: a run that judged less of its packets says nothing, whatever it was asked for. */
export const LEAST_JUDGED = 0.1;

export interface VerdictInput {
  readonly replayed: number;
  readonly matched: number;
  readonly undecided: number;
  readonly contradicted: number;
  /**
   * Recorded views, and ends of connections that flow logs tell, which the current side was held against, and those it reproduces but for a
   * port; null: neither side was recorded.
   */
  readonly truth: { readonly held: number; readonly reproduced: number } | null;
  readonly findings: number;
  readonly limits: number;
  readonly unreadable: number;
  /** LEAST_JUDGED to 1. */
  readonly minJudged: number;
  readonly failOn: "any" | "unexplained" | "none";
  readonly unexplained: number;
  /** Differences and limits that somebody answers for, beside those counted above. */
  readonly accepted: number;
}

/** Exit codes: 0 judged and nothing found, 1 differences or limits, 2 unreadable input, 3 could not judge. */
export function verdictOf(input: VerdictInput): Report["verdict"] {
  if (input.unreadable > 0) return { exitCode: 2, why: `${count(input.unreadable, "input")} could not be read` };
  if (input.replayed === 0) return { exitCode: 3, why: "no packet could be replayed" };
  const matched = input.matched / input.replayed;
  if (matched < input.minJudged) {
    return {
      exitCode: 3,
      why: `the captures do not match the cluster: ${percent(matched)} of the packets have an address the cluster knows`
        + ` (--min-judged ${percent(input.minJudged)})`,
    };
  }
  const decided = 1 - (input.undecided + input.contradicted) / input.replayed;
  if (decided < input.minJudged) {
    const against = input.contradicted === 0 ? ""
      : `; ${count(input.contradicted, "packet")} went on where neither side delivers what came before`;
    return { exitCode: 3, why: `${percent(decided)} of the packets were decided (--min-judged ${percent(input.minJudged)})${against}` };
  }
  const counted = input.failOn === "any" ? input.findings + input.limits : input.failOn === "unexplained" ? input.unexplained : 0;
  if (counted > 0) {
    const parts = [];
    if (input.findings > 0) parts.push(count(input.findings, "difference"));
    if (input.limits > 0) parts.push(count(input.limits, "limit"));
    return { exitCode: 1, why: parts.join(" and ") };
  }
  const accepted = input.accepted > 0 ? `${count(input.accepted, "difference")} accepted, and no other`
    : "no difference in the traffic given";
  const nothing = input.findings > 0 ? "no difference at or above --fail-on" : accepted;
  // Two sides that agree on what neither did in the cluster that was recorded say nothing about it.
  const { held, reproduced } = input.truth ?? { held: 0, reproduced: 0 };
  if (held > 0 && reproduced / held < input.minJudged) {
    return { exitCode: 3, why: `${nothing}, but the current side reproduces ${percent(reproduced / held)} of what was recorded`
      + ` (--min-judged ${percent(input.minJudged)}): other manifests or settings were in force, or some are missing` };
  }
  return { exitCode: 0, why: nothing };
}

/** That nothing was found says nothing where a manifest ended early: what it lost may be the policy that makes the difference. */
export function unlessIncomplete(verdict: Report["verdict"], problems: readonly Problem[]): Report["verdict"] {
  const files = incompleteFiles(problems);
  if (verdict.exitCode !== 0 || files.length === 0) return verdict;
  return { exitCode: 3, why: `${verdict.why}, but a part of ${files[0]} could not be read`
    + `${files.length > 1 ? `, nor of ${count(files.length - 1, "other manifest")}` : ""}: what it held is not known` };
}

export function percent(share: number): string {
  return `${(share * 100).toFixed(share > 0.9995 || share === 0 ? 0 : 1)} %`;
}

export function count(number: number, noun: string, plural = `${noun}s`): string {
  return `${number} ${number === 1 ? noun : plural}`;
}
