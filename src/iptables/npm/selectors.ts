/**
 * Label selectors as Azure NPM reads them: each requirement becomes a set to match, all of them at once, a negative
 * one an inverted match. What several values of one requirement become differs: of pods a list of sets, of namespaces
 * one rule for each value.
 *
 * Two readings differ from the API's. A namespace selector of negative requirements alone is an inverted match alone:
 * it matches what is no pod at all. And `NotIn` with several values becomes a choice of rules, `not a` or `not b`,
 * which leaves nobody out.
 *
 * Go walks matchLabels in a random order, and so the order of matches in NPM's rules is random; here keys are sorted.
 *
 * Source: Azure/azure-container-networking npm/pkg/controlplane/translation/parseSelector.go.
 */
import type { LabelSelector } from "../../cluster/cluster.js";
import { ALL_NAMESPACES, namespaceLabelSet, type NpmNaming, nestedLabelSet, podLabelSet, type SetName } from "./names.js";

/** One set of a rule; `included` false: `! --match-set`. */
export interface SetMatch {
  readonly set: SetName;
  readonly included: boolean;
  /** Sets that a list:set made for a policy holds. */
  readonly members?: readonly SetName[];
}

type Requirement = LabelSelector["matchExpressions"][number];

/** @param policy `namespace/name` of the policy that asks */
export function podMatches(naming: NpmNaming, policy: string, selector: LabelSelector): SetMatch[] {
  const matches = labelMatches(selector, podLabelSet);
  for (const { key, operator, values } of selector.matchExpressions) {
    const included = operator === "In" || operator === "Exists";
    if (operator === "Exists" || operator === "DoesNotExist") matches.push({ set: podLabelSet(key), included });
    else if (values.length === 1) matches.push({ set: podLabelSet(`${key}:${values[0]}`), included });
    else {
      matches.push({ set: nestedLabelSet(naming, policy, key, values), included,
        members: values.map((value) => podLabelSet(`${key}:${value}`)) });
    }
  }
  return unique(matches);
}

/** One list of matches for each rule that the selector becomes. */
export function namespaceMatches(selector: LabelSelector): SetMatch[][] {
  return oneValueEach(selector).map((single) => {
    if (Object.keys(single.matchLabels).length === 0 && single.matchExpressions.length === 0) {
      return [{ set: ALL_NAMESPACES, included: true }];
    }
    const matches = labelMatches(single, namespaceLabelSet);
    for (const { key, operator, values } of single.matchExpressions) {
      const named = operator === "In" || operator === "NotIn";
      matches.push({ set: namespaceLabelSet(named ? `${key}:${values[0]}` : key),
        included: operator === "In" || operator === "Exists" });
    }
    return unique(matches);
  });
}

/** Selectors with one value in each requirement; requirements that had several come last, in their order. */
function oneValueEach(selector: LabelSelector): LabelSelector[] {
  const several = (one: Requirement): boolean => (one.operator === "In" || one.operator === "NotIn") && one.values.length !== 1;
  const multiple = selector.matchExpressions.filter(several);
  if (multiple.length === 0) return [selector];
  let flat: LabelSelector[] = [{ ...selector, matchExpressions: selector.matchExpressions.filter((one) => !several(one)) }];
  for (const requirement of multiple) {
    flat = flat.flatMap((base) => requirement.values.map((value) => (
      { ...base, matchExpressions: [...base.matchExpressions, { ...requirement, values: [value] }] })));
  }
  return flat;
}

function labelMatches(selector: LabelSelector, setOf: (label: string) => SetName): SetMatch[] {
  return Object.keys(selector.matchLabels).sort()
    .map((key) => ({ set: setOf(`${key}:${selector.matchLabels[key]}`), included: true }));
}

function unique(matches: readonly SetMatch[]): SetMatch[] {
  return [...new Map(matches.map((match) => [`${match.included} ${match.set.text}`, match])).values()];
}
