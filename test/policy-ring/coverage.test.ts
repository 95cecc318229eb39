/** What the ring's clusters have: every field of policies often enough, and every two of them together somewhere. */
import { expect, it } from "vitest";
import { testSeed } from "../seed.js";
import { Coverage } from "./coverage.js";
import { draw } from "./ring.js";

const CLUSTERS = 8000;
const seed = testSeed("test/policy-ring/coverage");

it("every field is in a hundredth of the clusters, and every pair of fields in some cluster", () => {
  const coverage = new Coverage();
  for (let number = 0; number < CLUSTERS; number++) {
    const { drawn, setting } = draw(seed * 1_000_000 + number);
    coverage.add(drawn, setting.options);
  }
  console.log(`${CLUSTERS} clusters, ${coverage.fields} fields, ${coverage.pairCount} pairs: ${coverage.summary()}`);
  expect(coverage.fields).toBeGreaterThan(100);
  expect(coverage.rare()).toEqual([]);
  expect(coverage.missingPairs()).toEqual([]);
}, 120_000);
