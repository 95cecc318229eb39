/**
 * Who owns an address in a cluster: pod, node, or a service's frontend. For naming flows and for the preconditions
 * of differences; it decides nothing about traffic.
 */
import { type Address, addressText } from "../cluster/address.js";
import type { CiliumPolicy } from "../cluster/cilium/types.js";
import type { Cluster, NetworkPolicy, Pod, Service, ServicePort } from "../cluster/cluster.js";
import { LabelIndex, labelsIn, requiredLabels } from "../cluster/label-index.js";
import { matchesSelector } from "../cluster/selector.js";

export interface Frontend {
  readonly service: Service;
  /** null: the address is the service's, the port is not. */
  readonly port: ServicePort | null;
  readonly kind: "ClusterIP" | "ExternalIP" | "LoadBalancer" | "NodePort";
  /** Ready or serving endpoints anywhere, by EndpointSlice. */
  readonly endpoints: number;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

export class Names {
  readonly policies: readonly NetworkPolicy[];
  readonly ciliumPolicies: readonly CiliumPolicy[];
  /** Every pod with an address of its own. */
  readonly allPods: readonly Pod[];
  /** Nodes whose conntrack takes no TCP connection up in the middle. */
  readonly strictNodes: ReadonlySet<string>;
  /** Policies are not what they were when the timeline began. */
  readonly policiesChanged: boolean;
  /** Some node has a tunnel device of the CNI it has now. */
  readonly hasTunnels: boolean;
  private readonly namespaces: Cluster["namespaces"];
  private readonly pods = new Map<string, Pod>();
  private readonly nodes = new Map<string, string>();
  private readonly frontends = new Map<string, { service: Service; kind: Frontend["kind"] }[]>();
  private readonly nodePorts = new Map<string, { service: Service; port: ServicePort }>();
  private readonly endpoints = new Map<string, number>();
  /** `namespace/service:port/PROTOCOL address:port` of every endpoint. */
  private readonly backends = new Set<string>();
  private readonly everBackends = new Set<string>();
  /** `namespace/service:port/PROTOCOL address port zone=…`, or `node=…`, of every topology hint. */
  private readonly hints = new Set<string>();
  private readonly zones = new Map<string, string>();
  /** `node PROTOCOL/port` */
  private readonly hostPorts = new Map<string, Pod>();
  private readonly internal = new Set<string>();
  /** By a pod's namespace and labels. */
  private readonly selecting = new Map<string, readonly NetworkPolicy[]>();
  private readonly selectingPod = new Map<Pod, readonly NetworkPolicy[]>();
  /** The policies, once it is asked which select a pod. */
  private byLabels: LabelIndex<NetworkPolicy> | null = null;
  private readonly tunnels = new Set<string>();
  /** Addresses of a node and its uplinks but those of a link, by `node family`. */
  private readonly uplinks = new Map<string, Set<string>>();

