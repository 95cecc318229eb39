/** What recorded traffic exercised, by what the planes say they decided by. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { CoverageReport, CoverageRow } from "../src/compare/coverage.js";
import { statementKey, statementsOf } from "../src/compare/statements.js";
import { renderLcov } from "../src/report/coverage.js";
import { parseProfile, type Profile } from "../src/planes.js";
import { runSession } from "../src/session.js";
import { root, runCli } from "./cli.js";
import { storyInput } from "./mutant-runner.js";

let folder = "";
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), "coverage-")); });
afterAll(() => rmSync(folder, { recursive: true }));

async function covered(story: string, current: string, target = "cilium@1.20"): Promise<CoverageReport> {
  const input = storyInput(story);
  const [from, to] = [current, target].map((text) => parseProfile(text) as Profile);
  const { comparison, planes } = await runSession({ ...input, current: from, target: to });
  return comparison.coverage.report(input.timeline.initial, planes);
}

const policyRows = ({ rows }: CoverageReport): readonly CoverageRow[] =>
  rows.filter((row) => row.kind !== "frontend" && row.kind !== "backend");
const met = (rows: readonly CoverageRow[], side: 0 | 1): string[] =>
  rows.filter((row) => row.packets[side] > 0).map((row) => `${row.object} ${row.what}`);

describe("rules that let packets through", () => {
  it.each(["kube-proxy+spec", "kube-proxy+npm", "kube-proxy+calico"])("are the same ones on %s and on Cilium", async (current) => {
    const rows = policyRows(await covered("lab/clusterip-tcp+policy", current));
    expect(met(rows, 0)).toEqual(["default/client egress[0].to[0]", "default/web ingress[0].from[0]", "default/web ingress[0].ports[0]"]);
    expect(met(rows, 1)).toEqual(met(rows, 0));
  });

  it("and default denies are named where nothing lets them through", async () => {
    const rows = policyRows(await covered("lab/pod-to-outside+policy", "kube-proxy+spec"));
    expect(met(rows, 1)).toContain("default/client egress");
  });
});

it("every statement that a plane names is one of the cluster's", async () => {
  const input = storyInput("lab/clusterip-tcp+policy");
  const { comparison, planes } = await runSession(input);
  const keys = new Set(statementsOf(input.timeline.initial).map((one) => one.key));
  const named = ([0, 1] as const).flatMap((index) => [...comparison.coverage.becauses(index, planes[index])])
    .map(({ because }) => statementKey(because)).filter((key) => key !== null);
  expect(named.length).toBeGreaterThan(0);
  expect(named.filter((key) => !keys.has(key))).toEqual([]);
});

it("services count by the frontends addressed and the backends reached", async () => {
  const { rows } = await covered("lab/clusterip-tcp", "kube-proxy");
  const used = rows.filter((row) => row.packets[0] > 0).map((row) => `${row.kind} ${row.object} ${row.what} ${row.packets[0]}`);
  expect(used).toContain("frontend default/web 10.96.0.10:80/TCP 12");
  expect(used.filter((one) => one.startsWith("backend default/web "))).toEqual(["backend default/web 10.244.1.10:8080/TCP 4",
    "backend default/web 10.244.2.10:8080/TCP 4", "backend default/web 10.244.2.11:8080/TCP 4"]);
});

it("the tracefile has a record for each file, and counts that add up", () => {
  const row = (kind: CoverageRow["kind"], what: string, line: number, packets: number): CoverageRow =>
    ({ kind, object: "default/web", what, where: { file: "web.yaml", line }, packets: [packets, 0] });
  const rows = [row("default deny", "ingress", 2, 0), row("rule", "ingress[0].from[0]", 9, 5), row("rule", "ingress[0].from[1]", 9, 0),
    row("port", "ingress[0].ports[0]", 9, 5)];
  expect(renderLcov({ rows, policy: { exercised: 2, all: 4 }, services: { exercised: 0, all: 0 } })).toBe([
    "TN:", "SF:web.yaml", "BRDA:2,0,0,-", "BRDA:9,0,0,5", "BRDA:9,0,1,0", "BRDA:9,0,2,5", "BRF:4", "BRH:2", "DA:2,0", "DA:9,5",
    "LF:2", "LH:1", "end_of_record", ""].join("\n"));
});

it("compare writes it and says what was never exercised", async () => {
  const lab = join(root, "traces", "lab");
  const file = join(folder, "coverage.info");
  const { stdout } = await runCli(["compare", "-f", join(lab, "cluster.yaml"), join(root, "test", "mutants.policies.yaml"),
    join(lab, "node1.net.json"), join(lab, "node2.net.json"), join(lab, "clusterip-tcp"), "-r", join(lab, "clusterip-tcp"), "--current",
    "kube-proxy+npm", "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--follow-capture", "--coverage", file]);
  expect(stdout).toMatch(/Coverage: 3 of 10 policy rules, ports and default denies exercised\n {2}never: default\/dns /);
  expect(readFileSync(file, "utf8")).toMatch(/^SF:.*mutants\.policies\.yaml$/m);
});
