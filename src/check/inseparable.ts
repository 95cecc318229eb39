/**
 * Policies whose two directions cannot be looked at one by one. An engine that refuses a policy refuses all of it: what is
 * wrong with its egress is why its ingress is not enforced, and a cluster without the egress would not show that. So a
 * policy that an engine says something about is always sent whole.
 */
import type { Cluster, NetworkPolicy } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import { checkTarget, type Network, type Profile, rulesProblems } from "../planes.js";
import { groupBy } from "./edge-pairs.js";

export function inseparableIn(cluster: Cluster, profiles: readonly Profile[], network: Network): (policy: NetworkPolicy) => boolean {
  // Cilium warns of labels that it leaves out, and uses the policy.
  const said = profiles.flatMap((profile) => (profile.engine === "cilium"
    ? checkTarget(profile, cluster, network).problems.filter(({ severity }) => severity === "error")
    : rulesProblems(cluster, network, profile.engine))).filter(({ where }) => where !== null);
  const byPlace = groupBy(said, ({ where }) => placeOf(where!));
  // Where a file is one line, all of its policies have one place.
  return ({ name, where, ingress, egress }) => [where, ...[...ingress, ...egress].map((rule) => rule.where)]
    .some((one) => (byPlace.get(placeOf(one)) ?? []).some(({ what }) => what.includes(name)));
}

function placeOf({ file, line }: Where): string {
  return `${file}:${line}`;
}
