/**
 * Capacity limits of the compiled target: `check` and `compare` print them by these ids with what the cluster takes of
 * them (`src/ebpf/limits.ts`). No packet shows them beforehand.
 */
import type { Difference } from "./difference.js";

export const CAPACITY: readonly Difference[] = [
  {
    id: "CAP-POLICYMAP",
    title: "Policy entries of an endpoint: identities × ports of what its policies allow, at most bpf-policy-map-max",
    page: {
      shownBy: "capacity",
      kubeProxy: "No such limit: IP sets and rules grow with the policies.",
      cilium: "16,384 entries for each endpoint (bpf-policy-map-max, at least 256). Entries that do not fit are missing; a new pod may"
        + " start with an empty map, drop everything, and look ready. With the overflow lockdown the endpoint drops everything.",
      bitten: ["AKS#5969", "cilium#45788", "cilium#28337", "cilium#27866", "cilium#8060", "cilium#9117", "cilium#32399", "cilium#18581"],
      advice: "Select pods by few labels, leave churning labels out of identities, and prefer one rule for all ports over many.",
      sources: [{ what: "Cilium Documentation/network/ebpf/maps.rst; AKS#5969", known: "documented" }],
    },
  },
];
