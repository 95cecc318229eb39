/**
 * How Azure NPM reads NetworkPolicies otherwise than the API's words, said as other NetworkPolicies: each reading turns
 * a cluster into one whose policies, taken by the words, are what NPM enforces. The ring asks the spec about that
 * cluster, so nothing of NPM's generator is in the answer.
 */
import { parsePrefix, prefixOf } from "../../src/cluster/address.js";
import type { Cluster, LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule } from "../../src/cluster/cluster.js";

export interface Reading {
  /** As the ring counts it. */
  readonly name: string;
  /** @param node the node that judges */
  readonly apply: (cluster: Cluster, node: string, lite: boolean) => Cluster;
}

/** NPM has no exception for a pod that reaches itself through a service; the ring asks as if another pod had the address. */
export const ITSELF: Reading = {
  name: "POL-HAIRPIN: a pod that reaches itself through a service is judged like any other", apply: (cluster) => cluster,
};

/** In the order in which they are tried as the one reason; together they are NPM. */
export const READINGS: readonly Reading[] = [
  {
    name: "refused policy (IPv6 block, or NPM Lite and a selector or a named port)",
    apply: (cluster, _node, lite) => (
      { ...cluster, networkPolicies: cluster.networkPolicies.filter((policy) => !isRefused(policy, lite)) }),
  },
  {
    name: "NotIn of several values for namespaces is any of them",
    apply: (cluster) => withPeers(cluster, (peer) => (peer.namespaceSelector === null ? [peer]
      : oneNotIn(peer.namespaceSelector).map((namespaceSelector) => ({ ...peer, namespaceSelector })))),
  },
  {
    name: "negative selectors match what is no pod",
    apply: (cluster) => withPeers(cluster, (peer) => (isNegative(peer) ? [peer, everythingButPods(cluster)] : [peer])),
  },
  {
    name: "a pod whose first address is IPv6 is a stranger to NPM",
    apply: (cluster) => ({ ...cluster, pods: cluster.pods.filter((pod) => pod.hostNetwork || pod.ips[0]?.family !== 6) }),
  },
  {
    name: "a pod of another node is a stranger to NPM Lite",
    apply: (cluster, node, lite) => (lite ? { ...cluster, pods: cluster.pods.filter((pod) => pod.nodeName === node) } : cluster),
  },
  {
    name: "a sidecar's port names are unknown to NPM",
    apply: (cluster) => (
      { ...cluster, pods: cluster.pods.map((pod) => ({ ...pod, ports: pod.ports.filter(({ sidecar }) => sidecar !== true) })) }),
  },
  ITSELF,
];

/** What a node's NPM enforces, by the words. */
export function asNpmReads(cluster: Cluster, node: string, lite: boolean, only: readonly Reading[] = READINGS): Cluster {
  return only.reduce((read, reading) => reading.apply(read, node, lite), cluster);
}

function isRefused(policy: NetworkPolicy, lite: boolean): boolean {
  return (["Ingress", "Egress"] as const).filter((type) => policy.policyTypes.includes(type)).some((type) => {
    const rules = type === "Ingress" ? policy.ingress : policy.egress;
    // Where a rule allows everything, NPM looks at no other.
    if (rules.some((rule) => rule.peers === null && rule.ports === null)) return false;
    const peers = rules.flatMap((rule) => rule.peers ?? []);
    return peers.some((peer) => peer.ipBlock?.cidr.address.family === 6 || (lite && peer.ipBlock === null))
      || (lite && rules.some((rule) => (rule.ports ?? []).some((port) => typeof port.port === "string")));
  });
}

function withPeers(cluster: Cluster, change: (peer: NetworkPolicyPeer) => NetworkPolicyPeer[]): Cluster {
  const rules = (list: readonly NetworkPolicyRule[]): NetworkPolicyRule[] => list.map((rule) => (
    { ...rule, peers: rule.peers === null ? null : rule.peers.flatMap(change) }));
  return { ...cluster, networkPolicies: cluster.networkPolicies.map((policy) => (
    { ...policy, ingress: rules(policy.ingress), egress: rules(policy.egress) })) };
}

/** A choice of selectors, each with one value for each NotIn. */
function oneNotIn(selector: LabelSelector): LabelSelector[] {
  const at = selector.matchExpressions.findIndex((one) => one.operator === "NotIn" && one.values.length > 1);
  if (at < 0) return [selector];
  return selector.matchExpressions[at].values.flatMap((value) => oneNotIn({ ...selector,
    matchExpressions: selector.matchExpressions.map((one, index) => (index === at ? { ...one, values: [value] } : one)) }));
}

/** Requirements, none of them one that a pod has to meet. */
function isNegative({ podSelector, namespaceSelector }: NetworkPolicyPeer): boolean {
  if (namespaceSelector === null) return false;
  const negative = ({ matchLabels, matchExpressions }: LabelSelector): boolean => Object.keys(matchLabels).length === 0
    && matchExpressions.every(({ operator }) => operator === "NotIn" || operator === "DoesNotExist");
  return namespaceSelector.matchExpressions.length > 0 && negative(namespaceSelector)
    && (podSelector === null || negative(podSelector));
}

function everythingButPods(cluster: Cluster): NetworkPolicyPeer {
  const pods = cluster.pods.filter((pod) => !pod.hostNetwork && pod.phase !== "Succeeded" && pod.ips[0]?.family === 4);
  return { podSelector: null, namespaceSelector: null,
    ipBlock: { cidr: parsePrefix("0.0.0.0/0")!, except: pods.map((pod) => prefixOf(pod.ips[0], 32)) } };
}
