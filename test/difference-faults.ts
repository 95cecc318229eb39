/**
 * Faults for the ring of differences: of test/mutants-*.ts and test/faults/, in either plane, over services, NAT, connection
 * tracking, protocols and policy.
 *
 * Not among them are faults that change no packet of this ring, such as a map's entries that no program of that version looks
 * up (wildcards-before-1.19), and a few of which one or two packets among many go by a known name.
 */
import { CALICO_FAULTS } from "./faults/calico.js";
import { CILIUM_POLICY_FAULTS } from "./faults/cilium-policy.js";
import { NPM_FAULTS } from "./faults/npm.js";
import { SERVICE_FAULTS } from "./faults/services.js";
import { CURRENT_MUTANTS } from "./mutants-current.js";
import { TARGET_MUTANTS } from "./mutants-target.js";
import type { Fault } from "./mutation.js";

export interface DifferenceFault extends Fault {
  readonly plane: "current" | "target";
  readonly why: string;
  /** Known differences that flows which it changes may go by, and why that cannot be told from the real one. */
  readonly masked: Readonly<Record<string, string>>;
}

type Known = Fault & { readonly why: string };

const CURRENT: readonly [area: string, faults: readonly Known[], chosen: readonly string[]][] = [
  ["kube-proxy and the kernel", CURRENT_MUTANTS, ["external-policy-swapped", "mark-masq-sets-no-bit", "dnat-port", "refusal-swapped",
    "hairpin-not-masqueraded", "pods-taken-for-strangers", "source-range-not-enforced",
    "every-endpoint-is-local", "syn-ack-invalid", "checksum-ignores-addresses", "ttl-one-forwarded",
    "icmp6-reject-code", "pods-masqueraded-in-cluster", "pods-not-masqueraded", "no-reverse-nat", "hop-limit-kept",
    "fabric-one-owner"]],
  ["Azure NPM", NPM_FAULTS, ["except-matches", "named-port-of-source", "chain-first", "peer-of-any-namespace", "half-the-world",
    "no-default-drop", "negative-included", "ingress-accepts-at-once", "subject-both-ways"]],
  ["Calico", CALICO_FAULTS, ["not-in-needs-the-label", "no-drop-at-the-end-of-the-tier", "ingress-is-egress",
    "isolation-both-ways", "pools-masquerade-each-other"]],
];

const TARGET: typeof CURRENT = [
  ["Cilium's maps and programs", TARGET_MUTANTS, ["pods-are-world", "policy-port", "node-port-not-routable", "local-policy-ignored",
    "replies-not-reversed", "hairpin-not-recognised", "source-range-not-checked", "later-fragments-lost", "tcp-checksum-kept",
    "backend-port", "policy-direction", "policy-default-allow", "refused-with-another-code", "node-port-source-kept",
    "pods-not-masqueraded", "reverse-nat-port", "node-port-on-first-node", "routes-to-nobody", "node-port-replies-not-reversed",
    "hairpin-not-noted", "source-range-reversed", "backend-chosen-anew", "policy-judges-replies", "policy-judges-by-sender",
    "snat-reply-range", "ttl-counted-twice"]],
  ["Cilium's policies", CILIUM_POLICY_FAULTS, ["cilium-not-in-needs-the-key", "cilium-world-without-itself", "cilium-deny-as-allow",
    "cilium-localhost-forbidden", "cilium-types-count"]],
  ["Cilium's services", SERVICE_FAULTS, ["terminating-first", "ranges-of-load-balancers-only"]],
];

/** By plane and id. */
const MASKED: Readonly<Record<string, DifferenceFault["masked"]>> = {
  "current/no-drop-at-the-end-of-the-tier": {
    "PROTO-SCTP": "to itself and its own node a pod may send by the API's words, and Cilium drops SCTP: that Calico would not let it is"
      + " no policy's word",
  },
  "current/pods-taken-for-strangers": {
    "PROTO-SCTP": "the mark takes it past Azure NPM, and Cilium drops it because it is SCTP",
  },
  "target/policy-direction": {
    "POL-CILIUM-KINDS": "what a rule hands to a proxy is allowed by the words, which do not say that the packet comes there",
  },
  "current/pods-not-masqueraded": {
    "POL-NOENGINE": "a node that gets pods' own addresses serves them by all endpoints, as where the masquerade agent's list has the nodes",
  },
};

function chosen(plane: DifferenceFault["plane"], areas: typeof CURRENT): DifferenceFault[] {
  return areas.flatMap(([area, faults, ids]) => ids.map((id): DifferenceFault => {
    const found = faults.find((one) => one.id === id);
    if (found === undefined) throw new Error(`${area} has no fault ${id}`);
    return { ...found, plane, masked: MASKED[`${plane}/${id}`] ?? {} };
  }));
}

export const DIFFERENCE_FAULTS: readonly DifferenceFault[] = [...chosen("current", CURRENT), ...chosen("target", TARGET)];