  /** `before`: the names until a change, whose endpoints are remembered. */
  constructor(cluster: Cluster, before: Names | null = null) {
    for (const backend of before?.everBackends ?? []) this.everBackends.add(backend);
    this.namespaces = cluster.namespaces;
    this.policies = cluster.networkPolicies;
    this.ciliumPolicies = cluster.ciliumPolicies;
    this.allPods = cluster.pods.filter((pod) => !pod.hostNetwork);
    this.strictNodes = new Set(cluster.nodes.filter(({ facts }) => facts.sysctls["net.netfilter.nf_conntrack_tcp_loose"] === "0")
      .map(({ name }) => name));
    this.policiesChanged = before !== null && (before.policiesChanged || before.policies !== cluster.networkPolicies
      || before.ciliumPolicies !== cluster.ciliumPolicies);
    this.hasTunnels = cluster.nodes.some((node) => node.facts.devices.some((device) => device.kind === "tunnel"));
    for (const node of cluster.nodes) {
      this.zones.set(node.name, node.labels["topology.kubernetes.io/zone"] ?? "");
      for (const { address, type } of node.addresses) {
        this.nodes.set(address.text, node.name);
        if (type === "InternalIP") this.internal.add(address.text);
        this.addUplink(node.name, address);
      }
      for (const device of node.facts.devices) {
        for (const { address } of device.addresses) {
          if (device.kind !== "loopback" && !this.nodes.has(address.text)) this.nodes.set(address.text, node.name);
          if (device.kind === "tunnel") this.tunnels.add(address.text);
          if (device.kind === "uplink") this.addUplink(node.name, address);
        }
      }
    }
    for (const pod of cluster.pods) if (!pod.hostNetwork) for (const ip of pod.ips) this.pods.set(ip.text, pod);
    for (const pod of cluster.pods) this.addHostPorts(pod);
    for (const service of cluster.services) this.addService(service);
    for (const slice of cluster.endpointSlices) {
      const usable = slice.endpoints.filter((endpoint) => endpoint.ready || endpoint.serving).length;
      for (const port of slice.ports) {
        const key = `${slice.namespace}/${slice.serviceName}:${port.name}/${port.protocol}`;
        this.endpoints.set(key, (this.endpoints.get(key) ?? 0) + usable);
        for (const endpoint of slice.endpoints) {
          for (const address of endpoint.addresses) {
            this.backends.add(`${key} ${address.text} ${port.port}`);
            this.everBackends.add(`${key} ${address.text} ${port.port}`);
            for (const zone of endpoint.hintZones) this.hints.add(`${key} ${address.text} ${port.port} zone=${zone}`);
            for (const node of endpoint.hintNodes) this.hints.add(`${key} ${address.text} ${port.port} node=${node}`);
          }
        }
      }
    }
  }

  pod(address: string): Pod | null {
    return this.pods.get(address) ?? null;
  }

  /** Policies that select the pod, in the cluster's order, whatever directions they have. */
  policiesOf(pod: Pod): readonly NetworkPolicy[] {
    let found = this.selectingPod.get(pod);
    if (found === undefined) this.selectingPod.set(pod, found = this.selectingLabels(pod));
    return found;
  }

  namespaceLabels(name: string): Pod["labels"] {
    return this.namespaces.get(name)?.labels ?? {};
  }

  node(address: string): string | null {
    return this.nodes.get(address) ?? null;
  }

  /** Every address of a node, with the node's name. */
  nodeAddresses(): ReadonlyMap<string, string> {
    return this.nodes;
  }

  /** Whether an address and port are an endpoint of the service port now. */
  isEndpoint(frontend: Frontend, address: string, port: number): boolean {
    return this.backends.has(backendKey(frontend, address, port));
  }

  /** The same at some time since the timeline began. */
  wasEndpoint(frontend: Frontend, address: string, port: number): boolean {
    return this.everBackends.has(backendKey(frontend, address, port));
  }

  /** Every endpoint of the service port, ready or not. */
  endpointsOf(frontend: Frontend): [address: string, port: number][] {
    const prefix = `${portKey(frontend)} `;
    return [...this.backends].filter((backend) => backend.startsWith(prefix)).map((backend) => {
      const [address, port] = backend.slice(prefix.length).split(" ");
      return [address, Number(port)];
    });
  }

  /** Whether an endpoint's topology hints are for a node or its zone. */
  isHintedTo(node: string, frontend: Frontend, address: string, port: number): boolean {
    const key = backendKey(frontend, address, port);
    return this.hints.has(`${key} node=${node}`) || this.hints.has(`${key} zone=${this.zones.get(node) ?? ""}`);
  }

  /** The pod that has this port of the node with this address as its host port. */
  hostPort(address: string, protocol: string, port: number): Pod | null {
    return this.hostPorts.get(`${this.nodes.get(address) ?? ""} ${protocol}/${port}`) ?? null;
  }

  /** Whether it is the address by which the cluster knows the node. */
  isInternal(address: string): boolean {
    return this.internal.has(address);
  }

  /** Whether the node has no other address of this family by which it could be known outside: it masquerades with this one. */
  isOnlyUplink(address: string): boolean {
    const node = this.nodes.get(address);
    const known = this.uplinks.get(`${node ?? ""} ${address.includes(":") ? 6 : 4}`);
    return known?.size === 1 && known.has(address);
  }

