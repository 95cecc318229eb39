/**
 * NetworkPolicy objects as Cilium's parser reads them (`pkg/k8s/network_policy.go`).
 *
 * One entry for every item of `from` or `to`; it allows `peer` on `ports`. Where Cilium differs from the API
 * text, it is Cilium that is followed here:
 * - `spec.ingress` and `spec.egress` are both installed whatever `policyTypes` says; a direction with a rule
 * is
 *   enforced.
 * - A direction without rules is enforced where `policyTypes` names it, or, for ingress, does not name
 * Egress.
 * - A peer without any member reads as all pods of the policy's own namespace.
 */
import type { Prefix } from "../../../cluster/address.js";
import type {
  LabelSelector,
  NetworkPolicy,
  NetworkPolicyPeer,
  NetworkPolicyPort,
  NetworkPolicyRule,
} from "../../../cluster/cluster.js";
import type { CiliumOptions } from "../../options.js";
import { CLUSTER_LABEL, NAMESPACE_LABELS_PREFIX, POD_NAMESPACE_LABEL } from "../labels.js";
import { ANY_PORT, type DirectionRules, IP_PROTOCOL, localCluster, NO_RULES, type Peer, type PolicyEntry, type PolicyRules,
  type PortRange, type Requirement, Tier } from "./entry.js";

export function policyRules(policy: NetworkPolicy, options: CiliumOptions): PolicyRules {
  const cluster = localCluster(options);
  const ingress = policy.ingress.flatMap((rule, index) => entriesOf(policy, rule, `ingress[${index}]`, "from", cluster));
  const egress = policy.egress.flatMap((rule, index) => entriesOf(policy, rule, `egress[${index}]`, "to", cluster));
  const names = policy.policyTypes;
  return {
    name: `${policy.namespace}/${policy.name}`,
    where: policy.where,
    subject: inNamespace(policy.namespace, requirementsOf(policy.podSelector, "")),
    forNodes: false,
    ingress: direction(ingress, policy.ingress.length > 0 || names.includes("Ingress") || !names.includes("Egress")),
    egress: direction(egress, policy.egress.length > 0 || names.includes("Egress")),
  };
}

function direction(entries: readonly PolicyEntry[], enforces: boolean): DirectionRules {
  return enforces ? { ...NO_RULES, enforces, defaultDeny: true, entries } : NO_RULES;
}

/** Keys that a NetworkPolicy's pod selectors name; where the label filter drops one, the selector cannot match by it. */
export function selectorKeys(policy: NetworkPolicy): Set<string> {
  const keys = new Set<string>();
  const add = (selector: LabelSelector | null): void => {
    if (selector === null) return;
    for (const key of Object.keys(selector.matchLabels)) keys.add(key);
    for (const { key } of selector.matchExpressions) keys.add(key);
  };
  add(policy.podSelector);
  for (const rule of [...policy.ingress, ...policy.egress]) {
    for (const peer of rule.peers ?? []) add(peer.podSelector);
  }
  return keys;
}

/** Every prefix that the rules name; each becomes an identity (`pkg/policy`, CIDR rule prefixes). */
export function policyPrefixes(rules: PolicyRules): Prefix[] {
  return [...rules.ingress.entries, ...rules.egress.entries].flatMap(({ peer }) => {
    if (peer.kind === "unknown" && peer.within !== undefined) return [peer.within];
    return peer.kind === "cidr" ? [peer.prefix, ...peer.except] : [];
  });
}

function entriesOf(
  policy: NetworkPolicy,
  rule: NetworkPolicyRule,
  path: string,
  member: "from" | "to",
  cluster: readonly Requirement[],
): PolicyEntry[] {
  const ports = rule.ports === null ? ANY_PORT : rule.ports.map(portRange);
  const object = `${policy.namespace}/${policy.name}`;
  const entry = (peer: Peer, at: string): PolicyEntry => ({ verdict: "allow", tier: Tier.Normal, priority: 0, peer, ports, auth: null,
    because: { where: rule.where, object, rule: at } });
  if (rule.peers === null) return [entry({ kind: "any", endpoints: true }, path)];
  return rule.peers.flatMap((peer, index) =>
    peersOf(policy.namespace, peer, cluster).map((one) => entry(one, `${path}.${member}[${index}]`)));
}

/** Usually one. The API refuses a peer with selectors and ipBlock; Cilium's parser would install both. */
function peersOf(namespace: string, peer: NetworkPolicyPeer, cluster: readonly Requirement[]): Peer[] {
  const peers: Peer[] = [];
  const named = peer.podSelector !== null && selects(peer.podSelector, CLUSTER_LABEL);
  const pinned = named ? [] : cluster;
  if (peer.namespaceSelector !== null) {
    const requirements = requirementsOf(peer.namespaceSelector, NAMESPACE_LABELS_PREFIX);
    // An empty namespaceSelector means "has a namespace": pods, and nothing that is not a pod.
    if (requirements.length === 0)
      requirements.push({ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] });
    if (peer.podSelector !== null) requirements.push(...requirementsOf(peer.podSelector, ""));
    peers.push({ kind: "labels", requirements: [...requirements, ...pinned] });
  } else if (peer.podSelector !== null || peer.ipBlock === null) {
    const requirements = peer.podSelector === null ? [] : requirementsOf(peer.podSelector, "");
    peers.push({ kind: "labels", requirements: [...inNamespace(namespace, requirements), ...pinned] });
  }
  if (peer.ipBlock !== null)
    peers.push({ kind: "cidr", prefix: peer.ipBlock.cidr, except: peer.ipBlock.except });
  return peers;
}

function selects({ matchLabels, matchExpressions }: LabelSelector, key: string): boolean {
  return (matchLabels[key] ?? "") !== "" || matchExpressions.some((one) => one.key === key);
}

function requirementsOf(selector: LabelSelector, prefix: string): Requirement[] {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels)) {
    requirements.push({ source: "k8s", key: prefix + key, operator: "In", values: [value] });
  }
  for (const { key, operator, values } of selector.matchExpressions) {
    requirements.push({ source: "k8s", key: prefix + key, operator, values });
  }
  return requirements;
}

function inNamespace(namespace: string, requirements: readonly Requirement[]): Requirement[] {
  // The parser overwrites the key in matchLabels, so a selector cannot name another namespace.
  return [{ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "In", values: [namespace] }, ...requirements];
}

function portRange(port: NetworkPolicyPort): PortRange {
  const protocol = IP_PROTOCOL[port.protocol];
  if (port.port === null) return { protocol, name: null, first: 0, last: 65535 };
  // Names are compared in lower case; endPort has no meaning for a name.
  if (typeof port.port === "string") return { protocol, name: port.port.toLowerCase(), first: 0, last: 0 };
  const last = port.endPort === null || port.endPort < port.port ? port.port : port.endPort;
  return { protocol, name: null, first: port.port, last };
}
