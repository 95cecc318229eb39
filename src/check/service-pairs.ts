/**
 * Classes of connections to services: each port of each service under every kind of address, by where the backend stands
 * seen from the sender and from the node that traffic enters. The backend is one that both planes may choose, named to
 * them, so that each class of backends is met.
 *
 * Senders fall into classes as they do towards the backend itself: policies judge behind the translation. Services that
 * have the same traits and backends of one class are alike to a sender.
 */
import type { Address } from "../cluster/address.js";
import type { Node, Pod, Service, ServicePort } from "../cluster/cluster.js";
import type { Classes, PodClass } from "./classes.js";
import { firstOfEach, groupBy, internalOf } from "./edge-pairs.js";
import { type Group, podsOf, split } from "./groups.js";
import type { OutsideClass } from "./outside.js";
import { once } from "./pod-pairs.js";
import type { Probe, ProbeList, Sender } from "./probe.js";
import { PROTOCOL_NUMBERS, type Traffic } from "./traffic.js";
import { Stand } from "./cells.js";

export interface ServiceEdges {
  readonly classes: Classes;
  readonly outside: readonly OutsideClass[];
}

export interface Backend {
  readonly pod: Pod;
  readonly class: PodClass;
  readonly address: Address;
  readonly port: number;
}

/** A service port, and the backends of one class behind it. */
export interface Behind {
  readonly service: Service;
  readonly port: ServicePort;
  readonly backends: readonly Backend[];
  /** All nodes where the port has an endpoint, of whatever class. */
  readonly nodes: ReadonlySet<string>;
  /** Traits that the planes see; equal texts are alike. */
  readonly traits: string;
}

type Kind = "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalIP";

export class ServicePairs {
  readonly behind: readonly Behind[];
  private readonly byClass = new Map<PodClass, Behind[]>();

  constructor(private readonly edges: ServiceEdges) {
    this.behind = behindServices(edges.classes);
    for (const one of this.behind) {
      const list = this.byClass.get(one.backends[0].class);
      if (list === undefined) this.byClass.set(one.backends[0].class, [one]);
      else list.push(one);
    }
  }

  /** From pods. @param asks which pairs of groups */
  add(senders: readonly Group[], receivers: readonly Group[], list: ProbeList, asks: (from: Group, to: Group) => boolean): void {
    for (const to of receivers) {
      const served = this.served(to);
      const wanted = senders.filter((from) => asks(from, to));
      if (served.length === 0) continue;
      if (list.full) {
        for (const from of wanted) list.refuse(served.length, podsOf(from.classes) * served.length);
        continue;
      }
      for (const [sending, services] of sendersOf(wanted, to, served)) {
        for (const alike of groupBy(services, ({ traits }) => traits).values()) {
          for (const { stand, probe } of serviceProbes(alike[0], sending, this.edges.classes, alike.map(nameOf))) {
            if (stand !== Stand.Itself) list.add(probe);
          }
          // Of those alike, not each has a backend among the senders.
          const selves = alike.filter(({ backends }) => sending.includes(backends[0].class));
          const own = selves.length === 0 ? null : selfProbe(selves[0], sending, this.edges.classes, selves.map(nameOf));
          if (own !== null) list.add(own);
        }
      }
    }
  }

  addFromOutside(receivers: readonly Group[], list: ProbeList): void {
    for (const to of receivers) {
      for (const one of this.served(to)) for (const probe of outsideProbes(one, to, this.edges)) list.add(probe);
    }
  }

  addOthers(senders: readonly Group[], list: ProbeList): void {
    addOtherServices(senders, this.edges, this.behind, list);
  }

  private served(to: Group): Behind[] {
    return to.classes.flatMap((one) => this.byClass.get(one) ?? []);
  }
}

/** For each group of senders and class within it: the services whose backends are alike to the group. */
function* sendersOf(senders: readonly Group[], to: Group, served: readonly Behind[]): Generator<[PodClass[], Behind[]]> {
  for (const from of senders) {
    for (const services of groupBy(served, ({ backends }) => from.peers[backends[0].class.index]).values()) {
      for (const sending of split(from.classes, to.peers).values()) yield [sending, services];
    }
  }
}

