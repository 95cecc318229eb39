/**
 * Hazards: what packets cannot show beforehand. A row says what in the cluster or in the options makes it possible.
 */
import type { Difference } from "./difference.js";

export const HAZARDS: readonly Difference[] = [
  {
    id: "POL-NPM-BIGIPBLOCK",
    title: "A policy with more than four ipBlocks: Azure NPM may restart and write all its rules anew",
    appliesTo: ({ cluster, current }) => (current.profile !== "kube-proxy+npm" ? [] : cluster.networkPolicies
      .map((policy) => ({ policy, blocks: [...policy.ingress, ...policy.egress]
        .reduce((sum, rule) => sum + (rule.peers ?? []).filter(({ ipBlock }) => ipBlock !== null).length, 0) }))
      .filter(({ blocks }) => blocks > 4)
      .map(({ policy, blocks }) => `NetworkPolicy ${policy.namespace}/${policy.name} has ${blocks} ipBlocks`)),
    page: {
      shownBy: "hazard",
      kubeProxy: "Azure NPM may run into a race, restarts about 15 s later, deletes its rules and applies them again: policy is open"
        + " in between.",
      cilium: "No counterpart.",
      bitten: ["Azure/azure-container-networking#858", "Azure/azure-container-networking#865", "Azure/azure-container-networking#598",
        "Azure/azure-container-networking#1256"],
      advice: "Nothing to do for Cilium; until then keep to four ipBlocks in a policy.",
      sources: [{ what: "AKS use-network-policies", known: "documented" }],
    },
  },
];
