/**
 * Reads Cilium's label selectors: Kubernetes' own, with keys that may name the source of the label before a colon
 * (`k8s:app`, `reserved:host`).
 *
 * Source: cilium pkg/labels/validation.go, pkg/labels/labels.go parseSource.
 */
import type { Field } from "../field.js";
import { checkLabelKey, checkLabelValue } from "../meta.js";
import type { CiliumRequirement, CiliumSelector } from "./types.js";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** @param source of keys that name none */
export function readSelector(field: Field, source = "any"): CiliumSelector {
  field.onlyKnows("matchLabels", "matchExpressions");
  const labels = field.get("matchLabels").fields().map((label): CiliumRequirement => {
    const value = label.string();
    checkLabelValue(label, value);
    return { ...readKey(label, label.name, source), operator: "In", values: [value] };
  });
  const expressions = field.get("matchExpressions").items().map((item) => readExpression(item, source));
  return { requirements: [...labels, ...expressions] };
}

function readExpression(field: Field, source: string): CiliumRequirement {
  field.onlyKnows("key", "operator", "values");
  const key = field.get("key");
  const operator = field.get("operator").oneOf(OPERATORS, "" as "In");
  const values = field.get("values").items();
  for (const value of values) checkLabelValue(value, value.string());
  const takesValues = operator === "In" || operator === "NotIn";
  if (takesValues && values.length === 0) field.refuse(`found no values, expected at least one with ${operator}`, "Cilium");
  if (!takesValues && values.length > 0) field.refuse(`found values, expected none with ${operator}`, "Cilium");
  return { ...readKey(key, key.string(), source), operator, values: values.map((value) => value.string()) };
}

function readKey(field: Field, text: string, fallback: string): { source: string; key: string } {
  const colon = text.indexOf(":");
  const source = text.slice(0, Math.max(0, colon));
  const key = text.slice(colon + 1);
  if (colon >= 0 && (!/^[A-Za-z0-9]+$/.test(source) || key.includes(":"))) {
    field.refuse(`found label key "${text}", expected at most one source such as k8s: before the key`, "Cilium");
  } else checkLabelKey(field, key);
  return { source: source === "" ? fallback : source, key };
}
