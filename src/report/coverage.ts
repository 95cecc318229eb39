/**
 * What the traffic exercised: as lines of a report, and as a file for tools that show coverage beside the manifest. A line
 * of the file is a rule's or a policy's; its peers and ports are the branches of that line.
 */
import { type CoverageReport, type CoverageRow, isExercised } from "../compare/coverage.js";
import type { Report } from "./report.js";

/** Rules listed on the screen; the rest are in the file. */
const LISTED = 8;

/** The rules never exercised, those of the least exercised objects first. */
export function neverExercised({ rows }: CoverageReport): CoverageRow[] {
  const policy = rows.filter((row) => row.kind !== "frontend" && row.kind !== "backend");
  const shares = new Map<string, readonly [exercised: number, all: number]>();
  for (const row of policy) {
    const [exercised, all] = shares.get(row.object) ?? [0, 0];
    shares.set(row.object, [exercised + Number(isExercised(row)), all + 1]);
  }
  const share = ({ object }: CoverageRow): number => shares.get(object)![0] / shares.get(object)![1];
  return policy.filter((row) => !isExercised(row)).map((row, index) => ({ row, index }))
    .sort((a, b) => share(a.row) - share(b.row) || shares.get(b.row.object)![1] - shares.get(a.row.object)![1]
      || (a.row.object < b.row.object ? -1 : a.row.object > b.row.object ? 1 : a.index - b.index)).map(({ row }) => row);
}

/** Frontends and backends of the services that were addressed. */
export function servingOf({ rows }: CoverageReport, unaddressed: ReadonlySet<string>): Report["untouched"]["serving"] {
  const services = new Map<string, CoverageRow[]>();
  for (const row of rows) {
    if ((row.kind !== "frontend" && row.kind !== "backend") || unaddressed.has(row.object)) continue;
    const list = services.get(row.object);
    if (list === undefined) services.set(row.object, [row]);
    else list.push(row);
  }
  return [...services].sort(([a], [b]) => (a < b ? -1 : 1)).map(([service, all]) => ({ service, all: all.length,
    never: all.filter((row) => !isExercised(row)).map(({ kind, what, where }) => ({ object: service, what: `${kind} ${what}`, where })) }));
}

/** `Coverage: 7 of 9 frontends and backends of 2 addressed services used`, and those that were not. */
export function servingLines(serving: Report["untouched"]["serving"], verbose: boolean): string[] {
  if (serving.length === 0) return [];
  const all = serving.reduce((sum, one) => sum + one.all, 0);
  const never = serving.flatMap((one) => one.never);
  const services = serving.length === 1 ? "1 addressed service" : `${serving.length} addressed services`;
  const lines = [`Coverage: ${all - never.length} of ${all} frontends and backends of ${services} used`];
  for (const { object, what } of never.slice(0, verbose ? undefined : LISTED)) lines.push(`  never: ${object} ${what}`);
  if (!verbose && never.length > LISTED) lines.push(`  … ${never.length - LISTED} more with -v, or in --coverage FILE`);
  return lines;
}

/** `Coverage: 3 of 8 policy rules, ports and default denies exercised`, and those that were not. */
export function coverageLines({ all, never }: Report["untouched"]["rules"], verbose: boolean): string[] {
  if (all === 0) return [];
  const lines = [`Coverage: ${all - never.length} of ${all} policy rules, ports and default denies exercised`];
  for (const { object, what, where } of never.slice(0, verbose ? undefined : LISTED)) {
    lines.push(`  never: ${object} ${what}${where === null ? "" : ` (${where.file}${where.line > 0 ? `:${where.line}` : ""})`}`);
  }
  if (!verbose && never.length > LISTED) lines.push(`  … ${never.length - LISTED} more with -v, or in --coverage FILE`);
  return lines;
}

/** geninfo's tracefile (lcov): DA is packets that a line's rule or default deny decided, BRDA those by each peer and port. */
export function renderLcov({ rows }: CoverageReport): string {
  const files = new Map<string, Map<number, CoverageRow[]>>();
  for (const row of rows) {
    if (row.where === null || row.where.line === 0) continue;
    const lines = files.get(row.where.file) ?? new Map<number, CoverageRow[]>();
    files.set(row.where.file, lines);
    lines.set(row.where.line, [...lines.get(row.where.line) ?? [], row]);
  }
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([file, lines]) => section(file, [...lines].sort(([a], [b]) => a - b))).join("");
}

function section(file: string, lines: readonly (readonly [line: number, rows: readonly CoverageRow[]])[]): string {
  const hits = lines.map(([line, rows]) => [line, sum(rows.filter((row) => row.kind !== "port"))] as const);
  const branches = lines.flatMap(([line, rows]) => rows.map((row, index) => ({ line, index, hits: sum([row]), reached: sum(rows) > 0 })));
  return [
    "TN:", `SF:${file.replace(/[\r\n]/g, " ")}`,
    ...branches.map(({ line, index, hits: taken, reached }) => `BRDA:${line},0,${index},${reached ? taken : "-"}`),
    `BRF:${branches.length}`, `BRH:${branches.filter((one) => one.hits > 0).length}`,
    ...hits.map(([line, taken]) => `DA:${line},${taken}`),
    `LF:${hits.length}`, `LH:${hits.filter(([, taken]) => taken > 0).length}`, "end_of_record", "",
  ].join("\n");
}

function sum(rows: readonly CoverageRow[]): number {
  return rows.reduce((all, { packets }) => all + packets[0] + packets[1], 0);
}
