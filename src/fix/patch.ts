/** A manifest that cures a difference, as the text a user applies; what is tried is read from that text again. */
import { dump } from "js-yaml";
import type { Cluster, LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, Timeline } from "../cluster/cluster.js";
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
  /** It stands in the place of the user's own object of this name. */
  readonly replaces?: true;
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

/** The whole policy as it would be written, but for annotations: they may hold what is nobody's to read in a report. */
export function policyManifest(policy: NetworkPolicy): object {
  const { name, namespace, labels, podSelector, policyTypes } = policy;
  const rules = (direction: "ingress" | "egress", side: "from" | "to"): object => (policy[direction].length === 0 ? {}
    : { [direction]: policy[direction].map(({ peers, ports }) =>
      ({ ...(peers === null ? {} : { [side]: peers.map(peerOf) }), ...portsOf(ports) })) });
  return { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
    metadata: { name, namespace, ...(Object.keys(labels).length === 0 ? {} : { labels }) },
    spec: { podSelector: selectorOf(podSelector), policyTypes, ...rules("ingress", "from"), ...rules("egress", "to") } };
}

function peerOf({ podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer): object {
  return {
    ...(podSelector === null ? {} : { podSelector: selectorOf(podSelector) }),
    ...(namespaceSelector === null ? {} : { namespaceSelector: selectorOf(namespaceSelector) }),
    ...(ipBlock === null ? {} : { ipBlock: { cidr: ipBlock.cidr.text,
      ...(ipBlock.except.length === 0 ? {} : { except: ipBlock.except.map(({ text }) => text) }) } }),
  };
}

/** The objects of the patches; our own mistake where they cannot be read. */
export function objectsOf(patches: readonly Patch[]): ManifestObjects {
  const { objects, problems } = readManifests(patches.map(({ name, yaml }) => ({ name: `${name}.yaml`, text: yaml })));
  const refused = problems.find((one) => one.severity === "error");
  if (refused !== undefined) throw new Error(`a patch cannot be read: ${refused.what}`);
  return objects;
}

/** The timeline with the patches' policies from its beginning on, each in its namesake's place. */
export function patched(timeline: Timeline, { networkPolicies, ciliumPolicies }: ManifestObjects): Timeline {
  const cluster = (one: Cluster): Cluster => ({ ...one, networkPolicies: merged(one.networkPolicies, networkPolicies),
    ciliumPolicies: merged(one.ciliumPolicies, ciliumPolicies) });
  return { initial: cluster(timeline.initial), problems: [],
    changes: timeline.changes.map((one) => (one.kind === "cluster" ? { ...one, cluster: cluster(one.cluster) } : one)) };
}

function merged<Policy extends { readonly namespace: string; readonly name: string }>(own: readonly Policy[], added: readonly Policy[])
  : Policy[] {
  const replaced = new Set(added.map(({ namespace, name }) => `${namespace}/${name}`));
  return [...own.filter(({ namespace, name }) => !replaced.has(`${namespace}/${name}`)), ...added];
}
