/**
 * Kubernetes label selectors as Calico's: one expression over an endpoint's labels, which hold the pod's own, its
 * namespace's behind `pcns.`, and Calico's. The text is the normal form of Calico's parser, because sets are named by
 * its hash.
 *
 * Source: libcalico-go conversion.go (k8sSelectorToCalico), updateprocessors/rules.go (getEndpointSelector),
 * selector/parser/ast.go (collectFragments).
 */
import type { LabelSelector } from "../../cluster/cluster.js";
import type { LabelPair } from "../../cluster/label-index.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";

export type EndpointLabels = ReadonlyMap<string, string>;

export interface Selector {
  readonly text: string;
  /** Labels without which it does not hold, perhaps not all of them. */
  readonly requires: readonly LabelPair[];
  holds(labels: EndpointLabels): boolean;
}

export const NAMESPACE_LABEL = "projectcalico.org/namespace";
export const ORCHESTRATOR_LABEL = "projectcalico.org/orchestrator";
/** Before the labels that an endpoint has from its namespace. */
export const NAMESPACE_PREFIX = "pcns.";
/** What a rule's named port is looked up among where the rule selects no endpoints. */
export const EVERY_ENDPOINT: Selector = { text: "all()", requires: [], holds: () => true };

/** The pods a policy applies to. */
export function policySelector(namespace: string, pods: LabelSelector): Selector {
  return and([podSelector(pods), equals(NAMESPACE_LABEL, namespace)]);
}

/** The pods a peer names; an absent namespaceSelector is the policy's own namespace. */
export function peerSelector(namespace: string, pods: LabelSelector | null, namespaces: LabelSelector | null): Selector {
  return and([namespaceSelector(namespace, namespaces), podSelector(pods)]);
}

function namespaceSelector(own: string, selector: LabelSelector | null): Selector {
  if (selector === null) return equals(NAMESPACE_LABEL, own);
  const all = terms(selector, NAMESPACE_PREFIX);
  return all.length === 0 ? has(NAMESPACE_LABEL) : and(all);
}

/** The orchestrator keeps label peers from matching anything that is not a pod of Kubernetes. */
function podSelector(selector: LabelSelector | null): Selector {
  return and([equals(ORCHESTRATOR_LABEL, "k8s"), ...(selector === null ? [] : terms(selector, ""))]);
}

function terms(selector: LabelSelector, prefix: string): Selector[] {
  const labels = Object.entries(selector.matchLabels).sort(([a], [b]) => byteOrder(a, b))
    .map(([key, value]) => equals(prefix + key, value));
  return [...labels, ...selector.matchExpressions.map(({ key, operator, values }) => {
    switch (operator) {
      case "In": return oneOf(prefix + key, values);
      case "NotIn": return noneOf(prefix + key, values);
      case "Exists": return has(prefix + key);
      case "DoesNotExist": return hasNot(prefix + key);
    }
  })];
}

function equals(key: string, value: string): Selector {
  return { text: `${key} == "${value}"`, requires: [[key, value]], holds: (labels) => labels.get(key) === value };
}

function oneOf(key: string, values: readonly string[]): Selector {
  return { text: `${key} in ${setText(values)}`, requires: [],
    holds: (labels) => labels.has(key) && values.includes(labels.get(key) ?? "") };
}

/** Holds where the label is absent. */
function noneOf(key: string, values: readonly string[]): Selector {
  return { text: `${key} not in ${setText(values)}`, requires: [],
    holds: (labels) => !labels.has(key) || !values.includes(labels.get(key) ?? "") };
}

function has(key: string): Selector {
  return { text: `has(${key})`, requires: [], holds: (labels) => labels.has(key) };
}

function hasNot(key: string): Selector {
  return { text: `!has(${key})`, requires: [], holds: (labels) => !labels.has(key) };
}

function and(all: readonly Selector[]): Selector {
  if (all.length === 1) return all[0];
  return { text: `(${all.map((one) => one.text).join(" && ")})`, requires: all.flatMap((one) => one.requires),
    holds: (labels) => all.every((one) => one.holds(labels)) };
}

/** Sorted and without repetition, as Calico keeps sets of values. */
function setText(values: readonly string[]): string {
  return `{${[...new Set(values)].sort(byteOrder).map((value) => `"${value}"`).join(", ")}}`;
}
