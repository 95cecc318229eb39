/**
 * Endpoint selectors: over labels with sources, with the namespace that a policy's own peers get.
 *
 * "A namespaced policy's peers are of its namespace, unless the selector names a namespace itself": by the pod's namespace,
 * by a namespace label, or by a reserved label. A clusterwide policy's peers are pods of any namespace.
 *
 * Source: Cilium's documentation, "Layer 3 Policies: Endpoints based" and "Namespaces"; pkg/k8s/apis/cilium.io/utils.
 */
import type { CiliumRequirement, CiliumSelector } from "../../cluster/cilium/types.js";
import { type Label, NAMESPACE_LABELS, POD_NAMESPACE } from "./subject.js";

export function matches(requirements: readonly CiliumRequirement[], labels: readonly Label[]): boolean {
  return requirements.every((one) => holds(one, labels));
}

function holds({ source, key, operator, values }: CiliumRequirement, labels: readonly Label[]): boolean {
  const label = labels.find((one) => one.key === key && (source === "any" || one.source === source));
  switch (operator) {
    case "In": return label !== undefined && values.includes(label.value);
    case "NotIn": return label === undefined || !values.includes(label.value);
    case "Exists": return label !== undefined;
    case "DoesNotExist": return label === undefined;
  }
}

/** Of a policy's subject: a namespaced policy applies to pods of its namespace, whatever its selector says of that. */
export function subjectRequirements(selector: CiliumSelector, namespace: string): readonly CiliumRequirement[] {
  if (namespace === "") return selector.requirements;
  const rest = selector.requirements.filter((one) => !(one.source === "k8s" && one.key === POD_NAMESPACE && one.operator === "In"
    && one.values.length === 1));
  return [...rest, inNamespace(namespace)];
}

/**
 * @param ofInit whether the policy applies to pods that have no labels yet (`reserved:init`)
 * @param alwaysScoped fromRequires and toRequires: a reserved label does not lift the namespace
 */
export function peerRequirements(selector: CiliumSelector, namespace: string, ofInit: boolean, alwaysScoped = false)
  : readonly CiliumRequirement[] {
  const { requirements } = selector;
  const names = (test: (one: CiliumRequirement) => boolean): boolean => requirements.some(test);
  const anyOrK8s = ({ source }: CiliumRequirement): boolean => source === "any" || source === "k8s";
  if (!alwaysScoped && names(({ source }) => source === "reserved")) return requirements;
  if (names((one) => anyOrK8s(one) && one.key === POD_NAMESPACE)) return requirements;
  if (namespace === "") return ofInit ? requirements : [...requirements, requirement("Exists", [])];
  if (names((one) => anyOrK8s(one) && one.key.startsWith(NAMESPACE_LABELS))) return requirements;
  return [...requirements, inNamespace(namespace)];
}

export function appliesToInit(selector: CiliumSelector | null): boolean {
  return selector?.requirements.some(({ source, key }) => source === "reserved" && key === "init") ?? false;
}

function inNamespace(namespace: string): CiliumRequirement {
  return requirement("In", [namespace]);
}

function requirement(operator: CiliumRequirement["operator"], values: readonly string[]): CiliumRequirement {
  return { source: "k8s", key: POD_NAMESPACE, operator, values };
}
