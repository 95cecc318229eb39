/**
 * Policies among a cluster's objects that a policy engine of iptables' side does not read, each a Problem: what it says is
 * not enforced there. Cilium's compiler says the same of its own side.
 */
import type { Cluster, ObjectMeta } from "./cluster/cluster.js";
import type { Problem } from "./cluster/problem.js";

/** @param admin whether the engine reads AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy */
export function unreadPolicies(cluster: Cluster, profile: string, admin: boolean): Problem[] {
  const unread: ObjectMeta[] = [...(admin ? [] : cluster.adminPolicies), ...cluster.ciliumPolicies];
  return unread.map(({ where, kind, namespace, name }) => ({ where, severity: "warning",
    what: `${kind} ${namespace === "" ? "" : `${namespace}/`}${name} is not read by ${profile}, which enforces nothing of it` }));
}
