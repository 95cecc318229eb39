import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { LabelSelector } from "./cluster.js";
import { type Labels, matchesSelector } from "./selector.js";

const seed = Number(process.env.TWINPLANE_SEED ?? 20261122);

type Expression = LabelSelector["matchExpressions"][number];

function expressions(...list: [string, Expression["operator"], ...string[]][]): LabelSelector {
  return { matchLabels: {}, matchExpressions: list
    .map(([key, operator, ...values]) => ({ key, operator, values })) };
}

const labels: Labels = { app: "web", tier: "front", empty: "" };

const CASES: [string, LabelSelector, boolean][] = [
  ["the empty selector matches everything", expressions(), true],
  ["an equal label matches", { matchLabels: { app: "web" }, matchExpressions: [] }, true],
  ["another value does not", { matchLabels: { app: "db" }, matchExpressions: [] }, false],
  ["a missing key does not", { matchLabels: { zone: "web" }, matchExpressions: [] }, false],
  ["the empty value is a value", { matchLabels: { empty: "" }, matchExpressions: [] }, true],
  ["a missing key is not the empty value", { matchLabels: { zone: "" }, matchExpressions: [] }, false],
  ["matchLabels are ANDed", { matchLabels: { app: "web", tier: "back" }, matchExpressions: [] }, false],
  ["In holds for a listed value", expressions(["app", "In", "db", "web"]), true],
  ["In does not hold for another value", expressions(["app", "In", "db"]), false],
  ["In does not hold for a missing key", expressions(["zone", "In", "a"]), false],
  ["NotIn does not hold for a listed value", expressions(["app", "NotIn", "db", "web"]), false],
  ["NotIn holds for another value", expressions(["app", "NotIn", "db"]), true],
  ["NotIn holds for a missing key", expressions(["zone", "NotIn", "a"]), true],
  ["Exists holds for the empty value", expressions(["empty", "Exists"]), true],
  ["Exists does not hold for a missing key", expressions(["zone", "Exists"]), false],
  ["DoesNotExist does not hold for the empty value", expressions(["empty", "DoesNotExist"]), false],
  ["DoesNotExist holds for a missing key", expressions(["zone", "DoesNotExist"]), true],
  ["expressions are ANDed", expressions(["app", "In", "web"], ["tier", "NotIn", "front"]), false],
  ["labels and expressions are ANDed",
    { matchLabels: { app: "web" },
      matchExpressions: [{ key: "tier", operator: "DoesNotExist", values: [] }] }, false],
  ["names of Object.prototype are no labels", expressions(["constructor", "Exists"]), false],
  ["__proto__ is no label", { matchLabels: { toString: "x" }, matchExpressions: [] }, false],
];

describe("matchesSelector", () => {
  test.each(CASES)("%s", (_, selector, expected) => {
    expect(matchesSelector(selector, labels)).toBe(expected);
  });

  test(`agrees with a naive evaluator over lists of pairs (seed ${seed})`, () => {
    const key = fc.constantFrom("a", "b", "c", "toString");
    const value = fc.constantFrom("", "1", "2", "3");
    const labelMap = fc.dictionary(key, value, { maxKeys: 4 });
    const expression = fc.record({
      key,
      operator: fc.constantFrom("In" as const, "NotIn" as const, "Exists" as const, "DoesNotExist" as const),
      values: fc.array(value, { minLength: 1, maxLength: 3 }),
    });
    const selector = fc.record({ matchLabels: fc.dictionary(key, value, { maxKeys: 2 }),
      matchExpressions: fc.array(expression, { maxLength: 3 }) });
    const seen = { matched: 0, refused: 0 };
    fc.assert(fc.property(selector, labelMap, (one, map) => {
      const expected = naive(one, Object.entries(map));
      if (expected) seen.matched++;
      else seen.refused++;
      expect(matchesSelector(one, map)).toBe(expected);
    }), { seed, numRuns: 5000 });
    expect(seen.matched).toBeGreaterThan(300);
    expect(seen.refused).toBeGreaterThan(300);
  });
});

/** Each requirement as the set of label values it accepts, with `null` for "no such label". */
function naive(selector: LabelSelector, pairs: readonly (readonly [string, string])[]): boolean {
  const labelOf = (key: string): string | null => pairs.filter(([name]) => name === key)
    .map(([, value]) => value)[0] ?? null;
  const universe: (string | null)[] = [null, "", "1", "2", "3"];
  const accepted = [
    ...Object.entries(selector.matchLabels)
      .map(([key, value]) => ({ key, values: [value] as (string | null)[] })),
    ...selector.matchExpressions.map(({ key, operator, values }) => {
      const listed = new Set<string | null>(values);
      const rule = {
        In: (one: string | null) => listed.has(one),
        NotIn: (one: string | null) => !listed.has(one),
        Exists: (one: string | null) => one !== null,
        DoesNotExist: (one: string | null) => one === null,
      }[operator];
      return { key, values: universe.filter(rule) };
    }),
  ];
  return accepted.every(({ key, values }) => values.includes(labelOf(key)));
}
