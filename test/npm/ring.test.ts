/**
 * Azure NPM in the engine against the words of NetworkPolicy: 0 disagreements without a name (see ring.ts).
 *
 * TWINPLANE_NPM_PROBES sets how many probes are judged.
 */
import { expect, it } from "vitest";
import { testSeed } from "../seed.js";
import { Ring } from "./ring.js";

const PROBES = Number(process.env.TWINPLANE_NPM_PROBES ?? 200_000);
const seed = testSeed("test/npm/ring");

it(`Azure NPM against the words of NetworkPolicy: ${PROBES} probes, every disagreement has a name`, () => {
  const ring = new Ring(PROBES);
  for (let number = 0; ring.judged < PROBES && ring.unnamed.length < 10; number++) ring.cluster(seed * 100_000 + number);
  console.log(ring.summary());
  expect(ring.unnamed).toEqual([]);
  expect(ring.strange).toEqual([]);
  const share = ring.allowed / ring.judged;
  expect(share).toBeGreaterThan(0.2);
  expect(share).toBeLessThan(0.8);
}, 600_000);
