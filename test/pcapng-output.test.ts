/** Commented captures: read back record by record against the captures they come from, and by Debian's tshark. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CaptureReader } from "../src/capture/index.js";
import { LAB, outputsOf, type Outputs } from "./outputs.js";

const STORIES = ["clusterip-tcp", "icmp-errors", "nodeport-cluster"];

interface Row {
  readonly time: string;
  readonly linkType: number;
  readonly name: string;
  readonly wireLength: number;
  /** Captured bytes in hex. */
  readonly bytes: string;
  readonly comments: readonly string[];
}

function rowsOf(bytes: Uint8Array): Row[] {
  const reader = new CaptureReader();
  reader.push(bytes);
  reader.end();
  const rows: Row[] = [];
  while (reader.next()) {
    const { record } = reader;
    rows.push({
      time: `${record.timeSec}.${String(record.timeFracNs).padStart(9, "0")}`, linkType: record.linkType, name: record.interfaceName,
      wireLength: record.wireLength, comments: record.comments(),
      bytes: Buffer.from(record.bytes.subarray(record.offset, record.offset + record.capturedLength)).toString("hex"),
    });
  }
  expect(reader.finish().error).toBeNull();
  return rows;
}

const captures = STORIES.flatMap((story) => ["node1", "node2"].map((node) => ({ node, file: join(LAB, story, `${node}.any.pcap`) })));
let run: Promise<Outputs> | null = null;
const output = (): Promise<Outputs> => run ??= outputsOf({ stories: STORIES, formats: ["pcapng", "json", "hubble"] });
const pcapng = async (): Promise<Buffer> => (await output()).bytes.get("pcapng")!;

describe("against the captures", () => {
  it("every record is there, in the order of time, with its link type, node and length, and what is kept of it is its beginning", async () => {
    const rows = rowsOf(await pcapng());
    const expected = captures.flatMap(({ node, file }) => rowsOf(readFileSync(file)).map((row) => ({ ...row, name: node })));
    expect(rows).toHaveLength(expected.length);
    // A record that its own capture has behind a later one stays there.
    const back = rows.filter((row, at) => at > 0 && row.time < rows[at - 1].time);
    const ownBack = captures.flatMap(({ file }) => rowsOf(readFileSync(file))).filter((row, at, all) => at > 0 && row.time < all[at - 1].time);
    for (const row of back) expect(ownBack.map((one) => one.time)).toContain(row.time);
    const key = ({ time, name, linkType, wireLength }: Row): string => `${time} ${name} ${linkType} ${wireLength}`;
    expect(rows.map(key).sort()).toEqual(expected.map(key).sort());
    const whole = new Map<string, string[]>();
    for (const row of expected) whole.set(key(row), [...(whole.get(key(row)) ?? []), row.bytes]);
    for (const row of rows) expect(whole.get(key(row))?.some((bytes) => bytes.startsWith(row.bytes))).toBe(true);
  });

  it("each has one comment; as many say DIFF as the report has", async () => {
    const rows = rowsOf(await pcapng());
    const { packets, findings } = JSON.parse((await output()).text("json")) as
      { packets: Record<string, number>; findings: { id: string; flows: number }[] };
    expect(rows.filter((row) => row.comments.length !== 1 || !/^cmp=[A-Z-]+( |$)/.test(row.comments[0]))).toEqual([]);
    const count = (word: string): number => rows.filter((row) => row.comments[0].startsWith(`cmp=${word}`)).length;
    // Copies of a packet have its comment too.
    expect(count("DIFF")).toBeGreaterThanOrEqual(packets.different);
    expect(count("SAME")).toBeGreaterThanOrEqual(packets.same);
    for (const { id } of findings) expect(rows.some((row) => row.comments[0].startsWith(`cmp=DIFF id=${id} `))).toBe(true);
    expect(rows.find((row) => row.comments[0].includes("POL-NOENGINE"))?.comments[0]).toMatch(
      /^cmp=DIFF id=POL-NOENGINE facet=reached current=FORWARDED\/\S+ target=DROPPED\/POLICY_DENIED rule=default\/web-from-client#ingress$/);
  });
});

describe("tshark", () => {
  const found = spawnSync("tshark", ["--version"], { encoding: "utf8" }).status === 0;
  const required = process.env.TWINPLANE_REQUIRE_KERNEL === "1";
  if (!found && required) throw new Error("tshark is not installed");

  it.skipIf(!found)(found ? "opens it and shows the comments" : "tshark is not installed: comments are not shown by it", async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-tshark-"));
    try {
      const file = join(folder, "commented.pcapng");
      writeFileSync(file, await pcapng());
      const ran = spawnSync("tshark", ["-r", file, "-T", "fields", "-e", "frame.interface_name", "-e", "frame.comment"],
        { encoding: "utf8", maxBuffer: 1 << 28 });
      expect([ran.status, ran.stderr.replace(/^Running as user.*$/m, "").trim()]).toEqual([0, ""]);
      const rows = rowsOf(await pcapng());
      expect(ran.stdout.trimEnd().split("\n")).toEqual(rows.map((row) => `${row.name}\t${row.comments[0]}`));
      const filtered = spawnSync("tshark", ["-r", file, "-Y", 'frame.comment contains "cmp=DIFF"', "-T", "fields", "-e", "frame.number"],
        { encoding: "utf8" });
      expect(filtered.stdout.trim().split("\n")).toHaveLength(rows.filter((row) => row.comments[0].startsWith("cmp=DIFF")).length);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});

describe("what it is not for", () => {
  it("conntrack entries have no packets", async () => {
    const { exitCode, stderr } = await outputsOf({ stories: [], formats: ["pcapng"],
      args: ["--input-file", `node1=${join(LAB, "nodeport-cluster", "node1.ct-events.txt")}`] });
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining("--input-file has no packets")]);
  });
});