/** From pods of these classes, by where sender, entry and backend stand. @param names of all services that the one stands for */
export function* serviceProbes(one: Behind, sending: readonly PodClass[], classes: Classes, names: readonly string[])
  : Generator<{ readonly stand: Stand; readonly shape: string; readonly probe: Probe }> {
  const pairs = once(() => podsOf(sending) * names.length);
  const made = (stand: Stand, shape: string, probe: Probe): { stand: Stand; shape: string; probe: Probe } =>
    ({ stand, shape, probe: { ...probe, services: names } });
  for (const [index, [kind, address]] of addressesOf(one.service, one.port, classes).entries()) {
    for (const stand of [Stand.OneNode, Stand.TwoNodes]) {
      const placed = beside(one, sending, address.family, stand === Stand.OneNode, classes);
      if (placed === null) continue;
      const [pod, backend] = placed;
      const source = pod.ips.find(({ family }) => family === address.family)!;
      const sender: Sender = { kind: "pod", pod };
      if (kind !== "NodePort") {
        yield made(stand, `${index}`, probeOf("pod to service", sender, source, address, one, backend, frontPort(kind, one), pairs));
        continue;
      }
      for (const node of entryNodes(pod, backend.pod, one, classes)) {
        const entry = internalOf(node).find(({ family }) => family === source.family);
        const role = node.name === backend.pod.nodeName ? "backend's node" : node.name === pod.nodeName ? "sender's node" : "another node";
        if (entry === undefined) continue;
        yield made(stand, `${index} ${role}`, probeOf("pod to service", sender, source, entry, one, backend, one.port.nodePort, pairs));
      }
    }
  }
  const self = selfProbe(one, sending, classes, names);
  if (self !== null) yield { stand: Stand.Itself, shape: "", probe: self };
}

/** A backend that comes back to itself. */
function selfProbe(one: Behind, sending: readonly PodClass[], classes: Classes, names: readonly string[]): Probe | null {
  const self = one.backends.find(({ class: own }) => sending.includes(own));
  const address = addressesOf(one.service, one.port, classes)
    .find(([kind, front]) => kind === "ClusterIP" && front.family === self?.address.family);
  if (self === undefined || address === undefined) return null;
  const probe = probeOf("pod to service", { kind: "pod", pod: self.pod }, self.address, address[1], one, self, one.port.port,
    () => names.length);
  return { ...probe, services: names };
}

function nameOf({ service: { namespace, name } }: Behind): string {
  return `${namespace}/${name}`;
}

/** From hosts outside, over the backend's node and over another. */
function* outsideProbes(one: Behind, to: Group, { classes, outside }: ServiceEdges): Generator<Probe> {
  const ranges = one.service.loadBalancerSourceRanges.length > 0;
  for (const [kind, address] of addressesOf(one.service, one.port, classes)) {
    if (kind === "ClusterIP" && one.service.type !== "ClusterIP") continue;
    const hosts = firstOfEach(outside.filter((host) => host.address.family === address.family),
      (host) => `${to.addressKey(host.address)}${ranges ? classes.blocksOf(host.address) : ""}`);
    for (const backend of one.backends.slice(0, 1)) {
      if (backend.address.family !== address.family) continue;
      for (const node of entryNodes(null, backend.pod, one, classes)) {
        const entry = kind === "NodePort" ? internalOf(node).find(({ family }) => family === address.family) : address;
        if (entry === undefined) continue;
        for (const host of hosts) {
          yield probeOf("outside to service", { kind: "outside", via: node }, host.address, entry, one, backend, frontPort(kind, one),
            () => 1);
        }
      }
    }
  }
}

/**
 * Services that no pod of its own address stands behind: nobody, a pod on its node's network, or a host outside. Each is
 * asked for by each group of senders.
 */
