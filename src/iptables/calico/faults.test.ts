/** A fault put into Calico's generator is seen by the test named for it, in a copy of the tree. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutate } from "../../../test/mutation.js";
import { FAULTS } from "./faults.fixture.js";

const root = join(import.meta.dirname, "../../..");
let copy = "";

beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), "twinplane-calico-faults-"));
  for (const name of ["src", "test", "package.json", "tsconfig.json"])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
});

afterAll(() => rmSync(copy, { recursive: true, force: true }));

/** Whether the tests of that name pass in the copy as it stands. */
function passes(name: string): boolean {
  const words = ["node_modules/vitest/vitest.mjs", "run", `src/iptables/calico/${name}.test.ts`];
  const { status, stdout } = spawnSync(process.execPath, words,
    { cwd: copy, encoding: "utf8", env: { ...process.env, TWINPLANE_CLUSTERS: "20" } });
  // A text that does not compile would be no fault of behaviour.
  expect(stdout, stdout).not.toMatch(/SyntaxError|Transform failed|no tests/);
  return status === 0;
}

describe("without a fault", () => {
  it.each([...new Set(FAULTS.map((fault) => fault.seenBy))])("%s passes", (name) => {
    expect(passes(name)).toBe(true);
  }, 120_000);
});

describe("a fault is seen", () => {
  it.each(FAULTS.map((fault) => [fault.id, fault.why, fault] as const))("%s: %s", (_id, _why, fault) => {
    const file = join(copy, fault.file);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, mutate(text, { ...fault, plane: "current", stories: [] }));
    try {
      expect(passes(fault.seenBy)).toBe(false);
    } finally {
      writeFileSync(file, text);
    }
  }, 120_000);
});
