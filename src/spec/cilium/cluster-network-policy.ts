/**
 * ClusterNetworkPolicy as Cilium 1.20 reads it (enable-k8s-cluster-network-policy): otherwise than the API's words in that
 * networks are CIDRs, which never match pods, nor nodes by default; a peer of a newer schema fails closed by itself, with
 * its rule's ports; and a pod that NetworkPolicy isolates still meets the Baseline tier. Rules of objects of equal priority
 * have the order of their numbers, a deny before an allow before a pass.
 *
 * Source: Cilium pkg/k8s/cluster_network_policy.go, pkg/policy/testutils/simulate.go.
 */
import type { AdminPeer, AdminPolicy, AdminPort, AdminRule, PodsPeer } from "../../cluster/admin-policy.js";
import type { CiliumRequirement } from "../../cluster/cilium/types.js";
import type { Cluster, LabelSelector, Pod } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import { isNamed } from "./fqdn.js";
import type { CiliumSpecOptions } from "./options.js";
import { contains, type Match } from "./peers.js";
import { matchingPorts, type Traffic } from "./ports.js";
import { matches } from "./selector.js";
import { CLUSTER, type Label, NAMESPACE_LABELS, POD_NAMESPACE, type Subject, type Subjects } from "./subject.js";

const ORDER = { Deny: 0, Allow: 1, Pass: 2 } as const;

/** null where nothing matches, or the rest of the tier is passed. */
export function tierVerdict(cluster: Cluster, options: CiliumSpecOptions, tier: "Admin" | "Baseline", pod: Pod, peer: Subject,
  traffic: Traffic, subjects: Subjects): { verdict: "allow" | "deny" | "undecided"; by: Because[] } | null {
  if (!options.clusterNetworkPolicy) return null;
  const statements = selecting(cluster, options, subjects.labelsOf(pod)).filter((policy) => policy.tier === tier)
    .flatMap((policy) => policy[traffic.direction].flatMap((rule, number) => statementsOf(rule).map((one) => ({
      ...one, order: policy.priority + number / 100,
      because: { where: rule.where, object: `${policy.kind} ${policy.name}`, rule: `${traffic.direction}[${number}]` },
    }))))
    .sort((a, b) => a.order - b.order || ORDER[a.action] - ORDER[b.action]);
  for (const { action, peer: named, ports, because } of statements) {
    const found = portsMatch(ports, traffic, cluster, options) ? isPeer(named, peer, options) : false;
    if (found === "maybe") return { verdict: "undecided", by: [because] };
    if (!found) continue;
    return action === "Pass" ? null : { verdict: action === "Deny" ? "deny" : "allow", by: [because] };
  }
  return null;
}

/** Whether some rule selects a pod with these labels in the direction. */
export function hasTierRules(cluster: Cluster, options: CiliumSpecOptions, direction: Traffic["direction"],
  labels: readonly Label[]): boolean {
  return options.clusterNetworkPolicy && selecting(cluster, options, labels).some((policy) => policy[direction].length > 0);
}

/** A policy that names nodes is not taken where nodes have no labels. */
function selecting(cluster: Cluster, { on }: CiliumSpecOptions, labels: readonly Label[]): AdminPolicy[] {
  const isTaken = ({ ingress, egress }: AdminPolicy): boolean => on.has("enable-node-selector-labels")
    || ![...ingress, ...egress].some(({ peers }) => peers.some(({ kind }) => kind === "nodes"));
  return cluster.adminPolicies.filter((one) => one.kind === "ClusterNetworkPolicy" && isTaken(one) && isPods(one.subject, labels));
}

interface TierStatement {
  readonly action: AdminRule["action"];
  /** null: everybody. */
  readonly peer: AdminPeer | null;
  readonly ports: readonly AdminPort[] | null;
}

function statementsOf({ action, peers, ports }: AdminRule): TierStatement[] {
  return peers.flatMap((peer): TierStatement[] => {
    if (peer.kind !== "unknown") return [{ action, peer, ports }];
    return action === "Allow" ? [] : [{ action: "Deny", peer: null, ports }];
  });
}

function isPeer(named: AdminPeer | null, peer: Subject, options: CiliumSpecOptions): Match {
  const { domainNames, version } = options;
  if (named === null) return true;
  switch (named.kind) {
    case "pods": return isPods(named, peer.labels) && (named.field === "namespaces" || isHere(peer.labels, options));
    case "networks": return named.cidrs.some((one) => contains(one, peer, { options }));
    case "domainNames": {
      if (peer.kind !== "world") return false;
      if (domainNames === undefined) return "maybe";
      const patterns = named.names.map((one) => ({ matchName: one.startsWith("*") ? null : one,
        matchPattern: one.startsWith("*") ? `*${one}` : null }));
      return (domainNames.get(peer.address.text) ?? []).some((name) => patterns.some((one) => isNamed(one, name, version)));
    }
    case "nodes": return (peer.kind === "host" || peer.kind === "remote-node")
      && matches(requirements(named.selector).map((one) => ({ ...one, source: "node" })), peer.labels);
    case "unknown": return false;
  }
}

function isPods({ namespaces, podSelector }: PodsPeer, labels: readonly Label[]): boolean {
  if (namespaces.by !== "selector") return false;
  const asked = requirements(namespaces.selector).map((one) => ({ ...one, key: `${NAMESPACE_LABELS}${one.key}` }));
  const inNamespace = asked.length > 0 ? asked : [{ source: "k8s", key: POD_NAMESPACE, operator: "Exists" as const, values: [] }];
  return matches([...inNamespace, ...requirements(podSelector)], labels);
}

/** What names pods asks for the cluster's label too; what names whole namespaces does not (kcnpParseNamespacedPod and its caller). */
function isHere(labels: readonly Label[], { localCluster, clusterName }: CiliumSpecOptions): boolean {
  return !localCluster || matches([{ source: "k8s", key: CLUSTER, operator: "In", values: [clusterName] }], labels);
}

function requirements({ matchLabels, matchExpressions }: LabelSelector): CiliumRequirement[] {
  const equal = Object.entries(matchLabels).map(([key, value]) => ({ source: "k8s", key, operator: "In" as const, values: [value] }));
  return [...equal, ...matchExpressions.map((one) => ({ source: "k8s", ...one }))];
}

function portsMatch(ports: readonly AdminPort[] | null, traffic: Traffic, cluster: Cluster, { version }: CiliumSpecOptions)
  : boolean {
  if (ports === null) return true;
  const items = ports.map((one) => (one.kind === "named" ? { port: one.name, endPort: 0, protocol: "ANY" as const }
    : { port: one.first, endPort: one.last, protocol: one.protocol }));
  const rule = { toPorts: [{ ports: items }], icmps: null } as unknown as Parameters<typeof matchingPorts>[0];
  const found = matchingPorts(rule, traffic, { cluster, version });
  return found !== null && found.length > 0;
}
