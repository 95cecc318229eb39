/**
 * Nodes as the programs see them: their addresses, their devices, the endpoints behind the devices.
 *
 * Everything comes from node facts; a pod for which the facts name no device gets a Problem, and frames to it
 * are not delivered. Routes are in fib.ts.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import type { Cluster, Device, Node, Pod } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { hasTunnel } from "../encapsulation.js";
import type { CiliumOptions } from "../options.js";
import type { CompiledPolicies } from "./policies.js";
import { isEndpoint, isLinkLocal, nodeAddresses, Reserved } from "./identity.js";
import { MOST_VLANS, type TagFilter, tagFilters, tooManyVlans } from "./vlan-filter.js";

export interface CompiledNode {
  readonly name: string;
  readonly ipv4: Address | null;
  readonly ipv6: Address | null;
  readonly podCidr4: Prefix | null;
  readonly podCidr6: Prefix | null;
  /** ifindex of the device towards other nodes; 0: none. */
  readonly directRouting: number;
  readonly ciliumHost: number;
  /** Addresses of cilium_host (CiliumInternalIP); null where nothing says them. */
  readonly router4: Address | null;
  readonly router6: Address | null;
  readonly tunnel: number;
  /** MTU that Cilium gives its devices and the pods': that of the uplink (pkg/mtu); 0: not known. */
  readonly mtu: number;
  /** By an uplink's ifindex: the addresses that what leaves by it is masqueraded to. */
  readonly masquerade: ReadonlyMap<number, MasqueradeAddresses>;
  /** False where nothing is known of the node's devices. */
  readonly known: boolean;
  /** Index of the host endpoint's policy map; -1 without the host firewall. */
  readonly hostPolicy: number;
}

export type MasqueradeAddresses = Readonly<Record<4 | 6, Address | null>>;

export interface CompiledEndpoint {
  /** Index of the node. */
  readonly node: number;
  readonly addresses: readonly Address[];
  /** 0: the host itself. */
  readonly ifindex: number;
  readonly endpointId: number;
  readonly identity: number;
  readonly host: boolean;
  readonly mac: Uint8Array;
  readonly nodeMac: Uint8Array;
  /** Index of the policy map; -1 for a host without the host firewall. */
  readonly policy: number;
  /** `namespace/name`, or the node's name for the host. */
  readonly owner: string;
}

export interface CompiledDevice {
  readonly node: number;
  readonly device: Device;
  /** The endpoint behind a pod device. */
  readonly endpoint: CompiledEndpoint | null;
  /** Whether Cilium's programs run there, and what they do to tags. */
  readonly tags: TagFilter;
}

export interface CompiledNodes {
  readonly nodes: readonly CompiledNode[];
  readonly endpoints: readonly CompiledEndpoint[];
  readonly devices: readonly CompiledDevice[];
}

/** `names` fixes the numbering of nodes. */
export function compileNodes(
  cluster: Cluster,
  names: readonly string[],
  options: CiliumOptions,
  policies: CompiledPolicies,
  problems: Problem[],
): CompiledNodes {
  const byName = new Map(cluster.nodes.map((node) => [node.name, node]));
  const indexOf = new Map(cluster.nodes.map((node, index) => [node.name, index]));
  const podsOf = new Map<string, number[]>();
  cluster.pods.forEach((pod, index) => {
    if (!isEndpoint(pod)) return;
    const list = podsOf.get(pod.nodeName);
    if (list === undefined) podsOf.set(pod.nodeName, [index]);
    else list.push(index);
  });
  const nodes: CompiledNode[] = [];
  const endpoints: CompiledEndpoint[] = [];
  const devices: CompiledDevice[] = [];
  names.forEach((name, number) => {
    const node = byName.get(name);
    const hostPolicy = policies.endpoints.ofNode[indexOf.get(name) ?? -1] ?? -1;
    nodes.push(node === undefined ? unknownNode(name) : { ...compileNode(node, options), hostPolicy });
    if (node === undefined) return;
    const host = hostEndpoint(node, number, hostPolicy);
    endpoints.push(host);
    const byDevice = new Map<number, CompiledEndpoint>();
    const deviceOf = podDevices(node);
    for (const index of (podsOf.get(name) ?? []).sort((a, b) =>
      byPodName(cluster.pods[a], cluster.pods[b]),
    )) {
      const pod = cluster.pods[index];
      const device = deviceOf.get(`${pod.namespace}/${pod.name}`);
      if (device === undefined) {
        problems.push({
          where: pod.where,
          severity: "error",
          what:
            `node ${name} has no device for pod ${pod.namespace}/${pod.name} ` +
            `(${pod.ips.map((ip) => ip.text).join(", ")}); expected a route to it in the node's facts`,
        });
        continue;
      }
      const endpoint = podEndpoint(pod, device, node, number, policies, index);
      endpoints.push(endpoint);
      byDevice.set(device.index, endpoint);
    }
    const tags = tagFilters(node.facts, options);
    if (tags.listed > MOST_VLANS) problems.push(tooManyVlans(name, tags.listed));
    for (const device of [...node.facts.devices].sort((a, b) => a.index - b.index)) {
      devices.push({ node: number, device, endpoint: byDevice.get(device.index) ?? null, tags: tags.of(device) });
    }
  });
  return { nodes, endpoints, devices };
}

