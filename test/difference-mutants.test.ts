/**
 * Seeded faults in either plane on much traffic (test/difference-traffic.ts): the flows that a fault changes show as UNEXPLAINED,
 * and none goes by the name of a known difference that it did not have before.
 *
 * Flows of which a fault makes the two planes agree show nothing, and those that another difference stops earlier keep its
 * name; each fault has others. A few faults run always, all in CI or with TWINPLANE_FAULTS=1.
 */
import { availableParallelism } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DIFFERENCE_FAULTS } from "./difference-faults.js";
import type { Shown, ShownPacket } from "./difference-traffic.js";
import { Ring } from "./mutation.js";

const FEW: readonly string[] = ["current/external-policy-swapped", "current/half-the-world", "target/node-port-not-routable",
  "target/replies-not-reversed"];
const all = process.env.CI === "true" || process.env.TWINPLANE_FAULTS === "1";
const nameOf = ({ plane, id }: { plane: string; id: string }): string => `${plane}/${id}`;
const faults = DIFFERENCE_FAULTS.filter((fault) => all || FEW.includes(nameOf(fault)));
const NOTHING: ShownPacket = { seen: [], ids: [] };

const rings: Ring[] = [];
const shown = new Map<string, Shown | Error>();
let before: Shown;

beforeAll(async () => {
  for (let left = Math.min(3, availableParallelism(), faults.length); left > 0; left--) rings.push(new Ring());
  before = await shownIn(rings[0]);
  const queue = [...faults];
  await Promise.all(rings.map(async (ring) => {
    for (let fault = queue.shift(); fault !== undefined; fault = queue.shift()) {
      const run = ring.during(fault, () => shownIn(ring));
      shown.set(nameOf(fault), await run.catch((error: unknown) => error as Error));
    }
  }));
}, 1_800_000);

afterAll(() => {
  for (const ring of rings) ring.dispose();
});

async function shownIn(ring: Ring): Promise<Shown> {
  return JSON.parse(await ring.beside(["--import", "tsx", "test/difference-runner.ts"])) as Shown;
}

it("without a fault nothing is unexplained, and most known differences are met", () => {
  expect(Object.entries(before).filter(([, { ids }]) => ids.includes("UNEXPLAINED")).map(([name]) => name)).toEqual([]);
  expect(new Set(Object.values(before).flatMap(({ ids }) => ids)).size).toBeGreaterThan(40);
  expect(Object.keys(before).length).toBeGreaterThan(1500);
});

it("the faults are of both planes, fifteen at least of each", () => {
  expect(DIFFERENCE_FAULTS.length).toBeGreaterThanOrEqual(60);
  for (const plane of ["current", "target"]) {
    expect(DIFFERENCE_FAULTS.filter((fault) => fault.plane === plane).length).toBeGreaterThanOrEqual(15);
  }
  expect(new Set(DIFFERENCE_FAULTS.map(nameOf)).size).toBe(DIFFERENCE_FAULTS.length);
  expect(FEW.filter((name) => !DIFFERENCE_FAULTS.some((fault) => nameOf(fault) === name))).toEqual([]);
});

describe("what a fault changes is unexplained", () => {
  it.each(faults.map((fault) => [nameOf(fault), fault.why, fault] as const))("%s: %s", (name, _why, { masked }) => {
    const after = shown.get(name);
    if (after === undefined || after instanceof Error) throw after ?? new Error("it was not run");
    const packets = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    const added = packets.flatMap((packet) => (after[packet] ?? NOTHING).ids.filter((id) => !(before[packet] ?? NOTHING).ids.includes(id))
      .map((id) => ({ id, packet, was: before[packet]?.seen ?? [], is: after[packet].seen })));
    expect(added.filter(({ id }) => id !== "UNEXPLAINED" && masked[id] === undefined)).toEqual([]);
    expect(added.filter(({ id }) => id === "UNEXPLAINED").length).toBeGreaterThan(0);
    // What is excused must be needed.
    expect(Object.keys(masked).filter((id) => !added.some((one) => one.id === id))).toEqual([]);
  });
});
