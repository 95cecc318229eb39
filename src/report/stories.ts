/**
 * Recordings that were replayed one by one, on one screen: a paragraph for each difference rather than for each flow,
 * with the recordings that show it. Prints data; computes nothing but layout.
 */
import type { MergedFinding, MergedReport } from "./merge.js";
import { count, type FindingRow, percent } from "./report.js";
import { changesOf, consequences, openRows } from "./changes.js";
import { acceptedLines, hazardLines, paintedId, problemLines, type TextOptions, worstLines } from "./text.js";

export function renderStories(report: MergedReport, options: TextOptions): string {
  const { paint } = options;
  const [current, target] = report.planes;
  const quiet = report.stories.filter((story) => story.ids.length === 0 && story.undecided === 0);
  const lines = [
    paint("bold", `${current.profile}  ->  ${target.profile}`),
    "",
    `${count(report.stories.length, "recording")} of a two-node cluster on a real kernel, each replayed through both dataplanes by itself:`,
    `${count(report.packets.replayed, "packet")} from ${count(report.packets.records, "record")},`
      + ` ${percent(report.packets.replayed === 0 ? 0 : report.packets.matched / report.packets.replayed)} match the cluster.`,
    trust(report),
    ...report.truth.disagreements.slice(0, options.verbose ? 100 : 3).map((line) => paint("red", `  ${line}`)),
    "",
    ...worstLines(changesOf(openRows(report.findings)), paint),
    ...differences(report, options),
    `${paint("bold", "No difference:")} ${quiet.length === 0 ? "none of the recordings" : quiet.map((story) => story.name).join(", ")}`,
    ...undecided(report, options), ...acceptedLines(report, options), ...hazardLines(report, options),
  ];
  if (options.verbose) lines.push("", ...table(report));
  lines.push(...problemLines(report, options), "");
  lines.push(paint("dim", "Predicts specified behaviour on this traffic; bugs of a live agent are outside it."));
  lines.push(`exit code ${paint("bold", String(report.verdict.exitCode))}: ${report.verdict.why}`);
  return `${lines.join("\n")}\n`;
}

function trust(report: MergedReport): string {
  const { truth, planes: [current] } = report;
  return `Trust: the kernel recorded ${truth.views} views of them; the current side reproduces ${truth.agreed},`
    + ` ${truth.disagreed} disagree;`
    + ` ${current.flowsClosed} of ${current.flowsAnswered} flows got their answers.`;
}

function differences(report: MergedReport, { paint }: TextOptions): string[] {
  const lines: string[] = [];
  for (const [title, rows] of consequences<MergedFinding>(report.findings.filter(({ accepted }) => accepted === undefined))) {
    lines.push(paint("bold", `${title}: ${count(flowsOf(rows), "flow")}`));
    for (const [id, same] of byId(rows)) {
      const [first] = same;
      const stories = [...new Set(same.flatMap((row) => row.stories))];
      lines.push(`  ${paintedId(id, paint)}  ${first.title}`);
      const others = flowsOf(same) - 1;
      lines.push(`      ${first.source} -> ${first.destination}${first.port > 0 ? `:${first.port}` : ""} ${first.protocol}`
        + `${others > 0 ? ` and ${count(others, "more flow")}` : ""} in ${stories.join(", ")}`
        + paint("dim", ` (${first.example.file} packet ${first.example.record})`));
      lines.push(`      now:  ${first.current}`, `      then: ${first.target}`);
    }
  }
  return lines;
}

function undecided(report: MergedReport, { paint }: TextOptions): string[] {
  if (report.packets.undecided === 0) return [`${paint("bold", "Undecided:")} no packet`];
  const stories = report.stories.filter((story) => story.undecided > 0).map((story) => story.name);
  const reasons = report.undecided.map(([reason, packets]) => `${packets} ${reason.replace(/undecided: /, "")}`);
  return [paint("yellow", `Undecided: ${count(report.packets.undecided, "packet")} in ${stories.join(", ")} (${reasons.join("; ")})`)];
}

function table(report: MergedReport): string[] {
  const width = Math.max(...report.stories.map((story) => story.name.length));
  return report.stories.map((story) => `${story.name.padEnd(width)}  ${String(story.packets).padStart(5)} packets`
    + `  ${`${story.agreed} of ${story.views}`.padStart(12)} views as recorded  ${story.ids.join(", ") || "no difference"}`);
}

function byId(rows: readonly MergedFinding[]): Map<string, MergedFinding[]> {
  const ids = new Map<string, MergedFinding[]>();
  for (const row of rows) ids.set(row.id, [...(ids.get(row.id) ?? []), row]);
  return ids;
}

function flowsOf(rows: readonly FindingRow[]): number {
  return rows.reduce((total, row) => total + row.flows, 0);
}
