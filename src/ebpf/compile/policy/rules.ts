/**
 * NetworkPolicy objects as Cilium's parser reads them (`pkg/k8s/network_policy.go`).
 *
 * One Rule for every item of `from` or `to`; it allows `peer` on `ports`. Where Cilium differs from the API
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
import type { Because } from "../../../dataplane.js";
import { NAMESPACE_LABELS_PREFIX, POD_NAMESPACE_LABEL, isIdentityLabel } from "../labels.js";

export interface Requirement {
  readonly key: string;
  readonly operator: "In" | "NotIn" | "Exists" | "DoesNotExist";
  readonly values: readonly string[];
}

/** Label peers match pods only; CIDR peers match CIDR identities and world only. */
export type Peer =
  | { readonly kind: "any" }
  | { readonly kind: "labels"; readonly requirements: readonly Requirement[] }
  | { readonly kind: "cidr"; readonly prefix: Prefix; readonly except: readonly Prefix[] };

export interface PortRange {
  /** IP protocol number; 0 is every protocol. */
  readonly protocol: number;
  /** A container port's name, or null. */
  readonly name: string | null;
  /** 0..65535 is every port. */
  readonly first: number;
  readonly last: number;
}

export interface Rule {
  readonly peer: Peer;
  readonly ports: readonly PortRange[];
  readonly because: Because;
}

export interface PolicyRules {
  readonly policy: NetworkPolicy;
  readonly name: string;
  readonly subject: readonly Requirement[];
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  /** Whether the policy makes its subjects default-deny in that direction. */
  readonly enforcesIngress: boolean;
  readonly enforcesEgress: boolean;
}

export const IP_PROTOCOL = { TCP: 6, UDP: 17, SCTP: 132 } as const;
const ANY_PORT: readonly PortRange[] = [{ protocol: 0, name: null, first: 0, last: 65535 }];

export function policyRules(policy: NetworkPolicy): PolicyRules {
  const ingress = policy.ingress.flatMap((rule, index) => rulesOf(policy, rule, `ingress[${index}]`, "from"));
  const egress = policy.egress.flatMap((rule, index) => rulesOf(policy, rule, `egress[${index}]`, "to"));
  const names = policy.policyTypes;
  return {
    policy,
    name: `${policy.namespace}/${policy.name}`,
    subject: inNamespace(policy.namespace, requirementsOf(policy.podSelector, "")),
    ingress,
    egress,
    enforcesIngress: ingress.length > 0 || names.includes("Ingress") || !names.includes("Egress"),
    enforcesEgress: egress.length > 0 || names.includes("Egress"),
  };
}

/**
 * Keys of selectors that Cilium's label filter takes out of identities, so that the selector cannot match by
 * them.
 */
export function filteredKeys(policy: NetworkPolicy): string[] {
  const keys = new Set<string>();
  const add = (selector: LabelSelector | null): void => {
    if (selector === null) return;
    for (const key of Object.keys(selector.matchLabels)) if (!isIdentityLabel(key)) keys.add(key);
    for (const { key } of selector.matchExpressions) if (!isIdentityLabel(key)) keys.add(key);
  };
  add(policy.podSelector);
  for (const rule of [...policy.ingress, ...policy.egress]) {
    for (const peer of rule.peers ?? []) add(peer.podSelector);
  }
  return [...keys].sort();
}

/** Every prefix that the policy names; each becomes an identity (`pkg/policy`, CIDR rule prefixes). */
export function policyPrefixes(rules: PolicyRules): Prefix[] {
  return [...rules.ingress, ...rules.egress].flatMap(({ peer }) =>
    peer.kind === "cidr" ? [peer.prefix, ...peer.except] : [],
  );
}

function rulesOf(
  policy: NetworkPolicy,
  rule: NetworkPolicyRule,
  path: string,
  member: "from" | "to",
): Rule[] {
  const ports = rule.ports === null ? ANY_PORT : rule.ports.map(portRange);
  const object = `${policy.namespace}/${policy.name}`;
  if (rule.peers === null)
    return [{ peer: { kind: "any" }, ports, because: { where: rule.where, object, rule: path } }];
  return rule.peers.flatMap((peer, index) =>
    peersOf(policy.namespace, peer).map((one) => ({
      peer: one,
      ports,
      because: { where: rule.where, object, rule: `${path}.${member}[${index}]` },
    })),
  );
}

/** Usually one. The API refuses a peer with selectors and ipBlock; Cilium's parser would install both. */
function peersOf(namespace: string, peer: NetworkPolicyPeer): Peer[] {
  const peers: Peer[] = [];
  if (peer.namespaceSelector !== null) {
    const requirements = requirementsOf(peer.namespaceSelector, NAMESPACE_LABELS_PREFIX);
    // An empty namespaceSelector means "has a namespace": pods, and nothing that is not a pod.
    if (requirements.length === 0)
      requirements.push({ key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] });
    if (peer.podSelector !== null) requirements.push(...requirementsOf(peer.podSelector, ""));
    peers.push({ kind: "labels", requirements });
  } else if (peer.podSelector !== null || peer.ipBlock === null) {
    const requirements = peer.podSelector === null ? [] : requirementsOf(peer.podSelector, "");
    peers.push({ kind: "labels", requirements: inNamespace(namespace, requirements) });
  }
  if (peer.ipBlock !== null)
    peers.push({ kind: "cidr", prefix: peer.ipBlock.cidr, except: peer.ipBlock.except });
  return peers;
}

function requirementsOf(selector: LabelSelector, prefix: string): Requirement[] {
  const requirements: Requirement[] = [];
  for (const [key, value] of Object.entries(selector.matchLabels)) {
    requirements.push({ key: prefix + key, operator: "In", values: [value] });
  }
  for (const { key, operator, values } of selector.matchExpressions) {
    requirements.push({ key: prefix + key, operator, values });
  }
  return requirements;
}

function inNamespace(namespace: string, requirements: readonly Requirement[]): Requirement[] {
  // The parser overwrites the key in matchLabels, so a selector cannot name another namespace.
  return [{ key: POD_NAMESPACE_LABEL, operator: "In", values: [namespace] }, ...requirements];
}

function portRange(port: NetworkPolicyPort): PortRange {
  const protocol = IP_PROTOCOL[port.protocol];
  if (port.port === null) return { protocol, name: null, first: 0, last: 65535 };
  // Names are compared in lower case; endPort has no meaning for a name.
  if (typeof port.port === "string") return { protocol, name: port.port.toLowerCase(), first: 0, last: 0 };
  const last = port.endPort === null || port.endPort < port.port ? port.port : port.endPort;
  return { protocol, name: null, first: port.port, last };
}
