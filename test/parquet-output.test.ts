/** Rows of the Parquet output, read back by another library, against the lines and the report of the same run. */
import { parquetReadObjects } from "hyparquet";
import { expect, it } from "vitest";
import { outputsOf } from "./outputs.js";

it("one row for each packet, with what the report counts", async () => {
  const run = await outputsOf({ stories: ["clusterip-tcp", "nodeport-cluster", "icmp-errors"], formats: ["parquet", "json", "hubble"] });
  const bytes = run.bytes.get("parquet")!;
  const file = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length) as ArrayBuffer;
  const rows = await parquetReadObjects({ file });
  const { packets, findings } = JSON.parse(run.text("json")) as
    { packets: Record<string, number>; findings: { id: string; flows: number; packets: number }[] };
  expect(rows).toHaveLength(packets.replayed);
  for (const name of ["same", "otherChoice", "different", "consequence", "moot", "held", "undecided"]) {
    expect([name, rows.filter((row) => row.class === name).length]).toEqual([name, packets[name]]);
  }
  const shown = (id: string): number => findings.filter((one) => one.id === id).reduce((sum, one) => sum + one.packets, 0);
  expect(findings.length).toBeGreaterThan(1);
  for (const { id } of findings) expect([id, rows.filter((row) => row.difference === id).length]).toEqual([id, shown(id)]);
  const dropped = rows.filter((row) => row.target_end === "dropped" && row.target_reason === "POLICY_DENIED");
  expect(dropped.length).toBeGreaterThan(0);
  for (const row of dropped) expect(row.target_because).toContain("default/web-from-client ingress");
  const lines = run.lines("hubble").map((line) => (JSON.parse(line) as { flow: { time: string } }).flow.time);
  const times = rows.filter((row) => row.target_end !== "not reached")
    .map(({ time_ns: time }) => `${new Date(Number((time as bigint) / 1_000_000n)).toISOString().slice(0, -1)}${String((time as bigint) % 1_000_000n).padStart(6, "0")}Z`);
  expect(lines.map((time) => time.replace("Z", "").padEnd(29, "0"))).toEqual(times.map((time) => time.replace("Z", "")));
  // Each side's columns are its own: those of the flow that was made of the other side have nothing to do with it.
  const current = await outputsOf({ stories: ["clusterip-tcp", "nodeport-cluster", "icmp-errors"], formats: ["hubble"], args: ["--plane", "current"] });
  const dropsOf = (lines: readonly string[]): number => lines.filter((line) =>
    (JSON.parse(line) as { flow: { verdict: string } }).flow.verdict === "DROPPED").length;
  const ends = (side: "current" | "target"): number => rows.filter((row) => ["dropped", "rejected", "answered"].includes(String(row[`${side}_end`]))).length;
  expect([ends("current"), ends("target")]).toEqual([dropsOf(current.lines("hubble")), dropsOf(run.lines("hubble"))]);
  expect(ends("target")).toBeGreaterThan(ends("current"));
});
