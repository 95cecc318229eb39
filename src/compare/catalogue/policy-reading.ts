/** Which policies select the ends of a flow, and how a peer's address stands in their rules: for predicates on policy. */
import { type Address, parseAddress, prefixContains } from "../../cluster/address.js";
import type { NetworkPolicy, NetworkPolicyRule, Pod } from "../../cluster/cluster.js";
import { matchesSelector } from "../../cluster/selector.js";
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Situation } from "./difference.js";

export interface Selection {
  readonly policy: NetworkPolicy;
  readonly direction: "Ingress" | "Egress";
  /** The other end's address. */
  readonly peer: string;
}

/** Arrives where a policy engine lets it, and Cilium's default deny drops it. */
export function newlyDenied(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived
    && s.target.outcome.end === End.Dropped && s.target.reason === "POLICY_DENIED";
}

/** Policies that select the sending pod for egress or the receiving pod for ingress. */
export function selecting(s: Situation): Selection[] {
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

/** Some rule on the flow's way has an ipBlock over the peer, which is of the kind asked for. */
export function allowsByBlock(s: Situation, isKind: (address: string) => boolean): boolean {
  return selecting(s).some(({ policy, direction, peer }) => {
    const address = parseAddress(peer);
    return address !== null && isKind(peer) && rulesOf(policy, direction).some((rule) => hasBlock(rule, address));
  });
}

export function rulesOf(policy: NetworkPolicy, direction: Selection["direction"]): readonly NetworkPolicyRule[] {
  return direction === "Ingress" ? policy.ingress : policy.egress;
}

function hasBlock(rule: NetworkPolicyRule, address: Address): boolean {
  return (rule.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, address)
    && !ipBlock.except.some((hole) => prefixContains(hole, address)));
}
