/** Results of scenarios as text and as JUnit XML. Computes nothing but sums. */
import { formatProblem, type Problem } from "../cluster/problem.js";
import type { ProbeResult, ScenarioResult } from "./run.js";

/** The scenarios of one file, and what was wrong with it. */
export interface FileResult {
  readonly file: string;
  readonly scenarios: readonly ScenarioResult[];
  readonly problems: readonly Problem[];
}

export interface TestTally {
  readonly scenarios: number;
  readonly probes: number;
  readonly passed: number;
  readonly failed: number;
  readonly undecided: number;
  /** Errors in files and in clusters: what was not run. */
  readonly errors: number;
}

type Paint = (style: "bold" | "red" | "yellow" | "green" | "dim", text: string) => string;

export function tallyOf(files: readonly FileResult[]): TestTally {
  const scenarios = files.flatMap((one) => one.scenarios);
  const probes = scenarios.flatMap((one) => one.probes);
  const count = (status: ProbeResult["status"]): number => probes.filter((one) => one.status === status).length;
  const problems = [...files.flatMap((one) => one.problems), ...scenarios.flatMap((one) => one.problems)];
  return { scenarios: scenarios.length, probes: probes.length,
    passed: count("passed"), failed: count("failed"), undecided: count("undecided"),
    errors: problems.filter((one) => one.severity === "error").length };
}

/** Highest of 2, 3 and 1: unreadable, undecided, failed. */
export function exitCodeOf(tally: TestTally): number {
  if (tally.errors > 0 || tally.probes === 0) return 2;
  return tally.undecided > 0 ? 3 : tally.failed > 0 ? 1 : 0;
}

export function renderTests(files: readonly FileResult[], paint: Paint, verbose: boolean): string {
  const lines: string[] = [];
  for (const { file, scenarios, problems } of files) {
    for (const problem of problems) lines.push(formatProblem(problem));
    for (const scenario of scenarios) {
      lines.push(paint("bold", `${file}: ${scenario.name}`));
      for (const problem of scenario.problems) if (verbose || problem.severity === "error") lines.push(`  ${formatProblem(problem)}`);
      for (const probe of scenario.probes) lines.push(...probeLines(probe, paint, verbose));
    }
  }
  const tally = tallyOf(files);
  const parts = [`${tally.passed} passed`, ...(tally.failed > 0 ? [`${tally.failed} failed`] : []),
    ...(tally.undecided > 0 ? [`${tally.undecided} undecided`] : []),
    ...(tally.errors > 0 ? [`${plural(tally.errors, "error")} in the inputs`] : [])];
  const good = exitCodeOf(tally) === 0;
  const sum = `${plural(tally.scenarios, "scenario")}, ${plural(tally.probes, "probe")}: ${parts.join(", ")}`;
  lines.push(paint(good ? "green" : "red", sum));
  return `${lines.join("\n")}\n`;
}

function probeLines(probe: ProbeResult, paint: Paint, verbose: boolean): string[] {
  const mark = probe.status === "passed" ? paint("green", "ok  ") : paint(probe.status === "undecided" ? "yellow" : "red",
    probe.status === "undecided" ? "??  " : "FAIL");
  const place = probe.status === "passed" ? "" : paint("dim", `  (${probe.where.file}:${probe.where.line})`);
  return [`  ${mark} ${probe.name}${place}`, ...probe.failures.map((failure) => `       ${failure}`),
    ...(verbose ? probe.seen.map((one) => paint("dim", `       ${one}`)) : [])];
}

/** A suite a scenario, a case a probe; what was not run is an error of its suite. */
export function renderJunit(files: readonly FileResult[]): string {
  const suites = files.flatMap(({ file, scenarios, problems }) => [
    ...(problems.some((one) => one.severity === "error") ? [suite(file, "cannot be read", [], problems)] : []),
    ...scenarios.map((one) => suite(file, one.name, one.probes, one.problems)),
  ]);
  const tally = tallyOf(files);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="twinplane" tests="${tally.probes}"`
    + ` failures="${tally.failed + tally.undecided}" errors="${tally.errors}">\n${suites.join("")}</testsuites>\n`;
}

function suite(file: string, name: string, probes: readonly ProbeResult[], problems: readonly Problem[]): string {
  const errors = problems.filter((one) => one.severity === "error");
  const failed = probes.filter((one) => one.status !== "passed").length;
  const cases = probes.map((probe) => {
    const place = `file="${xml(probe.where.file)}" line="${probe.where.line}"`;
    const head = `    <testcase classname="${xml(name)}" name="${xml(probe.name)}" ${place}`;
    if (probe.status === "passed") return `${head}/>\n`;
    const text = [...probe.failures, ...probe.seen].join("\n");
    return `${head}>\n      <failure type="${probe.status}" message="${xml(probe.failures[0] ?? probe.status)}">${xml(text)}</failure>\n`
      + "    </testcase>\n";
  });
  const unrun = errors.length === 0 ? "" : `    <testcase classname="${xml(name)}" name="inputs">\n`
    + `      <error message="${xml(formatProblem(errors[0]))}">${xml(errors.map(formatProblem).join("\n"))}</error>\n    </testcase>\n`;
  return `  <testsuite name="${xml(`${file}: ${name}`)}" tests="${probes.length}" failures="${failed}" errors="${errors.length}">\n${
    cases.join("")}${unrun}  </testsuite>\n`;
}

/** Characters that XML cannot hold at all become a mark. */
function xml(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what XML 1.0 has no form for
  const printable = text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
  return printable.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;").replaceAll("\n", "&#10;");
}

function plural(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
