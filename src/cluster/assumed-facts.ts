/**
 * Node facts for a node nobody described: eth0 with the node's internal addresses, one device for each pod
 * with a host route to it, a default route through eth0, and the other nodes' pod ranges through their
 * addresses.
 *
 * All of it is assumption (`source: "assumed"`); reports say so. The default route has no gateway, eth0's
 * addresses have full length, and pod devices carry no address of their own, since nothing tells otherwise.
 * Whether VLAN devices stand on eth0 is not assumed.
 */
import { type Address, parseAddress, prefixOf } from "./address.js";
import type { Device, NodeFacts, Pod, Route } from "./cluster.js";
import type { NodeObject } from "./pod.js";

const LOOPBACK = 1;
const UPLINK = 2;
const FIRST_POD = 3;
const MTU = 1500;

/** ifindex of each pod's device: unique in its node, whatever pods are there at an instant. */
export function podDeviceIndexes(pods: readonly Pod[]): Map<string, number> {
  const indexes = new Map<string, number>();
  const next = new Map<string, number>();
  const sorted = pods.filter(hasDevice).map((pod) => ({ node: pod.nodeName, name: nameOf(pod) }))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  for (const { node, name } of sorted) {
    const key = `${node}\n${name}`;
    if (indexes.has(key)) continue;
    const index = next.get(node) ?? FIRST_POD;
    indexes.set(key, index);
    next.set(node, index + 1);
  }
  return indexes;
}

/**
 * @param pods those on this node
 * @param nodes all nodes, for the routes to their pod ranges
 * @param indexes from podDeviceIndexes, over at least these pods
 */
export function assumedFacts(node: NodeObject, pods: readonly Pod[], nodes: readonly NodeObject[],
  indexes: ReadonlyMap<string, number>): NodeFacts {
  const internal = internalAddresses(node);
  const devices: Device[] = [loopback(), uplink(node, internal)];
  const podRoutes: Route[] = [];
  for (const pod of pods) {
    const index = indexes.get(`${pod.nodeName}\n${nameOf(pod)}`);
    if (!hasDevice(pod) || index === undefined) continue;
    devices.push(podDevice(pod, index));
    for (const ip of pod.ips) podRoutes.push(route(ip, ip.bytes.length * 8, index, null));
  }
  let routes: Route[] | null = null;
  return {
    devices,
    // Every node has a route to every other's pods: made for the nodes that someone asks, not for all at once.
    get routes() {
      routes ??= [...localRoutes(internal), ...podRoutes, ...routesOut(node, internal, nodes)];
      return routes;
    },
    neighbours: [], sysctls: {}, source: "assumed",
  };
}

function routesOut(node: NodeObject, internal: readonly Address[], nodes: readonly NodeObject[]): Route[] {
  const routes: Route[] = [];
  for (const other of nodes) if (other.name !== node.name) routes.push(...routesTo(other, internal));
  for (const family of families(internal)) routes.push(route(anyAddress(family), 0, UPLINK, null));
  return routes;
}

/** A pod has a device of its own unless it shares its node's, has no address, or has ended. */
function hasDevice(pod: Pod): boolean {
  return !pod.hostNetwork && pod.ips.length > 0 && pod.phase !== "Succeeded" && pod.phase !== "Failed";
}

function loopback(): Device {
  return device(LOOPBACK, "lo", "loopback", "00:00:00:00:00:00", 65536,
    [{ address: literal("127.0.0.1"), length: 8 }, { address: literal("::1"), length: 128 }], null);
}

function uplink(node: NodeObject, internal: readonly Address[]): Device {
  const addresses = internal.map((address) => ({ address, length: address.bytes.length * 8 }));
  return { ...device(UPLINK, "eth0", "uplink", macOf(`node ${node.name}`), MTU, addresses, null), vlansUnknown: true };
}

function podDevice(pod: Pod, index: number): Device {
  const name = nameOf(pod);
  const deviceName = `veth${hash(name).toString(16).padStart(8, "0")}`;
  return device(index, deviceName, "pod", macOf(`pod ${name}`), MTU, [], name);
}

/** The local table: what the kernel adds for each address of its own. */
function localRoutes(internal: readonly Address[]): Route[] {
  return [
    { ...route(literal("127.0.0.0"), 8, LOOPBACK, null), table: "local", type: "local" },
    { ...route(literal("::1"), 128, LOOPBACK, null), table: "local", type: "local" },
    ...internal.map((address): Route => ({
      ...route(address, address.bytes.length * 8, UPLINK, null), table: "local", type: "local",
    })),
  ];
}

function routesTo(other: NodeObject, internal: readonly Address[]): Route[] {
  const usable = families(internal);
  return internalAddresses(other).filter((via) => usable.includes(via.family)).flatMap((via) => other.podCIDRs
    .filter((cidr) => cidr.address.family === via.family)
    .map((cidr) => route(cidr.address, cidr.length, UPLINK, via)));
}

function route(destination: Address, length: number, index: number, via: Address | null): Route {
  return { destination: prefixOf(destination, length), table: "main", type: "unicast", via, device: index,
    prefSrc: null, metric: 0, mtu: null };
}

function device(index: number, name: string, kind: Device["kind"], mac: string, mtu: number,
  addresses: Device["addresses"], pod: string | null): Device {
  return { index, name, kind, mac, mtu, up: true, addresses, pod, vxlan: null };
}

function internalAddresses(node: NodeObject): Address[] {
  return node.addresses.filter((one) => one.type === "InternalIP").map((one) => one.address);
}

function families(addresses: readonly Address[]): (4 | 6)[] {
  return ([4, 6] as const).filter((family) => addresses.some((address) => address.family === family));
}

function anyAddress(family: 4 | 6): Address {
  return literal(family === 4 ? "0.0.0.0" : "::");
}

function literal(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new Error(`${text} is no address`);
  return address;
}

function nameOf(pod: Pod): string {
  return `${pod.namespace}/${pod.name}`;
}

/** A locally administered unicast address that depends on the name only. */
function macOf(name: string): string {
  const low = hash(name);
  const octets = [0x02, 0x00, low >>> 24, (low >>> 16) & 0xff, (low >>> 8) & 0xff, low & 0xff];
  return octets.map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}

/** FNV-1a over the code units. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  }
  return value;
}
