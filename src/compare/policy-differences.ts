/**
 * Differences in which policy both sides enforce and read differently. Each names the rule that is read in two ways,
 * on the pod and in the direction that the packet was dropped; a drop that no such rule explains stays unexplained.
 *
 * Sources: Cilium's "known missing features for NetworkPolicy" and CIDR rules (identity wins over address), its
 * reading of policyTypes (pkg/k8s/network_policy.go), and NetworkPolicy's own words on a pod's node.
 */
import { type Address, parseAddress, prefixContains } from "../cluster/address.js";
import type { NetworkPolicy, NetworkPolicyRule, Pod } from "../cluster/cluster.js";
import { matchesSelector } from "../cluster/selector.js";
import { End } from "../dataplane.js";
import type { Difference, Situation } from "./catalogue.js";
import { Facet } from "./facets.js";

export const POLICY_DIFFERENCES: readonly Difference[] = [
  {
    id: "POL-LOCALNODE-EGRESS",
    title: "A pod to its own node under an egress policy: NetworkPolicy always allows it, Cilium only where the host is named",
    matches: (s) => {
      const source = s.names.pod(s.source);
      return newlyDenied(s) && source !== null && s.names.node(s.destination) === source.nodeName;
    },
  },
  {
    id: "POL-LB-INGRESS",
    title: "Node port or load balancer, backend on the node that masquerades: kube-proxy's mark passes before Azure NPM, Cilium judges",
    matches: (s) => newlyDenied(s) && s.current.profile === "kube-proxy+npm" && s.frontend !== null && s.frontend.kind !== "ClusterIP"
      && s.frontend.service.externalTrafficPolicy === "Cluster" && isOnMasqueradingNode(s) && s.policyDeniesSender(),
  },
  {
    id: "POL-IPBLOCK-POD",
    title: "An ipBlock that covers a pod's address: it matches the pod in iptables engines, never in Cilium",
    matches: (s) => newlyDenied(s) && allowsByBlock(s, (address) => s.names.pod(address) !== null),
  },
  {
    id: "POL-IPBLOCK-NODE",
    title: "An ipBlock that covers a node's address: it matches the node in iptables engines, not in Cilium",
    matches: (s) => newlyDenied(s) && allowsByBlock(s, (address) => s.names.node(address) !== null),
  },
  {
    id: "POL-TYPES",
    title: "Rules of a direction that policyTypes leaves out: the API ignores them, Cilium enforces them",
    matches: (s) => newlyDenied(s) && selecting(s).some(({ policy, direction }) => !policy.policyTypes.includes(direction)
      && rulesOf(policy, direction).length > 0),
  },
];

/** A rule that Cilium reads otherwise than the API's words, whoever enforces it on the current side. */
export function isReadDifferently(s: Situation): boolean {
  return POLICY_DIFFERENCES.some((one) => one.matches({ ...s, currentHasPolicy: true }));
}

function newlyDenied(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived
    && s.target.outcome.end === End.Dropped && s.target.reason === "POLICY_DENIED";
}

/** The backend's own node put its address in place of the sender's. */
function isOnMasqueradingNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && s.current.sourceSeen !== s.source && s.names.pod(s.current.destination)?.nodeName === node;
}

interface Selection {
  readonly policy: NetworkPolicy;
  readonly direction: "Ingress" | "Egress";
  /** The other end's address. */
  readonly peer: string;
}

/** Policies that select the sending pod for egress or the receiving pod for ingress. */
function selecting(s: Situation): Selection[] {
  const found: Selection[] = [];
  const select = (pod: Pod | null, direction: Selection["direction"], peer: string): void => {
    if (pod === null) return;
    for (const policy of s.names.policies) {
      if (policy.namespace === pod.namespace && matchesSelector(policy.podSelector, pod.labels)) found.push({ policy, direction, peer });
    }
  };
  select(s.names.pod(s.source), "Egress", s.current.destination);
  select(s.names.pod(s.current.destination), "Ingress", s.current.sourceSeen);
  return found;
}

function allowsByBlock(s: Situation, isKind: (address: string) => boolean): boolean {
  return selecting(s).some(({ policy, direction, peer }) => {
    const address = parseAddress(peer);
    return address !== null && isKind(peer) && rulesOf(policy, direction).some((rule) => hasBlock(rule, address));
  });
}

function hasBlock(rule: NetworkPolicyRule, address: Address): boolean {
  return (rule.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, address)
    && !ipBlock.except.some((hole) => prefixContains(hole, address)));
}

function rulesOf(policy: NetworkPolicy, direction: Selection["direction"]): readonly NetworkPolicyRule[] {
  return direction === "Ingress" ? policy.ingress : policy.egress;
}
