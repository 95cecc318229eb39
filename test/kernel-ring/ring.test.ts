/**
 * THE kernel ring: random clusters, the rules our generators write for them on this machine's kernel, and random flows
 * through both it and the model. Every packet and every counter of every rule must be the same.
 *
 * By default a part runs. TWINPLANE_RING=full runs all of it and asks that every form of rule was met; TWINPLANE_RING=N
 * runs N clusters. A case that disagrees is made small and saved below TWINPLANE_RING_STORIES, or in a temporary folder.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { testSeed } from "../seed.js";
import type { Case, FrontEnd } from "./case.js";
import { compare } from "./compare.js";
import { FORMS, Hits } from "./forms.js";
import { Kernel, missing } from "./kernel.js";
import { randomCase } from "./random-case.js";
import { runCase } from "./run.js";
import { shrink } from "./shrink.js";
import { saveStory } from "./story.js";
import { Tally } from "./tally.js";

const FULL = 260;
const PART = 60;
const FLOWS = 100;
/** So often must each form of rule be met in the full run. */
const MET = 20;

const seed = testSeed("test/kernel-ring");
const size = process.env.TWINPLANE_RING;
const clusters = size === "full" ? FULL : size === undefined || size === "" ? PART : Number(size);
const lacking = missing();
if (lacking !== "" && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error(`TWINPLANE_REQUIRE_KERNEL=1, but the kernel ring cannot run here: no ${lacking}`);
}

describe.skipIf(lacking !== "")(`the kernel ring (needs ${lacking === "" ? "root" : lacking})`, () => {
  const hits = new Hits();
  const tally = new Tally();

  it.each<[FrontEnd, string, number]>([
    ["legacy", "kube-proxy", 0.27], ["nft", "kube-proxy", 0.27], ["legacy", "kube-proxy and NPM", 0.23], ["nft", "kube-proxy and NPM", 0.23],
  ])("%s front end, %s", async (frontEnd, programs, share) => {
    const { kernel, facts } = await Kernel.start(frontEnd);
    try {
      for (let number = 0; number < clusters * share; number++) {
        const one = randomCase(seed * 10_000 + number * 2 + (frontEnd === "nft" ? 1 : 0), frontEnd, FLOWS, programs.endsWith("NPM"));
        const recording = await runCase(kernel, one, facts);
        const verdict = compare(one, recording);
        if (verdict.disagreements.length > 0) {
          const path = await saved(one, async (smaller) => ({ one: smaller, recording: await runCase(kernel, smaller, facts) }));
          expect.fail(`saved in ${path}\n${verdict.disagreements.slice(0, 5).join("\n")}`);
        }
        hits.add(one, recording);
        tally.add(one, verdict);
      }
    } finally {
      kernel.stop();
    }
  });

  it("leaves out at most one flow in a hundred, and knows every rule it met", () => {
    expect([...hits.unclear]).toEqual([]);
    expect(tally.undecided).toBeLessThanOrEqual(tally.flows / 100);
    expect(tally.flows).toBeGreaterThanOrEqual(clusters * FLOWS * 0.9);
  });

  it.runIf(clusters >= FULL)("meets every form of rule", () => {
    expect(tally.clusters).toBeGreaterThanOrEqual(200);
    expect(tally.flows).toBeGreaterThanOrEqual(20_000);
    expect(FORMS.length).toBeGreaterThan(90);
    expect([...hits.packets].filter(([, packets]) => packets < MET)).toEqual([]);
  });

  afterAll(() => {
    if (tally.flows > 0) process.stdout.write(`\n${tally.table()}\n\n${hits.table()}\n`);
  });
});

/** Made small, and saved with the kernel's answers. */
async function saved(one: Case, run: (one: Case) => Promise<Parameters<typeof saveStory>[1]>): Promise<string> {
  const small = await shrink(one, async (smaller) => {
    const { recording } = await run(smaller);
    return compare(smaller, recording).disagreements.length > 0;
  });
  const folder = join(process.env.TWINPLANE_RING_STORIES ?? mkdtempSync(join(tmpdir(), "twinplane-ring-")), one.name.replaceAll(" ", "-"));
  saveStory(folder, await run(small));
  return folder;
}
