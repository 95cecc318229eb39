/** `twinplane explain`, and the pages of docs/differences. */
import { describe, expect, it } from "vitest";
import { CATALOGUE } from "../src/compare/catalogue/index.js";
import { explanations } from "../src/explain/explain.js";
import { REASON_TEXTS } from "../src/explain/reasons.js";
import { runCli } from "./cli.js";
import { stalePages } from "./difference-pages.js";

describe("twinplane explain", () => {
  it("lists every id", async () => {
    const { stdout, exitCode } = await runCli(["explain"]);
    expect(exitCode).toBe(0);
    for (const { id, title } of CATALOGUE) expect(stdout).toContain(`${id.padEnd(24)}${title}`);
    expect(stdout).toContain("133  POLICY_DENIED");
  });

  it("a difference: both sides, what to do, who met it, how it is known", async () => {
    const { stdout } = await runCli(["explain", "pol-ipblock-pod"]);
    expect(stdout).toMatch(/^POL-IPBLOCK-POD\n\nAn ipBlock/);
    for (const part of ["shown by packets", "Azure NPM", "Cilium\n", "What to do\n", "cilium#9209", "(documented)"]) {
      expect(stdout.toLowerCase()).toContain(part.toLowerCase());
    }
    expect(stdout.split("\n").filter((line) => line.length > 100)).toEqual([]);
  });

  it("a reason by name or number, and one that does not arise", async () => {
    const byName = await runCli(["explain", "POLICY_DENIED"]);
    expect(byName.stdout).toContain("POLICY_DENIED (133)");
    expect((await runCli(["explain", "133"])).stdout).toBe(byName.stdout);
    expect((await runCli(["explain", "MISSED_TAIL_CALL"])).stdout).toContain("Not shown by a packet here: programs are one module");
  });

  it("a limit by the option that sets it", async () => {
    expect((await runCli(["explain", "bpf-policy-map-max"])).stdout).toContain("CAP-POLICYMAP");
  });

  it.each([["POL-IPBLOK-POD", "POL-IPBLOCK-POD"], ["POLICY_DENID", "POLICY_DENIED"], ["hairpin", "POL-HAIRPIN"]])(
    "%s is unknown, and %s is near", async (given, near) => {
      const { exitCode, stderr } = await runCli(["explain", given]);
      expect(exitCode).toBe(2);
      expect(stderr).toContain(near);
    });

  it("nothing near", async () => {
    expect((await runCli(["explain", "xyzzyxyzzy"])).stderr).toContain("nothing is called 'xyzzyxyzzy'; `twinplane explain` lists what is");
  });

  it("every reason that programs return has its text, and no other has", () => {
    const returned = explanations().filter((one) => one.kind === "reason" && (one.why === "" || one.what !== ""));
    expect(returned.filter((one) => one.kind === "reason" && one.what === "").map(({ id }) => id)).toEqual([]);
    const names = new Set(explanations().map(({ id }) => id));
    expect(Object.keys(REASON_TEXTS).filter((name) => !names.has(name))).toEqual([]);
  });

  it("differences that texts of reasons name are in the catalogue", () => {
    const ids = new Set(CATALOGUE.map(({ id }) => id));
    const named = Object.values(REASON_TEXTS).flatMap(({ look }) => look.match(/\b(POL|SVC|NAT|PROTO|CT|CAP)-[A-Z-]+\b/g) ?? []);
    expect(named.filter((id) => !ids.has(id))).toEqual([]);
  });
});

it("docs/differences is as the catalogue has it (node scripts/differences.mjs --update)", () => {
  expect(stalePages()).toEqual([]);
});
