/**
 * Random small changes of what decides about packets, in either plane: none may make a flow go by the name of a known difference
 * that it did not have before. TWINPLANE_SWEEP says how many (a minute each where it is slow); each is drawn by TWINPLANE_SEED.
 */
import { availableParallelism } from "node:os";
import { afterAll, expect, it } from "vitest";
import type { Shown } from "./difference-traffic.js";
import { allChanges, type Change, changed } from "./difference-sweep.js";
import { Ring } from "./mutation.js";
import { Random } from "./policy-ring/random.js";
import { testSeed } from "./seed.js";

const wanted = Number(process.env.TWINPLANE_SWEEP ?? "0");
const random = new Random(testSeed("difference-sweep"));
const rows: string[] = [];
const rings: Ring[] = [];

afterAll(() => {
  for (const ring of rings) ring.dispose();
  if (rows.length > 0) process.stdout.write(`\n${rows.join("\n")}\n`);
});

it("finds conditions, bounds, answers and rules in both planes", () => {
  const changes = allChanges();
  expect(changes.length).toBeGreaterThan(1500);
  for (const folder of ["src/iptables/kubeproxy", "src/iptables/npm", "src/linux/netfilter", "src/ebpf/compile", "assembly/programs"]) {
    expect(changes.filter(({ file }) => file.startsWith(folder)).length).toBeGreaterThan(30);
  }
  expect(changes.filter(({ to }) => to === "").length).toBeGreaterThan(10);
  expect(changes.every(({ from, to }) => from !== to)).toBe(true);
});

it.skipIf(wanted === 0)("no change makes a flow go by a known difference (TWINPLANE_SWEEP says how many)", async () => {
  for (let left = Math.min(2, availableParallelism()); left > 0; left--) rings.push(new Ring());
  const before = await shownIn(rings[0]);
  const changes = allChanges();
  const queue = Array.from({ length: wanted }, () => random.pick(changes));
  const misnamed: string[] = [];
  await Promise.all(rings.map(async (ring) => {
    for (let change = queue.shift(); change !== undefined; change = queue.shift()) {
      const { file, line, from, to } = change;
      const found = await ring.with(file, (text) => changed(text, change as Change), () => shownIn(ring)).catch(() => null);
      const told = found === null ? "does not run" : tell(before, found);
      rows.push(`${file}:${line} ${to.trim() === "" ? `without ${from.trim()}` : to.trim()}\n    ${told}`);
      if (/ as /.test(told)) misnamed.push(rows[rows.length - 1]);
    }
  }));
  expect(misnamed).toEqual([]);
}, 86_400_000);

/** `12 changed, 3 unexplained, 1 as POL-TYPES: <packet>`. */
function tell(before: Shown, after: Shown): string {
  const packets = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((packet) => JSON.stringify(before[packet]) !== JSON.stringify(after[packet]));
  const added = new Map<string, string[]>();
  for (const packet of packets) {
    for (const id of after[packet]?.ids ?? []) {
      if (before[packet]?.ids.includes(id) !== true) added.set(id, [...added.get(id) ?? [], packet]);
    }
  }
  const unexplained = added.get("UNEXPLAINED")?.length ?? 0;
  const named = [...added].filter(([id]) => id !== "UNEXPLAINED").map(([id, list]) =>
    `${list.length} as ${id}: ${list[0]} (${after[list[0]].seen.join("; ")})`);
  return [`${packets.length} changed`, `${unexplained} unexplained`, ...named].join(", ");
}

async function shownIn(ring: Ring): Promise<Shown> {
  return JSON.parse(await ring.beside(["--import", "tsx", "test/difference-runner.ts"])) as Shown;
}
