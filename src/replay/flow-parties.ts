/**
 * Who the parties of a recorded flow are in a cluster, and where on its nodes their packets begin. A pod is found by
 * its address, unless the log names another pod there: then the address has changed hands since, and the pod is found by
 * its name, or by its workload where the cluster's pods of that are all alike. Where the log names nobody, Cilium's identity
 * still tells a pod from what is outside, and an address that the snapshot has otherwise has changed hands. What is found in
 * none of these ways is said, never taken for somebody else.
 */
import { type Address, prefixContains } from "../cluster/address.js";
import type { Cluster, Device, Pod, Service } from "../cluster/cluster.js";
import { type FlowParty, kindOfIdentity } from "../flows/flow.js";

/** Where packets of somebody enter: a pod's device, a node's socket (device null), or from outside the cluster. */
export type Seat =
  | { readonly kind: "pod"; readonly address: Address; readonly node: string; readonly device: Device; readonly otherAddress: boolean }
  | { readonly kind: "node"; readonly address: Address; readonly node: string; readonly otherAddress: false }
  | { readonly kind: "outside"; readonly address: Address; readonly otherAddress: false };

/** Who a destination is. */
export interface Target {
  readonly address: Address;
  /** Node it is on; null: it is a service's address, or outside. */
  readonly node: string | null;
  readonly isService: boolean;
  readonly otherAddress: boolean;
}

export const STALE = "stale snapshot";
const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

export class FlowParties {
  private readonly podByAddress = new Map<string, Pod>();
  private readonly podByName = new Map<string, Pod>();
  private readonly podsOfWorkload = new Map<string, Pod[]>();
  private readonly nodeByAddress = new Map<string, string>();
  private readonly deviceOfPod = new Map<string, Device>();
  private readonly services = new Map<string, Service>();
  /** Addresses of services. */
  private readonly frontends = new Set<string>();
  /** `address PROTOCOL port` of services, node ports as `* PROTOCOL port`. */
  private readonly frontendPorts = new Set<string>();
  private readonly backends = new Set<string>();

  constructor(private readonly cluster: Cluster) {
    for (const node of cluster.nodes) {
      for (const { address } of node.addresses) this.nodeByAddress.set(address.text, node.name);
      for (const device of node.facts.devices) {
        if (device.pod !== null) this.deviceOfPod.set(`${node.name} ${device.pod}`, device);
        if (device.kind === "loopback") continue;
        for (const { address } of device.addresses) this.nodeByAddress.set(address.text, node.name);
      }
    }
    for (const pod of cluster.pods) this.addPod(pod);
    for (const service of cluster.services) this.addService(service);
    for (const slice of cluster.endpointSlices) {
      for (const { protocol, port } of slice.ports) {
        for (const { addresses } of slice.endpoints) {
          for (const address of addresses) this.backends.add(`${address.text} ${protocol} ${port}`);
        }
      }
    }
  }

  /** Where the source's packets begin, or why that is not known. */
  seat(party: FlowParty): Seat | string {
    if (party.address !== null && this.isNodes(party)) {
      return { kind: "node", address: party.address, node: this.nodeByAddress.get(party.address.text)!, otherAddress: false };
    }
    const found = this.pod(party, "source");
    if (typeof found === "string") return found;
    if (found === null) {
      if (party.address === null) return "neither the address nor the pod of the source is named";
      return { kind: "outside", address: party.address, otherAddress: false };
    }
    const { pod, address } = found;
    if (pod.hostNetwork) return { kind: "node", address, node: pod.nodeName, otherAddress: false };
    const device = this.deviceOfPod.get(`${pod.nodeName} ${pod.namespace}/${pod.name}`);
    if (device === undefined) return "the device of the source's pod is not known";
    return { kind: "pod", address, node: pod.nodeName, device, otherAddress: address.text !== party.address?.text };
  }

  /** The destination, or why it is not known. `service`: `namespace/name` that the log gives for it. */
  target(party: FlowParty, service: string, family: 4 | 6 | null): Target | string {
    const { address } = party;
    if (address !== null && this.frontends.has(address.text)) {
      return { address, node: this.nodeByAddress.get(address.text) ?? null, isService: true, otherAddress: false };
    }
    if (address !== null && this.isNodes(party)) {
      return { address, node: this.nodeByAddress.get(address.text)!, isService: false, otherAddress: false };
    }
    if (service !== "") return this.serviceTarget(party, service, family);
    const found = this.pod(party, "destination");
    if (typeof found === "string") return found;
    if (found !== null) {
      return { address: found.address, node: found.pod.nodeName, isService: false, otherAddress: found.address.text !== address?.text };
    }
    if (address === null) return "neither the address nor the pod of the destination is named";
    return { address, node: null, isService: false, otherAddress: false };
  }

