/** Packets of pods that the snapshot does not have for that time are undecided, counted and said. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
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

async function compare(cluster: string, ...more: string[]): Promise<Report> {
  const path = join(folder, "cluster.yaml");
  writeFileSync(path, cluster);
  const { stdout } = await runCli(["compare", "-f", path, ...FACTS, ...NETWORK, "--follow-capture", "-o", "json", "-r",
    join(LAB, "clusterip-tcp"), ...more]);
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

/** RFC 3339, this many seconds after the recording began. */
const began = 1e9 * Math.floor(Number(firstSecond()));
function firstSecond(): number {
  const [file] = readdirSync(join(LAB, "clusterip-tcp")).filter((name) => name.endsWith(".pcap"));
  return readFileSync(join(LAB, "clusterip-tcp", file)).readUInt32LE(24);
}
const at = (seconds: number): string => new Date(began / 1e6 + seconds * 1000).toISOString();

describe("--snapshot-time", () => {
  it("of the recording leaves every packet judged, with its pods of any age", async () => {
    const whole = `${at(-60)}/${at(3600)}`;
    for (const cluster of [CLUSTER, client('creationTimestamp: "2020-01-01T00:00:00Z"')]) {
      const { packets, undecided } = await compare(cluster, "--snapshot-time", whole);
      expect([packets, undecided]).toEqual([plain.packets, plain.undecided]);
    }
  });

  it("before the recording: nobody knows whose the addresses are by then", async () => {
    const report = await compare(CLUSTER, "--snapshot-time", at(-60));
    expect(report.undecided.some(([text]) => /of another time than --snapshot-time/.test(text))).toBe(true);
    expect([report.packets.same, report.verdict.exitCode]).toEqual([0, 3]);
  });

  it("after the recording: pods that were made before it are judged, others are not", async () => {
    const report = await compare(client('creationTimestamp: "2020-01-01T00:00:00Z"'), "--snapshot-time", at(3600));
    expect(stale(report)).toBeGreaterThan(10);
    const aged = CLUSTER.replace(/^(kind: Pod\nmetadata:\n)/gm, '$1  creationTimestamp: "2020-01-01T00:00:00Z"\n');
    expect(aged.match(/creationTimestamp/g)!.length).toBeGreaterThan(5);
    expect(stale(await compare(aged, "--snapshot-time", at(3600)))).toBe(0);
  });

  it("holds until a dated change of the objects, and what comes after is as the change says", async () => {
    const later = join(folder, "later.yaml");
    writeFileSync(later, CLUSTER);
    const report = await compare(CLUSTER, "--snapshot-time", `${at(-60)}/${at(-30)}`, "--change", `${at(-20)}=${later}`);
    expect(stale(report)).toBe(0);
  });

  it.each(["yesterday", `${at(10)}/${at(0)}`, `${at(0)}/${at(1)}/${at(2)}`, ""])("'%s' is no time", async (text) => {
    const { exitCode, stderr } = await runCli(["compare", "-f", join(LAB, "cluster.yaml"), "-r", join(LAB, "clusterip-tcp"), "--snapshot-time",
      text]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/--snapshot-time takes a time such as/)]);
  });
});

describe("what has no time of its own", () => {
  it("is of the snapshot's time: entries of conntrack -L, whenever pods were made", async () => {
    const path = join(folder, "aged.yaml");
    writeFileSync(path, client('creationTimestamp: "2020-01-01T00:00:00Z"'));
    const entries = join(folder, "node1.conntrack");
    writeFileSync(entries, "tcp 6 100 TIME_WAIT src=10.244.1.20 dst=10.96.0.10 sport=55558 dport=80 src=10.244.1.10 dst=10.244.1.20 sport=8080"
      + " dport=55558 [ASSURED] mark=0 use=1\n");
    for (const more of [[], ["--snapshot-time", at(0)]]) {
      const { stdout } = await runCli(["compare", "-f", path, ...FACTS, ...NETWORK, "-o", "json", "--input-file", `node1=${entries}`, ...more]);
      const report = JSON.parse(stdout) as Report;
      expect([stale(report), report.packets.undecided, report.entries?.replayed]).toEqual([0, 0, 1]);
    }
  });
});
