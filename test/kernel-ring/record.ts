/**
 * Records stories of the kernel ring, for the tests that have no kernel: record.ts FOLDER SEED COUNT FLOWS. Needs what the
 * ring needs. Cases on which model and kernel disagree are recorded too; the stories' test then says so.
 */
import { join } from "node:path";
import { madeCase } from "./made-case.js";
import { Kernel } from "./kernel.js";
import { randomCase } from "./random-case.js";
import { runCase } from "./run.js";
import { saveStory } from "./story.js";

const [folder, seed, count, flows] = process.argv.slice(2);
for (const frontEnd of ["legacy", "nft"] as const) {
  const { kernel, facts } = await Kernel.start(frontEnd);
  for (let number = 0; number < Number(count) / 2; number++) {
    // Every fourth with NPM.
    const one = randomCase(Number(seed) + number * 2 + (frontEnd === "nft" ? 1 : 0), frontEnd, Number(flows), number % 4 === 3);
    saveStory(join(folder, one.name.replaceAll(" ", "-")), { one, recording: await runCase(kernel, one, facts) });
  }
  const made = madeCase(frontEnd);
  saveStory(join(folder, made.name.replaceAll(" ", "-")), { one: made, recording: await runCase(kernel, made, facts) });
  kernel.stop();
}
