/**
 * Reads a label selector and validates it as the API server does.
 *
 * Source: apimachinery pkg/apis/meta/v1/validation ValidateLabelSelector.
 */
import type { LabelSelector } from "./cluster.js";
import type { Field } from "./field.js";
import { checkLabelKey, checkLabelValue, readLabels } from "./meta.js";

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** An absent selector reads as the empty one, which matches everything; the caller knows what absence is. */
export function readLabelSelector(field: Field): LabelSelector {
  field.onlyKnows("matchLabels", "matchExpressions");
  return {
    matchLabels: readLabels(field.get("matchLabels")),
    matchExpressions: field.get("matchExpressions").items().map(readExpression),
  };
}

function readExpression(field: Field): LabelSelector["matchExpressions"][number] {
  field.onlyKnows("key", "operator", "values");
  const key = field.get("key");
  checkLabelKey(key, key.string());
  const operatorField = field.get("operator");
  const operator = OPERATORS.find((one) => one === operatorField.string());
  if (operator === undefined) {
    operatorField.refuse(`found operator "${operatorField.string()}", expected ${OPERATORS.join(", ")}`);
  }
  const values = field.get("values").items();
  for (const value of values) checkLabelValue(value, value.string());
  const takesValues = operator === "In" || operator === "NotIn";
  if (takesValues && values.length === 0) {
    field.refuse(`found no values, expected at least one with ${operator}`);
  }
  if (operator !== undefined && !takesValues && values.length > 0) {
    field.refuse(`found values, expected none with ${operator}`);
  }
  return { key: key.string(), operator: operator ?? "In", values: values.map((value) => value.string()) };
}
