/** The fast sum of bytes against the definition of the Internet checksum (RFC 1071), read word by word. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { fold, sumBytes } from "./checksum.js";

test("any stretch of any array, odd ones too", () => {
  const shared = new Uint8Array(300);
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 0, maxLength: 200 }),
      fc.nat(99),
      fc.nat(40),
      fc.nat(40),
      (content, offset, from, cut) => {
        // One array over and over, one inside another's memory, one of its own.
        shared.set(content);
        const inside = new Uint8Array(shared.buffer, offset, 200);
        for (const bytes of [shared, inside, content]) {
          const at = Math.min(from, bytes.length);
          const length = Math.max(0, bytes.length - at - cut);
          expect(fold(sumBytes(bytes, at, length))).toBe(slow(bytes.subarray(at, at + length)));
        }
      },
    ),
    { numRuns: 500, seed: Number(process.env.TWINPLANE_SEED ?? 7) },
  );
});

test("128 KiB of ones do not overflow", () => {
  expect(fold(sumBytes(new Uint8Array(131072).fill(255), 0, 131072))).toBe(0xffff);
});

/** End-around carry at every word. */
function slow(bytes: Uint8Array): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) {
    sum += bytes[at] * 256 + (bytes[at + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}
