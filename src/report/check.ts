/** What `check` found, as data and as text: the gravest first, then what it rests on, then the exit code and why. */
import type { AcceptedRow, Acceptance } from "../accepted/accepted.js";
import type { Problem, Where } from "../cluster/problem.js";
import type { Because } from "../dataplane.js";
import { count, type LimitRow } from "./report.js";
import { entryWarnings } from "./text.js";

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

/** What a cluster takes of a target's limits. */
export interface Usage {
  readonly pods: number;
  readonly nodes: number;
  /** Every limit that something counts towards, the fullest map of a kind; `because` says who adds most. */
  readonly limits: readonly LimitRow[];
  /** Endpoints with more policy entries than fit. */
  readonly overflowing: number;
  readonly podsOfFullestNode: number;
  /** Entries that each node has for connections and translations; how many there will be no object says. */
  readonly tcpConnections: number;
  readonly otherConnections: number;
  readonly translations: number;
}

export interface BlockerRow {
  readonly id: string;
  readonly object: string;
  readonly where: Where;
  readonly what: string;
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
  readonly accepted?: Acceptance;
}

export interface HazardRow {
  readonly id: string;
  readonly title: string;
  readonly because: readonly string[];
  readonly accepted?: Acceptance;
}

export type Change = "newly denied" | "newly allowed" | "other destination" | "other source" | "other refusal" | "other";

/** A kind of change over the pairs of a cluster. */
export interface ChangeRow {
  /** Of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly title: string;
  readonly change: Change;
  /** What decides it: policies or a service; else the way. */
  readonly object: string;
  readonly becauses: readonly Because[];
  readonly classes: number;
  /** Pairs of ends, each counted for every interval of ports and protocol. */
  readonly pairs: number;
  readonly examples: readonly { readonly source: string; readonly destination: string; readonly traffic: string; readonly current: string;
    readonly target: string }[];
  readonly accepted?: Acceptance;
}

/** Both planes over every class of pairs. */
export interface ComparedPairs {
  readonly podClasses: number;
  readonly nodeClasses: number;
  readonly outsideClasses: number;
  /** Packets sent through both planes. */
  readonly classes: number;
  /** Classes of pairs with policies at both ends, put together out of packets that show each end by itself. */
  readonly composed: number;
  readonly pairs: number;
  readonly protocols: readonly string[];
  readonly groups: readonly ChangeRow[];
  readonly undecided: readonly { readonly reason: string; readonly classes: number; readonly pairs: number }[];
}

