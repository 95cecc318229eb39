/** Properties with the seed of TWINPLANE_SEED, which is printed. */
import fc from "fast-check";
import { testSeed } from "../../test/seed.js";

const seed = testSeed("src/linux");

export function seeded(property: fc.IRawProperty<unknown>, runs = 150): void {
  fc.assert(property, { seed, numRuns: runs });
}
