/**
 * The eBPF plane's policy against the words of the policies, on random clusters (see ring.ts).
 *
 * TWINPLANE_POLICY_PROBES sets how many probes are judged.
 */
import { expect, it } from "vitest";
import { testSeed } from "../seed.js";
import { Ring } from "./ring.js";

const PROBES = Number(process.env.TWINPLANE_POLICY_PROBES ?? (process.env.CI === "true" ? 60_000 : 20_000));
const seed = testSeed("test/policy-ring");

it(`Cilium's policy against its words: ${PROBES} probes, no disagreement without a name`, () => {
  const ring = new Ring(PROBES);
  for (let number = 0; ring.judged < PROBES && ring.wrong.length < 8; number++) ring.cluster(seed * 1_000_000 + number);
  console.log(ring.summary());
  expect(ring.wrong).toEqual([]);
  expect(ring.strange).toEqual([]);
  const share = ring.allowed / ring.judged;
  expect(share).toBeGreaterThan(0.25);
  expect(share).toBeLessThan(0.75);
  expect(ring.turned).toBeGreaterThan(ring.clusters / 2);
  expect([...ring.versions.keys()].sort()).toEqual(["1.16", "1.17", "1.18", "1.19", "1.20"]);
}, 3_600_000);
