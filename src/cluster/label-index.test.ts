/** The index leaves out nothing that selects, keeps the order, and leaves out what cannot select. */
import { describe, expect, it } from "vitest";
import type { LabelSelector } from "./cluster.js";
import { LabelIndex, labelsIn, requiredLabels } from "./label-index.js";
import { matchesSelector } from "./selector.js";

interface Policy {
  readonly name: string;
  readonly namespace: string;
  readonly selector: LabelSelector;
}

const KEYS = ["app", "tier", "__proto__", "constructor"];
const VALUES = ["", "a", "b"];
const NAMESPACES = ["one", "two"];

/** All objects of up to two labels. */
function labelSets(): Record<string, string>[] {
  const single = KEYS.flatMap((key) => VALUES.map((value) => [key, value] as const));
  const pairs = single.flatMap((one) => single.filter(([key]) => key > one[0]).map((other) => [one, other]));
  return [[], ...single.map((one) => [one]), ...pairs].map((entries) => Object.fromEntries(entries));
}

const policies = NAMESPACES.flatMap((namespace) => labelSets().flatMap((matchLabels, index): Policy[] => [
  { name: `${index}`, namespace, selector: { matchLabels, matchExpressions: [] } },
  { name: `${index}-not`, namespace, selector: { matchLabels, matchExpressions: [{ key: "tier", operator: "DoesNotExist", values: [] }] } },
]));

describe("LabelIndex", () => {
  const index = new LabelIndex(policies, ({ namespace, selector }) => requiredLabels(namespace, selector));
  const selects = (policy: Policy, namespace: string, labels: Record<string, string>): boolean => policy.namespace === namespace
    && matchesSelector(policy.selector, labels);

  it("has everything that selects among its candidates, in order", () => {
    let selecting = 0;
    for (const namespace of NAMESPACES) for (const labels of labelSets()) {
      const found = index.candidates(labelsIn(namespace, labels)).filter((one) => selects(one, namespace, labels));
      expect(found).toEqual(policies.filter((one) => selects(one, namespace, labels)));
      selecting += found.length;
    }
    expect(selecting).toBeGreaterThan(500);
  });

  it("leaves out what requires a label that is not there", () => {
    const found = index.candidates(labelsIn("one", { app: "a" }));
    expect(found.length).toBeLessThan(policies.length / 4);
    expect(found.some(({ selector }) => selector.matchLabels["app"] === "b")).toBe(false);
  });

  it("asks for nothing of what requires nothing", () => {
    const all = new LabelIndex(["x", "y"], () => []);
    expect(all.candidates([])).toEqual(["x", "y"]);
  });
});
