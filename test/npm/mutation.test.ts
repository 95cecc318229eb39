/** Every fault seeded in NPM's generator is seen by the test that is to see it, run in a copy of the tree. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutate } from "../mutation.js";
import { NPM_MUTANTS } from "./mutants.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
/** Enough for each of the faults, with the seed below; the ring ends early where it found some. */
const PROBES = "8000";
let folder = "";

/** Whether the file's tests all pass in the copy. */
function passes(file: string): { passed: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", file], {
    cwd: folder, encoding: "utf8",
    env: { ...process.env, TWINPLANE_NPM_PROBES: PROBES, TWINPLANE_SEED: "20", TWINPLANE_REQUIRE_KERNEL: "", TWINPLANE_NO_KERNEL: "1" },
  });
  return { passed: status === 0, output: `${stdout}${stderr}` };
}

describe("faults in NPM's generator", () => {
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "twinplane-npm-"));
    const copied = ["src", "test", "build", "package.json", "tsconfig.json", "vitest.config.ts"];
    for (const name of copied) cpSync(join(root, name), join(folder, name), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  });
  afterAll(() => { rmSync(folder, { recursive: true }); });

  it("none: the tests pass in the copy", () => {
    for (const file of new Set(NPM_MUTANTS.map(({ caughtBy }) => caughtBy))) {
      const { passed, output } = passes(file);
      expect(passed, output).toBe(true);
    }
  }, 300_000);

  it.each(NPM_MUTANTS.map((mutant) => [mutant.id, mutant] as const))("%s is seen", (_, mutant) => {
    const file = join(folder, mutant.file);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, mutate(text, { ...mutant, plane: "current", stories: [] }));
    try {
      const { passed, output } = passes(mutant.caughtBy);
      expect(passed, `${mutant.why}: ${mutant.caughtBy} passes\n${output}`).toBe(false);
      // A test that failed, not a file that could not be loaded.
      expect(output).toMatch(/AssertionError/);
    } finally {
      writeFileSync(file, text);
    }
  }, 120_000);
});
