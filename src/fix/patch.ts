/** A manifest that cures a difference, as the text a user applies; what is tried is read from that text again. */
import { dump } from "js-yaml";
import type { Cluster, LabelSelector, NetworkPolicyPort, Timeline } from "../cluster/cluster.js";
import { type ManifestObjects, readManifests } from "../cluster/manifests.js";

/** `before`: of a kind that both dataplanes read, to be applied before the switch. `after`: Cilium's own. */
export type When = "before" | "after";

export interface Patch {
  /** Of the catalogue. */
  readonly id: string;
  readonly when: When;
  readonly kind: "NetworkPolicy" | "CiliumNetworkPolicy";
  readonly namespace: string;
  readonly name: string;
  readonly yaml: string;
  /** Keys of the flows it is for. */
  readonly flows: readonly string[];
}

export function yamlOf(manifest: object, comments: readonly string[]): string {
  const head = comments.map((line) => `# ${line.replace(/[^ -~]/g, " ")}\n`).join("");
  return head + dump(manifest, { forceQuotes: true, noRefs: true, lineWidth: -1 });
}

export function selectorOf({ matchLabels, matchExpressions }: LabelSelector): object {
  return {
    ...(Object.keys(matchLabels).length === 0 ? {} : { matchLabels }),
    ...(matchExpressions.length === 0 ? {} : { matchExpressions: matchExpressions.map(({ key, operator, values }) =>
      ({ key, operator, ...(values.length === 0 ? {} : { values }) })) }),
  };
}

export function portsOf(ports: readonly NetworkPolicyPort[] | null): object {
  if (ports === null) return {};
  return { ports: ports.map(({ protocol, port, endPort }) =>
    ({ protocol, ...(port === null ? {} : { port }), ...(endPort === null ? {} : { endPort }) })) };
}

/** The objects of the patches; our own mistake where they cannot be read. */
export function objectsOf(patches: readonly Patch[]): ManifestObjects {
  const { objects, problems } = readManifests(patches.map(({ name, yaml }) => ({ name: `${name}.yaml`, text: yaml })));
  const refused = problems.find((one) => one.severity === "error");
  if (refused !== undefined) throw new Error(`a patch cannot be read: ${refused.what}`);
  return objects;
}

/** The timeline with the patches' policies from its beginning on. */
export function patched(timeline: Timeline, { networkPolicies, ciliumPolicies }: ManifestObjects): Timeline {
  const cluster = (one: Cluster): Cluster => ({ ...one, networkPolicies: [...one.networkPolicies, ...networkPolicies],
    ciliumPolicies: [...one.ciliumPolicies, ...ciliumPolicies] });
  return { initial: cluster(timeline.initial), problems: [],
    changes: timeline.changes.map((one) => (one.kind === "cluster" ? { ...one, cluster: cluster(one.cluster) } : one)) };
}
