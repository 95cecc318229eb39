/**
 * The README's walk-throughs, run as a reader would by copy and paste: every `$ ` line of a console block under
 * "Workflows", in the package's folder, one shell a workflow. What a command prints must be what stands below it; `…` stands for
 * any text within a line, alone on a line for any lines, and `exit N` after it for the exit code.
 *
 * TWINPLANE_UPDATE_README=1 prints what each command really prints, to be put in by hand.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CLI, root } from "./cli.js";

interface Step {
  readonly command: string;
  readonly expected: readonly string[];
}

const readme = readFileSync(join(root, "README.md"), "utf8");
let folder: string;

beforeAll(() => {
  // Commands write files: a folder that looks like the package.
  folder = mkdtempSync(join(tmpdir(), "twinplane-readme-"));
  for (const name of ["traces", "examples"]) cpSync(join(root, name), join(folder, name), { recursive: true });
  symlinkSync(root, join(folder, "package"));
  const quoted = CLI.map((one) => `'${one.replaceAll("'", "'\\''").replace("./src/cli", `${root}src/cli`)}'`).join(" ");
  writeFileSync(join(folder, "twinplane"), `#!/bin/sh\nexec '${process.execPath}' ${quoted.replace("tsx", `${root}node_modules/tsx/dist/loader.mjs`)} "$@"\n`,
    { mode: 0o755 });
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const workflows = sectionsOf(readme, "## Workflows");

describe("the README's workflows", () => {
  it("are five, each with commands", () => {
    expect(workflows).toHaveLength(5);
    for (const { steps } of workflows) expect(steps.length).toBeGreaterThan(0);
  });

  it.each(workflows)("$title", ({ steps }) => {
    const lines = ["set -o pipefail"];
    for (const [index, { command }] of steps.entries()) {
      lines.push(`echo '@@ ${index}'`, command, "echo \"@@ exit $?\"");
    }
    const ran = spawnSync("bash", ["-c", `${lines.join("\n")} 2>&1`], { cwd: folder, encoding: "utf8", maxBuffer: 1 << 26,
      env: { ...process.env, PATH: `${folder}:${process.env["PATH"] ?? ""}`, NO_COLOR: "1" } });
    for (const [index, step] of steps.entries()) {
      const printed = outputOf(ran.stdout, index);
      if (process.env["TWINPLANE_UPDATE_README"] === "1") process.stdout.write(`\n$ ${step.command}\n${printed.join("\n")}\n`);
      else expect(fits(step.expected, printed), `$ ${step.command}\n${printed.join("\n")}`).toBe("");
    }
  }, 300_000);
});

describe("what the harness sees", () => {
  const printed = ["a 1", "b 2", "c 3", "exit 0"];
  it.each<[string, readonly string[], boolean]>([
    ["equal lines", printed, true], ["any lines", ["a 1", "…", "exit 0"], true], ["any text", ["a …", "b 2", "c …", "exit 0"], true],
    ["another line", ["a 1", "b 3", "c 3", "exit 0"], false], ["a line missing", ["a 1", "c 3", "exit 0"], false],
    ["lines left over", ["a 1", "b 2"], false], ["a line out of order", ["…", "c 3", "b 2", "…"], false],
  ])("%s", (_name, expected, fit) => {
    expect(fits(expected, printed) === "").toBe(fit);
  });
});

/** Sections one level below a heading. */
function sectionsOf(text: string, heading: string): { title: string; steps: Step[] }[] {
  const from = text.indexOf(`\n${heading}\n`);
  if (from < 0) return [];
  const to = text.indexOf("\n## ", from + heading.length);
  return text.slice(from, to < 0 ? undefined : to).split("\n### ").slice(1).map((section) => ({
    title: section.split("\n")[0],
    steps: [...section.matchAll(/```console\n([\s\S]*?)```/g)].flatMap((match) => stepsOf(match[1])),
  }));
}

function stepsOf(block: string): Step[] {
  const steps: { command: string; expected: string[] }[] = [];
  for (const line of block.trimEnd().split("\n")) {
    const last = steps.at(-1);
    if (line.startsWith("$ ")) steps.push({ command: line.slice(2), expected: [] });
    else if (last?.command.endsWith("\\") === true && last.expected.length === 0) last.command += `\n${line.replace(/^> /, "")}`;
    else last?.expected.push(line);
  }
  return steps;
}

function outputOf(all: string, index: number): string[] {
  const lines = all.split("\n");
  const from = lines.indexOf(`@@ ${index}`);
  const to = lines.findIndex((line, at) => at > from && line.startsWith("@@ exit "));
  const code = lines[to]?.replace("@@ ", "");
  return [...lines.slice(from + 1, to), ...(code === undefined || code === "exit 0" ? [] : [code])];
}

/** Empty where the lines are what was expected; else the first expected line that was not found. */
function fits(expected: readonly string[], printed: readonly string[]): string {
  let at = 0;
  let skips = false;
  for (const line of expected) {
    if (line.trim() === "…") {
      skips = true;
      continue;
    }
    const found = printed.findIndex((one, index) => index >= at && matches(line, one));
    if (found < 0 || (!skips && found !== at)) return line;
    at = found + 1;
    skips = false;
  }
  return skips || at === printed.length ? "" : `(${printed[at]})`;
}

function matches(wanted: string, line: string): boolean {
  const parts = wanted.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(line.trimEnd());
}
