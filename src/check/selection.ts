/**
 * Which pods a cluster's NetworkPolicies and their peers select, found by an index of labels so that thousands of
 * policies over many pods take no product of the two. Selectors are the product's own (src/cluster/selector.ts).
 */
import { type Address, prefixContains } from "../cluster/address.js";
import type { Cluster, LabelSelector, NetworkPolicy, NetworkPolicyPeer, Pod } from "../cluster/cluster.js";
import { type Labels, matchesSelector } from "../cluster/selector.js";

export type Direction = "Ingress" | "Egress";

/** Pods with addresses of their own, and who selects them. Host-network pods are not among them: no policy selects those. */
export class Selection {
  readonly pods: readonly Pod[];
  private readonly byNamespace = new Map<string, Pod[]>();
  /** `namespace`, `key`, `value` -> pods, NUL between. */
  private readonly byLabel = new Map<string, Pod[]>();
  private readonly subjects = new Map<NetworkPolicy, readonly Pod[]>();
  private readonly all = new Map<Pod, NetworkPolicy[]>();
  private readonly policies = { Ingress: new Map<Pod, NetworkPolicy[]>(), Egress: new Map<Pod, NetworkPolicy[]>() };

  constructor(readonly cluster: Cluster) {
    this.pods = cluster.pods.filter((pod) => !pod.hostNetwork && pod.phase !== "Succeeded" && pod.phase !== "Failed");
    for (const pod of this.pods) {
      put(this.byNamespace, pod.namespace, pod);
      for (const [key, value] of Object.entries(pod.labels)) put(this.byLabel, labelKey(pod.namespace, key, value), pod);
    }
    for (const policy of cluster.networkPolicies) {
      for (const pod of this.subject(policy)) {
        put(this.all, pod, policy);
        for (const type of policy.policyTypes) put(this.policies[type], pod, policy);
      }
    }
  }

  /** The pods that a policy is for. */
  subject(policy: NetworkPolicy): readonly Pod[] {
    let found = this.subjects.get(policy);
    if (found === undefined) {
      found = this.inNamespace(policy.namespace, policy.podSelector);
      this.subjects.set(policy, found);
    }
    return found;
  }

  /** The policies that select a pod, in the cluster's order. */
  selecting(pod: Pod): readonly NetworkPolicy[] {
    return this.all.get(pod) ?? NONE;
  }

  /** The policies that isolate a pod in a direction, in the cluster's order. */
  isolating(pod: Pod, direction: Direction): readonly NetworkPolicy[] {
    return this.policies[direction].get(pod) ?? NONE;
  }

  /** The pods that peers select by labels; null: any peer, so every pod. Blocks of addresses select none here. */
  peers(policy: NetworkPolicy, peers: readonly NetworkPolicyPeer[] | null): readonly Pod[] {
    if (peers === null) return this.pods;
    const found = new Set<Pod>();
    for (const peer of peers) for (const pod of this.peer(policy, peer)) found.add(pod);
    return [...found];
  }

  /** Whether a peer selects a pod by labels. */
  matches(policy: NetworkPolicy, { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer, pod: Pod): boolean {
    if (ipBlock !== null) return false;
    if (namespaceSelector === null ? pod.namespace !== policy.namespace
      : !matchesSelector(namespaceSelector, this.namespaceLabels(pod.namespace))) return false;
    return podSelector === null || matchesSelector(podSelector, pod.labels);
  }

  private peer(policy: NetworkPolicy, { podSelector, namespaceSelector, ipBlock }: NetworkPolicyPeer): readonly Pod[] {
    if (ipBlock !== null) return [];
    const selector = podSelector ?? ANY;
    if (namespaceSelector === null) return this.inNamespace(policy.namespace, selector);
    return [...this.byNamespace.keys()].filter((name) => matchesSelector(namespaceSelector, this.namespaceLabels(name)))
      .flatMap((name) => this.inNamespace(name, selector));
  }

  private inNamespace(namespace: string, selector: LabelSelector): readonly Pod[] {
    let candidates: readonly Pod[] = this.byNamespace.get(namespace) ?? [];
    for (const [key, value] of Object.entries(selector.matchLabels)) {
      const some = this.byLabel.get(labelKey(namespace, key, value)) ?? [];
      if (some.length < candidates.length) candidates = some;
    }
    return candidates.filter((pod) => matchesSelector(selector, pod.labels));
  }

  private namespaceLabels(name: string): Labels {
    return this.cluster.namespaces.get(name)?.labels ?? {};
  }
}

/** Whether a block of addresses holds an address. */
export function blockHolds({ cidr, except }: NonNullable<NetworkPolicyPeer["ipBlock"]>, address: Address): boolean {
  return prefixContains(cidr, address) && !except.some((hole) => prefixContains(hole, address));
}

const NONE: readonly NetworkPolicy[] = [];
const ANY: LabelSelector = { matchLabels: {}, matchExpressions: [] };

function labelKey(namespace: string, key: string, value: string): string {
  return `${namespace}\0${key}\0${value}`;
}

function put<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}
