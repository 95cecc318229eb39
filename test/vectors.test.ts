/**
 * Our programs against recorded runs of Cilium's own, beyond the first recordings: IPv6, tunnels, host firewall and more. Cases that
 * differ are listed by file in known-differences.json with the reason; one that is listed and equal fails too.
 */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { VectorCase, VectorFile } from "./vector-case.js";
import { VectorRunner } from "./vector-runner.js";

const folder = new URL("./vectors/", import.meta.url);
const files = readdirSync(folder).filter((name) => /^cilium-executed-.*-1\.\d+\.json$/.test(name));
/** By area ("ipv6"), then case: versions that differ, and why. */
const known = read("known-differences.json") as Record<string, Record<string, { versions: number[]; why: string }>>;

it("finds recordings of five versions", () => {
  expect(new Set(files.map(versionOf))).toEqual(new Set([16, 17, 18, 19, 20]));
});

it("lists no difference of a case that is not there", () => {
  for (const [area, rows] of Object.entries(known)) {
    const there = files.filter((name) => areaOf(name) === area).flatMap((name) => (read(name) as VectorFile).cases.map((one) => one.id));
    for (const id of Object.keys(rows)) expect(there, `${area}: ${id}`).toContain(id);
  }
});

describe.each(files)("%s", (name) => {
  const file = read(name) as VectorFile;
  const version = versionOf(name);
  it.each(file.cases.map((one) => [one.id, one] as const))("%s", (id, one) => {
    const row = known[areaOf(name)]?.[id];
    const found = differences(version, file, one);
    if (row?.versions.includes(version)) expect(found, `${id} is equal now: take 1.${version} out of known-differences.json`).not.toEqual([]);
    else expect(found).toEqual([]);
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

function areaOf(name: string): string {
  return /^cilium-executed-(.*)-1\.\d+\.json$/.exec(name)![1];
}
