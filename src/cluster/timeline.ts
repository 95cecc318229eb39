/**
 * Objects, node facts and dated changes -> the Timeline both planes are given.
 *
 * What the API server or the kubelet would have filled in is filled in: a namespace that objects are in but
 * that is missing from the dump, and the addresses of host-network pods (their node's). A node without facts
 * gets assumed ones; its devices keep their ifindex through the whole timeline.
 */
import { assumedFacts, podDeviceIndexes } from "./assumed-facts.js";
import { withCiliumNodes } from "./cilium/node.js";
import type { Cluster, ConntrackDelete, Namespace, Node, NodeFacts, Pod, Timeline, TimelineChange }
  from "./cluster.js";
import { type ManifestObjects, withNameLabel } from "./manifests.js";
import type { NodeObject } from "./pod.js";
import type { Problem } from "./problem.js";

/** A change as the user states it: all objects from then on, or entries deleted from a conntrack table. */
export type DatedChange =
  | { readonly atNs: bigint; readonly kind: "objects"; readonly objects: ManifestObjects }
  | { readonly atNs: bigint; readonly kind: "conntrack-delete"; readonly entry: ConntrackDelete };

export interface TimelineInput {
  readonly initial: ManifestObjects;
  /** In any order; changes of one instant keep the order given. */
  readonly changes?: readonly DatedChange[];
  /** By node name; a node that is not here gets assumed facts. */
  readonly facts?: ReadonlyMap<string, NodeFacts>;
  /** Problems met while reading, passed on. */
  readonly problems?: readonly Problem[];
}

export function buildTimeline(input: TimelineInput): Timeline {
  const problems = [...(input.problems ?? [])];
  const facts = input.facts ?? new Map<string, NodeFacts>();
  const changes = [...(input.changes ?? [])].sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
  const later = changes.flatMap((change) => (change.kind === "objects" ? [change.objects] : []));
  const snapshots = [input.initial, ...later];
  const indexes = podDeviceIndexes(snapshots.flatMap((objects) => objects.pods));
  const cluster = (objects: ManifestObjects): Cluster => clusterOf(objects, facts, indexes);
  checkNodes(snapshots, facts, problems);
  checkServices(input.initial, problems);
  return {
    initial: cluster(input.initial),
    changes: changes.map((change): TimelineChange => (change.kind === "objects"
      ? { atNs: change.atNs, kind: "cluster", cluster: cluster(change.objects) }
      : change)),
    problems,
  };
}

/** The cluster of one instant. */
export function buildCluster(objects: ManifestObjects, facts: ReadonlyMap<string, NodeFacts> = new Map())
  : Cluster {
  return clusterOf(objects, facts, podDeviceIndexes(objects.pods));
}

function clusterOf(given: ManifestObjects, facts: ReadonlyMap<string, NodeFacts>,
  indexes: ReadonlyMap<string, number>): Cluster {
  const objects = { ...given, nodes: withCiliumNodes(given.nodes, given.others) };
  const pods = withHostNetworkAddresses(objects.pods, objects.nodes);
  const podsByNode = groupByNode(pods);
  const assumed = (node: NodeObject): NodeFacts =>
    assumedFacts(node, podsByNode.get(node.name) ?? [], objects.nodes, indexes);
  const nodes: Node[] = objects.nodes
    .map((node) => ({ ...node, facts: facts.get(node.name) ?? assumed(node) }));
  return {
    namespaces: namespacesOf(objects), nodes, pods,
    services: objects.services,
    endpointSlices: objects.endpointSlices,
    networkPolicies: objects.networkPolicies,
    adminPolicies: objects.adminPolicies,
    ciliumPolicies: objects.ciliumPolicies,
    cidrGroups: objects.cidrGroups,
    others: objects.others,
  };
}

/** Namespaces of the dump, and one for each namespace that an object is in. Sorted by name. */
function namespacesOf(objects: ManifestObjects): Map<string, Namespace> {
  const found = new Map<string, Namespace>(objects.namespaces.map((one) => [one.name, one]));
  const { pods, services, endpointSlices, networkPolicies, ciliumPolicies, others } = objects;
  const lists = [pods, services, endpointSlices, networkPolicies, ciliumPolicies, others];
  for (const list of lists) {
    for (const object of list) {
      if (object.namespace === "" || found.has(object.namespace)) continue;
      found.set(object.namespace, withNameLabel({ kind: "Namespace", namespace: "", name: object.namespace,
        labels: {}, annotations: {}, where: { file: object.where.file, line: 0 } }));
    }
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function withHostNetworkAddresses(pods: readonly Pod[], nodes: readonly NodeObject[]): Pod[] {
  const byName = new Map(nodes.map((node) => [node.name, node]));
  return pods.map((pod) => {
    if (!pod.hostNetwork || pod.ips.length > 0) return pod;
    const addresses = byName.get(pod.nodeName)?.addresses.filter((one) => one.type === "InternalIP") ?? [];
    return { ...pod, ips: addresses.map((one) => one.address) };
  });
}

function groupByNode(pods: readonly Pod[]): Map<string, Pod[]> {
  const groups = new Map<string, Pod[]>();
  for (const pod of pods) {
    const group = groups.get(pod.nodeName);
    if (group === undefined) groups.set(pod.nodeName, [pod]);
    else group.push(pod);
  }
  return groups;
}

/** Traffic to a service that no cluster gave an address is not recognised. */
function checkServices(objects: ManifestObjects, problems: Problem[]): void {
  for (const { namespace, name, clusterIPs, headless, type, where } of objects.services) {
    if (clusterIPs.length > 0 || headless || type === "ExternalName") continue;
    problems.push({ where, severity: "warning", what: `Service ${namespace}/${name}: found no clusterIP, expected the Service as the `
      + "cluster returns it; it has no address that traffic could match" });
  }
}

function checkNodes(snapshots: readonly ManifestObjects[], facts: ReadonlyMap<string, NodeFacts>,
  problems: Problem[]): void {
  const known = new Set(snapshots.flatMap((objects) => objects.nodes.map((node) => node.name)));
  for (const name of facts.keys()) {
    if (known.has(name)) continue;
    problems.push({ where: null, severity: "error",
      what: `node facts were given for ${name}, which is no node of the cluster; expected one of those` });
  }
  const missing = new Set<string>();
  for (const objects of snapshots) {
    for (const pod of objects.pods) {
      // Of nodes that are gone, ended pods are left for a while.
      if (pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      if (pod.nodeName === "" || known.has(pod.nodeName) || missing.has(pod.nodeName)) continue;
      missing.add(pod.nodeName);
      problems.push({ where: pod.where, severity: "error",
        what: `Pod ${pod.namespace}/${pod.name} runs on node ${pod.nodeName}, which is not among the `
          + "objects; expected its Node; traffic through that node cannot be followed" });
    }
  }
}
