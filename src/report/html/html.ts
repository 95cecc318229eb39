/**
 * The report as one HTML file that loads nothing: the data in a JSON block, and a script that makes the page of it. Its
 * policy lets no other script, style, image or connection in, so that a name in the data cannot do anything even where
 * the script were wrong.
 */
import { createHash } from "node:crypto";
import { formatProblem } from "../../cluster/problem.js";
import { CATALOGUE } from "../../compare/catalogue/index.js";
import { becauseText, changesOf, headline, type NamedChange, worstOf } from "../changes.js";
import { coverageLines, servingLines } from "../coverage.js";
import { effectText, placeText, togetherLines } from "../fixes.js";
import { printableData, printableLines } from "../printable.js";
import { count, type Report } from "../report.js";
import { trustLines } from "../text.js";
import { SCRIPT } from "./script.js";
import { STYLE } from "./style.js";

export function renderHtml(given: Report): string {
  const report = printableData(given);
  const changes = changesOf(report.findings);
  const rows = changes.map(rowOf);
  const ids = new Set(rows.map((row) => row.id));
  const pages = Object.fromEntries(CATALOGUE.filter((one) => ids.has(one.id))
    .map(({ id, page: { kubeProxy, cilium, bitten, advice, sources } }) => [id, { kubeProxy, cilium, bitten, advice, sources }]));
  const data = {
    report: {
      twinplane: report.twinplane, planes: report.planes, packets: report.packets, verdict: report.verdict, undecided: report.undecided,
      limits: report.limits, hazards: report.hazards, untouched: report.untouched, findings: report.findings.map(({ id }) => ({ id })),
    },
    headline: headline(report), rows, worst: worstOf(changes.filter(({ row }) => row.accepted === undefined)).map(rowOf), pages,
    fixes: fixesOf(report, given),
    coverage: [...coverageLines(report.untouched.rules, true), ...servingLines(report.untouched.serving, true)].map((line) => line.trim()),
    trust: trustLines(report), problems: report.problems.map(formatProblem),
  };
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>twinplane: ${text(report.planes[0].profile)} to ${text(report.planes[1].profile)}</title>
<style>${STYLE}</style>
</head>
<body>
<noscript>This report is made of its data by a script in it, which loads nothing; without scripts, see -o text or -o markdown.</noscript>
<script type="application/json" id="data">${embedded(data)}</script>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function rowOf({ title: change, row }: NamedChange, index: number): Record<string, unknown> {
  const to = row.port > 0 ? `${row.destination}:${row.port}` : row.destination;
  const becauses = row.becauses.map(becauseText);
  const words = [change, row.id, row.title, row.source, to, row.protocol, row.current, row.target, ...becauses].join(" ").toLowerCase();
  return { index, change, id: row.id, title: row.title, source: row.source, to, protocol: row.protocol, flows: row.flows,
    accepted: row.accepted === undefined ? "" : `accepted by ${row.accepted.owner} until ${row.accepted.expires}: ${row.accepted.reason}`,
    packets: row.packets, current: row.current, target: row.target, becauses, example: row.example, words };
}

/** Rows of text; null where none were asked for. */
function fixesOf({ fixes }: Report, given: Report): Record<string, unknown> | null {
  if (fixes === undefined) return null;
  return {
    rows: [
      ...fixes.offered.map((fix) => [fix.id, `${fix.result}${effectText(fix)}`, placeText(fix)]),
      ...fixes.refused.map(({ id, object, why }) => [id, `not offered: ${why}`, object]),
      ...fixes.without.map(({ id, flows, why, advice }) => [id, `${count(flows, "flow")}: ${why}`, advice]),
    ],
    manifests: fixes.offered.map(({ name }, index) => ({ name: `${name}.yaml`, yaml: printableLines(given.fixes!.offered[index].yaml) })),
    together: togetherLines(fixes).join("").trim(),
  };
}

/** Nothing but the style and the script that are in the file. */
function policy(): string {
  const hash = (source: string): string => `'sha256-${createHash("sha256").update(source).digest("base64")}'`;
  return `default-src 'none'; script-src ${hash(SCRIPT)}; style-src ${hash(STYLE)}; base-uri 'none'; form-action 'none'`;
}

/** JSON that cannot end its element. */
function embedded(data: unknown): string {
  return JSON.stringify(data).replace(/[<>&\u2028\u2029]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

function text(value: string): string {
  return value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
