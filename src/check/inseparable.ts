/**
 * Policies whose two directions cannot be looked at one by one. An engine that refuses a policy refuses all of it: what is
 * wrong with its egress is why its ingress is not enforced, and a cluster without the egress would not show that. So a
 * policy that an engine says something about is always sent whole.
 */
import type { Cluster, NetworkPolicy } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import { checkTarget, type Network, type Profile, rulesProblems } from "../planes.js";

export function inseparableIn(cluster: Cluster, profiles: readonly Profile[], network: Network): (policy: NetworkPolicy) => boolean {
  const said = new Set(profiles.flatMap((profile) => (profile.engine === "cilium" ? checkTarget(profile, cluster, network).problems
    : rulesProblems(cluster, network, profile.engine))).flatMap(({ where }) => (where === null ? [] : [placeOf(where)])));
  return ({ where, ingress, egress }) => [where, ...[...ingress, ...egress].map((rule) => rule.where)]
    .some((one) => said.has(placeOf(one)));
}

function placeOf({ file, line }: Where): string {
  return `${file}:${line}`;
}