export interface CheckReport {
  readonly twinplane: string;
  readonly current: string;
  readonly target: string;
  /** What shows the current side; empty where the user named it. */
  readonly detected: string;
  /** What the target cannot do at all, and a current side that is not modelled. */
  readonly blockers: readonly BlockerRow[];
  /** Every class of pairs through both planes; null: not asked for, nothing to compare, or a blocker says why. */
  readonly compared: ComparedPairs | null;
  readonly flags: readonly FlagRow[];
  readonly checked: readonly { readonly check: string; readonly objects: number; readonly flagged: number; readonly otherwise: string }[];
  readonly size: CheckResult;
  readonly usage: Usage;
  /** The same for the cluster grown, as --scale-pods asks; null: not asked. */
  readonly scaled: (Usage & { readonly by: string }) | null;
  readonly hazards: readonly HazardRow[];
  /** Entries of accepted differences and what they did, by the day they were held against; null: none were given. */
  readonly accepted: { readonly today: string; readonly entries: readonly AcceptedRow[] } | null;
  readonly problems: readonly Problem[];
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

export interface CheckVerdictInput {
  readonly unreadable: number;
  /** Errors among the problems, where --strict counts them. */
  readonly strictErrors: number;
  readonly endpoints: number;
  readonly compared: ComparedPairs | null;
  readonly blockers: number;
  readonly flags: readonly FlagRow[];
  /** Of the cluster, and of the cluster grown. */
  readonly limits: readonly LimitRow[];
}

export function checkVerdict(input: CheckVerdictInput): CheckReport["verdict"] {
  if (input.unreadable > 0) return { exitCode: 2, why: `${count(input.unreadable, "input")} could not be read` };
  if (input.strictErrors > 0) return { exitCode: 2, why: `${count(input.strictErrors, "error")} in the inputs (--strict)` };
  if (input.endpoints === 0) return { exitCode: 3, why: "the manifests hold no Pod object, so there is nothing to check" };
  const parts = [];
  const { compared } = input;
  const open = compared?.undecided.reduce((sum, { classes }) => sum + classes, 0) ?? 0;
  if (input.blockers > 0) parts.push(count(input.blockers, "blocker"));
  const changes = counted(compared?.groups ?? []);
  if (changes.length > 0) parts.push(`${count(changes.length, "change")} of ${count(new Set(changes.map(({ id }) => id)).size, "kind")}`);
  const flags = counted(input.flags);
  if (flags.length > 0) parts.push(count(flags.length, "flag"));
  const limits = counted(input.limits.filter(({ exceeded }) => exceeded));
  if (limits.length > 0) parts.push(count(limits.length, "exceeded limit"));
  if (parts.length > 0) return { exitCode: 1, why: parts.join(" and ") };
  const accepted = [...compared?.groups ?? [], ...input.flags, ...input.limits.filter(({ exceeded }) => exceeded)].length;
  const nothing = accepted > 0 ? `${count(accepted, "row")} accepted, and nothing else found that would change`
    : "nothing found that would change";
  return open > 0 ? { exitCode: 3, why: `${nothing}, but ${count(open, "class", "classes")} of pairs not judged` }
    : { exitCode: 0, why: nothing };
}

/** Rows that nobody answers for. */
function counted<Row extends { readonly accepted?: Acceptance }>(rows: readonly Row[]): Row[] {
  return rows.filter(({ accepted }) => accepted === undefined);
}

/** Rows of a kind listed on the screen; the rest are in the JSON report. */
const LISTED = 12;
/** Share of a limit from which on it is near. */
const NEAR = 0.8;
const LISTED_CHANGES = 4;
const LISTED_REASONS = 6;

export function renderCheck(report: CheckReport): string {
  const { current, target, detected, verdict } = report;
  const lines = [`${current}  ->  ${target}${detected === "" ? "" : `   (current side: ${detected})`}`, ""];
  lines.push(...blockerLines(report), ...changeLines(report), ...flagLines(report), ...usageLines(report.usage, report),
    ...(report.scaled === null ? [] : usageLines(report.scaled, report)), ...hazardLines(report), ...acceptedLines(report));
  lines.push(`exit code ${verdict.exitCode}: ${verdict.why}`);
  return `${lines.join("\n")}\n`;
}

const CHANGE_TITLES: Readonly<Record<string, string>> = {
  "newly denied": "Newly denied", "newly allowed": "Newly allowed", "other destination": "Other destination",
  "other source": "Other source seen", "other refusal": "Refused in another way", other: "Other differences",
};

function changeLines({ compared }: CheckReport): string[] {
  if (compared === null) return [];
  const lines: string[] = [];
  for (const change of Object.keys(CHANGE_TITLES)) {
    const rows = counted(compared.groups).filter((row) => row.change === change);
    if (rows.length === 0) continue;
    const pairs = rows.reduce((sum, row) => sum + row.pairs, 0);
    lines.push(`${CHANGE_TITLES[change]}: ${count(pairs, "pair")}, whether they talk or not`);
    for (const row of rows.slice(0, LISTED_CHANGES)) lines.push(...changeRow(row));
    if (rows.length > LISTED_CHANGES) lines.push(`  … ${count(rows.length - LISTED_CHANGES, "more row")} in --output json`);
  }
  const undecided = compared.undecided.reduce((sum, { classes }) => sum + classes, 0);
  if (lines.length === 0) lines.push(nothingChanges(undecided, compared.classes + compared.composed, compared.groups.length > 0));
  lines.push(`Compared: ${count(compared.classes, "class", "classes")} of pairs (${compared.podClasses} of pods, ${
    compared.nodeClasses} of nodes,`
    + ` ${compared.outsideClasses} of addresses outside; ${compared.protocols.join(", ")})${
    compared.composed === 0 ? "" : `, ${compared.composed} more put together from what both ends' policies do`}, ${undecided} undecided`);
  for (const { reason, classes, pairs } of compared.undecided.slice(0, LISTED_REASONS)) {
    lines.push(`  undecided: ${reason.replace(/^undecided: /, "")}: ${count(classes, "class", "classes")}, ${count(pairs, "pair")}`);
  }
  return [...lines, ""];
}

/** What is undecided may change too: that nothing does is said of the rest alone. */
function nothingChanges(undecided: number, classes: number, accepted: boolean): string {
  const but = accepted ? " but what is accepted" : "";
  if (undecided === 0) return `No pair of pods, nodes, services and hosts outside would fare otherwise${but}.`;
  if (undecided >= classes) return "Whether any pair would fare otherwise is not known: all are undecided.";
  return `No pair that was decided would fare otherwise${but}; ${undecided} of ${count(classes, "class", "classes")} are undecided.`;
}

function changeRow({ id, title, object, pairs, becauses, examples }: ChangeRow): string[] {
  const [example] = examples;
  const [because] = becauses;
  const place = because === undefined || because.where === null ? "" : ` (${placeOf(because.where)})`;
  return [`  ${id}  ${object}, ${count(pairs, "pair")}: ${title}`, `      ${example.source} -> ${example.destination} ${example.traffic}`,
    `      now:  ${example.current}`, `      then: ${example.target}`,
    ...(because === undefined ? [] : [`      because ${because.object} ${because.rule}${place}`])];
}

function flagLines({ flags: all, checked }: CheckReport): string[] {
  const lines: string[] = [];
  const flags = counted(all);
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

function blockerLines({ blockers, target }: CheckReport): string[] {
  if (blockers.length === 0) return [];
  return [`Blockers: what ${target} cannot do at all, what cannot be compared`,
    ...blockers.slice(0, LISTED).map(({ id, object, where, what }) =>
    `  ${id === "" ? "" : `${id}  `}${object}${where.file === "" ? "" : ` (${placeOf(where)})`}: ${what}`),
    ...(blockers.length > LISTED ? [`  … ${count(blockers.length - LISTED, "more blocker")} in --output json`] : []), ""];
}

const SCALED: Readonly<Record<string, string>> = {
  replicas: "by replicas: more pods of the same label sets, on more nodes; identities stay",
  labels: "by labels: every namespace again and again under names of its own, with its pods, services and policies; identities multiply",
};

function usageLines(usage: Usage & { readonly by?: string }, { target, size }: CheckReport): string[] {
  const title = usage.by === undefined ? `Limits of ${target}: ${size.endpoints} endpoints, ${size.identities} identities`
    : `Limits at ${usage.pods} pods on ${usage.nodes} nodes, ${SCALED[usage.by]}`;
  const lines = usage.limits.map(({ id, limit, subject, used, max, exceeded }) => {
    const word = exceeded ? "exceeded" : used >= max * NEAR ? "near" : "fits";
    return `  ${word.padEnd(8)}  ${id}  ${limit} of ${subject}: ${used} of ${max} (${((100 * used) / max).toFixed(1)} %)`;
  });
  for (const row of usage.limits.filter(({ used, max }) => used >= max * NEAR)) {
    lines.push(`  ${row.id}: ${row.exceeded ? row.consequence : `beyond it ${row.consequence}`}`,
      ...row.because.slice(0, 3).map((object) => `      because ${object}`));
  }
  if (usage.overflowing > 0) lines.push(`  ${count(usage.overflowing, "endpoint")} with more policy entries than fit`);
  const share = (entries: number): number => Math.floor(entries / Math.max(1, usage.podsOfFullestNode));
  lines.push(`  connections: each node has room for ${usage.tcpConnections} of TCP, ${usage.otherConnections} others and ${
    usage.translations} translations;`, `      that is ${share(usage.tcpConnections)}, ${share(usage.otherConnections)} and ${
    share(usage.translations)} for each of the ${usage.podsOfFullestNode} pods of the fullest node, then the oldest is evicted`);
  return [title, ...lines, ""];
}

/** What somebody answers for, and entries that accept nothing. */
function acceptedLines({ accepted, compared, flags, usage, scaled, hazards }: CheckReport): string[] {
  if (accepted === null) return [];
  const rows = [...(compared?.groups ?? []).map((row) => ({ ...row, name: `${row.object}, ${count(row.pairs, "pair")}` })),
    ...flags.map((row) => ({ ...row, name: row.object })),
    ...[...usage.limits, ...scaled?.limits ?? []].map((row) => ({ ...row, name: row.subject })),
    ...hazards.map((row) => ({ ...row, name: row.title }))].filter((row) => row.accepted !== undefined);
  const lines = rows.slice(0, LISTED).map(({ id, name, accepted: by }) =>
    `  ${id}  ${name}: ${by!.owner} until ${by!.expires} (${by!.reason})`);
  if (rows.length > LISTED) lines.push(`  … ${count(rows.length - LISTED, "more row")} in --output json`);
  return [`Accepted, as of ${accepted.today}: ${count(rows.length, "row")}`, ...lines, ...entryWarnings(accepted), ""];
}

function hazardLines({ hazards: all }: CheckReport): string[] {
  const hazards = counted(all);
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
