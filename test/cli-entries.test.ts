/**
 * conntrack entries as input of `compare`: those that a kernel had while the bundled recordings were made are all
 * reproduced, from both nodes' files or from one, and of a changed entry exactly that line disagrees.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";

const LAB = "traces/lab";
const CLUSTER = ["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", `${LAB}/${name}`]);
const NETWORK = ["--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
const folder = mkdtempSync(join(tmpdir(), "twinplane-entries-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

function events(story: string, node: string): string {
  return readFileSync(join(root, LAB, story, `${node}.ct-events.txt`), "utf8");
}

/** Entries as `conntrack -L` prints them: the last word of the events on each. */
function listing(text: string): string {
  const last = new Map<string, string>();
  for (const line of text.split("\n")) {
    const found = /^\[[\d.]+\]\s+\[(NEW|UPDATE)\]\s+ipv[46]\s+\d+ (.*) id=(\d+)/.exec(line);
    if (found !== null) last.set(found[3], found[2].replace(/ (SYN_SENT|FIN_WAIT|LAST_ACK|CLOSE) /, " TIME_WAIT "));
  }
  return [...last.values()].map((line) => `${line} mark=0 use=1\n`).join("");
}

async function replay(...entries: string[]): Promise<{ exitCode: number; report: Report }> {
  const { exitCode, stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "-o", "json", "--input-file", ...entries]);
  return { exitCode, report: JSON.parse(stdout) as Report };
}

/** Another story changes the cluster while it runs. */
const stories = readdirSync(join(root, LAB), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== "endpoint-leaves" && events(entry.name, "node1") !== "").map((entry) => entry.name);

describe("entries of the recordings", () => {
  it.each(stories)("%s: the current side has every one as the node had it", async (story) => {
    const both = await replay(`node1=${LAB}/${story}/node1.ct-events.txt`, `node2=${LAB}/${story}/node2.ct-events.txt`);
    const { entries, truth, findings } = both.report;
    expect(entries).toMatchObject({ disagreeing: 0, unplaced: [] });
    expect([entries!.replayed, entries!.replayed > 0, truth.agreed, truth.disagreements]).toEqual([entries!.entries, true, truth.views, []]);
    expect(findings.filter((row) => row.id === "UNEXPLAINED")).toEqual([]);
    expect(findings.every((row) => row.example.line)).toBe(true);
    const one = await replay(`node1=${LAB}/${story}/node1.ct-events.txt`);
    expect(one.report.entries).toMatchObject({ disagreeing: 0, unplaced: [] });
    expect([one.report.truth.agreed, one.report.findings.filter((row) => row.id === "UNEXPLAINED")]).toEqual([one.report.truth.views, []]);
    const listed = await replay(`node1=${file("node1.txt", listing(events(story, "node1")))}`);
    expect([listed.report.entries?.replayed, listed.report.truth.agreed]).toEqual([one.report.entries?.replayed, one.report.truth.views]);
  });

  it("are many", () => expect(stories.length).toBeGreaterThan(8));

  it("say what came to a node from another without entries", async () => {
    const { report } = await replay(`${LAB}/clusterip-tcp/node1.ct-events.txt`);
    expect(report.entries?.headless).toBeGreaterThan(0);
    expect((await replay(`${LAB}/clusterip-tcp/node1.ct-events.txt`, `${LAB}/clusterip-tcp/node2.ct-events.txt`)).report.entries?.headless).toBe(0);
  });
});

const WEB = "tcp 6 100 TIME_WAIT src=10.244.1.20 dst=10.96.0.10 sport=55558 dport=80 src=10.244.1.10 dst=10.244.1.20 sport=8080 dport=55558"
  + " [ASSURED] mark=0 use=1";

async function one(line: string): Promise<Report> {
  return (await replay(`node1=${file("one.txt", `${WEB.replaceAll("55558", "40000")}\n${line}\nconntrack v1.4.7 (conntrack-tools): 2 flow entries\n`)}`)).report;
}

