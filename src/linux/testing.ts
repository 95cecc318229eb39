/** Test support: properties with the seed of TWINPLANE_SEED, which fast-check prints when one fails. */
import fc from "fast-check";

export function seeded(property: fc.IRawProperty<unknown>, runs = 200): void {
  const seed = Number.parseInt(process.env.TWINPLANE_SEED ?? "1", 10);
  fc.assert(property, { seed, numRuns: runs });
}
