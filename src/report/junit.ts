/**
 * The report as JUnit: a case for each change and each limit, failed where `--fail-on` counts it and nobody
 * answers for it, and one for whether the
 * traffic could be judged at all. Prints data; computes nothing but layout.
 */
import { becauseText, changesOf, type NamedChange, waysText } from "./changes.js";
import { count, type FindingRow, type LimitRow, type Report } from "./report.js";

export type FailOn = "any" | "unexplained" | "none";

export function renderJunit(report: Report, failOn: FailOn): string {
  const changes = changesOf(report.findings);
  const isCounted = ({ row }: NamedChange): boolean => row.accepted === undefined
    && (failOn === "any" || (failOn === "unexplained" && row.id === "UNEXPLAINED"));
  const exceeded = report.limits.filter((one) => one.exceeded);
  const isOver = ({ accepted }: LimitRow): boolean => failOn === "any" && accepted === undefined;
  const failures = changes.filter(isCounted).length + exceeded.filter(isOver).length;
  const errors = report.verdict.exitCode >= 2 ? 1 : 0;
  const tally = `tests="${1 + changes.length + exceeded.length}" failures="${failures}" errors="${errors}"`;
  const name = xml(`${report.planes[0].profile} to ${report.planes[1].profile}`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="twinplane" ${tally}>\n  <testsuite name="${name}" ${tally}>\n${
    judged(report)}${changes.map((change) => changeCase(change, isCounted(change))).join("")}${
    exceeded.map((limit) => limitCase(limit, isOver(limit))).join("")}  </testsuite>\n</testsuites>\n`;
}

function judged({ packets, verdict }: Report): string {
  const head = `    <testcase classname="twinplane" name="${xml(`the traffic could be judged: ${count(packets.replayed, "packet")},`
    + ` ${packets.undecided} undecided`)}"`;
  if (verdict.exitCode < 2) return `${head}/>\n`;
  return `${head}>\n      <error message="${xml(verdict.why)}"/>\n    </testcase>\n`;
}

function changeCase({ title, row }: NamedChange, isFailed: boolean): string {
  const where = row.becauses.find((one) => one.where !== null)?.where ?? null;
  const place = where === null ? "" : ` file="${xml(where.file)}" line="${where.line}"`;
  const head = `    <testcase classname="${xml(row.id)}" name="${xml(`${title}: ${waysText(row)}`)}"${place}`;
  const { file, line, record, flow } = row.example;
  const text = [row.title, `now:  ${row.current}`, `then: ${row.target}`,
    ...row.becauses.map((one) => `because ${becauseText(one)}`), `first: ${file} ${line ? "line" : "packet"} ${record}, ${flow}`,
    `${count(row.flows, "flow")}, ${count(row.packets, "packet")}`, ...acceptedBy(row)].join("\n");
  const element = isFailed ? `<failure type="${xml(row.id)}" message="${xml(`${row.current}; then ${row.target}`)}">${xml(text)}</failure>`
    : `<system-out>${xml(text)}</system-out>`;
  return `${head}>\n      ${element}\n    </testcase>\n`;
}

function acceptedBy({ accepted }: FindingRow): string[] {
  return accepted === undefined ? [] : [`accepted by ${accepted.owner} until ${accepted.expires}: ${accepted.reason}`];
}

function limitCase({ id, limit, subject, used, max, consequence }: LimitRow, isFailed: boolean): string {
  const text = xml(`${used} of ${max}; ${consequence}`);
  const element = isFailed ? `<failure type="${xml(id)}" message="${text}"/>` : `<system-out>${text}</system-out>`;
  return `    <testcase classname="${xml(id)}" name="${xml(`${limit} of ${subject}`)}">\n      ${element}\n    </testcase>\n`;
}

/** Characters that XML cannot hold at all become a mark. */
function xml(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what XML 1.0 has no form for
  const held = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
  return held.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;").replaceAll("\n", "&#10;");
}
