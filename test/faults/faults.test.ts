/**
 * Faults in the generators of policy engines, in what compiles Cilium's policies and services, in IP sets, in the engine's
 * shortcuts and in what prints reports and reads inputs: each, put into a copy of the sources, fails the test named for it. (The faults of packets' ways are in
 * test/mutation.test.ts and test/kernel-ring/mutants.test.ts, which are quick.)
 *
 * Each is a run of its own, minutes together: in CI, or where TWINPLANE_FAULTS=1 asks for it.
 */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { mutate } from "../mutation.js";
import { CALICO_FAULTS } from "./calico.js";
import { CILIUM_POLICY_FAULTS } from "./cilium-policy.js";
import { CILIUM_PROGRAM_FAULTS } from "./cilium-programs.js";
import { INPUT_FAULTS } from "./inputs.js";
import { MASQUERADE_FAULTS } from "./masquerade.js";
import { NPM_FAULTS } from "./npm.js";
import { PAIR_FAULTS } from "./pairs.js";
import { RENDERER_FAULTS } from "./renderers.js";
import { SERVICE_FAULTS } from "./services.js";
import { SET_FAULTS } from "./sets.js";
import { SHORTCUT_FAULTS } from "./shortcuts.js";
import { VLAN_FAULTS } from "./vlan.js";

const FAULTS = [...CILIUM_POLICY_FAULTS, ...CILIUM_PROGRAM_FAULTS, ...SET_FAULTS, ...SHORTCUT_FAULTS, ...NPM_FAULTS, ...CALICO_FAULTS, ...SERVICE_FAULTS,
  ...MASQUERADE_FAULTS, ...VLAN_FAULTS, ...RENDERER_FAULTS, ...INPUT_FAULTS, ...PAIR_FAULTS];
const root = join(import.meta.dirname, "../..");
const wanted = process.env.CI === "true" || process.env.TWINPLANE_FAULTS === "1";
const MODULE = "build/fast.wasm";
/** Enough for each of the faults, with this seed; no kernel is asked. */
const SMALL = { TWINPLANE_SEED: "20", TWINPLANE_CLUSTERS: "20", TWINPLANE_NPM_PROBES: "8000", TWINPLANE_POLICY_PROBES: "60000",
  TWINPLANE_REQUIRE_KERNEL: "", TWINPLANE_NO_KERNEL: "1" };
let copy = "";

it("the text that each replaces is in its file, once", () => {
  const moved = FAULTS.flatMap((fault) => {
    try {
      return mutate(readFileSync(join(root, fault.file), "utf8"), fault) === "" ? [fault.id] : [];
    } catch (error) {
      return [(error as Error).message];
    }
  });
  expect(moved).toEqual([]);
});

describe.skipIf(!wanted)("seeded faults (in CI, or with TWINPLANE_FAULTS=1)", () => {
  beforeAll(() => {
    copy = mkdtempSync(join(tmpdir(), "twinplane-faults-"));
    for (const name of ["src", "test", "build", "assembly", "asconfig.json", "package.json", "tsconfig.json", "vitest.config.ts"]) {
      cpSync(join(root, name), join(copy, name), { recursive: true });
    }
    for (const name of ["node_modules", "traces", "examples"]) symlinkSync(join(root, name), join(copy, name));
  });
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  it.each([...new Set(FAULTS.map((fault) => fault.seenBy))])("none: %s passes", (file) => {
    const { passed, output } = run(file);
    expect(passed, output).toBe(true);
  });

  it.each(FAULTS.map((fault) => [fault.id, fault.why, fault] as const))("%s: %s", (_id, _why, fault) => {
    const file = join(copy, fault.file);
    const text = readFileSync(file, "utf8");
    writeFileSync(file, mutate(text, fault));
    const inPrograms = fault.file.startsWith("assembly/");
    try {
      if (inPrograms) compile();
      const { passed, output } = run(fault.seenBy);
      expect(passed, `${fault.seenBy} passes`).toBe(false);
      // A test that failed, not a file that could not be loaded.
      expect(output).not.toMatch(/SyntaxError|Transform failed|No test files|no tests/);
      expect(output).toMatch(/AssertionError|Error: /);
    } finally {
      writeFileSync(file, text);
      if (inPrograms) cpSync(join(root, MODULE), join(copy, MODULE));
    }
  });
});

/** The programs of the copy, unoptimized. */
function compile(): void {
  const { status, stderr } = spawnSync(process.execPath, ["node_modules/assemblyscript/bin/asc.js", "--target", "fast", "--optimizeLevel", "0"],
    { cwd: copy, encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** A test file in the copy. */
function run(file: string): { passed: boolean; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["node_modules/vitest/vitest.mjs", "run", file],
    { cwd: copy, encoding: "utf8", env: { ...process.env, ...SMALL }, maxBuffer: 1 << 26 });
  return { passed: status === 0, output: `${stdout}${stderr}` };
}
