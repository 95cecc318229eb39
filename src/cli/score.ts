/** `twinplane score`: which predictions of a report came true, by flows seen after a switch. */
import { type Command, Option } from "commander";
import type { Predicted } from "../compare/predicted.js";
import { formatProblem, type Problem } from "../cluster/problem.js";
import { FlowLog } from "../flows/log.js";
import type { Report } from "../report/report.js";
import { renderScore } from "../report/score.js";
import { type Prediction, scoreOf } from "../score/score.js";
import { SeenFlows } from "../score/seen-flows.js";
import { jsonText } from "../report/printable.js";
import { fileChunks } from "./chunks.js";
import { list, readText } from "./files.js";
import { UsageError } from "./usage.js";

interface ScoreOptions {
  readonly report: string;
  readonly inputFile: readonly string[];
  readonly output: "text" | "json";
}

export function scoreCommand(program: Command, exit: (code: number) => void): void {
  program.command("score").description("which predictions of a report came true, by flows seen after the switch")
    .requiredOption("--report <file>", "what compare -o json wrote before the switch")
    .requiredOption("--input-file <path...>", "flows seen after it: hubble observe -o jsonpb, Hubble's or Azure's flow logs; - for stdin")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "json"]).default("text"))
    .addHelpText("after", `
Exit codes:
  0  every prediction that was seen came true, and every drop was named by one or was there before
  1  a prediction did not come true, or something is dropped that none named
  2  wrong usage, or an input that could not be read
  3  none of the predicted traffic is in the flows

Examples:
  twinplane score --report report.json --input-file flows.jsonl
  hubble observe -o jsonpb --last 100000 | twinplane score --report report.json --input-file -`)
    .action(async (options: ScoreOptions) => exit(await score(options)));
}

async function score(options: ScoreOptions): Promise<number> {
  const { predictions, refused } = readReport(options.report);
  const { seen, problems, unreadable } = await readFlows(options.inputFile);
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const found = scoreOf(predictions, refused, seen.all());
  if (seen.beyond > 0) process.stderr.write(`${seen.beyond} flow events are of connections beyond the first million and were not used\n`);
  process.stdout.write(options.output === "json" ? jsonText({ ...found, problems }) : renderScore(found));
  return unreadable ? 2 : found.verdict.exitCode;
}

/** Of a report that this version or one like it wrote. */
function readReport(file: string): { predictions: readonly Prediction[]; refused: readonly Predicted[] } {
  const read = readText(file);
  if ("what" in read) throw new UsageError(`${file}: ${read.what}`);
  let report: Partial<Report> | null = null;
  try {
    report = JSON.parse(read.text) as Partial<Report> | null;
  } catch {
    // Said below, as for other JSON.
  }
  if (!Array.isArray(report?.findings) || !Array.isArray(report.refused) || typeof report.twinplane !== "string") {
    throw new UsageError(`${file}: this is no report; expected what twinplane compare -o json writes`);
  }
  const findings = report.findings as Report["findings"];
  return { refused: report.refused as Report["refused"], predictions: findings.flatMap((row) => (row.predicted === null ? [] : [{
    id: row.id, facet: row.facet, source: row.source, destination: row.destination, protocol: row.protocol, port: row.port,
    current: row.current, target: row.target, predicted: row.predicted,
  }])) };
}

async function readFlows(paths: readonly string[]): Promise<{ seen: SeenFlows; problems: Problem[]; unreadable: boolean }> {
  const seen = new SeenFlows();
  const problems: Problem[] = [];
  let unreadable = false;
  const files = paths.flatMap((path) => {
    const listed = path === "-" ? { files: ["-"], failures: [] } : list(path);
    for (const failure of listed.failures) problems.push({ where: { file: failure.file, line: 0 }, severity: "error", what: failure.what });
    unreadable ||= listed.failures.length > 0;
    return listed.files;
  });
  for (const file of files) {
    const log = new FlowLog(file, seen, problems);
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of fileChunks(file, (what) => problems.push({ where: { file, line: 0 }, severity: "error", what }))) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) log.push(line);
    }
    if (rest !== "") log.push(rest);
    log.finish();
    if (log.used === 0) {
      problems.push({ where: { file, line: 0 }, severity: "error",
        what: "no flow in this file; expected what hubble observe -o jsonpb prints" });
      unreadable = true;
    }
  }
  return { seen, problems, unreadable };
}
