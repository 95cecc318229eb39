/**
 * Policies whose two directions cannot be looked at one by one. An engine that refuses a policy refuses all of it: what is
 * wrong with its egress is why its ingress is not enforced, and a cluster without the egress would not show that. So a
 * policy that an engine says something about is always sent whole.
 */
import type { Cluster, NetworkPolicy } from "../cluster/cluster.js";
import type { Problem, Where } from "../cluster/problem.js";
import { type Network, placedErrorsOf, type Profile, rulesProblems } from "../planes.js";
import { groupBy } from "./edge-pairs.js";

/** @param known what `checkTarget` said of some of the profiles already */
export function inseparableIn(cluster: Cluster, profiles: readonly Profile[], network: Network,
  known: ReadonlyMap<Profile, readonly Problem[]> = new Map()): (policy: NetworkPolicy) => boolean {
  // Cilium warns of labels that it leaves out, and uses the policy.
  const errorsOf = (profile: Profile): readonly Problem[] => known.get(profile)?.filter(({ severity }) => severity === "error")
    ?? placedErrorsOf(profile, cluster, network);
  const said = profiles.flatMap((profile) => (profile.engine === "cilium" ? errorsOf(profile)
    : rulesProblems(cluster, network, profile.engine))).filter(({ where }) => where !== null);
  const byPlace = groupBy(said, ({ where }) => placeOf(where!));
  // Where a file is one line, all of its policies have one place.
  return ({ name, where, ingress, egress }) => [where, ...[...ingress, ...egress].map((rule) => rule.where)]
    .some((one) => (byPlace.get(placeOf(one)) ?? []).some(({ what }) => what.includes(name)));
}

function placeOf({ file, line }: Where): string {
  return `${file}:${line}`;
}
