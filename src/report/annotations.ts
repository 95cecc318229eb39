/**
 * A review as GitHub workflow commands, one for each changed line and what it does, so that a pull request shows them
 * beside the manifest. Values are escaped as the runner unescapes them (actions/toolkit packages/core/src/command.ts).
 */
import type { ChangedLine } from "../compare/finding.js";
import type { Review, ReviewRow } from "../review/report.js";
import { count } from "./report.js";
import { entryWarnings } from "./text.js";

export function renderAnnotations(review: Review): string {
  const byLine = new Map<string, { line: ChangedLine; rows: ReviewRow[] }>();
  const open = review.rows.filter((row) => row.accepted === undefined);
  for (const row of open) {
    for (const line of row.causes) {
      const key = JSON.stringify([line.where?.file ?? "", line.where?.line ?? 0, line.object, line.rule, line.change]);
      const known = byLine.get(key);
      if (known === undefined) byLine.set(key, { line, rows: [row] });
      else known.rows.push(row);
    }
  }
  const lines = [...byLine].sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { line, rows }]) => command("warning", { where: line.after }, messageOf(line, rows)));
  for (const row of open.filter((one) => one.unexplained)) {
    lines.push(command("error", null, `${connectionText(row)}: ${row.before} before, ${row.after} after, and no changed line makes it`));
  }
  for (const { id, limit, subject, used, max, newly, accepted } of review.limits) {
    if (!newly || accepted !== undefined) continue;
    lines.push(command("error", null, `${id}: ${limit} of ${subject} ${used} of ${max}, newly exceeded`));
  }
  for (const one of review.notExercised) {
    const where = one.after;
    const name = one.namespace === "" ? one.name : `${one.namespace}/${one.name}`;
    lines.push(command("notice", { where }, `${one.kind} ${name} ${one.change}, not exercised by this traffic`));
  }
  for (const line of review.accepted === null ? [] : entryWarnings(review.accepted)) {
    lines.push(command("notice", null, line.trim()));
  }
  const { exitCode, why } = review.verdict;
  lines.push(command(exitCode === 0 ? "notice" : exitCode === 1 ? "warning" : "error", null, why));
  return lines.map((line) => `${line}\n`).join("");
}

function messageOf({ object, rule, change, where }: ChangedLine, rows: readonly ReviewRow[]): string {
  const parts = (["dropped", "opened", "other"] as const).flatMap((kind) => {
    const own = rows.filter((row) => row.change === kind);
    if (own.length === 0) return [];
    const flows = own.reduce((sum, row) => sum + row.flows, 0);
    const examples = own.slice(0, 3).map(connectionText).join("; ");
    return [`${WORDS[kind]} ${count(flows, "flow")}: ${examples}${own.length > 3 ? `; and ${own.length - 3} more` : ""}`];
  });
  const place = change !== "added" && where !== null ? ` (${where.file}${where.line > 0 ? `:${where.line}` : ""})` : "";
  return `${object} ${rule}, ${change}${place}: ${parts.join(". ")}`;
}

const WORDS = { dropped: "drops", opened: "opens", other: "changes" } as const;

function connectionText({ source, destination, protocol, port }: ReviewRow): string {
  return `${source} -> ${destination}${port > 0 ? `:${port}` : ""} ${protocol}`;
}

function command(name: "warning" | "error" | "notice", line: Pick<ChangedLine, "where"> | null, message: string): string {
  const where = line?.where ?? null;
  const place = where === null ? "" : ` file=${escapeProperty(where.file)}${where.line > 0 ? `,line=${where.line}` : ""},title=twinplane`;
  return `::${name}${place === "" ? " title=twinplane" : place}::${escapeData(message)}`;
}

function escapeData(text: string): string {
  return text.replace(/%/g, "%25").replace(/\r/g, "%0D").replace(/\n/g, "%0A");
}

function escapeProperty(text: string): string {
  return escapeData(text).replace(/:/g, "%3A").replace(/,/g, "%2C");
}
