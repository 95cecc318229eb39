/**
 * Classes of pods and of nodes: members of one class are alike to every selector of every policy, have the same named
 * ports, lie in the same address blocks, and stand on nodes that are alike.
 *
 * Of labels only what some selector asks for is looked at: the value where a selector names it, else whether the key is
 * there where a selector asks that. Where policies other than NetworkPolicy are among the objects, all labels count, and the
 * service account, since those read more.
 */
import { type Address, type Prefix, prefixContains } from "../cluster/address.js";
import type { Cluster, LabelSelector, NetworkPolicy, Node, Pod } from "../cluster/cluster.js";
import { matchesSelector } from "../cluster/selector.js";
import { groupBy } from "./edge-pairs.js";
import { concerns, numbersOf } from "./requirement.js";
import { Selection } from "./selection.js";

export interface PodClass {
  readonly index: number;
  /** On the first node first. */
  readonly pods: readonly Pod[];
  /** Numbers of nodes (`Classes.nodes`), ascending -> its pods there. */
  readonly byNode: ReadonlyMap<number, readonly Pod[]>;
  readonly nodeClass: number;
  /**
   * Policies that select it and say something of the direction, in the cluster's order. Those are among them that only a
   * NotIn or DoesNotExist keeps from selecting it: an engine that leaves a label out of what it knows of pods lets them.
   */
  readonly policies: { readonly Ingress: readonly NetworkPolicy[]; readonly Egress: readonly NetworkPolicy[] };
}

export interface ClassOptions {
  /** Prefixes that something beside policies tells addresses apart by: pod ranges, what is not masqueraded, source ranges. */
  readonly prefixes: readonly Prefix[];
  /** Nodes that are like no other: those with rules or facts of their own. */
  readonly special: ReadonlySet<string>;
}

export class Classes {
  readonly pods: readonly PodClass[];
  readonly nodes: readonly Node[];
  /** By number of the node. */
  readonly nodeClassOf: Int32Array;
  readonly nodeNumbers: ReadonlyMap<string, number>;
  readonly classOf = new Map<Pod, PodClass>();
  /** Policies of kinds beside NetworkPolicy are there: no two label sets are alike. */
  readonly hasOtherKinds: boolean;
  /** All prefixes that addresses are told apart by. */
  readonly prefixes: readonly Prefix[];
  readonly selection: Selection;
  /** Policies with a NotIn or DoesNotExist in their subject, by namespace. */
  private readonly negative: ReadonlyMap<string, readonly NetworkPolicy[]>;

  constructor(readonly cluster: Cluster, { prefixes, special }: ClassOptions) {
    this.selection = new Selection(cluster);
    this.hasOtherKinds = cluster.ciliumPolicies.length > 0 || cluster.adminPolicies.length > 0;
    this.prefixes = uniquePrefixes([...prefixes, ...policyPrefixes(cluster)]);
    this.nodes = [...cluster.nodes].sort((a, b) => order(a.name, b.name));
    this.nodeNumbers = new Map(this.nodes.map((node, number) => [node.name, number]));
    this.nodeClassOf = this.classifyNodes(special);
    this.negative = groupBy(cluster.networkPolicies.filter(({ podSelector }) => podSelector.matchExpressions.some(isNegative)),
      ({ namespace }) => namespace);
    this.pods = this.classifyPods();
  }

  /** In which prefixes an address lies. */
  blocksOf(address: Address): string {
    return this.prefixes.map((prefix) => (prefixContains(prefix, address) ? "1" : "0")).join("");
  }

  private classifyNodes(special: ReadonlySet<string>): Int32Array {
    const numbers = new Map<string, number>();
    const apiServer = new Set(this.cluster.endpointSlices.filter((one) => one.namespace === "default" && one.serviceName === "kubernetes")
      .flatMap((slice) => slice.endpoints.flatMap(({ addresses }) => addresses.map(({ text }) => text))));
    return Int32Array.from(this.nodes, (node) => {
      const key = special.has(node.name) || node.facts.source === "read" ? node.name : JSON.stringify([
        node.addresses.map(({ type, address }) => [type, address.family, this.blocksOf(address), apiServer.has(address.text)]),
        node.podCIDRs.map((range) => [range.address.family, this.blocksOf(range.address)]),
        this.hasOtherKinds ? node.labels : node.labels["topology.kubernetes.io/zone"] ?? "", node.labels["kubernetes.io/os"] ?? ""]);
      return numbered(numbers, key);
    });
  }

