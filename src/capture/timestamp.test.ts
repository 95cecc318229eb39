/** Time stamps of every resolution against exact arithmetic. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { TimeUnit } from "./timestamp.js";

const seed = Number(process.env.TWINPLANE_SEED ?? 20261122);

test(`a count of units is cut to seconds and nanoseconds, as BigInt has it (TWINPLANE_SEED=${seed})`, () => {
  const tsresol = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 3, 6, 9, 0x8a, 0x94));
  const edges = fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff);
  const half = fc.oneof(fc.nat({ max: 0xffffffff }), edges);
  fc.assert(
    fc.property(tsresol, half, half, fc.integer({ min: -99, max: 99 }), (resolution, high, low, offset) => {
      const exponent = BigInt(resolution & 0x7f);
      const perSecond = (resolution & 0x80) !== 0 ? 2n ** exponent : 10n ** exponent;
      const count = (BigInt(high) << 32n) | BigInt(low);
      const unit = new TimeUnit(resolution, offset);
      unit.convert(high, low);
      expect(unit.sec).toBe(Number(count / perSecond) + offset);
      expect(unit.fracNs).toBe(Number(((count % perSecond) * 1_000_000_000n) / perSecond));
    }),
    { seed, numRuns: 5000 },
  );
});
