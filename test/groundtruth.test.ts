/**
 * The current plane against what a real Linux kernel did, and both planes against their own reverse paths: every
 * case of the lab's recordings. The rules are generated from the cluster's objects, not the recorded ones.
 */
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { TruthTally } from "../src/replay/truth.js";
import { labCases, runCase } from "./lab.js";
import { sharedDir } from "./shared.js";

const shared = sharedDir();
const RUNS = ["native-nth", "vxlan-nth"];

for (const run of RUNS) {
  describe.skipIf(shared === null)(`${run} (needs TWINPLANE_SHARED)`, () => {
    const folder = join(shared ?? "", "traces", "lab", run);
    const totals = { views: 0, agreed: 0, undecided: 0, consumed: 0, answered: 0, current: 0, target: 0, reasons: new Map<string, number>() };
    const cases = shared === null ? [] : labCases(folder);

    it.each(cases)("%s", async (name) => {
      const { report, replay } = await runCase(folder, name);
      add(totals, replay.truth.tally);
      const [current, target] = report.planes;
      totals.answered += current.flowsAnswered;
      totals.current += current.flowsClosed;
      totals.target += target.flowsClosed;
      expect(report.truth.disagreements).toEqual([]);
      expect(report.problems.filter((problem) => problem.severity === "error")).toEqual([]);
      expect([current.flowsClosed, target.flowsClosed]).toEqual([current.flowsAnswered, target.flowsAnswered]);
    });

    afterAll(() => {
      const undecided = [...totals.reasons].map(([reason, views]) => `\n    ${views} undecided: ${reason}`).join("");
      process.stdout.write(`  ${run}: ${totals.agreed} of ${totals.views} views agree, ${totals.consumed} packets consumed as recorded,`
        + ` loop closed for ${totals.current} (current) and ${totals.target} (target) of ${totals.answered} flows${undecided}\n`);
      expect(totals.views).toBeGreaterThan(3000);
      expect(totals.undecided / totals.views).toBeLessThan(0.01);
    });
  });
}

function add(totals: { views: number; agreed: number; undecided: number; consumed: number; reasons: Map<string, number> }, tally: TruthTally): void {
  totals.views += tally.views;
  totals.agreed += tally.agreed;
  totals.consumed += tally.consumedAgreed;
  for (const [reason, views] of tally.undecided) {
    totals.undecided += views;
    totals.reasons.set(reason, (totals.reasons.get(reason) ?? 0) + views);
  }
}
