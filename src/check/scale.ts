/**
 * The same cluster grown to a number of pods, for what is counted without traffic.
 *
 * By replicas: every workload has more pods. Label sets stay, so identities and policy entries do; addresses, endpoints of
 * services and nodes multiply, nodes up to as many as Kubernetes is made for; what is more then stands on them. By labels:
 * every namespace stands there several times under names of its own, with its labels, pods, services and policies, as when
 * tenants or applications are added: identities multiply too, and a policy that names other namespaces by labels they all
 * have meets them all.
 */
import { type Address, addressFromBytes } from "../cluster/address.js";
import type { Cluster, EndpointSlice, Namespace, Node, NodeFacts, Pod } from "../cluster/cluster.js";
import { hasOwnAddress } from "../cluster/pod-identity.js";

export type ScaleBy = "replicas" | "labels";

export const SCALE_BY: readonly ScaleBy[] = ["replicas", "labels"];

/** A cluster with at least as many pods; the same where it has them already. Addresses of copies are out of 100.64.0.0/10 and fd00::/8. */
export function scaledCluster(cluster: Cluster, pods: number, by: ScaleBy): Cluster {
  const own = cluster.pods.filter(hasOwnAddress);
  const times = Math.ceil(pods / Math.max(1, own.length));
  if (times <= 1 || own.length === 0) return cluster;
  const copies = new Copies();
  for (let copy = 1; copy < times; copy++) copies.add(cluster, own, copy, by);
  return copies.joined(cluster);
}

/** Kubernetes, setup/best-practices/cluster-large: no more than 5,000 nodes; AKS has the same limit. */
export const MOST_NODES = 5000;

const NO_FACTS: NodeFacts = { devices: [], routes: [], neighbours: [], sysctls: {}, source: "assumed" };
const NAME_LABEL = "kubernetes.io/metadata.name";

class Copies {
  private readonly pods: Pod[] = [];
  private readonly nodes: Node[] = [];
  private readonly slices: EndpointSlice[] = [];
  private readonly namespaces = new Map<string, Namespace>();
  private readonly services: Cluster["services"][number][] = [];
  private readonly networkPolicies: Cluster["networkPolicies"][number][] = [];
  private readonly ciliumPolicies: Cluster["ciliumPolicies"][number][] = [];
  private given = 0;

  add(cluster: Cluster, own: readonly Pod[], copy: number, by: ScaleBy): void {
    const rename = (name: string): string => `${name}-${copy}`;
    // The copies of nodes stand for those that would be too many, in turn; 0 are the nodes there are.
    const turns = Math.max(1, Math.floor(MOST_NODES / Math.max(1, cluster.nodes.length)));
    const onNode = (name: string): string => (name === "" || copy % turns === 0 ? name : `${name}-${copy % turns}`);
    const within = (namespace: string): string => (by === "labels" && namespace !== "" ? rename(namespace) : namespace);
    const addresses = new Map<string, Address>();
    for (const pod of own) {
      const ips = pod.ips.map((ip) => this.address(ip.family));
      pod.ips.forEach((ip, index) => { addresses.set(ip.text, ips[index]); });
      this.pods.push({ ...pod, name: rename(pod.name), namespace: within(pod.namespace), nodeName: onNode(pod.nodeName), ips });
    }
    for (const node of copy < turns ? cluster.nodes : []) {
      this.nodes.push({ ...node, name: rename(node.name), podCIDRs: [], facts: NO_FACTS,
        addresses: node.addresses.map((one) => ({ ...one, address: this.address(one.address.family) })) });
    }
    for (const slice of cluster.endpointSlices) {
      const endpoints = slice.endpoints.filter((one) => one.addresses.some(({ text }) => addresses.has(text))).map((one) => ({ ...one,
        nodeName: onNode(one.nodeName), addresses: one.addresses.map((ip) => addresses.get(ip.text) ?? ip) }));
      if (endpoints.length > 0 || by === "labels") {
        this.slices.push({ ...slice, name: rename(slice.name), namespace: within(slice.namespace), endpoints });
      }
    }
    if (by === "replicas") return;
    for (const [name, namespace] of cluster.namespaces) {
      this.namespaces.set(rename(name), { ...namespace, name: rename(name), labels: { ...namespace.labels, [NAME_LABEL]: rename(name) } });
    }
    for (const service of cluster.services) {
      const fresh = (ip: Address): Address => this.address(ip.family);
      this.services.push({ ...service, namespace: rename(service.namespace), clusterIPs: service.clusterIPs.map(fresh),
        externalIPs: service.externalIPs.map(fresh),
        loadBalancerIngress: service.loadBalancerIngress.map((one) => ({ ...one, ip: fresh(one.ip) })),
        ports: service.ports.map((port) => ({ ...port, nodePort: 0 })) });
    }
    for (const policy of cluster.networkPolicies) this.networkPolicies.push({ ...policy, namespace: rename(policy.namespace) });
    for (const policy of cluster.ciliumPolicies) {
      if (policy.namespace !== "") this.ciliumPolicies.push({ ...policy, namespace: rename(policy.namespace) });
    }
  }

  joined(cluster: Cluster): Cluster {
    return { ...cluster, namespaces: new Map([...cluster.namespaces, ...this.namespaces]), nodes: [...cluster.nodes, ...this.nodes],
      pods: [...cluster.pods, ...this.pods], services: [...cluster.services, ...this.services],
      endpointSlices: [...cluster.endpointSlices, ...this.slices],
      networkPolicies: [...cluster.networkPolicies, ...this.networkPolicies],
      ciliumPolicies: [...cluster.ciliumPolicies, ...this.ciliumPolicies] };
  }

  private address(family: 4 | 6): Address {
    const number = this.given++;
    const low = [number >> 24, number >> 16, number >> 8, number].map((part) => part & 255);
    if (family === 4) return addressFromBytes(Uint8Array.of(100, 64 | (low[1] & 63), low[2], low[3]));
    return addressFromBytes(Uint8Array.of(0xfd, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, ...low));
  }
}
