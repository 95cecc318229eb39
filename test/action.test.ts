/** action.yml: its review step's script, run as a workflow would run it, on the bundled examples. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load } from "js-yaml";
import { CLI, root } from "./cli.js";

interface Action {
  readonly inputs: Readonly<Record<string, { readonly default?: string; readonly required?: boolean }>>;
  readonly runs: { readonly steps: readonly { readonly name: string; readonly run: string; readonly env?: Readonly<Record<string, string>> }[] };
}

const action = load(readFileSync(join(root, "action.yml"), "utf8")) as Action;
const step = action.runs.steps.find((one) => one.name === "Review")!;
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-action-"));
  // Where the action's own folder would be: `node bin/twinplane.mjs` from the sources.
  const arguments_ = JSON.stringify(CLI);
  writeFileSync(join(folder, "twinplane.mjs"), `import { spawnSync } from "node:child_process";
const { status } = spawnSync(process.execPath, [...${arguments_}, ...process.argv.slice(2)], { cwd: ${JSON.stringify(root)}, stdio: "inherit" });
process.exit(status ?? 70);\n`);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(inputs: Readonly<Record<string, string>>): { code: number | null; printed: string; summary: string; output: string } {
  const env: Record<string, string> = {};
  for (const [variable, value] of Object.entries(step.env!)) {
    const name = /^\$\{\{ inputs\.([\w-]+) \}\}$/.exec(value)![1];
    env[variable] = inputs[name] ?? action.inputs[name].default ?? "";
  }
  const [summary, output] = ["summary", "output"].map((name) => join(folder, name));
  rmSync(summary, { force: true });
  rmSync(output, { force: true });
  const script = step.run.replace("$GITHUB_ACTION_PATH/bin/", `${folder}/`);
  const ran = spawnSync("bash", ["-e", "-o", "pipefail", "-c", script], { cwd: root, encoding: "utf8",
    env: { ...process.env, ...env, GITHUB_STEP_SUMMARY: summary, GITHUB_OUTPUT: output } });
  return { code: ran.status, printed: ran.stdout, summary: readFileSync(summary, "utf8"), output: readFileSync(output, "utf8") };
}

const REVIEW = { before: "examples/review/before", after: "examples/review/after", dump: "traces/lab/cluster.yaml",
  captures: "traces/lab/clusterip-tcp\n\n" };

describe("the GitHub Action", () => {
  it("every input is used, every variable is an input", () => {
    const used = Object.values(step.env!).map((value) => /inputs\.([\w-]+)/.exec(value)?.[1]);
    expect(used.sort()).toEqual(Object.keys(action.inputs).sort());
    expect(existsSync(join(root, "scripts/bootstrap.mjs"))).toBe(true);
  });

  it("annotates the changed lines, writes the summary, fails the job", () => {
    const { code, printed, summary, output } = run(REVIEW);
    expect(printed).toMatch(/^::(warning|error) file=examples\/review\/(before|after)\/web\.yaml,line=\d+/m);
    expect(summary).toContain("|");
    expect(output).toBe("exit-code=1\n");
    expect(code).toBe(1);
  }, 120_000);

  it("what is in an input is never run", () => {
    const mark = join(folder, "ran");
    const { output } = run({ ...REVIEW, after: `$(touch ${mark})\`touch ${mark}\`` });
    expect(existsSync(mark)).toBe(false);
    expect(output).toBe("exit-code=2\n");
  }, 120_000);
});
