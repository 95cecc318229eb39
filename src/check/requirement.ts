/**
 * What a NetworkPolicy asks of the other end, taken apart into single requirements: one label of the pod, one of its
 * namespace, the policy's own namespace, one prefix of addresses, the number of a named port. Two ends for which every
 * requirement of a policy says the same are alike to any engine that reads it, however the engine combines them.
 */
import { type Address, type Prefix, prefixContains } from "../cluster/address.js";
import type { Cluster, LabelSelector, NetworkPolicy, NetworkPolicyRule, Pod } from "../cluster/cluster.js";
import { type Labels, matchesSelector } from "../cluster/selector.js";
import type { Direction } from "./selection.js";

export type Requirement =
  | { readonly kind: "label" | "namespace label"; readonly selector: LabelSelector }
  | { readonly kind: "namespace"; readonly name: string }
  | { readonly kind: "prefix"; readonly prefix: Prefix }
  | { readonly kind: "port name"; readonly name: string };

/** Rules of a direction, also where policyTypes leaves the direction out: some engines read them all the same. */
export function rulesIn({ ingress, egress }: NetworkPolicy, direction: Direction): readonly NetworkPolicyRule[] {
  return direction === "Ingress" ? ingress : egress;
}

/** Whether a policy says anything of a direction. */
export function concerns(policy: NetworkPolicy, direction: Direction): boolean {
  return policy.policyTypes.includes(direction) || rulesIn(policy, direction).length > 0;
}

/** What a policy asks of the other end in a direction, each once, by a text that is equal for equal requirements. */
export function requirementsOf(policy: NetworkPolicy, direction: Direction): Map<string, Requirement> {
  const found = new Map<string, Requirement>();
  const put = (requirement: Requirement): void => {
    found.set(requirement.kind === "prefix" ? `prefix ${requirement.prefix.text}` : JSON.stringify(requirement), requirement);
  };
  for (const { peers, ports } of rulesIn(policy, direction)) {
    for (const { podSelector, namespaceSelector, ipBlock } of peers ?? []) {
      if (ipBlock !== null) for (const prefix of [ipBlock.cidr, ...ipBlock.except]) put({ kind: "prefix", prefix });
      else if (namespaceSelector === null) put({ kind: "namespace", name: policy.namespace });
      else for (const selector of partsOf(namespaceSelector)) put({ kind: "namespace label", selector });
      if (podSelector !== null) for (const selector of partsOf(podSelector)) put({ kind: "label", selector });
    }
    // For egress a name is the other end's; for ingress the subject's own.
    if (direction === "Egress") {
      for (const { port } of ports ?? []) if (typeof port === "string") put({ kind: "port name", name: port });
    }
  }
  return found;
}

/** What the requirement says of a pod at one of its addresses: equal texts are alike. */
export function ofPod(requirement: Requirement, pod: Pod, cluster: Cluster): string {
  switch (requirement.kind) {
    case "label":
      return matches(requirement.selector, pod.labels);
    case "namespace label":
      return matches(requirement.selector, cluster.namespaces.get(pod.namespace)?.labels ?? {});
    case "namespace":
      return pod.namespace === requirement.name ? "1" : "0";
    case "prefix":
      return pod.ips.map((address) => (prefixContains(requirement.prefix, address) ? "1" : "0")).join("");
    case "port name":
      return `[${numbersOf(pod, requirement.name).join()}]`;
  }
}

/** The same for an address that is no pod's. */
export function ofAddress(requirement: Requirement, address: Address): string {
  return requirement.kind === "prefix" && prefixContains(requirement.prefix, address) ? "1" : "0";
}

/** A pod's container ports of a name, each with its protocol. */
export function numbersOf(pod: Pod, name: string): string[] {
  return pod.ports.filter((port) => port.name === name).map(({ containerPort, protocol, sidecar }) =>
    `${containerPort}/${protocol}${sidecar === true ? "+" : ""}`).sort();
}

/** A selector's parts: it holds where all of them do. */
function partsOf({ matchLabels, matchExpressions }: LabelSelector): LabelSelector[] {
  return [
    ...Object.entries(matchLabels).map(([key, value]) => ({ matchLabels: { [key]: value }, matchExpressions: [] })),
    ...matchExpressions.map((one) => ({ matchLabels: {}, matchExpressions: [one] })),
  ];
}

function matches(selector: LabelSelector, labels: Labels): string {
  return matchesSelector(selector, labels) ? "1" : "0";
}