function addOtherServices(senders: readonly Group[], { classes, outside }: ServiceEdges, behind: readonly Behind[], list: ProbeList): void {
  const served = new Set(behind.map(({ service, port }) => portKey(service, port)));
  const endpoints = otherEndpoints(classes);
  for (const service of classes.cluster.services) {
    for (const port of service.type === "ExternalName" ? [] : service.ports) {
      const backends = endpoints.get(portKey(service, port)) ?? [];
      if (served.has(portKey(service, port)) && backends.length === 0) continue;
      const one: Behind = { service, port, backends: [], nodes: new Set(), traits: "" };
      for (const [kind, address] of addressesOf(service, port, classes)) {
        const chosen = firstOfEach(backends.filter((backend) => backend.address.family === address.family), ({ node }) => node ?? "");
        const targets = chosen.length === 0 ? [null] : chosen.slice(0, MOST_OTHERS);
        for (const from of senders) {
          const pod = from.classes[0].pods[0];
          const source = pod.ips.find(({ family }) => family === address.family);
          if (source === undefined) continue;
          const pairs = (): number => podsOf(from.classes);
          for (const to of targets) {
            list.add(probeOf("pod to service", { kind: "pod", pod }, source, address, one, to, frontPort(kind, one), pairs));
          }
        }
        const host = outside.find((other) => other.address.family === address.family);
        if (kind === "ClusterIP" || host === undefined) continue;
        for (const to of targets) {
          list.add(probeOf("outside to service", { kind: "outside", via: classes.nodes[0] }, host.address, address, one, to,
            frontPort(kind, one), () => 1));
        }
      }
    }
  }
}

/** Backends that are no pods of their own address, by service port. */
function otherEndpoints({ cluster, classOf }: Classes): Map<string, { address: Address; port: number; node: string | null }[]> {
  const pods = new Set([...classOf.keys()].flatMap((pod) => pod.ips.map(({ text }) => text)));
  const found = new Map<string, { address: Address; port: number; node: string | null }[]>();
  for (const { namespace, serviceName, ports, endpoints } of cluster.endpointSlices) {
    for (const { name, protocol, port } of ports) {
      const own = endpoints.filter(({ ready }) => ready).flatMap(({ addresses, nodeName }) => addresses
        .filter(({ text }) => !pods.has(text)).map((address) => ({ address, port, node: nodeName === "" ? null : nodeName })));
      const key = `${namespace}/${serviceName} ${name} ${protocol}`;
      if (own.length > 0) found.set(key, [...found.get(key) ?? [], ...own]);
    }
  }
  return found;
}

/** Nodes with backends on their own network that are each asked for. */
const MOST_OTHERS = 4;

function portKey({ namespace, name }: Service, port: ServicePort): string {
  return `${namespace}/${name} ${port.name} ${port.protocol}`;
}

function behindServices(classes: Classes): Behind[] {
  const { cluster } = classes;
  const byAddress = new Map([...classes.classOf.keys()].flatMap((pod) => pod.ips.map((ip) => [ip.text, pod] as const)));
  const slices = groupBy(cluster.endpointSlices, ({ namespace, serviceName }) => `${namespace}/${serviceName}`);
  return cluster.services.filter(({ type }) => type !== "ExternalName").flatMap((service) => service.ports.flatMap((port) => {
    const backends: Backend[] = [];
    for (const slice of slices.get(`${service.namespace}/${service.name}`) ?? []) {
      const target = slice.ports.find((one) => one.name === port.name && one.protocol === port.protocol);
      if (target === undefined) continue;
      for (const { addresses, ready } of slice.endpoints) {
        for (const address of ready ? addresses : []) {
          const pod = byAddress.get(address.text);
          if (pod !== undefined) backends.push({ pod, class: classes.classOf.get(pod)!, address, port: target.port });
        }
      }
    }
    const nodes = new Set(backends.map(({ pod }) => pod.nodeName));
    return [...groupBy(backends, (one) => `${one.class.index} ${one.port}`).values()]
      .map((own): Behind => ({ service, port, backends: own, nodes, traits: traitsOf(service, port, own, nodes, classes) }));
  }));
}

/**
 * What planes see of a service beside who stands behind it. Ports of nodes are alike, as are addresses that no block tells
 * apart. Where a policy is Local, how many nodes have no endpoint says which nodes traffic can enter by.
 */
