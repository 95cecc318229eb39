/**
 * Faults for the ring of differences: of test/mutants-*.ts and test/faults/, in either plane, over services, NAT, connection
 * tracking, protocols and policy.
 *
 * Not among them are faults of which known differences still claim a changed flow, such as an engine that drops nothing, Cilium's
 * policies in the other direction, and another port of each backend: that is a weakness of those rows.
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
    "icmp6-reject-code", "pods-masqueraded-in-cluster", "pods-not-masqueraded"]],
  ["Azure NPM", NPM_FAULTS, ["except-matches", "named-port-of-source", "chain-first", "peer-of-any-namespace", "half-the-world",
    "no-default-drop"]],
  ["Calico", CALICO_FAULTS, ["not-in-needs-the-label"]],
];

const TARGET: typeof CURRENT = [
  ["Cilium's maps and programs", TARGET_MUTANTS, ["pods-are-world", "policy-port", "node-port-not-routable", "local-policy-ignored",
    "replies-not-reversed", "hairpin-not-recognised", "source-range-not-checked", "later-fragments-lost", "tcp-checksum-kept"]],
  ["Cilium's policies", CILIUM_POLICY_FAULTS, ["cilium-not-in-needs-the-key", "cilium-world-without-itself", "cilium-deny-as-allow",
    "cilium-localhost-forbidden", "cilium-types-count"]],
  ["Cilium's services", SERVICE_FAULTS, ["terminating-first"]],
];

/** By plane and id. */
const MASKED: Readonly<Record<string, DifferenceFault["masked"]>> = {
  "current/no-default-drop": {
    "PROTO-SCTP": "what the engine lets through by mistake is dropped by Cilium because it is SCTP, whatever policies say",
    "SVC-CLUSTERIP-EXT": "what the engine lets through by mistake is dropped by Cilium because it is for a ClusterIP from outside",
  },
  "current/peer-of-any-namespace": {
    "SVC-CLUSTERIP-EXT": "what the engine lets through by mistake is dropped by Cilium because it is for a ClusterIP from outside",
  },
  "current/pods-taken-for-strangers": {
    "PROTO-SCTP": "the mark takes it past Azure NPM, and Cilium drops it because it is SCTP",
  },
  "current/pods-not-masqueraded": {
    "POL-NOENGINE": "a node that gets pods' own addresses serves them by all endpoints, as where the masquerade agent's list has the nodes",
  },
  "target/source-range-not-checked": {
    "NAT-LOCAL-BACKEND": "of 1.18 alone the ranges hold for node ports: without the check it serves them as other versions do",
    "POL-LB-INGRESS": "the same; what the ranges let through, the backend's policy denies",
  },
  "current/dnat-port": {
    "POL-NODEPORT-SRC-ID": "of what the engine drops nobody knows the backend: it may be one on another node, whose engine sees the node",
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
