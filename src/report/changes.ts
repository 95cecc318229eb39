/** Findings by what they mean for the traffic, the worst first: what every report leads with. */
import type { Because } from "../dataplane.js";
import { count, type FindingRow, type Report } from "./report.js";

/** A finding, and what it is to the user. */
export interface NamedChange<Row extends FindingRow = FindingRow> {
  readonly title: string;
  readonly row: Row;
}

/** The gravest first. */
const GROUPS: readonly (readonly [title: string, holds: (row: FindingRow) => boolean])[] = [
  ["Newly dropped or refused", (row) => row.facet === "reached" && row.reachesNow],
  ["Newly allowed", (row) => row.facet === "reached" && !row.reachesNow],
  ["Other destination", (row) => row.facet === "destination"],
  ["Damaged on its way", (row) => row.facet === "damaged"],
  ["Other source seen", (row) => row.facet === "source seen"],
  ["Refused in another way", (row) => row.facet === "how refused"],
  ["Reply with other addresses", (row) => row.facet === "reply restored"],
  ["Over another number of hops", (row) => row.facet === "hops"],
];

/** Rows by what they mean for the traffic, the gravest first, in each those of most flows and packets; without empty groups. */
export function consequences<Row extends FindingRow>(rows: readonly Row[]): (readonly [title: string, rows: readonly Row[]])[] {
  const groups = GROUPS.map(([title, holds]) => [title, rows.filter(holds)
    .sort((a, b) => b.flows - a.flows || b.packets - a.packets)] as const);
  return groups.filter(([, group]) => group.length > 0);
}

/** Rows that nobody answers for. */
export function openRows<Row extends FindingRow>(rows: readonly Row[]): Row[] {
  return rows.filter(({ accepted }) => accepted === undefined);
}

/** All rows, the worst first. */
export function changesOf<Row extends FindingRow>(rows: readonly Row[]): NamedChange<Row>[] {
  return consequences(rows).flatMap(([title, group]) => group.map((row) => ({ title, row })));
}

/** How many are named before all else. */
const WORST = 3;

/** Rows of the same traffic, which differ in the backend that was chosen or in nothing that one asks first, are one here. */
export function worstOf<Row extends FindingRow>(changes: readonly NamedChange<Row>[]): readonly NamedChange<Row>[] {
  const merged = new Map<string, NamedChange<Row>>();
  for (const { title, row } of changes) {
    const key = JSON.stringify([title, row.id, waysText(row)]);
    const before = merged.get(key)?.row;
    merged.set(key, { title, row: before === undefined ? row
      : { ...before, flows: before.flows + row.flows, packets: before.packets + row.packets } });
  }
  const titles = GROUPS.map(([title]) => title);
  return [...merged.values()].sort((a, b) => titles.indexOf(a.title) - titles.indexOf(b.title) || b.row.flows - a.row.flows
    || b.row.packets - a.row.packets).slice(0, WORST);
}

/** `default/cli -> service default/web:80 TCP`. */
export function waysText(row: FindingRow): string {
  return `${row.source} -> ${row.destination}${row.port > 0 ? `:${row.port}` : ""} ${row.protocol}`;
}

/** The one sentence that a report begins with. */
export function headline({ findings: all, verdict }: Report): string {
  const findings = openRows(all);
  if (verdict.exitCode >= 2) return `Not judged: ${verdict.why}`;
  if (findings.length === 0) return all.length === 0 ? "No difference in the traffic given" : "No difference but what is accepted";
  const flows = findings.reduce((sum, row) => sum + row.flows, 0);
  const kinds = new Set(findings.map((row) => row.id)).size;
  return `${count(flows, "flow")} would behave differently: ${count(findings.length, "change")} of ${count(kinds, "kind")}`;
}

export function becauseText({ object, rule, where }: Because): string {
  return `${object} ${rule}${where === null ? "" : ` (${where.file}:${where.line})`}`;
}
