/**
 * Faults of test/faults/ in either plane, run on the stories of differences on policy: each turns up, as UNEXPLAINED or by a
 * difference that is gone, and no packet that it changes goes by the name of a known difference that it did not have before.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Shown } from "./difference-runner.js";
import { CALICO_FAULTS } from "./faults/calico.js";
import { CILIUM_POLICY_FAULTS } from "./faults/cilium-policy.js";
import type { Fault } from "./faults/fault.js";
import { NPM_FAULTS } from "./faults/npm.js";
import { Ring } from "./mutation.js";

const FAULTS: readonly Fault[] = [...NPM_FAULTS, ...CALICO_FAULTS, ...CILIUM_POLICY_FAULTS];

/** Of both planes; those of test/faults/ that the stories exercise. */
const CHOSEN: readonly string[] = [
  "except-matches", "named-port-of-source", "chain-first", "peer-of-any-namespace", "not-in-needs-the-label", "half-the-world",
  "cilium-not-in-needs-the-key", "cilium-world-without-itself", "cilium-deny-as-allow", "cilium-localhost-forbidden",
  "cilium-egress-name-of-first", "cilium-http-unseen",
];
const faults = FAULTS.filter(({ id }) => CHOSEN.includes(id));
let ring: Ring;
let before: Shown;

beforeAll(() => {
  ring = new Ring();
  before = shownIn(ring);
}, 600_000);

afterAll(() => ring?.dispose());

function shownIn(where: Ring): Shown {
  return JSON.parse(where.node(["--import", "tsx", "test/difference-runner.ts"])) as Shown;
}

it("without a fault nothing in the stories is unexplained", () => {
  expect(Object.entries(before).filter(([, { ids }]) => ids.includes("UNEXPLAINED"))).toEqual([]);
  expect(Object.keys(before).length).toBeGreaterThan(60);
});

it("the faults chosen are of both planes and are there", () => {
  expect(CHOSEN.filter((id) => !FAULTS.some((fault) => fault.id === id))).toEqual([]);
  expect(CHOSEN.filter((id) => id.startsWith("cilium-")).length).toBeGreaterThanOrEqual(6);
  expect(CHOSEN.filter((id) => !id.startsWith("cilium-")).length).toBeGreaterThanOrEqual(6);
});

describe("a fault turns up, under no name that was not there", () => {
  it.each(faults)("$id: $why", (fault) => {
    const after = ring.withFault(fault, () => shownIn(ring));
    const changed = Object.keys(before).filter((probe) => JSON.stringify(after[probe]) !== JSON.stringify(before[probe]));
    const added = (probe: string): string[] => after[probe].ids.filter((id) => !before[probe].ids.includes(id));
    const named = new Set(changed.flatMap(added).filter((id) => id !== "UNEXPLAINED"));
    expect([...named], changed.join("\n")).toEqual([]);
    const unexplained = changed.filter((probe) => added(probe).includes("UNEXPLAINED"));
    // Where the fault makes both planes agree, the difference that a story is named for is gone.
    const gone = changed.filter((probe) => before[probe].ids.some((id) => !after[probe].ids.includes(id)));
    expect([...unexplained, ...gone]).not.toEqual([]);
  }, 600_000);
});
