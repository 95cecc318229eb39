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

/**
 * What a recording cannot show: `-i any` loses VLAN tags, so a tagged frame, which the kernel ignored, reads like one
 * that it should have forwarded. By case: the record of that frame.
 */
const TAG_LOST: Readonly<Record<string, number>> = { "T26.l2": 2 };

class Totals {
  views = 0;
  agreed = 0;
  consumed = 0;
  answered = 0;
  closed = [0, 0];
  readonly undecided = new Map<string, number>();

  add(tally: TruthTally): void {
    this.views += tally.views;
    this.agreed += tally.agreed;
    this.consumed += tally.consumedAgreed;
    for (const [reason, views] of tally.undecided) this.note(reason, views);
  }

  note(reason: string, views: number): void {
    this.undecided.set(reason, (this.undecided.get(reason) ?? 0) + views);
  }

  get undecidedViews(): number {
    return [...this.undecided.values()].reduce((sum, views) => sum + views, 0);
  }

  print(run: string, mode: string): void {
    const reasons = [...this.undecided].map(([reason, views]) => `\n    ${views} undecided: ${reason}`).join("");
    process.stdout.write(`  ${run}, ${mode}: ${this.agreed} of ${this.views} views agree, ${this.consumed} packets consumed as recorded;`
      + ` loop closed for ${this.closed[0]} (current) and ${this.closed[1]} (target) of ${this.answered} flows${reasons}\n`);
  }
}

for (const run of ["native-nth", "vxlan-nth"]) {
  describe.skipIf(shared === null)(`${run} (needs TWINPLANE_SHARED)`, () => {
    const folder = join(shared ?? "", "traces", "lab", run);
    const cases = shared === null ? [] : labCases(folder);
    const pinned = new Totals();

    it.each(cases)("%s", async (name) => {
      const { report, replay, comparison } = await runCase(folder, name);
      const { tally } = replay.truth;
      pinned.add(tally);
      const tagged = tally.disagreements.filter((one) => one.record === TAG_LOST[name]);
      if (tagged.length > 0) pinned.note("the VLAN tag of the frame is not in the capture", tagged.length);
      expect(report.truth.disagreements.slice(0, 10)).toEqual(report.truth.disagreements.filter((_line, index) =>
        tagged.includes(tally.disagreements[index])));
      expect(tally.disagreed).toBe(tagged.length);
      expect(report.problems.filter((problem) => problem.severity === "error")).toEqual([]);

      const [current, target] = report.planes;
      pinned.answered += current.flowsAnswered;
      pinned.closed[0] += current.flowsClosed;
      pinned.closed[1] += target.flowsClosed;
      expect([current.flowsClosed, target.flowsClosed]).toEqual([current.flowsAnswered, target.flowsAnswered]);
      expect([...comparison.findings.values()].filter((finding) => finding.id === "UNEXPLAINED")).toEqual([]);
    });

    it("without pinning, views differ by the random choice alone", async () => {
      const free = new Totals();
      let views = 0;
      let disagreed = 0;
      for (const name of cases) {
        const { replay } = await runCase(folder, name, { followCapture: false });
        free.add(replay.truth.tally);
        views += replay.truth.tally.views;
        disagreed += replay.truth.tally.disagreed;
      }
      free.print(run, `not pinned, ${disagreed} images elsewhere`);
      expect(free.agreed / views).toBeGreaterThan(0.2);
      expect(free.agreed).toBeLessThan(views);
    });

    afterAll(() => {
      pinned.print(run, "pinned");
      expect(pinned.views).toBeGreaterThan(3000);
      expect(pinned.undecidedViews / pinned.views).toBeLessThan(0.01);
    });
  });
}