  /** Whether a service or one of its endpoints listens there. */
  listens({ address, port }: FlowParty, protocol: number): boolean {
    if (address === null) return false;
    const name = `${PROTOCOLS[protocol] ?? ""} ${port}`;
    return this.backends.has(`${address.text} ${name}`) || this.frontendPorts.has(`${address.text} ${name}`)
      || (this.nodeByAddress.has(address.text) && this.frontendPorts.has(`* ${name}`));
  }

  /** Whether packets to there may have been sent to a service first. */
  isBackend(address: Address, protocol: number, port: number): boolean {
    return this.backends.has(`${address.text} ${PROTOCOLS[protocol] ?? ""} ${port}`);
  }

  private serviceTarget(party: FlowParty, name: string, family: 4 | 6 | null): Target | string {
    const service = this.services.get(name);
    const wanted = party.address?.family ?? family;
    const address = service?.clusterIPs.find((one) => wanted === null || one.family === wanted);
    if (address === undefined) return `${STALE}: the service that was connected to is not in it`;
    return { address, node: null, isService: true, otherAddress: address.text !== party.address?.text };
  }

  private isNodes({ address, pod }: FlowParty): boolean {
    return address !== null && this.nodeByAddress.has(address.text) && (pod === "" || this.podByAddress.get(address.text) === undefined);
  }

  /** The pod and the address it has in this cluster; null: it is none of the cluster's. */
  private pod(party: FlowParty, end: "source" | "destination"): { pod: Pod; address: Address } | string | null {
    const { address, namespace, pod: name, workload } = party;
    const at = address === null ? undefined : this.podByAddress.get(address.text);
    const isHim = at !== undefined && (name === "" || (at.namespace === namespace && at.name === name));
    const kind = kindOfIdentity(party.identity);
    if (isHim && name === "" && kind === "world") return `${STALE}: the ${end} was outside the cluster, and a pod of it has the address`;
    if (isHim && address !== null) return { pod: at, address };
    const named = this.podByName.get(`${namespace}/${name}`) ?? this.alike(namespace, workload);
    const own = named?.ips.find((one) => address === null || one.family === address.family);
    if (named !== undefined && own !== undefined) return { pod: named, address: own };
    if (name === "" && workload === "" && kind === "node") return `${STALE}: no node of it has the ${end}'s address`;
    if (name !== "" || workload !== "" || kind === "pod") return `${STALE}: the ${end}'s pod is not in it`;
    if (address !== null && this.cluster.nodes.some((node) => node.podCIDRs.some((range) => prefixContains(range, address)))) {
      return `${STALE}: no pod of it has the ${end}'s address`;
    }
    return null;
  }

  /** Any of a workload's pods, which policies and services cannot tell apart unless their labels differ. */
  private alike(namespace: string, workload: string): Pod | undefined {
    const pods = this.podsOfWorkload.get(`${namespace}/${workload}`) ?? [];
    return pods.every((pod) => sameLabels(pod, pods[0])) ? pods[0] : undefined;
  }

  private addPod(pod: Pod): void {
    this.podByName.set(`${pod.namespace}/${pod.name}`, pod);
    if (pod.phase === "Succeeded" || pod.phase === "Failed") return;
    if (!pod.hostNetwork) for (const ip of pod.ips) this.podByAddress.set(ip.text, pod);
    if (pod.owner === undefined) return;
    const key = `${pod.namespace}/${pod.owner}`;
    this.podsOfWorkload.set(key, [...this.podsOfWorkload.get(key) ?? [], pod]);
  }

  private addService(service: Service): void {
    this.services.set(`${service.namespace}/${service.name}`, service);
    const addresses = [...service.clusterIPs, ...service.externalIPs, ...service.loadBalancerIngress.map(({ ip }) => ip)];
    for (const { text } of addresses) {
      this.frontends.add(text);
      for (const { protocol, port } of service.ports) this.frontendPorts.add(`${text} ${protocol} ${port}`);
    }
    for (const { protocol, nodePort } of service.ports) if (nodePort !== 0) this.frontendPorts.add(`* ${protocol} ${nodePort}`);
  }
}

/** Labels that a workload gives each of its pods alone are left aside. */
function sameLabels(a: Pod, b: Pod): boolean {
  const own = /^(statefulset\.kubernetes\.io\/pod-name|apps\.kubernetes\.io\/pod-index|pod-template-hash|controller-revision-hash)$/;
  const text = ({ labels }: Pod): string => JSON.stringify(Object.entries(labels).filter(([key]) => !own.test(key)).sort());
  return text(a) === text(b);
}
