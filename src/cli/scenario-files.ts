/** Scenario files as they lie on disk: read, their clusters and programs found beside them, and run. */
import { existsSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import type { Where } from "../cluster/problem.js";
import type { LoadedPaths } from "../scenario/clusters.js";
import type { FileResult } from "../scenario/render.js";
import { runScenario } from "../scenario/run.js";
import { readScenarios, type Scenario } from "../scenario/scenario.js";
import { list, readText } from "./files.js";
import { globbed } from "./glob.js";
import { readInputs } from "./inputs.js";
import { ownProgram } from "./own-program.js";
import { UsageError } from "./usage.js";
import { readWasm, type WasmBytes } from "./wasm.js";

/** Scenario files of a folder; manifests beside them have other names. */
const SCENARIO_NAME = /(^|[./-])scenario\.ya?ml$/i;

/** What `paths` name: files, and folders' files called scenario.yaml or *.scenario.yaml. */
export function scenarioFiles(paths: readonly string[]): string[] {
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

export async function runScenarioFile(file: string): Promise<FileResult> {
  const read = readText(file);
  if ("what" in read) return { file, scenarios: [], problems: [{ where: { file, line: 0 }, severity: "error", what: read.what }] };
  return await runScenarioText(file, read.text, file === "-" ? "." : dirname(file));
}

/** @param folder what the paths in the text are relative to */
export async function runScenarioText(file: string, text: string, folder: string): Promise<FileResult> {
  const { scenarios, problems } = readScenarios({ name: file, text });
  const programs = await programsOf(scenarios, folder);
  const inputs = { wasm: readWasm(), programs, load: (paths: readonly string[], where: Where) => load(paths, folder, where) };
  return { file, problems, scenarios: scenarios.map((scenario) => runScenario(scenario, inputs)) };
}

/** The files and folders that a scenario file's result depends on: itself, its clusters, its programs. */
export function filesBehind(file: string): string[] {
  const read = readText(file);
  if (!("text" in read)) return [file];
  const folder = dirname(file);
  const named = readScenarios({ name: file, text: read.text }).scenarios.flatMap(({ cluster, planes, probes }) => [
    ...cluster, ...[...planes.values()].flatMap(({ program }) => program ?? []),
    ...probes.flatMap(({ changes }) => changes.flatMap((change) => (change.kind === "apply" ? change.parts : []))),
  ]).filter((part) => typeof part === "string").map((path) => (isAbsolute(path) ? path : join(folder, path)));
  return [file, ...named.flatMap((path) => (existsSync(path) ? [path] : globbed(path)))];
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
  const { objects, facts, problems } = readInputs(found, [], { synthetic: false });
  return { objects, facts, problems: [...problems, ...missing.map((path) =>
    ({ where, severity: "error" as const, what: `${path}: no such file or folder` }))] };
}
