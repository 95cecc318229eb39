/**
 * The kernel ring can fail: faults put into a copy of the sources, one at a time, disagree with what a kernel did with the
 * recorded stories. Needs no kernel.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutate } from "../mutation.js";
import { RING_MUTANTS, type RingMutant } from "./mutants.js";
import type { Replayed } from "./replay.js";
import { storiesIn } from "./story.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const stories = storiesIn(join(import.meta.dirname, "stories"));
const rows: string[] = [];
let copy: string;

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "twinplane-ring-mutants-"));
  for (const name of ["src", "test/kernel-ring", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(copy, name), { recursive: true, filter: (path) => !path.includes("/stories") });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
});

afterAll(() => {
  rmSync(copy, { recursive: true, force: true });
  process.stdout.write(`\n${rows.join("\n")}\n`);
});

describe("without a fault", () => {
  it("the model does what the kernel did", () => {
    expect(stories.length).toBeGreaterThanOrEqual(10);
    const { disagreement, packets, undecided } = replayed();
    expect(disagreement).toBe("");
    expect(packets).toBeGreaterThan(2000);
    expect(undecided).toBe(0);
  });

  it("at least 25 faults, each under its own name", () => {
    expect(new Set(RING_MUTANTS.map((mutant) => mutant.id)).size).toBe(RING_MUTANTS.length);
    expect(RING_MUTANTS.length).toBeGreaterThanOrEqual(25);
  });
});

describe("a fault is seen", () => {
  it.each(RING_MUTANTS.map((mutant) => [mutant.id, mutant] as const))("%s", (_, mutant) => expectSeen(mutant));
});

function expectSeen(mutant: RingMutant): void {
  const file = join(copy, mutant.file);
  const text = readFileSync(file, "utf8");
  writeFileSync(file, mutate(text, mutant));
  try {
    const { disagreement, stories: looked } = replayed();
    rows.push(`${mutant.id.padEnd(34)} ${disagreement === "" ? "NOT SEEN" : `story ${looked}: ${disagreement.split("\n")[0].slice(0, 110)}`}`);
    expect(disagreement).not.toBe("");
  } finally {
    writeFileSync(file, text);
  }
}

function replayed(): Replayed {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", "test/kernel-ring/replay.ts", ...stories],
    { cwd: copy, encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Replayed;
}
