import fc from "fast-check";
import { expect, test } from "vitest";
import { jsonErrorOffset } from "./json-error.js";

const seed = Number(process.env.TWINPLANE_SEED ?? 20261122);

test.each<[string, number]>([
  ["{", 1], ["{,", 1], ['{"a"}', 4], ['{"a":}', 5], ['{"a":1,}', 7], ["[1,]", 3], ["[1 2]", 3], ["[}", 1],
    ["01", 0],
  ["[tru]", 1], ['["a\n"]', 1], ["1 1", 2], ['{"a":1}}', 7], ["[[1], [2}]", 8], ["{1:2}", 1], ["", 0],
])("%s at %i", (text, offset) => {
  expect(jsonErrorOffset(text)).toBe(offset);
});

test(`text is JSON exactly where no error is found before its end (seed ${seed})`, () => {
  const piece = fc.constantFrom("{", "}", "[", "]", ",", ":", '"a"', '"\\u00e9"', '"\\x"', "1", "-0.5e3",
    "null", " ", "\n");
  const mutated = fc.tuple(fc.json({ maxDepth: 3 }), fc.nat(), piece).map(([json, at, insert]) => {
    const index = at % (json.length + 1);
    return json.slice(0, index) + insert + json.slice(index + (at % 3));
  });
  const texts = fc.oneof(fc.json(), mutated, fc.array(piece, { maxLength: 8 }).map((list) => list.join("")));
  const seen = { valid: 0, broken: 0 };
  let missing = 0;
  fc.assert(fc.property(texts, (text) => {
    const offset = jsonErrorOffset(text);
    if (isJson(text)) {
      seen.valid++;
      expect(offset).toBe(text.length);
    } else {
      seen.broken++;
      if (offset === text.length) missing++;
      else expect(offset).toBeLessThan(text.length);
    }
  }), { seed, numRuns: 5000 });
  expect(Math.min(seen.valid, seen.broken - missing)).toBeGreaterThan(500);
});

test(`a character no JSON may have is found at the token it is in (seed ${seed})`, () => {
  fc.assert(fc.property(fc.json(), fc.nat(), (json, at) => {
    const index = at % (json.length + 1);
    const offset = jsonErrorOffset(`${json.slice(0, index)}\u0001${json.slice(index)}`);
    expect(offset).toBeLessThanOrEqual(index);
    expect(json.slice(offset, index)).toMatch(/^("[\s\S]*|[^\s{}[\],:"]*)$/);
  }), { seed, numRuns: 2000 });
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