describe("an entry that the rules would not make", () => {
  it.each<[string, string]>([
    ["another backend", WEB.replaceAll("src=10.244.1.10 ", "src=10.244.1.53 ")],
    ["another port of the backend", WEB.replace("sport=8080", "sport=8081")],
    ["no translation", WEB.replace("src=10.244.1.10 dst=10.244.1.20 sport=8080", "src=10.96.0.10 dst=10.244.1.20 sport=80")],
    ["a masquerade too many", WEB.replace("src=10.244.1.10 dst=10.244.1.20 sport=8080", "src=10.244.1.10 dst=192.168.50.11 sport=8080")],
  ])("%s: its line disagrees", async (_what, line) => {
    const { entries, truth } = await one(line);
    expect([entries?.entries, entries?.replayed, entries?.disagreeing]).toEqual([2, 2, 1]);
    expect(truth.disagreements.every((text) => / line 2: /.test(text))).toBe(true);
  });

  it("the same line as the node had it agrees", async () => {
    const { entries, truth } = await one(WEB);
    expect([entries?.disagreeing, truth.disagreed]).toEqual([0, 0]);
  });
});

describe("an entry that cannot be placed is undecided with its reason", () => {
  it.each<[string, string, RegExp]>([
    ["a pod that is gone", WEB.replaceAll("10.244.1.20", "10.244.1.99"), /no pod of the cluster has the source's address/],
    ["a backend that is gone", WEB.replaceAll("10.244.1.10", "10.244.2.99"), /no pod of the cluster has the destination's address/],
    ["a zone", `${WEB} zone=7`, /another conntrack zone/],
    ["a zone of one direction", WEB.replace(" src=10.244.1.10", " zone-orig=7 src=10.244.1.10"), /another conntrack zone/],
    ["another protocol", "gre 47 100 src=10.244.1.20 dst=203.0.113.10 srckey=0x0 dstkey=0x0 src=203.0.113.10 dst=10.244.1.20 srckey=0x0 dstkey=0x0",
      /IP protocol 47/],
    ["an ICMP query that is no echo", "icmp 1 29 src=10.244.1.20 dst=203.0.113.10 type=13 code=0 id=7 src=203.0.113.10 dst=10.244.1.20 type=14 code=0 id=7",
      /only echo requests/],
    ["loopback", "tcp 6 100 TIME_WAIT src=127.0.0.1 dst=127.0.0.1 sport=1 dport=2 src=127.0.0.1 dst=127.0.0.1 sport=2 dport=1", /on loopback/],
  ])("%s", async (_what, line, reason) => {
    const { entries, verdict } = await one(line);
    expect(entries).toMatchObject({ entries: 2, replayed: 1, unplaced: [[expect.stringMatching(reason), 1]] });
    expect([verdict.exitCode, verdict.why]).toEqual([3, expect.stringMatching(/66\.7 % of the packets were decided/)]);
  });
});

describe("usage", () => {
  it("captures and entries together are refused", async () => {
    const { exitCode, stderr } = await runCli(["compare", ...CLUSTER, "-r", `${LAB}/hairpin`, "--input-file", `${LAB}/hairpin/node1.ct-events.txt`]);
    expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/give -r or --input-file, not both/)]);
  });

  it("an unknown node, a missing file and a file of something else are inputs that could not be read", async () => {
    for (const path of [`node9=${LAB}/hairpin/node1.ct-events.txt`, "node1=nope.txt", file("what.txt", "nothing\n")]) {
      expect((await replay(path)).exitCode).toBe(2);
    }
    const { exitCode, report } = await replay(`node1=${file("prose.txt", "just a sentence\n")}`);
    expect([exitCode, report.problems.map((one) => one.severity)]).toEqual([3, expect.arrayContaining(["error"])]);
  });

  it("says on the screen how many entries were replayed", async () => {
    const { stdout } = await runCli(["compare", ...CLUSTER, ...NETWORK, "--input-file", `${LAB}/hairpin/node1.ct-events.txt`]);
    expect(stdout).toMatch(/6 of 6 conntrack entries replayed: 6 translated and delivered as the node had it, 0 otherwise/);
    expect(stdout).toMatch(/first: traces\/lab\/hairpin\/node1\.ct-events\.txt line \d+, tcp/);
  });
});
