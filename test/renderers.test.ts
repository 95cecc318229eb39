/** The screen, Markdown, JUnit and HTML say of each finding, and of the packets, what the JSON report of the same run says. */
import { describe, expect, it } from "vitest";
import { changesOf, waysText } from "../src/report/changes.js";
import type { Report } from "../src/report/report.js";
import { type Outputs, outputsOf } from "./outputs.js";

const FORMATS = ["json", "text", "markdown", "junit", "html"];

/** One after the other: the command line is run in this process. */
const RUNS: { readonly what: string; readonly output: Outputs }[] = [];
for (const [what, args, manifests] of [
  ["a policy that drops", [], undefined],
  ["rules that masquerade otherwise than what was recorded", ["--non-masquerade-cidr", "10.99.0.0/16"], ""],
  ["pods of another time", ["--snapshot-time", "2000-01-01T00:00:00Z"], ""],
] as const) {
  RUNS.push({ what, output: await outputsOf({ stories: ["icmp-errors", "nodeport-cluster"], formats: FORMATS, args,
    ...(manifests === undefined ? {} : { manifests }) }) });
}

const unescaped = (text: string): string => text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)))
  .replaceAll("&quot;", '"').replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const rowsOf = (report: Report): Report["findings"] => changesOf(report.findings).map(({ row }) => row);

describe.each(RUNS)("$what", ({ output }) => {
  const report = JSON.parse(output.text("json")) as Report;

  it("is something to say", () => {
    const { findings, packets } = report;
    expect(findings.length + packets.undecided).toBeGreaterThan(0);
  });

  it("on the screen", () => {
    const { packets, truth, planes } = report;
    const lines = output.lines("text").map((line) => line.trim());
    const shown = lines.flatMap((line, at) => (line.startsWith("now: ") ? [[lines[at - 1].split("  ")[0], line, lines[at + 1]]] : []));
    expect(shown).toHaveLength(Math.min(12, report.findings.length));
    const said = new Set(report.findings.map(({ id, current, target }) => JSON.stringify([id, `now:  ${current}`, `then: ${target}`])));
    for (const one of shown) expect(said).toContain(JSON.stringify(one));
    expect(lines).toContain(`same ${packets.same}, same but for the random choice ${packets.otherChoice}, different ${packets.different},`
      + ` consequences ${packets.consequence}, moot ${packets.moot}, contradicted ${packets.contradicted}, held fragments ${packets.held}`);
    expect(lines).toContain(`undecided ${packets.undecided}`);
    expect(lines).toContain(`unexplained ${report.findings.filter(({ id }) => id === "UNEXPLAINED").length}`);
    expect(lines).toContain(`Trust: ${truth.agreed} of ${truth.views} recorded views reproduced by the current side, first packets pinned to the`
      + ` recorded choice; ${truth.disagreed} disagreed`);
    expect(lines).toContain(`answers came back as the sender expects: ${planes[0].flowsClosed} of ${planes[0].flowsAnswered} flows (current),`
      + ` ${planes[1].flowsClosed} of ${planes[1].flowsAnswered} (target)`);
    expect(lines.at(-1)).toBe(`exit code ${report.verdict.exitCode}: ${report.verdict.why}`);
  });

  it("in Markdown", () => {
    const text = output.text("markdown");
    const rows = text.split("\n").filter((line) => line.startsWith("| ") && line.split("|").length === 10).slice(2)
      .map((line) => line.split("|").slice(2, 8).map((cell) => unescaped(cell.trim())));
    expect(rows).toEqual(rowsOf(report).slice(0, 50).map((row) => [row.id, waysText(row), String(row.flows), String(row.packets), row.current,
      row.target]));
    expect(unescaped(text)).toContain(`(exit code ${report.verdict.exitCode}: ${report.verdict.why})`);
  });

  it("in JUnit", () => {
    const text = output.text("junit");
    const failed = [...text.matchAll(/<failure type="([^"]*)" message="([^"]*; then [^"]*)">/g)].map((match) => [match[1], unescaped(match[2])]);
    expect(failed).toEqual(rowsOf(report).map((row) => [row.id, `${row.current}; then ${row.target}`]));
    const errors = [...text.matchAll(/<error message="([^"]*)"/g)].map((match) => unescaped(match[1]));
    expect(errors).toEqual(report.verdict.exitCode >= 2 ? [report.verdict.why] : []);
  });

  it("in HTML", () => {
    const data = JSON.parse(/id="data">(.*)<\/script>/.exec(output.text("html"))![1]) as
      { report: Pick<Report, "packets" | "verdict" | "undecided">; rows: Record<string, unknown>[] };
    expect(data.rows.map(({ id, current, target, flows, packets }) => [id, current, target, flows, packets]))
      .toEqual(rowsOf(report).map((row) => [row.id, row.current, row.target, row.flows, row.packets]));
    expect([data.report.packets, data.report.verdict, data.report.undecided]).toEqual([report.packets, report.verdict, report.undecided]);
  });
});

it("between them they have findings, undecided packets, disagreement and an error", () => {
  const reports = RUNS.map(({ output }) => JSON.parse(output.text("json")) as Report);
  expect(reports.some((one) => one.findings.length > 0)).toBe(true);
  expect(reports.some((one) => one.packets.undecided > 0)).toBe(true);
  expect(reports.some((one) => one.truth.disagreed > 0)).toBe(true);
  expect(reports.some((one) => one.planes[0].flowsClosed !== one.planes[1].flowsClosed)).toBe(true);
  expect(reports.map((one) => one.verdict.exitCode)).toEqual([1, 1, 3]);
});