function compileNode(node: Node, options: CiliumOptions): Omit<CompiledNode, "hostPolicy"> {
  const uplink = uplinkOf(node);
  const address = (family: 4 | 6): Address | null =>
    node.addresses.find((one) => one.type === "InternalIP" && one.address.family === family)?.address ??
    uplink?.addresses.find((one) => one.address.family === family)?.address ??
    null;
  const range = (family: 4 | 6): Prefix | null =>
    node.podCIDRs.find((one) => one.address.family === family) ?? null;
  return {
    name: node.name,
    ipv4: options["enable-ipv4"] ? address(4) : null,
    ipv6: options["enable-ipv6"] ? address(6) : null,
    podCidr4: range(4),
    podCidr6: range(6),
    directRouting: uplink?.index ?? 0,
    known: node.facts.devices.length > 0,
    ciliumHost: node.facts.devices.find((device) => device.name === "cilium_host")?.index ?? 0,
    router4: routerAddress(node, 4),
    router6: routerAddress(node, 6),
    tunnel: ciliumTunnel(node, options),
    mtu: uplink?.mtu ?? 0,
    masquerade: masqueradeAddresses(node, options, { 4: options["enable-ipv4"] ? address(4) : null,
      6: options["enable-ipv6"] ? address(6) : null }),
  };
}

/**
 * bpfMasqAddrs (pkg/datapath/loader): the device's first address of the family, or that of the device which
 * `derive-masquerade-ip-addr-from-device` names; the node's own where there is none.
 */
function masqueradeAddresses(node: Node, options: CiliumOptions, own: MasqueradeAddresses): Map<number, MasqueradeAddresses> {
  const { devices } = node.facts;
  const named = devices.find((device) => device.name === options["derive-masquerade-ip-addr-from-device"]);
  const of = (device: Device, family: 4 | 6): Address | null => (own[family] === null ? null
    : device.addresses.find(({ address }) => address.family === family && !isLinkLocal(address))?.address ?? own[family]);
  return new Map(devices.filter((device) => device.kind === "uplink").map((device) => (
    [device.index, { 4: of(named ?? device, 4), 6: of(named ?? device, 6) }])));
}

/** The agent's choice from the node's pod range; known where Cilium runs already, or CiliumNode says it. */
export function routerAddress(node: Node, family: 4 | 6): Address | null {
  const said = node.addresses.find((one) => one.type === "CiliumInternalIP" && one.address.family === family)?.address;
  if (said !== undefined) return said;
  const host = node.facts.devices.find((device) => device.name === "cilium_host");
  return host?.addresses.find(({ address }) => address.family === family && !isLinkLocal(address))?.address ?? null;
}

/** Cilium's own tunnel device, where the node has it; without tunnels of Cilium's any is the present network's. */
function ciliumTunnel(node: Node, options: CiliumOptions): number {
  const tunnels = node.facts.devices.filter((device) => device.kind === "tunnel");
  if (!hasTunnel(options)) return tunnels[0]?.index ?? 0;
  return tunnels.find((device) => device.name === "cilium_vxlan" || device.name === "cilium_geneve")?.index ?? 0;
}

function unknownNode(name: string): CompiledNode {
  return {
    name,
    ipv4: null,
    ipv6: null,
    podCidr4: null,
    podCidr6: null,
    directRouting: 0,
    ciliumHost: 0,
    router4: null,
    router6: null,
    tunnel: 0,
    mtu: 0,
    masquerade: new Map(),
    known: false,
    hostPolicy: -1,
  };
}

/** The device of the default route, else the first uplink. */
export function uplinkOf(node: Node): Device | null {
  const uplinks = node.facts.devices.filter((device) => device.kind === "uplink");
  const byDefault = node.facts.routes.find(
    (route) =>
      route.destination.length === 0 &&
      route.type === "unicast" &&
      uplinks.some((device) => device.index === route.device),
  );
  return uplinks.find((device) => device.index === byDefault?.device) ?? uplinks[0] ?? null;
}

function hostEndpoint(node: Node, number: number, policy: number): CompiledEndpoint {
  return {
    node: number,
    addresses: nodeAddresses(node),
    ifindex: 0,
    endpointId: 0,
    identity: Reserved.Host,
    host: true,
    mac: new Uint8Array(6),
    nodeMac: new Uint8Array(6),
    policy,
    owner: node.name,
  };
}

function podEndpoint(
  pod: Pod,
  device: Device,
  node: Node,
  number: number,
  policies: CompiledPolicies,
  index: number,
): CompiledEndpoint {
  const neighbour = node.facts.neighbours.find(
    (one) => one.device === device.index && pod.ips.some((ip) => ip.text === one.address.text),
  );
  return {
    node: number,
    addresses: pod.ips,
    ifindex: device.index,
    host: false,
    // Cilium's endpoint ids are 16 bits and unique in the node; the device's index serves as well.
    endpointId: ((device.index - 1) % 65535) + 1,
    identity: policies.identities.ofPod[index]!.id,
    mac: parseMac(neighbour?.mac ?? ""),
    nodeMac: parseMac(device.mac),
    policy: policies.endpoints.ofPod[index],
    owner: `${pod.namespace}/${pod.name}`,
  };
}

/** `namespace/name` -> device, as the facts say. */
function podDevices(node: Node): Map<string, Device> {
  const found = new Map<string, Device>();
  for (const device of node.facts.devices) if (device.pod !== null) found.set(device.pod, device);
  return found;
}

/** Six bytes; zeros where the text is no MAC address. */
export function parseMac(text: string): Uint8Array {
  const parts = text.split(":").map((part) => Number.parseInt(part, 16));
  return parts.length === 6 && parts.every((part) => part >= 0 && part <= 255)
    ? Uint8Array.from(parts)
    : new Uint8Array(6);
}

function byPodName(a: Pod, b: Pod): number {
  const first = `${a.namespace}/${a.name}`;
  const second = `${b.namespace}/${b.name}`;
  return first < second ? -1 : first > second ? 1 : 0;
}
