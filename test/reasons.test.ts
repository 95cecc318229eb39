/** Stories of drop reasons: traces/reasons/<REASON>/scenario.yaml, which must hold and must show that reason. */
import { existsSync, readdirSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { root, runCli } from "./cli.js";

const folder = join(root, "traces/reasons");
const stories = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();

describe("stories of drop reasons", () => {
  it.each(stories)("%s", async (reason) => {
    const path = relative(process.cwd(), join(folder, reason, "scenario.yaml"));
    expect(existsSync(path)).toBe(true);
    const ran = await runCli(["test", path, "-v"]);
    expect(ran.exitCode, ran.stdout).toBe(0);
    expect(ran.stdout).toContain(`(${reason})`);
  });
});
