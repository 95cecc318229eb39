/**
 * Whether labels match a selector, as Kubernetes defines it: all of matchLabels and all of matchExpressions
 * must hold. NotIn and DoesNotExist hold for objects that lack the key. The empty selector matches
 * everything.
 *
 * Source: the API documentation of metav1.LabelSelector; apimachinery pkg/labels Requirement.Matches.
 */
import type { LabelSelector } from "./cluster.js";

export type Labels = Readonly<Record<string, string>>;

export function matchesSelector(selector: LabelSelector, labels: Labels): boolean {
  for (const key in selector.matchLabels) {
    if (!Object.hasOwn(selector.matchLabels, key)) continue;
    if (!Object.hasOwn(labels, key) || labels[key] !== selector.matchLabels[key]) return false;
  }
  for (const expression of selector.matchExpressions) {
    if (!holds(expression, labels)) return false;
  }
  return true;
}

function holds(expression: LabelSelector["matchExpressions"][number], labels: Labels): boolean {
  const present = Object.hasOwn(labels, expression.key);
  switch (expression.operator) {
    case "In": return present && expression.values.includes(labels[expression.key]);
    case "NotIn": return !present || !expression.values.includes(labels[expression.key]);
    case "Exists": return present;
    case "DoesNotExist": return !present;
  }
}
