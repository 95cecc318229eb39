/**
 * The kernel model against recordings of a real kernel: what entered each node is replayed, and what left must be
 * what the model sends, image by image. Beside the bytes that the kernel draws (IPv4 id of its own packets, IPv6 flow
 * label and fragment id, the tunnel's UDP source port) everything is compared.
 */
import { describe, expect, it } from "vitest";
import { sharedDir } from "../../test/shared.js";
import { Reason } from "./ip/reasons.js";
import { labRuns, replayRun } from "./lab-replay.fixture.js";

const shared = sharedDir();

describe.skipIf(!shared)("a recorded node (needs TWINPLANE_SHARED)", () => {
  for (const run of shared === null ? [] : labRuns(shared)) {
    it(`agrees with the kernel in ${run}`, () => {
      const result = replayRun(shared as string, run);
      const lines = [...result.cases].map(([name, row]) => `${name.padEnd(18)} in ${String(row.input).padStart(5)} `
        + `out ${String(row.output).padStart(5)} local-out ${String(row.localOut).padStart(4)} `
        + `undecided ${row.undecided} disagree ${row.disagreements}`);
      console.log(`${run}\n${lines.join("\n")}`);
      if (result.undecided.size > 0) console.log([...result.undecided].map(([why, n]) => `${n} x ${why}`).join("\n"));
      expect(result.disagreements.slice(0, 40)).toEqual([]);
      const inputs = [...result.cases.values()].reduce((sum, row) => sum + row.input, 0);
      const undecided = [...result.cases.values()].reduce((sum, row) => sum + row.undecided, 0);
      expect(inputs).toBeGreaterThan(1000);
      expect(undecided / inputs).toBeLessThanOrEqual(0.01);
    });
  }

  it("is the same in a capture cut at 128 bytes, but for fragments", () => {
    const result = replayRun(shared as string, "native-nth", 128);
    expect(result.disagreements.slice(0, 40)).toEqual([]);
    expect([...result.undecided.keys()]).toEqual([Reason.TruncatedFragment]);
  });
});
