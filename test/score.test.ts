/**
 * Predictions held against flows after a switch: the target's own flows confirm every one, the current side's refute
 * them, and what nobody predicted is found. Flows are those that `-o hubble` writes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Score } from "../src/score/score.js";
import { runCli } from "./cli.js";
import { outputsOf } from "./outputs.js";

type Json = Record<string, unknown>;
const folder = mkdtempSync(join(tmpdir(), "twinplane-score-"));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
let report = "";
let then = "";
let now = "";

beforeAll(async () => {
  const stories = ["clusterip-tcp", "no-endpoints"];
  const run = await outputsOf({ stories, formats: ["json", "hubble"] });
  report = file("report.json", run.text("json"));
  then = run.text("hubble");
  now = (await outputsOf({ stories, formats: ["hubble"], args: ["--plane", "current"] })).text("hubble");
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function scored(flows: string): Promise<Score & { readonly ran: number }> {
  const { exitCode, stdout } = await runCli(["score", "--report", report, "--input-file", file("flows.jsonl", flows), "-o", "json"]);
  return { ...(JSON.parse(stdout) as Score), ran: exitCode };
}

const newlyDropped = ({ rows }: Score): Score["rows"] => rows.filter((row) => row.facet === "reached");

describe("score", () => {
  it("what came as predicted is confirmed, and every drop is named", async () => {
    const found = await scored(then);
    expect(newlyDropped(found).length).toBeGreaterThan(3);
    expect(newlyDropped(found).map((row) => row.outcome)).toEqual(newlyDropped(found).map(() => "confirmed"));
    expect(found.rows.filter((row) => row.outcome === "refuted" || row.outcome === "mixed")).toEqual([]);
    expect([found.unnamed, found.ran]).toEqual([[], 0]);
  });

  it("what went on as before refutes what was predicted to be dropped", async () => {
    const found = await scored(now);
    expect(newlyDropped(found).map((row) => row.outcome)).toEqual(newlyDropped(found).map(() => "refuted"));
    expect(found.ran).toBe(1);
  });

  it("both is mixed; what is not there is not seen", async () => {
    const other = now.replaceAll(/"source_port":(\d+)/g, (_, port) => `"source_port":${Number(port) - 20_000}`);
    expect(newlyDropped(await scored(then + other)).map((row) => row.outcome)).toContain("mixed");
    const found = await scored(then.split("\n").filter((line) => line.includes('"FORWARDED"')).join("\n"));
    expect(newlyDropped(found).map((row) => row.outcome)).toEqual(newlyDropped(found).map(() => "not seen"));
  });

  it("a drop that nothing predicted is named, once for flows that are alike", async () => {
    const [line] = then.split("\n").filter((one) => one.includes('"POLICY_DENIED"'));
    const drop = (port: number): string => {
      const made = JSON.parse(line) as { flow: { destination: Json; IP: Json; l4: { TCP: Json } } };
      made.flow.destination = { namespace: "shop", pod_name: "cart-0" };
      made.flow.IP.destination = "10.244.9.9";
      made.flow.l4.TCP.source_port = port;
      return JSON.stringify(made);
    };
    const found = await scored(`${then}${drop(50_001)}\n${drop(50_002)}\n`);
    expect(found.unnamed).toEqual([expect.objectContaining({ destination: "shop/cart-0", reason: "POLICY_DENIED", connections: 2 })]);
    expect(found.ran).toBe(1);
  });

  it("pods that were made anew are known by their Deployment", async () => {
    const renamed = (text: string, suffix: string): string => text.replaceAll("web-a", `web-7d4b9c8f6d-${suffix}`)
      .replaceAll("web-b", `web-7d4b9c8f6d-${suffix}`).replaceAll("web-c", `web-7d4b9c8f6d-${suffix}`);
    const before = report;
    report = file("anew.json", renamed((await outputsOf({ stories: ["clusterip-tcp"], formats: ["json"] })).text("json"), "x2b4z"));
    const found = await scored(renamed(then, "q9w8r").replaceAll("10.244.", "10.99."));
    expect(newlyDropped(found).map((row) => row.outcome)).toContain("confirmed");
    report = before;
  });

  it("lines in another order change nothing", async () => {
    expect(await scored(then.trim().split("\n").reverse().join("\n"))).toEqual(await scored(then));
  });

  it.each([
    [() => file("no.json", "{}"), "this is no report; expected what twinplane compare -o json writes"],
    [() => join(folder, "none.json"), "no such file or folder"],
  ])("a report that is none is refused", async (path, message) => {
    const { exitCode, stderr } = await runCli(["score", "--report", path(), "--input-file", file("flows.jsonl", then)]);
    expect([exitCode, stderr]).toEqual([2, expect.stringContaining(message)]);
  });

  it("prints the same as text", async () => {
    const { stdout } = await runCli(["score", "--report", report, "--input-file", file("flows.jsonl", then)]);
    expect(stdout).toMatch(/^\d+ predictions? held against \d+ connections: \d+ confirmed, 0 refuted, 0 mixed, \d+ not seen\n/);
    expect(stdout).toMatch(/\nexit code 0: /);
  });
});
