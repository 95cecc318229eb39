/**
 * Our programs against recorded runs of Cilium's own, beyond the first recordings: IPv6, tunnels, host firewall and more. Each case
 * holds, bit for bit; none is excused.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { VectorCase, VectorFile } from "./vector-case.js";
import { VectorRunner } from "./vector-runner.js";

const folder = new URL("./vectors/", import.meta.url);
const files = readdirSync(folder).filter((name) => /^cilium-executed-.*-1\.\d+\.json$/.test(name));

it("finds recordings of five versions", () => {
  expect(new Set(files.map(versionOf))).toEqual(new Set([16, 17, 18, 19, 20]));
});

describe.each(files)("%s", (name) => {
  const file = read(name) as VectorFile;
  const version = versionOf(name);
  it.each(file.cases.map((one) => [one.id, one] as const))("%s", (_id, one) => {
    expect(differences(version, file, one)).toEqual([]);
  });
});

function differences(version: number, file: VectorFile, one: VectorCase): string[] {
  return new VectorRunner(version, file.config ?? "v4", file.exact === true).run(one);
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(name, folder), "utf8"));
}

function versionOf(name: string): number {
  return Number(/-1\.(\d+)\.json$/.exec(name)![1]);
}
