/**
 * Every pair of random clusters that fares differently goes by the name of a known difference: services of every kind, policies
 * of every kind, each current profile before each target. What shows as UNEXPLAINED is printed with its cluster and its ends.
 *
 * A fault in a plane shows here, where nothing that is known explains what it changes (test/faults/pairs.ts).
 */
import { describe, expect, it } from "vitest";
import { compareAll } from "../src/check/exhaustive.js";
import { draw, inputOf } from "./check-clusters.js";
import { testSeed } from "./seed.js";

const CLUSTERS = 12;
const seed = testSeed("check-names");
const numbers = Array.from({ length: CLUSTERS }, (_, index) => seed * 1000 + 500 + index);

describe("every pair has a name", () => {
  it.each(numbers)("cluster %i", (number) => {
    const drawn = draw(number, true);
    const { groups, pairs } = compareAll(inputOf(drawn));
    const nameless = groups.filter(({ id }) => id === "UNEXPLAINED");
    expect({ say: `${drawn.current.text} -> ${drawn.target.text}`, nameless }).toEqual({ say: expect.any(String), nameless: [] });
    expect(pairs).toBeGreaterThan(100);
  });
});
