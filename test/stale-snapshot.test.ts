/** Packets of pods that the snapshot does not have for that time are undecided, counted and said. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";

const LAB = join(root, "traces/lab");
const folder = mkdtempSync(join(tmpdir(), "twinplane-stale-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const CLUSTER = readFileSync(join(LAB, "cluster.yaml"), "utf8");
const FACTS = ["node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", join(LAB, name)]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];

async function compare(cluster: string): Promise<Report> {
  const path = join(folder, "cluster.yaml");
  writeFileSync(path, cluster);
  const { stdout } = await runCli(["compare", "-f", path, ...FACTS, ...NETWORK, "--follow-capture", "-o", "json", "-r",
    join(LAB, "clusterip-tcp")]);
  return JSON.parse(stdout) as Report;
}

/** The client's pod with these fields in its metadata. */
function client(metadata: string): string {
  return CLUSTER.replace(/^( *)name: cli-a$/m, (line, indent: string) => `${line}\n${indent}${metadata}`);
}

const stale = ({ undecided }: Report): number => undecided.reduce((sum, [reason, packets]) => sum + (/^stale snapshot/.test(reason) ? packets : 0), 0);
const plain = await compare(CLUSTER);

describe("a pod's address", () => {
  it("of the snapshot's time is judged", async () => {
    expect(stale(plain)).toBe(0);
    expect(stale(await compare(client('creationTimestamp: "2020-01-01T00:00:00Z"')))).toBe(0);
    expect(stale(await compare(client('deletionTimestamp: "2090-01-01T00:00:00Z"')))).toBe(0);
  });

  it.each([
    ["before its pod was made", 'creationTimestamp: "2090-01-01T00:00:00Z"', /was made after the packet/],
    ["after its pod was to be gone", 'deletionTimestamp: "2020-01-01T00:00:00Z"', /was to be gone before it/],
  ])("%s is undecided", async (_what, metadata, reason) => {
    const report = await compare(client(metadata));
    expect(stale(report)).toBeGreaterThan(10);
    expect(report.undecided.some(([text]) => reason.test(text))).toBe(true);
    expect([report.verdict.exitCode, report.findings.filter((one) => one.id === "UNEXPLAINED")]).toEqual([3, []]);
  });

  it("that no pod has, in a node's pod range, is undecided", async () => {
    const without = CLUSTER.split(/^---\n/m).filter((one) => !(/^kind: Pod$/m.test(one) && /name: cli-a$/m.test(one))).join("---\n");
    const report = await compare(without);
    expect(stale(report)).toBeGreaterThan(10);
    expect(report.undecided.some(([text]) => /a pod address that no pod of it has/.test(text))).toBe(true);
  });
});
