/**
 * Faults for the ring of differences: of test/mutants-*.ts and test/faults/, in either plane, over services, NAT, connection
 * tracking, protocols and policy.
 *
 * Not among them are faults that change no packet of this ring, such as a map's entries that no program of that version looks
 * up (wildcards-before-1.19).
 */
import { CALICO_FAULTS } from "./faults/calico.js";
import { CILIUM_POLICY_FAULTS } from "./faults/cilium-policy.js";
import { MASQUERADE_FAULTS } from "./faults/masquerade.js";
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
    "fabric-one-owner", "udp-entry-ends-at-once", "icmp-quote-not-translated"]],
  ["Azure NPM", NPM_FAULTS, ["except-matches", "named-port-of-source", "chain-first", "peer-of-any-namespace", "half-the-world",
    "no-default-drop", "negative-included", "ingress-accepts-at-once", "subject-both-ways"]],
  ["Calico", CALICO_FAULTS, ["not-in-needs-the-label", "no-drop-at-the-end-of-the-tier", "ingress-is-egress",
    "isolation-both-ways", "pools-masquerade-each-other", "pod-to-host-not-judged", "ingress-not-judged", "behind-kube-proxy"]],
];

const TARGET: typeof CURRENT = [
  ["Cilium's maps and programs", TARGET_MUTANTS, ["pods-are-world", "policy-port", "node-port-not-routable", "local-policy-ignored",
    "replies-not-reversed", "hairpin-not-recognised", "source-range-not-checked", "later-fragments-lost", "tcp-checksum-kept",
    "backend-port", "policy-direction", "policy-default-allow", "refused-with-another-code", "node-port-source-kept",
    "pods-not-masqueraded", "reverse-nat-port", "node-port-on-first-node", "routes-to-nobody", "node-port-replies-not-reversed",
    "hairpin-not-noted", "source-range-reversed", "backend-chosen-anew", "policy-judges-replies", "policy-judges-by-sender",
    "snat-reply-range", "ttl-counted-twice", "snat-port-below-range", "masqueraded-by-another-node"]],
  ["Cilium's policies", CILIUM_POLICY_FAULTS, ["cilium-not-in-needs-the-key", "cilium-world-without-itself", "cilium-deny-as-allow",
    "cilium-localhost-forbidden", "cilium-types-count"]],
  ["Cilium's services", SERVICE_FAULTS, ["terminating-first", "ranges-of-load-balancers-only"]],
  ["Cilium's masquerading", MASQUERADE_FAULTS, ["masquerade-file-not-found", "masquerade-link-local-reversed",
    "masquerade-device-whole"]],
];

/** By plane and id: what cannot be told from the real difference; none at present. */
const MASKED: Readonly<Record<string, DifferenceFault["masked"]>> = {};

function chosen(plane: DifferenceFault["plane"], areas: typeof CURRENT): DifferenceFault[] {
  return areas.flatMap(([area, faults, ids]) => ids.map((id): DifferenceFault => {
    const found = faults.find((one) => one.id === id);
    if (found === undefined) throw new Error(`${area} has no fault ${id}`);
    return { ...found, plane, masked: MASKED[`${plane}/${id}`] ?? {} };
  }));
}

export const DIFFERENCE_FAULTS: readonly DifferenceFault[] = [...chosen("current", CURRENT), ...chosen("target", TARGET)];
