/**
 * Drop reasons: what programs can return, what the table of src/ebpf/reason-support.ts says of each, and the stories that
 * show those it calls modelled (traces/reasons/<REASON>/scenario.yaml).
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { DropReason } from "../src/contract/codes.js";
import { DOUBTS } from "../src/ebpf/doubts/table.js";
import { REASON_SUPPORT } from "../src/ebpf/reason-support.js";
import { dropReasonName } from "../src/ebpf/reasons.js";
import { root, runCli } from "./cli.js";

type Name = keyof typeof DropReason.values;

const folder = join(root, "traces/reasons");
const stories = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();

/** Every reason that a program names. */
function returned(): Set<string> {
  const programs = join(root, "assembly/programs");
  const texts = readdirSync(programs).map((file) => readFileSync(join(programs, file), "utf8"));
  return new Set(texts.flatMap((text) => [...text.matchAll(/\bDropReason\.(DROP_\w+)/g)].map((match) => match[1])));
}

function inTable(...statuses: readonly string[]): string[] {
  return Object.entries(REASON_SUPPORT).filter(([, { status }]) => statuses.includes(status)).map(([name]) => name).sort();
}

describe("the table of drop reasons", () => {
  it("has a row for each of Cilium's numbers", () => {
    expect(Object.keys(REASON_SUPPORT).sort()).toEqual(Object.keys(DropReason.values).sort());
  });

  it("calls modelled, or a guard, what programs return, and nothing else", () => {
    expect(inTable("modelled", "guard")).toEqual([...returned()].sort());
  });

  it("says why of everything that is not modelled", () => {
    expect(Object.entries(REASON_SUPPORT).filter(([, { status, why }]) => (status === "modelled") !== (why === ""))).toEqual([]);
  });

  it("has a story for every modelled one, and no story for another", () => {
    expect(stories).toEqual(inTable("modelled").map((name) => dropReasonName(DropReason.values[name as Name])).sort());
  });
});

describe("stories of drop reasons hold, and show their reason", () => {
  it.each(stories)("%s", async (reason) => {
    const path = relative(process.cwd(), join(folder, reason, "scenario.yaml"));
    const ran = await runCli(["test", path, "-v"]);
    expect(ran.exitCode, ran.stdout).toBe(0);
    expect(ran.stdout).toContain(`(${reason})`);
  });
});

describe("twinplane support", () => {
  it.each(["cilium@1.16", "cilium@1.20", "aks@1.33", "aks@1.34+host-routing"])("%s: options, reasons, policies", async (profile) => {
    const { stdout, exitCode } = await runCli(["support", profile, "--json"]);
    expect(exitCode).toBe(0);
    const found = JSON.parse(stdout);
    expect(found.options.every((one: { grade: string; source: string }) => /^(documented|assumed)$/.test(one.grade) && one.source !== "")).toBe(true);
    expect(found.reasons).toHaveLength(Object.keys(DropReason.values).length);
    for (const { name, state, limits, source } of found.options) {
      const absent = /has no such option/.test(source);
      const doubted = !absent && DOUBTS.some((one) => one.option === name);
      expect([name, state === "modelled" || limits !== "", doubted && state === "modelled"]).toEqual([name, true, false]);
      if (state === "modelled") expect(limits).toBe("");
    }
    expect(found.undecided.length).toBeGreaterThan(20);
    const text = (await runCli(["support", profile])).stdout;
    for (const { name, kind } of [...found.options, ...found.reasons, ...found.policies]) expect(text).toContain(name ?? kind);
  });

  it("lists the profiles, and refuses what is none", async () => {
    expect((await runCli(["support"])).stdout).toMatch(/^aks@1\.33 .*1\.17\.9/m);
    const none = await runCli(["support", "aks@1.30"]);
    expect([none.exitCode, none.stderr]).toEqual([2, expect.stringContaining("AKS ships Cilium 1.14.20")]);
    expect((await runCli(["support", "kube-proxy"])).exitCode).toBe(2);
  });
});
