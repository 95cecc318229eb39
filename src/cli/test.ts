/** `twinplane test`: scenario files, regression tests of dataplane logic. */
import { existsSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { type Command, Option } from "commander";
import picocolors from "picocolors";
import type { Where } from "../cluster/problem.js";
import type { LoadedPaths } from "../scenario/clusters.js";
import { exitCodeOf, type FileResult, renderJunit, renderTests, tallyOf } from "../scenario/render.js";
import { runScenario } from "../scenario/run.js";
import { readScenarios, type Scenario } from "../scenario/scenario.js";
import { SCENARIO_SCHEMA } from "../scenario/schema.js";
import { list, readText, sentenceOf } from "./files.js";
import { globbed } from "./glob.js";
import { readInputs } from "./inputs.js";
import { ownProgram } from "./own-program.js";
import { UsageError } from "./usage.js";
import { readWasm, type WasmBytes } from "./wasm.js";

interface TestOptions {
  readonly output: "text" | "junit" | "json";
  readonly outFile?: string;
  readonly schema?: boolean;
  readonly verbose?: boolean;
}

/** Scenario files of a folder; manifests beside them have other names. */
const SCENARIO_NAME = /(^|[./-])scenario\.ya?ml$/i;

export function testCommand(program: Command, exit: (code: number) => void): void {
  program.command("test").description("run scenario files: packets through any planes, and what must become of them")
    .argument("[scenarios...]", "scenario files, or folders of files called scenario.yaml or *.scenario.yaml")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "junit", "json"]).default("text"))
    .option("--out-file <path>", "write the report here instead of standard output")
    .option("--schema", "print the JSON Schema of scenario files")
    .option("-v, --verbose", "list what became of each packet, and every warning")
    .addHelpText("after", `
A scenario:
  name: a policy closes the port
  cluster: [cluster.yaml]                 # files, folders, and objects themselves
  planes: {target: {profile: cilium@1.20, cilium: {enable-policy: default}}}
  probes:
    - from: {pod: default/client}         # or {node:}, or {ip:, via: node}
      to: {service: default/web}          # or {pod:}, {node:}, {ip:}
      protocol: TCP
      port: 80
      expect: {outcome: dropped, reason: POLICY_DENIED, because: default/deny-all}

Exit codes:
  0  every probe as expected
  1  a probe is not
  2  wrong usage, or a scenario or cluster that could not be read
  3  a probe that was to be judged is undecided

Examples:
  twinplane test scenarios/
  twinplane test web.scenario.yaml -o junit --out-file junit.xml`)
    .action(async (scenarios: readonly string[], options: TestOptions) => exit(await test(scenarios, options)));
}

async function test(paths: readonly string[], options: TestOptions): Promise<number> {
  if (options.schema === true) {
    process.stdout.write(`${JSON.stringify(SCENARIO_SCHEMA, null, 2)}\n`);
    return 0;
  }
  if (paths.length === 0) throw new UsageError("no scenarios; name a scenario file or folder");
  const files: FileResult[] = [];
  for (const file of scenarioFiles(paths)) files.push(await runFile(file));
  const tally = tallyOf(files);
  const colours = picocolors.createColors(options.outFile === undefined && process.stdout.isTTY === true
    && process.env.NO_COLOR === undefined);
  const text = options.output === "junit" ? renderJunit(files)
    : options.output === "json" ? `${JSON.stringify({ ...tally, files }, null, 2)}\n`
      : renderTests(files, (style, plain) => colours[style](plain), options.verbose === true);
  if (options.outFile === undefined) process.stdout.write(text);
  else write(options.outFile, text);
  return exitCodeOf(tally);
}

function scenarioFiles(paths: readonly string[]): string[] {
  return paths.flatMap((path) => {
    if (path === "-") return [path];
    const listed = list(path);
    const [failure] = listed.failures;
    if (failure !== undefined) throw new UsageError(`${failure.file}: ${failure.what}`);
    const files = listed.files.filter((file) => !listed.folder || SCENARIO_NAME.test(file));
    if (files.length === 0) throw new UsageError(`${path} holds no scenario; expected files called scenario.yaml or *.scenario.yaml`);
    return files;
  });
}

async function runFile(file: string): Promise<FileResult> {
  const read = readText(file);
  if ("what" in read) return { file, scenarios: [], problems: [{ where: { file, line: 0 }, severity: "error", what: read.what }] };
  const { scenarios, problems } = readScenarios({ name: file, text: read.text });
  const folder = file === "-" ? "." : dirname(file);
  const programs = await programsOf(scenarios, folder);
  const inputs = { wasm: readWasm(), programs, load: (paths: readonly string[], where: Where) => load(paths, folder, where) };
  return { file, problems, scenarios: scenarios.map((scenario) => runScenario(scenario, inputs)) };
}

/** The user's own programs, each compiled once. */
async function programsOf(scenarios: readonly Scenario[], folder: string): Promise<Map<string, WasmBytes | string>> {
  const programs = new Map<string, WasmBytes | string>();
  for (const { planes } of scenarios) {
    for (const { program } of planes.values()) {
      if (program === undefined || programs.has(program)) continue;
      try {
        programs.set(program, await ownProgram(isAbsolute(program) ? program : join(folder, program), false));
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        programs.set(program, error.message);
      }
    }
  }
  return programs;
}

/** Manifests and node facts, by paths relative to the scenario's file. */
function load(paths: readonly string[], folder: string, where: Where): LoadedPaths {
  const named = paths.map((path) => (isAbsolute(path) ? path : join(folder, path)));
  const found = named.flatMap((path) => (existsSync(path) ? [path] : globbed(path)));
  const missing = named.filter((path) => !existsSync(path) && globbed(path).length === 0);
  const { objects, facts, problems } = readInputs(found, []);
  return { objects, facts, problems: [...problems, ...missing.map((path) =>
    ({ where, severity: "error" as const, what: `${path}: no such file or folder` }))] };
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${sentenceOf(error)}`);
  }
}
