/** Fixes on bundled recordings with policies added: what is offered cures, and what does not cure is not offered. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FixReport, tryFixes } from "../src/fix/fixes.js";
import { objectsOf } from "../src/fix/patch.js";
import { sessionTrials } from "../src/fix/session.js";
import { Proposals } from "../src/fix/propose.js";
import { Trial } from "../src/fix/trial.js";
import type { Report } from "../src/report/report.js";
import { runSession } from "../src/session.js";
import { root, runCli } from "./cli.js";
import { storyInput } from "./mutant-runner.js";
import { parseProfile, type Profile } from "../src/planes.js";

const LAB = join(root, "traces", "lab");
let folder = "";
beforeAll(() => { folder = mkdtempSync(join(tmpdir(), "fixes-")); });
afterAll(() => rmSync(folder, { recursive: true }));

const policy = (spec: string): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: web, namespace: default}\nspec:\n${spec}`;

interface Fixed {
  readonly report: Report & { readonly fixes: FixReport };
  readonly files: readonly string[];
  readonly out: string;
}

async function fixed(story: string, policies: string, current: string): Promise<Fixed> {
  const file = join(folder, "policies.yaml");
  const out = mkdtempSync(join(folder, "out-"));
  writeFileSync(file, policies);
  const { stdout } = await runCli(["compare", "-f", join(LAB, "cluster.yaml"), file, join(LAB, "node1.net.json"),
    join(LAB, "node2.net.json"), join(LAB, story), "-r", join(LAB, story), "--current", current,
    "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64", "--follow-capture",
    "--fixes", out, "-o", "json"]);
  return { report: JSON.parse(stdout) as Report & { fixes: FixReport }, files: readdirSync(out).sort(), out };
}

describe("an ipBlock over pods", () => {
  const BLOCK = policy("  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n  ingress:\n"
    + "    - from: [{ipBlock: {cidr: 10.244.0.0/16}}]\n      ports: [{protocol: TCP, port: 8080}]\n");

  it("names the pods it covered, by namespace and labels, before the switch", async () => {
    const { report, files, out } = await fixed("clusterip-tcp", BLOCK, "kube-proxy+npm");
    expect(report.findings.map((one) => one.id).filter((id) => id !== "POL-IPBLOCK-POD")).toEqual([]);
    expect(report.fixes.offered.map(({ id, when, result, cured, flows }) => ({ id, when, result, cured, flows }))).toEqual([
      { id: "POL-IPBLOCK-POD", when: "before", result: "cured", cured: 12, flows: 12 }]);
    expect(files).toEqual(["web-ipblock-pod-ingress-0.yaml"]);
    const text = readFileSync(join(out, files[0]), "utf8");
    expect(text).toContain("app: 'client'");
    expect(text).not.toMatch(/Selector: \{\}/);
  });

  it("is not offered where it cures nothing", async () => {
    const input = storyInput("lab/clusterip-tcp+policy");
    const baseline = new Trial();
    await runSession({ ...input, onJudged: (one) => baseline.take(one) });
    const yaml = policy("  podSelector: {matchLabels: {app: none}}\n  policyTypes: [Ingress]\n");
    const { offered, refused } = await tryFixes({
      run: sessionTrials(() => storyInput("lab/clusterip-tcp+policy")), baseline, limits: [], findings: [], patches: [
      { id: "POL-IPBLOCK-POD", when: "before", kind: "NetworkPolicy", namespace: "default", name: "x", yaml, flows: ["none"] }] });
    expect(offered).toEqual([]);
    expect(refused.map((one) => one.why)).toEqual(["it cures no flow"]);
  });

  it("nor where a map of Cilium's would be too small for it", async () => {
    const story = "lab/nodeport-cluster+policy";
    // Enough for the cluster's own policies.
    const again = () => ({ ...storyInput(story), current: parseProfile("kube-proxy+npm") as Profile, cilium: { "bpf-policy-map-max": 256 } });
    const baseline = new Trial();
    const proposals = new Proposals();
    const { report } = await runSession({ ...again(), onJudged: (one) => { baseline.take(one); proposals.take(one); } });
    expect(report.limits.filter((one) => one.exceeded)).toEqual([]);
    const [patch] = proposals.patches();
    const ports = Array.from({ length: 300 }, (_, index) => `        - {protocol: TCP, port: ${20_000 + 2 * index}}\n`).join("");
    const large = `${patch.yaml}    - from: [{ipBlock: {cidr: 198.51.100.0/24}}]\n      ports:\n${ports}`;
    const tried = (yaml: string) => tryFixes({ run: sessionTrials(again), baseline, limits: report.limits, findings: [], patches: [{ ...patch, yaml }] });
    const { offered, refused } = await tried(large);
    expect([offered, refused.map((one) => one.why.replace(/\d+ of/, "N of"))]).toEqual([[], ["it exceeds CAP-POLICYMAP (N of 256)"]]);
    expect((await tried(patch.yaml)).offered.map(({ id }) => id)).toEqual([patch.id]);
  });

  it("nor where it opens what both sides deny", async () => {
    const story = "lab/nodeport-cluster+policy";
    const again = () => ({ ...storyInput(story), current: parseProfile("kube-proxy+npm") as Profile });
    const baseline = new Trial();
    const proposals = new Proposals();
    await runSession({ ...again(), onJudged: (one) => { baseline.take(one); proposals.take(one); } });
    const [patch] = proposals.patches();
    const wide = patch.yaml.replace(/ {4}- from:[\s\S]*$/, "    - {}\n");
    expect(wide).not.toBe(patch.yaml);
    const { offered, refused } = await tryFixes({ run: sessionTrials(again), baseline, limits: [], findings: [], patches: [{ ...patch, yaml: wide }] });
    expect(offered).toEqual([]);
    expect(refused[0].why).toMatch(/opens \d+ other flows/);
  });
});

it("allowing the clients of a node port would open what Azure NPM denies on the other node, and is not offered", async () => {
  const policies = readFileSync(join(root, "test", "mutants.policies.yaml"), "utf8");
  const { report, files } = await fixed("loadbalancer", policies, "kube-proxy+npm");
  expect(report.findings.map((one) => one.id)).toContain("POL-LB-INGRESS");
  expect(report.fixes.refused).toEqual([
    { id: "POL-LB-INGRESS", object: "NetworkPolicy default/web-lb-ingress-ingress", why: "it opens 4 other flows" }]);
  expect(files).toEqual([]);
});

describe("reports show fixes and coverage", () => {
  const run = async (format: string): Promise<string> => {
    const out = mkdtempSync(join(folder, "out-"));
    const file = join(folder, "block.yaml");
    writeFileSync(file, policy("  podSelector: {matchLabels: {app: web}}\n  policyTypes: [Ingress]\n  ingress:\n"
      + "    - from: [{ipBlock: {cidr: 10.244.0.0/16}}]\n      ports: [{protocol: TCP, port: 8080}]\n"));
    const { stdout } = await runCli(["compare", "-f", join(LAB, "cluster.yaml"), file, join(LAB, "node1.net.json"), join(LAB, "node2.net.json"),
      join(LAB, "clusterip-tcp"), "-r", join(LAB, "clusterip-tcp"), "--current", "kube-proxy+npm", "--cluster-cidr", "10.244.0.0/16",
      "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64", "--follow-capture", "--fixes", out, "-o", format]);
    return stdout;
  };

  it("on the screen", async () => {
    const text = await run("text");
    expect(text).toMatch(/Fixes: 1 offered, each tried on this traffic\n {2}POL-IPBLOCK-POD {2}cured: 12 of 12 flows; opens nothing else/);
    expect(text).toMatch(/Coverage: \d+ of \d+ policy rules, ports and default denies exercised/);
    expect(text).toMatch(/Coverage: 4 of 8 frontends and backends of 1 addressed service used\n {2}never: default\/web (backend|frontend) /);
  });

  it("in Markdown", async () => {
    const text = await run("markdown");
    expect(text).toContain("| Fix for | Tried on this traffic | What |");
    expect(text).toContain("| POL-IPBLOCK-POD | cured: 12 of 12 flows; opens nothing else, no limit newly exceeded |");
    expect(text).toMatch(/```yaml\n# POL-IPBLOCK-POD[\s\S]*kind: 'NetworkPolicy'[\s\S]*\n```\n/);
    expect(text).toMatch(/<summary>Coverage \(\d+\)<\/summary>[\s\S]*frontends and backends of 1 addressed service used/);
  });

  it("in HTML, as data that ends no element", async () => {
    const text = await run("html");
    const data = JSON.parse(/<script type="application\/json" id="data">([^<]*)<\/script>/.exec(text)![1]) as
      { fixes: { rows: string[][]; manifests: { name: string; yaml: string }[] }; coverage: string[] };
    expect(data.fixes.rows[0].slice(0, 1)).toEqual(["POL-IPBLOCK-POD"]);
    expect(data.fixes.manifests[0].yaml).toMatch(/^# POL-IPBLOCK-POD.*\n#.*\napiVersion/);
    expect(data.coverage[0]).toMatch(/^Coverage: \d+ of/);
  });
});

it("every proposal can be read as the API server reads it", async () => {
  for (const story of ["lab/nodeport-cluster+policy", "lab/loadbalancer+policy"]) {
    const proposals = new Proposals();
    await runSession({ ...storyInput(story), current: parseProfile("kube-proxy+npm") as Profile, onJudged: (one) => proposals.take(one) });
    const patches = proposals.patches();
    expect(patches.length).toBeGreaterThan(0);
    expect(objectsOf(patches).networkPolicies.length + objectsOf(patches).ciliumPolicies.length).toBe(patches.length);
  }
});
