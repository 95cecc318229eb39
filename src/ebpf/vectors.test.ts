/**
 * Recorded runs of Cilium's real programs against ours, bit for bit: the bytes that come out, verdict, drop
 * reason, mark, conntrack and NAT entries. 1.20-dev and, from the same inputs, 1.16 to 1.19. More recordings: test/vectors.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { sharedDir } from "../../test/shared.js";
import type { VectorCase, VectorFile } from "../../test/vector-case.js";
import { VectorRunner } from "../../test/vector-runner.js";

const shared = sharedDir();

function load(file: string): VectorCase[] {
  return shared === null ? [] : (JSON.parse(readFileSync(join(shared, "vectors", file), "utf8")) as VectorFile).cases;
}

const versions: [number, string][] = [[20, "cilium-executed.json"], [19, "cilium-executed-1.19.json"], [18,
  "cilium-executed-1.18.json"],
  [17, "cilium-executed-1.17.json"], [16, "cilium-executed-1.16.json"]];

for (const [version, file] of versions) {
  describe.skipIf(shared === null)(`recorded runs of Cilium 1.${version} (needs TWINPLANE_SHARED)`, () => {
    const cases = load(file);
    it("has the cases it should have", () => expect(cases.length).toBe(version === 20 ? 24 : 31));
    it.each(cases.map((one) => [one.id, one] as const))("%s", (_id, one) =>
      expect(new VectorRunner(version, "v4", false).run(one)).toEqual([]));
  });
}
