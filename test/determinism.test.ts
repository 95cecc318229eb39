/** The same input gives the same bytes, in whatever order it is given. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runSession, type SessionInput } from "../src/session.js";
import { caseInput } from "./lab.js";

const LAB = join(import.meta.dirname, "..", "traces", "lab");

describe.each(["nodeport-cluster", "dns-udp", "icmp-errors"])("%s", (story) => {
  it("two runs are byte-identical, pinned or not", async () => {
    for (const followCapture of [true, false]) {
      const input = (): SessionInput => caseInput(LAB, story, { followCapture });
      expect(await textOf(input())).toBe(await textOf(input()));
    }
  });

  it("captures in another order change nothing", async () => {
    const input = caseInput(LAB, story);
    const turned = caseInput(LAB, story);
    expect(await textOf({ ...turned, captures: [...turned.captures].reverse() }, true)).toBe(await textOf(input, true));
  });

  it("another seed makes other choices", async () => {
    const wide = caseInput(LAB, "clusterip-tcp", { followCapture: false });
    const texts = new Set<string>();
    for (const seed of [1, 2, 3]) {
      texts.add(await textOf({ ...caseInput(LAB, "clusterip-tcp", { followCapture: false }), seed }));
    }
    expect(wide.seed).toBe(1);
    expect(texts.size).toBeGreaterThan(1);
  });
});

/** The report as it is printed; `sorted` puts the list of captures, which follows the command line, in one order. */
async function textOf(input: SessionInput, sorted = false): Promise<string> {
  const { report } = await runSession(input);
  const captures = sorted ? [...report.captures].sort((a, b) => (a.file < b.file ? -1 : 1)) : report.captures;
  return JSON.stringify({ ...report, captures });
}
