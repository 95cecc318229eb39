/** Captures of a node whose clock was off, corrected by what --clock says, give the report of captures whose clocks agree. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Report } from "../src/report/report.js";
import { root, runCli } from "./cli.js";

const LAB = join(root, "traces/lab");
const STORY = join(LAB, "clusterip-tcp");
const folder = mkdtempSync(join(tmpdir(), "twinplane-clock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const BASE = ["compare", ...["cluster.yaml", "node1.net.json", "node2.net.json", "node1.sysctl", "node2.sysctl"].flatMap((name) => ["-f", join(LAB, name)]),
  "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48", "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64", "--follow-capture", "-o", "json"];

/** A classic little-endian pcap in ns or µs with its times moved. */
function moved(path: string, byMs: number): string {
  const bytes = Buffer.from(readFileSync(path));
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const perSecond = view.getUint32(0, true) === 0xa1b23c4d ? 1e9 : 1e6;
  expect([0xa1b23c4d, 0xa1b2c3d4]).toContain(view.getUint32(0, true));
  for (let at = 24; at < bytes.length; at += 16 + view.getUint32(at + 8, true)) {
    const time = BigInt(view.getUint32(at, true)) * BigInt(perSecond) + BigInt(view.getUint32(at + 4, true)) + BigInt(byMs * perSecond / 1000);
    view.setUint32(at, Number(time / BigInt(perSecond)), true);
    view.setUint32(at + 4, Number(time % BigInt(perSecond)), true);
  }
  const to = join(folder, "node2.any.pcap");
  writeFileSync(to, bytes);
  return to;
}

async function compare(second: string, ...more: string[]): Promise<Report> {
  const { stdout } = await runCli([...BASE, "-r", join(STORY, "node1.any.pcap"), second, ...more]);
  return JSON.parse(stdout) as Report;
}

describe("--clock", () => {
  it("corrects a node's times, forth and back, and says so", async () => {
    const second = join(STORY, "node2.any.pcap");
    const { packets, truth } = await compare(second);
    expect(truth.disagreed).toBe(0);
    for (const byMs of [1400, -300]) {
      const off = await compare(moved(second, byMs));
      expect(off.packets).not.toEqual(packets);
      const corrected = await compare(moved(second, byMs), "--clock", `node2=${-byMs}ms`);
      expect([corrected.packets, corrected.truth]).toEqual([packets, truth]);
      expect(corrected.problems.some((one) => one.what.includes(`${-byMs} ms were added to its times`))).toBe(true);
    }
  });

  it("is named by what the captures themselves say, and what it names corrects them", async () => {
    const second = join(STORY, "node2.any.pcap");
    const hint = ({ problems }: Report): RegExpExecArray | undefined =>
      problems.map((one) => /clock of (\S+) seems .*?--clock (\S+=-?[\d.]+ms)/.exec(one.what)).find((one) => one !== null) ?? undefined;
    const right = await compare(second);
    expect(hint(right)).toBeUndefined();
    for (const byMs of [1400, -300, -2, 60]) {
      const found = hint(await compare(moved(second, byMs)));
      expect([byMs, found?.[1]]).toEqual([byMs, "node2"]);
      const said = Number(/=(-?[\d.]+)ms/.exec(found![2])![1]);
      expect(Math.abs(said + byMs)).toBeLessThan(0.2);
      const corrected = await compare(moved(second, byMs), "--clock", found![2]);
      expect([corrected.packets, corrected.truth, hint(corrected)]).toEqual([right.packets, right.truth, undefined]);
    }
    // On top of what was said already.
    const twice = hint(await compare(moved(second, 1400), "--clock", "node2=-1000ms"));
    expect(Math.abs(Number(/=(-?[\d.]+)ms/.exec(twice![2])![1]) + 1400)).toBeLessThan(0.2);
  });

  it("that cannot be read, or names a node without captures, is wrong usage", async () => {
    for (const clock of ["node2", "node2=12", "node9=1ms"]) {
      expect((await runCli([...BASE, "-r", join(STORY, "node2.any.pcap"), "--clock", clock])).exitCode).toBe(2);
    }
  });
});