function traitsOf(service: Service, port: ServicePort, backends: readonly Backend[], nodes: ReadonlySet<string>, classes: Classes): string {
  const { type, externalTrafficPolicy, internalTrafficPolicy, sessionAffinity, trafficDistribution } = service;
  return JSON.stringify([type, externalTrafficPolicy, internalTrafficPolicy, sessionAffinity, trafficDistribution, port.protocol,
    port.port === backends[0].port, backends[0].port, port.nodePort > 0, service.loadBalancerSourceRanges.map(({ text }) => text),
    service.loadBalancerIngress.map(({ ip, ipMode }) => [ip.family, ipMode]), service.headless, service.ipFamilies,
    [...new Set(backends.map(({ address }) => address.family))].sort(),
    isLocal(service) ? Math.min(2, classes.nodes.length - nodes.size) : 2,
    Object.entries(service.annotations).filter(([key]) => key.includes("cilium.io") || key.includes("topology")),
    [...service.clusterIPs, ...service.externalIPs].map((address) => [address.family, classes.blocksOf(address)]),
    classes.hasOtherKinds ? `${service.namespace}/${service.name}` : ""]);
}

/** Every kind of address; a node port once for each family, at no node yet. */
function addressesOf(service: Service, port: ServicePort, classes: Classes): [Kind, Address][] {
  const nodePort = port.nodePort === 0 ? [] : classes.nodes.slice(0, 1).flatMap(internalOf)
    .filter(({ family }) => service.ipFamilies.length === 0 || service.ipFamilies.includes(family === 4 ? "IPv4" : "IPv6"));
  return [
    ...service.clusterIPs.map((address): [Kind, Address] => ["ClusterIP", address]),
    ...nodePort.map((address): [Kind, Address] => ["NodePort", address]),
    ...service.loadBalancerIngress.filter(({ ipMode }) => ipMode === "VIP").map(({ ip }): [Kind, Address] => ["LoadBalancer", ip]),
    ...service.externalIPs.map((address): [Kind, Address] => ["ExternalIP", address]),
  ];
}

function frontPort(kind: Kind, { port }: Behind): number {
  return kind === "NodePort" ? port.nodePort : port.port;
}

/** A sender and a backend on one node or two; where a policy is Local, on two means that the sender's node has no backend. */
function beside(one: Behind, sending: readonly PodClass[], family: 4 | 6, sameNode: boolean, classes: Classes): [Pod, Backend] | null {
  const local = isLocal(one.service);
  for (const backend of one.backends) {
    if (backend.address.family !== family) continue;
    const home = classes.nodeNumbers.get(backend.pod.nodeName)!;
    for (const { byNode, pods } of sending) {
      if (!pods[0].ips.some((ip) => ip.family === family)) continue;
      if (sameNode) {
        const pod = byNode.get(home)?.find((other) => other !== backend.pod);
        if (pod !== undefined) return [pod, backend];
        continue;
      }
      for (const [node, list] of byNode) {
        if (node === home || (local && one.nodes.has(classes.nodes[node].name))) continue;
        const pod = list.find((other) => other !== backend.pod);
        if (pod !== undefined) return [pod, backend];
      }
    }
  }
  return null;
}

/**
 * Nodes that traffic enters by: the sender's, the backend's, and one that is neither. Where a policy is Local the last has
 * no endpoint at all: what enters where another endpoint is stays with that one.
 */
function entryNodes(sender: Pod | null, backend: Pod, one: Behind, { nodes }: Classes): Node[] {
  const known = [sender?.nodeName, backend.nodeName];
  const local = isLocal(one.service);
  const others = nodes.filter(({ name }) => !known.includes(name) && !(local && one.nodes.has(name))).slice(0, 1);
  return [...nodes.filter(({ name }) => known.includes(name)), ...others];
}

function probeOf(way: Probe["way"], sender: Sender, source: Address, destination: Address, { service, port }: Behind,
  backend: { readonly address: Address; readonly port: number } | null,
   number: number, pairs: () => number): Probe {
  const traffic: Traffic = { protocol: PROTOCOL_NUMBERS[port.protocol], first: number, last: number };
  return { way, sender, source, destination, traffic, port: number, service: `${service.namespace}/${service.name}`, pairs,
    backend: backend === null ? null : { address: backend.address, port: backend.port } };
}

export function isLocal({ internalTrafficPolicy, externalTrafficPolicy }: Service): boolean {
  return internalTrafficPolicy === "Local" || externalTrafficPolicy === "Local";
}
