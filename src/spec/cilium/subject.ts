/**
 * What an address is to Cilium, seen from a node: a pod with its labels, the node itself (host), another node, or the
 * world. A selector never sees the address, only these labels; a CIDR never sees the labels.
 *
 * Source: Cilium's documentation, "Terminology" (labels, special identities) and "Limiting identity-relevant labels".
 */
import { type Address } from "../../cluster/address.js";
import type { Cluster, Node, Pod } from "../../cluster/cluster.js";
import type { CiliumSpecOptions } from "./options.js";

export interface Label {
  readonly source: string;
  readonly key: string;
  readonly value: string;
}

export interface Subject {
  readonly address: Address;
  /** What CIDRs are held against: the own node is one thing with all its addresses (pkg/ipcache/metadata.go, cilium#28259). */
  readonly addresses: readonly Address[];
  readonly kind: "pod" | "host" | "remote-node" | "world";
  /** The pod; null for the others. */
  readonly pod: Pod | null;
  readonly labels: readonly Label[];
  /** Two running pods claim the address. */
  readonly claimedTwice: boolean;
}

export const POD_NAMESPACE = "io.kubernetes.pod.namespace";
export const NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels.";
export const CLUSTER = "io.cilium.k8s.policy.cluster";
const SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount";

/** Label keys that Cilium leaves out of identities by default, unless KEPT has them: both match at the key's start. */
const LEFT_OUT = [/^io\.kubernetes/, /^kubernetes\.io/, /^statefulset\.kubernetes\.io\/pod-name/, /^apps\.kubernetes\.io\/pod-index/,
  /^batch\.kubernetes\.io\/job-completion-index/, /^batch\.kubernetes\.io\/controller-uid/, /^.*beta\.kubernetes\.io/, /^k8s\.io/,
  /^pod-template-generation/, /^pod-template-hash/, /^controller-revision-hash/, /^controller-uid/, /^annotation.*/, /^etcd_node/];
const LEFT_OUT_SINCE_20 = /^topology\.kubernetes\.io/;
const KEPT = [/^io\.kubernetes\.pod\.namespace/, /^io\.cilium\.k8s\.namespace\.labels/, /^app\.kubernetes\.io/,
  /^io\.cilium\.k8s\.policy\.cluster/, /^io\.cilium\.k8s\.policy\.serviceaccount/];

export class Subjects {
  private readonly pods = new Map<string, Pod[]>();
  private readonly nodes = new Map<string, string>();
  private readonly ofNode = new Map<string, Address[]>();
  private readonly apiServers = new Set<string>();
  private readonly podLabels = new Map<Pod, readonly Label[]>();

  constructor(private readonly cluster: Cluster, private readonly options: CiliumSpecOptions) {
    for (const pod of cluster.pods) {
      if (pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      for (const { text } of pod.ips) this.pods.set(text, [...(this.pods.get(text) ?? []), pod]);
    }
    for (const node of cluster.nodes) {
      const own = [...node.addresses, ...node.facts.devices.flatMap(({ addresses }) => addresses)].map(({ address }) => address);
      for (const { text } of own) this.nodes.set(text, node.name);
      this.ofNode.set(node.name, own);
    }
    for (const slice of cluster.endpointSlices) {
      if (slice.namespace !== "default" || slice.serviceName !== "kubernetes") continue;
      for (const { addresses } of slice.endpoints) for (const { text } of addresses) this.apiServers.add(text);
    }
  }

  /** @param node name of the node that looks */
  at(address: Address, node: string): Subject {
    const pods = this.pods.get(address.text);
    if (pods !== undefined) {
      return { address, addresses: [address], kind: "pod", pod: pods[0], labels: this.labelsOf(pods[0]), claimedTwice: pods.length > 1 };
    }
    const owner = this.nodes.get(address.text);
    const kind = owner === undefined ? "world" : owner === node ? "host" : "remote-node";
    const world = !this.options.dualStack ? "world" : address.family === 4 ? "world-ipv4" : "world-ipv6";
    const addresses = kind === "host" ? this.ofNode.get(node)! : [address];
    const isApiServer = addresses.some(({ text }) => this.apiServers.has(text));
    const names = [kind === "world" ? world : kind, ...(isApiServer ? ["kube-apiserver"] : [])];
    return { address, addresses, kind, pod: null, labels: [...names.map(reserved), ...this.nodeLabels(owner)], claimedTwice: false };
  }

  /** enable-node-selector-labels gives nodes their own labels. */
  private nodeLabels(name: string | undefined): Label[] {
    const node = this.cluster.nodes.find((one) => one.name === name);
    if (node === undefined || !this.options.on.has("enable-node-selector-labels")) return [];
    return [...Object.entries(node.labels).map(([key, value]) => ({ source: "node", key, value })),
      { source: "k8s", key: CLUSTER, value: this.options.clusterName }];
  }

  /** The node that has the address; null where none does. */
  nodeOf(address: Address): Node | null {
    const name = this.nodes.get(address.text);
    return this.cluster.nodes.find((one) => one.name === name) ?? null;
  }

  /** Of the node as what its host policies are for: its own labels are Kubernetes' here. */
  hostLabelsOf(node: Node): readonly Label[] {
    const own = Object.entries(node.labels).filter(([key]) => isIdentityLabel(key, this.options.version))
      .map(([key, value]) => ({ source: "k8s", key, value }));
    return [...this.at(this.ofNode.get(node.name)![0], node.name).labels, ...own];
  }

  labelsOf(pod: Pod): readonly Label[] {
    let found = this.podLabels.get(pod);
    if (found === undefined) {
      const namespace = this.cluster.namespaces.get(pod.namespace)?.labels ?? {};
      const all: [string, string][] = [...Object.entries(pod.labels), [POD_NAMESPACE, pod.namespace],
        ...Object.entries(namespace).map(([key, value]): [string, string] => [`${NAMESPACE_LABELS}${key}`, value]),
        [CLUSTER, this.options.clusterName], [SERVICE_ACCOUNT, pod.serviceAccountName]];
      found = all.filter(([key]) => isIdentityLabel(key, this.options.version)).map(([key, value]) => ({ source: "k8s", key, value }));
      this.podLabels.set(pod, found);
    }
    return found;
  }
}

function reserved(key: string): Label {
  return { source: "reserved", key, value: "" };
}

/** Of patterns that keep a key the longest match counts, of those that leave it out the shortest; the longer of the two wins. */
function isIdentityLabel(key: string, version: number): boolean {
  const lengths = (patterns: readonly RegExp[]): number[] => patterns.map((one) => one.exec(key)?.[0].length ?? 0).filter((one) => one > 0);
  const [kept, left] = [lengths(KEPT), lengths(version < 20 ? LEFT_OUT : [...LEFT_OUT, LEFT_OUT_SINCE_20])];
  return left.length === 0 || (kept.length > 0 && Math.max(...kept) > Math.min(...left));
}
