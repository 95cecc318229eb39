/**
 * A cluster whose policies say nothing of one direction, so that what they say of the other is seen by itself. Every engine
 * judges a packet's two ends by rules of their own, so a pair fares as both ends together let it; what shows that is not
 * this file but packets of the whole cluster (compose.ts).
 *
 * Policies of nodes stay as they are: they are nobody's end of a pair of pods.
 */
import type { AdminPolicy } from "../cluster/admin-policy.js";
import type { CiliumPolicy } from "../cluster/cilium/types.js";
import type { Cluster, NetworkPolicy, NetworkPolicyRule } from "../cluster/cluster.js";
import { rulesIn } from "./requirement.js";
import type { Direction } from "./selection.js";

/** @param kept the direction that policies still speak of */
export function halfOf(cluster: Cluster, kept: Direction): Cluster {
  return { ...cluster,
    networkPolicies: cluster.networkPolicies.flatMap((policy) => halfPolicy(policy, kept)),
    ciliumPolicies: cluster.ciliumPolicies.flatMap((policy) => halfCilium(policy, kept)),
    adminPolicies: cluster.adminPolicies.flatMap((policy) => halfAdmin(policy, kept)) };
}

function halfPolicy(policy: NetworkPolicy, kept: Direction): NetworkPolicy[] {
  const other = kept === "Ingress" ? "egress" : "ingress";
  const policyTypes = policy.policyTypes.filter((type) => type === kept);
  if (policyTypes.length > 0) return [{ ...policy, policyTypes, [other]: [] }];
  if (rulesIn(policy, kept).length === 0) return [];
  // Rules of a direction that policyTypes leaves out: the types stay, and the other direction allows all.
  const all: NetworkPolicyRule = { peers: null, ports: null, where: policy.where };
  return [{ ...policy, [other]: [all] }];
}

function halfCilium(policy: CiliumPolicy, kept: Direction): CiliumPolicy[] {
  const without = kept === "Ingress" ? { egress: [], egressDeny: [] } : { ingress: [], ingressDeny: [] };
  const rules = policy.rules.map((rule) => (rule.nodeSelector !== null ? rule : { ...rule, ...without }))
    .filter(({ nodeSelector, ingress, ingressDeny, egress, egressDeny }) => nodeSelector !== null
      || [ingress, ingressDeny, egress, egressDeny].some((list) => list.length > 0));
  return rules.length === 0 ? [] : [{ ...policy, rules }];
}

function halfAdmin(policy: AdminPolicy, kept: Direction): AdminPolicy[] {
  const half = kept === "Ingress" ? { ...policy, egress: [] } : { ...policy, ingress: [] };
  return half.ingress.length + half.egress.length === 0 ? [] : [half];
}
