/** Programs of the user's own: the worked example, modules, and what does not compile. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { root, runCli } from "./cli.js";

const EXAMPLE = join(root, "examples/own-program");
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "twinplane-own-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const HEAD = 'import { DropReason, PolicyStep } from "twinplane/assembly/step";\n';

describe("the worked example", () => {
  it("its scenario holds", async () => {
    const ran = await runCli(["test", EXAMPLE]);
    expect(ran.stdout).toContain("5 probes: 5 passed");
    expect(ran.exitCode).toBe(0);
  });

  it("fails where the program does nothing", async () => {
    file("no_telnet.ts", "export function policy(verdict: i32): i32 {\n  return verdict;\n}\n");
    const text = readFileSync(join(EXAMPLE, "no_telnet.scenario.yaml"), "utf8")
      .replace("../../traces/reasons/cluster.yaml", join(root, "traces/reasons/cluster.yaml"));
    const ran = await runCli(["test", file("idle.scenario.yaml", text)]);
    expect(ran.stdout).toContain("own: expected dropped, found delivered to default/web-2:23");
    expect(ran.exitCode).toBe(1);
  });

  it("builds to modules that compare takes, the same bytes each time", async () => {
    const out = join(folder, "own.wasm");
    const built = await runCli(["build", join(EXAMPLE, "no_telnet.ts"), "-o", out]);
    expect(built).toMatchObject({ exitCode: 0, stderr: "" });
    const first = readFileSync(out);
    await runCli(["build", join(EXAMPLE, "no_telnet.ts"), "-o", out]);
    expect(readFileSync(out).equals(first)).toBe(true);
    expect(first.equals(readFileSync(join(root, "build/fast.wasm")))).toBe(false);
    const { stdout } = await runCli(["compare", "--demo", "--program", out, "-o", "json"]);
    const plain = await runCli(["compare", "--demo", "-o", "json"]);
    // Nobody uses telnet in the recordings, so nothing else may change.
    expect(JSON.parse(stdout).findings).toEqual(JSON.parse(plain.stdout).findings);
  });
});

it("what a program of one's own drops is said to be its doing", async () => {
  const program = file("own.ts", `${HEAD}export function policy(verdict: i32): i32 {
  return PolicyStep.port == 8080 && !PolicyStep.egress ? -<i32>DropReason.DROP_POLICY_DENY : verdict;
}
`);
  const lab = (name: string): string => join(root, "traces/lab", name);
  const { stdout } = await runCli(["compare", "-f", lab("cluster.yaml"), "-f", lab("node1.net.json"), "-f", lab("node2.net.json"),
    "--follow-capture", "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64",
    "-r", lab("clusterip-tcp"), "--program", program, "-o", "json"]);
  const { findings } = JSON.parse(stdout) as { findings: { id: string; becauses: { object: string }[] }[] };
  expect([...new Set(findings.map(({ id }) => id))]).toEqual(["POL-OWN-PROGRAM"]);
  expect(findings[0].becauses.map(({ object }) => object)).toContain("own program");
});

describe("what does not compile is said with file and line, and ends with exit code 2", () => {
  it.each([
    ["an unknown name", `${HEAD}export function policy(verdict: i32): i32 {\n  return nothing(verdict);\n}\n`, /own\.ts:3: error: .*nothing/],
    ["no step", "export function poliy(verdict: i32): i32 {\n  return verdict;\n}\n", /own\.ts:1: error: exports no step/],
    ["another form", `${HEAD}export function policy(verdict: i32, more: i32): i32 {\n  return verdict + more;\n}\n`,
      /own\.ts:2: error: .*expected export function policy\(verdict: i32\): i32/],
    ["an allocation", `${HEAD}class Thing {\n  value: i32 = 0;\n}\nexport function policy(verdict: i32): i32 {\n  const thing = new Thing();\n`
      + "  thing.value = verdict;\n  return thing.value;\n}\n", /own\.ts: error: something is allocated/],
    ["an import from the host", `${HEAD}@external("env", "now")\ndeclare function now(): i32;\nexport function policy(verdict: i32): i32 {\n`
      + "  return now() > 5 ? verdict : 0;\n}\n", /own\.ts: error: the module imports .*expected env\.memory alone/],
  ])("%s", async (_, text, said) => {
    const ran = await runCli(["build", file("own.ts", text), "-o", join(folder, "none.wasm")]);
    expect(ran.stderr).toMatch(said);
    expect(ran.exitCode).toBe(2);
  });

  it("so it is in a scenario", async () => {
    file("broken.ts", "export function policy(verdict: i32): i32 {\n  return verdikt;\n}\n");
    const text = `name: a\ncluster: [${join(root, "traces/reasons/cluster.yaml")}]\nplanes: {a: {profile: cilium@1.20, program: broken.ts}}\n`
      + "probes: [{from: {pod: default/client}, to: {service: default/web}, expect: {outcome: delivered}}]\n";
    const ran = await runCli(["test", file("broken.scenario.yaml", text)]);
    expect(ran.stdout).toMatch(/broken\.ts:2: error: /);
    expect(ran.exitCode).toBe(2);
  });

  it("a module that is none, or of another kind", async () => {
    writeFileSync(join(folder, "junk.wasm"), "not wasm");
    const junk = await runCli(["compare", "--demo", "--program", join(folder, "junk.wasm")]);
    expect([junk.exitCode, junk.stderr]).toEqual([2, expect.stringContaining("junk.wasm")]);
    const other = await runCli(["compare", "--demo", "--target", "kube-proxy", "--program", join(folder, "junk.wasm")]);
    expect(other.stderr).toContain("kube-proxy has no programs");
    expect((await runCli(["compare", "--demo", "--program", join(folder, "absent.wasm")])).stderr).toContain("no such file");
  });
});
