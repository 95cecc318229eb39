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
  {
    id: "HAZ-UPGRADE",
    title: "The same configuration under another minor version of Cilium: defaults and behaviour change with it",
    appliesTo: ({ current, target }) => (current.version === "" || target.version === "" || current.version === target.version ? []
      : [`Cilium ${current.version} now, ${target.version} then`]),
    page: {
      shownBy: "hazard",
      kubeProxy: "No counterpart.",
      cilium: "Each minor version had a regression or a changed default of its own: 1.7, 1.14, 1.15, 1.16, 1.17, 1.18 (load balancer"
        + " traffic dropped in 1.18.2, hostNetwork on localhost, toFQDNs), 1.19 (traffic policy Local from inside, named ports), 1.20"
        + " (enable-policy=always and probes). What the versions specify differently is compared; bugs of an agent are not.",
      bitten: ["cilium#10465", "cilium#27360", "cilium#32213", "cilium#34528", "cilium#40098", "cilium#42334", "cilium#40721",
        "cilium#42046", "cilium#42594", "cilium#45252", "cilium#48110", "cilium#48444"],
      advice: "Compare both versions here with recorded traffic, read the upgrade notes, and move one node pool first.",
      sources: [{ what: "The threads named; trees of five versions for what is specified", known: "thread" }],
    },
  },
];
