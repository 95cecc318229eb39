/** The first thing anyone runs: the bundled recordings, one session each, read together. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { changeOf } from "../src/cli/changes.js";
import type { MergedReport } from "../src/report/merge.js";
import { root, runCli } from "./cli.js";

const stories = readdirSync(join(root, "traces", "lab"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();

describe("compare --demo", () => {
  it("replays every recording as the kernel did, names every difference, and exits 1 because there are some", async () => {
    const { exitCode, stdout, stderr } = await runCli(["compare", "--demo", "-o", "json"]);
    const report = JSON.parse(stdout) as MergedReport;
    expect(stderr).toBe("");
    expect(report.stories.map((story) => story.name)).toEqual(stories);
    expect(report.stories.filter((story) => story.packets === 0 || story.agreed !== story.views)).toEqual([]);
    expect(report.truth.disagreements).toEqual([]);
    expect(report.truth.views).toBeGreaterThan(2500);
    expect(report.problems.filter((problem) => problem.severity === "error")).toEqual([]);
    expect(report.findings.map((row) => row.id)).not.toContain("UNEXPLAINED");
    expect([exitCode, report.verdict.exitCode]).toEqual([1, 1]);
    expect(report.stories.map((story) => [story.name, [...story.ids].sort()])).toEqual(stories.map((name) => [name, expectedOf(name)]));
  });

  it("prints on one screen what the README shows of it", async () => {
    const { stdout } = await runCli(["compare", "--demo"]);
    const lines = stdout.split("\n");
    expect(lines.length).toBeLessThanOrEqual(60);
    const shown = /\$ npm start.*\n([\s\S]*?)\n\n\$ npm test/.exec(readFileSync(join(root, "README.md"), "utf8"))?.[1].split("\n") ?? [];
    expect(shown.length).toBeGreaterThan(10);
    expect(shown.filter((line) => line.trim() !== "…" && !lines.includes(line))).toEqual([]);
  });
});

/** What story.md says will be found. */
function expectedOf(story: string): string[] {
  const text = readFileSync(join(root, "traces", "lab", story, "story.md"), "utf8");
  const said = /^\* Differences found: (.+)\.$/m.exec(text)?.[1];
  if (said === undefined) throw new Error(`${story}/story.md does not say which differences are found`);
  return said === "none" ? [] : said.split(", ");
}

describe("--change", () => {
  it("takes RFC 3339 and seconds, to the nanosecond", () => {
    const expected = { atNs: 1772366400_250000001n, path: "a=b.yaml" };
    for (const time of ["1772366400.250000001", "2026-03-01T12:00:00.250000001Z", "2026-03-01T13:30:00.250000001+01:30"]) {
      expect(changeOf(`${time}=a=b.yaml`)).toEqual(expected);
    }
    for (const wrong of ["", "x", "yesterday=x", "2026-03-01T12:00:00=x", "2026-13-01T12:00:00Z=x", "-1=x", "1.0123456789=x"]) {
      expect(() => changeOf(wrong)).toThrow("--change takes TIME=PATH");
    }
  });

  it("makes the difference where an endpoint leaves", async () => {
    const lab = (file: string): string => `traces/lab/${file}`;
    const args = ["compare", "-f", lab("cluster.yaml"), lab("node1.net.json"), lab("node2.net.json"), lab("endpoint-leaves"),
      "-r", lab("endpoint-leaves"), "--follow-capture", "-o", "json", "--cluster-cidr", "10.244.0.0/16", "fd00:10:244::/48",
      "--non-masquerade-cidr", "192.168.50.0/24", "fd00:50::/64"];
    const times = [...readFileSync(join(root, lab("endpoint-leaves/case.jsonl")), "utf8").matchAll(/"desc": "rules v2[^}]*?"t0": (\d+)/g)];
    const at = `${times[1][1].slice(0, -9)}.${times[1][1].slice(-9)}`;
    const without = JSON.parse((await runCli(args)).stdout) as MergedReport;
    const changed = JSON.parse((await runCli([...args, "--change", `${at}=${lab("cluster-v2.yaml")}`])).stdout) as MergedReport;
    expect(without.truth.disagreed).toBeGreaterThan(0);
    expect(changed.truth.disagreed).toBe(0);
  });
});
