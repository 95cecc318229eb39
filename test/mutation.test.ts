/**
 * The mutation ring: a fault put into either plane turns up, and not under the name of a known difference. Real
 * sources are mutated, one at a time, in a private copy of the tree, and the bundled stories replayed in it.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Verdicts } from "./mutant-runner.js";
import { MUTANTS } from "./mutants.js";
import { caughtBy, type Mutant, namedAs, Ring, total } from "./mutation.js";

const stories = [...new Set(MUTANTS.flatMap((mutant) => mutant.stories))].sort();
const rows: string[] = [];
let ring: Ring;
let baseline: Record<string, Verdicts>;

beforeAll(() => {
  ring = new Ring();
  baseline = ring.run(stories);
}, 600_000);

afterAll(() => {
  ring?.dispose();
  process.stdout.write(`\n${rows.join("\n")}\n`);
});

describe("without a fault", () => {
  it.each(stories.filter((story) => !story.endsWith("+policy")))("%s agrees with its recording", (story) => {
    expect(baseline[story].disagreed).toBe(0);
    expect(baseline[story].notClosedCurrent).toBe(0);
  });

  it("seeds at least twenty faults over both planes, each under its own name", () => {
    const caught = MUTANTS.filter((mutant) => mutant.escapes === undefined);
    expect(caught.length).toBeGreaterThanOrEqual(20);
    for (const plane of ["current", "target"]) expect(caught.filter((mutant) => mutant.plane === plane).length).toBeGreaterThanOrEqual(8);
    expect(new Set(MUTANTS.map(nameOf)).size).toBe(MUTANTS.length);
  });
});

describe("a fault turns up", () => {
  for (const mutant of MUTANTS) {
    const name = `${nameOf(mutant)}: ${mutant.why}`;
    if (mutant.escapes === undefined) it(name, () => expectCaught(mutant));
    else it(`${name} (unnoticed: ${mutant.escapes})`, () => expectUnnoticed(mutant));
  }
});

function expectCaught(mutant: Mutant): void {
  const caught = runMutant(mutant);
  expect(caught).not.toEqual([]);
  if (mutant.breaksLoop) expect(caught.join()).toContain(`loop ${mutant.plane}`);
}

/** A known gap; where it is closed, the mutant loses its `escapes`. */
function expectUnnoticed(mutant: Mutant): void {
  expect(runMutant(mutant)).toEqual([]);
}

/** What caught it; also a row of the table. */
function runMutant(mutant: Mutant): string[] {
  const before = total(baseline, mutant.stories);
  const after = total(ring.runMutant(mutant), mutant.stories);
  const caught = caughtBy(before, after);
  const named = namedAs(before, after);
  const undecided = after.undecided > before.undecided ? [`undecided +${after.undecided - before.undecided}`] : [];
  rows.push([nameOf(mutant).padEnd(40), caught.length === 0 ? "NOT CAUGHT" : caught.join(", "),
    named.length === 0 ? "" : `(named ${named.join(", ")})`, ...undecided].join("  "));
  return caught;
}

function nameOf(mutant: Mutant): string {
  return `${mutant.plane}/${mutant.id}`;
}
