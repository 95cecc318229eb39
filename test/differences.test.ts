/**
 * Stories of differences (traces/differences/<ID>/scenario.yaml): each holds, shows the difference that it is named for,
 * and shows beside it packets that do not differ.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { CATALOGUE } from "../src/compare/catalogue/index.js";
import { readScenarios } from "../src/scenario/scenario.js";
import { root, runCli } from "./cli.js";

const folder = join(root, "traces/differences");
const stories = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
const pathOf = (id: string): string => join(folder, id, "scenario.yaml");

describe("stories of differences", () => {
  it("are of rows of the catalogue that packets show", () => {
    const shown = CATALOGUE.filter(({ matches }) => matches !== undefined).map(({ id }) => id);
    expect(stories.filter((id) => !shown.includes(id))).toEqual([]);
  });

  it("are there for every row on policy that packets show", () => {
    const wanted = CATALOGUE.filter(({ id, matches }) => matches !== undefined && id.startsWith("POL-")).map(({ id }) => id);
    expect(wanted.filter((id) => !existsSync(pathOf(id)))).toEqual([]);
  });

  it.each(stories)("%s holds, and shows what it is named for beside what does not differ", async (id) => {
    const path = relative(process.cwd(), pathOf(id));
    const ran = await runCli(["test", path]);
    expect(ran.exitCode, ran.stdout).toBe(0);
    const { scenarios } = readScenarios({ name: path, text: readFileSync(path, "utf8") });
    const probes = scenarios.flatMap((scenario) => scenario.probes);
    expect(probes.filter(({ differences }) => differences?.includes(id)).length).toBeGreaterThan(0);
    expect(probes.filter(({ differences }) => differences?.length === 0).length).toBeGreaterThan(0);
  });
});
