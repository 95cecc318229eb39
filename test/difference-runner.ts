/**
 * Runs the stories of differences on policy and prints what each probe showed as one line of JSON. It is a child process of
 * the mutation ring (test/mutation.ts), run in a copy of the tree that has one fault in it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { runScenario } from "../src/scenario/run.js";
import { readScenarios } from "../src/scenario/scenario.js";

/** By story, scenario and probe. */
export type Shown = Readonly<Record<string, {
  /** What became of it in each plane. */
  readonly seen: readonly string[];
  /** Differences between the first two planes. */
  readonly ids: readonly string[];
}>>;

const folder = fileURLToPath(new URL("../traces/differences", import.meta.url));
const shown: Record<string, Shown[string]> = {};
for (const id of readdirSync(folder).filter((name) => name.startsWith("POL-")).sort()) {
  const file = join(folder, id, "scenario.yaml");
  for (const scenario of readScenarios({ name: file, text: readFileSync(file, "utf8") }).scenarios) {
    const load = (paths: readonly string[]) => readInputs(paths.map((path) => join(folder, id, path)), []);
    const { probes } = runScenario(scenario, { load, wasm: readWasm(), programs: new Map() });
    for (const probe of probes) {
      // Where each side chooses for itself, what is shown depends on the draws; how it is named does not.
      shown[`${id}, ${scenario.name}: ${probe.name}`] = { seen: probe.seen, ids: [...probe.differences].sort() };
    }
  }
}
process.stdout.write(`${JSON.stringify(shown)}\n`);