  /** Whether it is of a tunnel device of the CNI that the node has now. */
  isOfTunnel(address: string): boolean {
    return this.tunnels.has(address);
  }

  knows(address: string): boolean {
    return this.pods.has(address) || this.nodes.has(address) || this.frontends.has(address);
  }

  /** The service frontend at an address and port; protocol as Kubernetes spells it. */
  frontend(address: string, protocol: string, port: number): Frontend | null {
    const owners = this.frontends.get(address);
    if (owners !== undefined) {
      for (const { service, kind } of owners) {
        const match = service.ports.find((one) => one.port === port && one.protocol === protocol);
        if (match !== undefined) return { service, port: match, kind, endpoints: this.count(service, match) };
      }
    }
    if (this.nodes.has(address)) {
      const found = this.nodePorts.get(`${protocol}/${port}`);
      if (found !== undefined) return { ...found, kind: "NodePort", endpoints: this.count(found.service, found.port) };
    }
    if (owners !== undefined) return { service: owners[0].service, port: null, kind: owners[0].kind, endpoints: 0 };
    return null;
  }

  /** Whether an address and port are a service's frontend; protocol by number. */
  isFrontend(address: Uint8Array, protocol: number, port: number): boolean {
    const found = this.frontend(addressText(address), PROTOCOLS[protocol] ?? "", port);
    return found !== null && found.port !== null;
  }

  /** For people: `pod default/web-a`, `node node1`, `service default/web`, else the address. */
  describe(address: string): string {
    const pod = this.pod(address);
    if (pod !== null) return `${pod.namespace}/${pod.name}`;
    const node = this.node(address);
    if (node !== null) return node;
    const owners = this.frontends.get(address);
    if (owners !== undefined) return `service ${owners[0].service.namespace}/${owners[0].service.name}`;
    return address;
  }

  private selectingLabels({ namespace, labels }: Pod): readonly NetworkPolicy[] {
    const key = JSON.stringify([namespace, labels]);
    let found = this.selecting.get(key);
    if (found === undefined) {
      this.byLabels ??= new LabelIndex(this.policies, (policy) => requiredLabels(policy.namespace, policy.podSelector));
      found = this.byLabels.candidates(labelsIn(namespace, labels))
        .filter((policy) => policy.namespace === namespace && matchesSelector(policy.podSelector, labels));
      this.selecting.set(key, found);
    }
    return found;
  }

  private addUplink(node: string, { text, family }: Address): void {
    if (/^fe[89ab]/.test(text)) return;
    const key = `${node} ${family}`;
    this.uplinks.set(key, (this.uplinks.get(key) ?? new Set()).add(text));
  }

  private addHostPorts(pod: Pod): void {
    if (pod.hostNetwork) return;
    for (const { hostPort, protocol } of pod.ports) {
      if (hostPort !== 0) this.hostPorts.set(`${pod.nodeName} ${protocol}/${hostPort}`, pod);
    }
  }

  private addService(service: Service): void {
    const add = (address: Address, kind: Frontend["kind"]): void => {
      const list = this.frontends.get(address.text);
      if (list === undefined) this.frontends.set(address.text, [{ service, kind }]);
      else list.push({ service, kind });
    };
    for (const address of service.clusterIPs) add(address, "ClusterIP");
    for (const address of service.externalIPs) add(address, "ExternalIP");
    for (const ingress of service.loadBalancerIngress) add(ingress.ip, "LoadBalancer");
    for (const port of service.ports) if (port.nodePort !== 0) this.nodePorts.set(`${port.protocol}/${port.nodePort}`, { service, port });
  }

  private count(service: Service, port: ServicePort): number {
    return this.endpoints.get(`${service.namespace}/${service.name}:${port.name}/${port.protocol}`) ?? 0;
  }
}

function backendKey(frontend: Frontend, address: string, backendPort: number): string {
  return `${portKey(frontend)} ${address} ${backendPort}`;
}

function portKey({ service, port }: Frontend): string {
  return `${service.namespace}/${service.name}:${port?.name ?? ""}/${port?.protocol ?? ""}`;
}
