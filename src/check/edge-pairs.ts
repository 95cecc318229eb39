/** Classes of pairs of which one end is a node or a host outside, without services. */
import type { Address, Family } from "../cluster/address.js";
import type { Node, Pod } from "../cluster/cluster.js";
import type { Classes, PodClass } from "./classes.js";
import { type Group, podsOf } from "./groups.js";
import type { OutsideClass } from "./outside.js";
import { once, portWithin } from "./pod-pairs.js";
import type { Probe, ProbeList } from "./probe.js";
import type { Traffic, TrafficClasses } from "./traffic.js";

export interface Edges {
  readonly classes: Classes;
  readonly traffic: TrafficClasses;
  readonly outside: readonly OutsideClass[];
  /** Node ports and host ports, `6 30080`: services' business, no packet to a node itself is sent there. */
  readonly nodePorts: ReadonlySet<string>;
}

/** From pods to nodes and to hosts outside. */
export function addEgressEdges(senders: readonly Group[], edges: Edges, list: ProbeList): void {
  const { classes, traffic, outside } = edges;
  for (const from of senders) {
    const ports = traffic.between(from.policies, []);
    for (const own of [true, false]) {
      for (const [, nodes] of nodesBy(classes, (address) => from.addressKey(address))) {
        for (const family of [4, 6] as const) {
          const placed = nodeBeside(classes, from.classes, nodes, family, own);
          if (placed === null) continue;
          const [pod, , address] = placed;
          const pairs = once(() => nodePairs(classes, from.classes, nodes, own));
          for (const one of ports) {
            const port = freePort(one, edges.nodePorts);
            if (port !== null) add(list, "pod to node", { kind: "pod", pod }, sourceOf(pod, family), address, one, port, pairs);
          }
        }
      }
    }
    const pod = from.classes[0].pods[0];
    const everywhere = traffic.between(from.policies, []);
    for (const [one, ...alike] of groupBy(outside, ({ address }) => `${address.family} ${classes.blocksOf(address)}`).values()) {
      const pairs = once(() => podsOf(from.classes) * (alike.length + 1));
      for (const port of everywhere) {
        add(list, "pod to outside", { kind: "pod", pod }, sourceOf(pod, one.address.family), one.address, port, port.first, pairs);
      }
    }
  }
}

/** From nodes and from hosts outside to pods. */
export function addIngressEdges(receivers: readonly Group[], edges: Edges, list: ProbeList): void {
  const { classes, traffic, outside } = edges;
  for (const to of receivers) {
    const ports = traffic.between([], to.policies);
    for (const own of [true, false]) {
      for (const [, nodes] of nodesBy(classes, (address) => to.addressKey(address))) {
        for (const family of [4, 6] as const) {
          const placed = nodeBeside(classes, to.classes, nodes, family, own);
          if (placed === null) continue;
          const [pod, node, source] = placed;
          const pairs = once(() => nodePairs(classes, to.classes, nodes, own));
          const destination = sourceOf(pod, family);
          for (const one of ports) add(list, "node to pod", { kind: "node", node }, source, destination, one, portWithin(one, pod), pairs);
        }
      }
    }
    const pod = to.classes[0].pods[0];
    const via = classes.nodes[classes.nodeNumbers.get(pod.nodeName)!];
    for (const [{ address }, ...alike] of groupBy(outside, (one) => `${one.address.family} ${to.addressKey(one.address)}`).values()) {
      const pairs = once(() => podsOf(to.classes) * (alike.length + 1));
      for (const port of ports) {
        add(list, "outside to pod", { kind: "outside", via }, address, sourceOf(pod, address.family), port, portWithin(port, pod), pairs);
      }
    }
  }
}

/** Nodes by class and by what something sees in their addresses. */
export function nodesBy(classes: Classes, seen: (address: Address) => string): Map<string, readonly Node[]> {
  const found = new Map<string, Node[]>();
  classes.nodes.forEach((node, number) => {
    const key = `${classes.nodeClassOf[number]} ${internalOf(node).map(seen).join(";")}`;
    const list = found.get(key);
    if (list === undefined) found.set(key, [node]);
    else list.push(node);
  });
  return found;
}

export function internalOf(node: Node): Address[] {
  return node.addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
}

export function firstOfEach<Item>(items: readonly Item[], keyOf: (item: Item) => string): Item[] {
  return [...groupBy(items, keyOf).values()].map(([first]) => first);
}

export function groupBy<Item, Key>(items: readonly Item[], keyOf: (item: Item) => Key): Map<Key, Item[]> {
  const found = new Map<Key, Item[]>();
  for (const item of items) {
    const key = keyOf(item);
    const list = found.get(key);
    if (list === undefined) found.set(key, [item]);
    else list.push(item);
  }
  return found;
}

/** A pod of the classes and a node of the list with its address: the pod's own node, or another. */
function nodeBeside(classes: Classes, pods: readonly PodClass[], nodes: readonly Node[], family: Family, own: boolean)
  : [Pod, Node, Address] | null {
  const wanted = new Set(nodes.map(({ name }) => name));
  for (const one of pods) {
    for (const [number, [pod]] of one.byNode) {
      if (!pod.ips.some((ip) => ip.family === family)) continue;
      const node = own ? (wanted.has(classes.nodes[number].name) ? classes.nodes[number] : undefined)
        : nodes.find(({ name }) => name !== pod.nodeName);
      const address = node === undefined ? undefined : internalOf(node).find((other) => other.family === family);
      if (node !== undefined && address !== undefined) return [pod, node, address];
    }
  }
  return null;
}

function nodePairs(classes: Classes, pods: readonly PodClass[], nodes: readonly Node[], own: boolean): number {
  const wanted = new Set(nodes.map(({ name }) => classes.nodeNumbers.get(name)!));
  let same = 0;
  for (const { byNode } of pods) for (const [number, list] of byNode) if (wanted.has(number)) same += list.length;
  return own ? same : podsOf(pods) * nodes.length - same;
}

function add(list: ProbeList, way: Probe["way"], sender: Probe["sender"], source: Address | undefined, destination: Address | undefined,
  traffic: Traffic, port: number, pairs: () => number): void {
  if (source === undefined || destination === undefined) return;
  const own = traffic.protocol === 1 && destination.family === 6 ? { ...traffic, protocol: 58 } : traffic;
  list.add({ way, sender, source, destination, traffic: own, port, backend: null, service: "", pairs });
}

function sourceOf(pod: Pod, family: Family): Address | undefined {
  return pod.ips.find((ip) => ip.family === family);
}

/** The interval's first port that is no node port or host port; null where all are. */
function freePort({ protocol, first, last }: Traffic, nodePorts: ReadonlySet<string>): number | null {
  for (let port = first; port <= last; port++) if (!nodePorts.has(`${protocol} ${port}`)) return port;
  return null;
}