  private classifyPods(): PodClass[] {
    const keys = keysOf(this.cluster);
    const names = [...new Set(this.cluster.networkPolicies.flatMap(({ ingress, egress }) => [...ingress, ...egress])
      .flatMap(({ ports }) => (ports ?? []).flatMap(({ port }) => (typeof port === "string" ? [port] : []))))].sort();
    const withPolicies = new Set(this.cluster.networkPolicies.map(({ namespace }) => namespace));
    const namespaces = new Map<string, string>();
    const groups = new Map<string, Pod[]>();
    for (const pod of [...this.selection.pods].sort((a, b) => this.byNodeAndName(a, b))) {
      const node = this.nodeNumbers.get(pod.nodeName);
      if (node === undefined || pod.ips.length === 0) continue;
      let namespace = namespaces.get(pod.namespace);
      if (namespace === undefined) {
        const labels = this.cluster.namespaces.get(pod.namespace)?.labels ?? {};
        const named = withPolicies.has(pod.namespace) || this.hasOtherKinds ? pod.namespace : "";
        namespace = JSON.stringify([named, this.hasOtherKinds ? sorted(labels) : tokens(keys.namespaces, labels)]);
        namespaces.set(pod.namespace, namespace);
      }
      const key = JSON.stringify([namespace, this.hasOtherKinds ? [sorted(pod.labels), pod.serviceAccountName, pod.ports]
        : tokens(keys.pods, pod.labels), names.map((name) => numbersOf(pod, name)),
        pod.ips.map((ip) => [ip.family, this.blocksOf(ip)]), this.nodeClassOf[node]]);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [pod]);
      else group.push(pod);
    }
    return [...groups.values()].map((pods, index) => this.classOfPods(pods, index));
  }

  private classOfPods(pods: readonly Pod[], index: number): PodClass {
    const byNode = new Map<number, Pod[]>();
    for (const pod of pods) {
      const node = this.nodeNumbers.get(pod.nodeName)!;
      const list = byNode.get(node);
      if (list === undefined) byNode.set(node, [pod]);
      else list.push(pod);
    }
    const selecting = this.selecting(pods[0]);
    const made: PodClass = { index, pods, byNode, nodeClass: this.nodeClassOf[this.nodeNumbers.get(pods[0].nodeName)!],
      policies: { Ingress: selecting.filter((one) => concerns(one, "Ingress")),
        Egress: selecting.filter((one) => concerns(one, "Egress")) } };
    for (const pod of pods) this.classOf.set(pod, made);
    return made;
  }

  private selecting(pod: Pod): readonly NetworkPolicy[] {
    const found = this.selection.selecting(pod);
    const more = (this.negative.get(pod.namespace) ?? []).filter((policy) => !found.includes(policy) && matchesSelector(
      { ...policy.podSelector, matchExpressions: policy.podSelector.matchExpressions.filter((one) => !isNegative(one)) }, pod.labels));
    if (more.length === 0) return found;
    const all = new Set([...found, ...more]);
    return this.cluster.networkPolicies.filter((policy) => all.has(policy));
  }

  private byNodeAndName(a: Pod, b: Pod): number {
    return (this.nodeNumbers.get(a.nodeName) ?? -1) - (this.nodeNumbers.get(b.nodeName) ?? -1)
      || order(a.namespace, b.namespace) || order(a.name, b.name);
  }
}

function isNegative({ operator }: LabelSelector["matchExpressions"][number]): boolean {
  return operator === "NotIn" || operator === "DoesNotExist";
}

/** Of each key of labels: the values that selectors name, and whether one asks for the key alone. */
type Keys = Map<string, { readonly values: Set<string>; present: boolean }>;

function keysOf(cluster: Cluster): { pods: Keys; namespaces: Keys } {
  const pods: Keys = new Map();
  const namespaces: Keys = new Map();
  for (const { podSelector, ingress, egress } of cluster.networkPolicies) {
    addKeys(pods, podSelector);
    for (const { peers } of [...ingress, ...egress]) {
      for (const peer of peers ?? []) {
        if (peer.podSelector !== null) addKeys(pods, peer.podSelector);
        if (peer.namespaceSelector !== null) addKeys(namespaces, peer.namespaceSelector);
      }
    }
  }
  return { pods, namespaces };
}

function addKeys(keys: Keys, { matchLabels, matchExpressions }: LabelSelector): void {
  const of = (key: string): { readonly values: Set<string>; present: boolean } => {
    let found = keys.get(key);
    if (found === undefined) keys.set(key, found = { values: new Set(), present: false });
    return found;
  };
  for (const [key, value] of Object.entries(matchLabels)) of(key).values.add(value);
  for (const { key, operator, values } of matchExpressions) {
    const found = of(key);
    for (const value of values) found.values.add(value);
    if (operator === "Exists" || operator === "DoesNotExist") found.present = true;
  }
}

function tokens(keys: Keys, labels: Readonly<Record<string, string>>): string[] {
  return [...keys].map(([key, { values, present }]) => {
    if (!Object.hasOwn(labels, key)) return "";
    return values.has(labels[key]) ? `=${labels[key]}` : present ? "*" : "";
  });
}

function sorted(labels: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(labels).sort(([a], [b]) => order(a, b));
}

function policyPrefixes({ networkPolicies, ciliumPolicies, adminPolicies, cidrGroups }: Cluster): Prefix[] {
  const blocks = networkPolicies.flatMap(({ ingress, egress }) => [...ingress, ...egress])
    .flatMap(({ peers }) => (peers ?? []).flatMap(({ ipBlock }) => (ipBlock === null ? [] : [ipBlock.cidr, ...ipBlock.except])));
  const cilium = ciliumPolicies.flatMap(({ rules }) => rules).flatMap((one) => [...one.ingress, ...one.ingressDeny, ...one.egress,
    ...one.egressDeny]).flatMap(({ cidr, cidrSet }) => [...cidr ?? [],
    ...(cidrSet ?? []).flatMap((set) => [...(set.cidr === null ? [] : [set.cidr]), ...set.except])]);
  const admin = adminPolicies.flatMap(({ ingress, egress }) => [...ingress, ...egress])
    .flatMap(({ peers }) => peers.flatMap((peer) => (peer.kind === "networks" ? peer.cidrs : [])));
  return [...blocks, ...cilium, ...admin, ...cidrGroups.flatMap(({ externalCIDRs }) => externalCIDRs)];
}

function uniquePrefixes(prefixes: readonly Prefix[]): Prefix[] {
  return [...new Map(prefixes.map((one) => [one.text, one])).values()].sort((a, b) => order(a.text, b.text));
}

/** The number of a text, the next where it is new. */
export function numbered(numbers: Map<string, number>, text: string): number {
  let number = numbers.get(text);
  if (number === undefined) numbers.set(text, number = numbers.size);
  return number;
}

export function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
