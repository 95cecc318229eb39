/** `twinplane test`: scenario files, regression tests of dataplane logic. */
import { existsSync, statSync, watch, writeFileSync } from "node:fs";
import { type Command, Option } from "commander";
import picocolors from "picocolors";
import { exitCodeOf, type FileResult, renderJunit, renderTests, tallyOf } from "../scenario/render.js";
import { SCENARIO_SCHEMA } from "../scenario/schema.js";
import { sentenceOf } from "./files.js";
import { filesBehind, runScenarioFile, scenarioFiles } from "./scenario-files.js";
import { UsageError } from "./usage.js";

interface TestOptions {
  readonly output: "text" | "junit" | "json";
  readonly outFile?: string;
  readonly schema?: boolean;
  readonly verbose?: boolean;
  readonly watch?: boolean;
}

const SETTLE_MS = 100;

export function testCommand(program: Command, exit: (code: number) => void): void {
  program.command("test").description("run scenario files: packets through any planes, and what must become of them")
    .argument("[scenarios...]", "scenario files, or folders of files called scenario.yaml or *.scenario.yaml")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "junit", "json"]).default("text"))
    .option("--out-file <path>", "write the report here instead of standard output")
    .option("--watch", "run again whenever a scenario, its cluster or its program changes")
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
  if (options.watch === true && paths.includes("-")) throw new UsageError("--watch needs files; standard input does not change");
  if (options.watch === true) return await watched(paths, options);
  return await once(paths, options);
}

async function once(paths: readonly string[], options: TestOptions): Promise<number> {
  const files: FileResult[] = [];
  for (const file of scenarioFiles(paths)) files.push(await runScenarioFile(file));
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

/** Runs once, then again whenever a scenario, its cluster or its program changes; ends with the terminal's interrupt. */
async function watched(paths: readonly string[], options: TestOptions): Promise<never> {
  for (;;) {
    // Watched while it runs, so that what changes meanwhile is not missed.
    const behind = [...new Set([...paths, ...scenarioFiles(paths).flatMap(filesBehind)])].filter((path) => existsSync(path));
    const change = nextChange(behind);
    await once(paths, options);
    process.stderr.write(`twinplane: watching ${behind.length} files and folders; ^C ends\n`);
    await change;
  }
}

/** Ends when something in one of `paths` was written; editors write in several steps, so a moment later. */
function nextChange(paths: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const changed = (): void => {
      for (const watcher of watchers) watcher.close();
      setTimeout(resolve, SETTLE_MS);
    };
    const watchers = paths.map((path) => watch(path, { recursive: statSync(path).isDirectory() }, changed));
  });
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${sentenceOf(error)}`);
  }
}
