/**
 * The gateways of a CiliumEgressGatewayPolicy: the first node by name that a nodeSelector matches, and the address that packets
 * leave it with (pkg/egressgateway/policy.go, regenerateGatewayConfig and deriveFromPolicyGatewayConfig).
 *
 *     interface    the device's first address
 *     egressIP     itself; from 1.18 only where a device of the node has it
 *     neither      the first address of the device with the default route
 *
 * Of several gateways (egressGateways, from 1.18) each endpoint has one, by a hash of its CiliumEndpoint's UID.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { prefixContains } from "../../cluster/address.js";
import type { Cluster, Device, Node } from "../../cluster/cluster.js";
import { type Fields, matchesLabels } from "./egress-gateway-selector.js";
import { isLinkLocal } from "./identity.js";

export interface GatewaySpec {
  readonly nodeSelector: Fields;
  /** Empty: not given. */
  readonly device: string;
  /** Null: not given. */
  readonly egress: Address | null;
}

/** Families of the policy's destinations. */
export type Needed = Readonly<Record<4 | 6, boolean>>;

export interface Gateway {
  readonly address: Address;
  /** Null: it has none for this destination. */
  readonly egress: (destination: Prefix) => Address | null | "unknown";
}
/** `none`: no node matches. `unknown`: which one it is cannot be told. */
export type Chosen = Gateway | "none" | "unknown";

/** In the order that endpoints are shared out by. */
export function resolveGateways(cluster: Cluster, specs: readonly GatewaySpec[], needed: Needed,
  version: number): readonly (Gateway | "none")[] {
  const nodes = [...cluster.nodes].sort((a, b) => (a.name < b.name ? -1 : 1));
  const found = specs.map((spec): Gateway | "none" => {
    const selects = (one: Node): boolean => matchesLabels(spec.nodeSelector, "", new Map(Object.entries(one.labels)));
    const node = nodes.find((one) => selects(one) && nodeAddress(one) !== null);
    return node === undefined ? "none" : gatewayOf(node, spec, needed, version);
  });
  // From 1.20 a selector that no node matches takes no part.
  const kept = version >= 20 && found.some((one) => one !== "none") ? found.filter((one) => one !== "none") : found;
  return kept.sort((a, b) => compareBytes(a === "none" ? NONE : a.address.bytes, b === "none" ? NONE : b.address.bytes));
}

/** `uid`: of the endpoint; null where it is not known. */
export function chooseGateway(gateways: readonly (Gateway | "none")[], uid: string | null): Chosen {
  if (gateways.length === 1) return gateways[0];
  return uid === null ? "unknown" : gateways[fnv1a(uid) % gateways.length];
}

const NONE = new Uint8Array(4);

/** GetNodeIP: the internal address, else an external one. */
function nodeAddress(node: Node): Address | null {
  const of = (type: string): Address | undefined => node.addresses.find((one) => one.type === type && one.address.family === 4)?.address;
  return of("InternalIP") ?? of("ExternalIP") ?? null;
}

function gatewayOf(node: Node, spec: GatewaySpec, needed: Needed, version: number): Gateway {
  const derived = derive(node, spec, needed, version);
  return { address: nodeAddress(node)!, egress: (destination) => {
    if (derived === "unknown") return "unknown";
    const { device } = derived;
    if (device !== null && !leavesBy(node, device, destination)) return "unknown";
    return derived[destination.address.family];
  } };
}

interface Derived {
  readonly 4: Address | null;
  readonly 6: Address | null;
  /** The device that has them; null: none is known. */
  readonly device: Device | null;
}

const NOTHING: Derived = { 4: null, 6: null, device: null };

function derive(node: Node, spec: GatewaySpec, needed: Needed, version: number): Derived | "unknown" {
  const { facts } = node;
  // Up to 1.19 an IPv4 address is wanted whatever the destinations are; up to 1.17 there is no other.
  const wants: Needed = { 4: version < 20 || needed[4], 6: version >= 18 && needed[6] };
  if (spec.egress !== null) return deriveFromAddress(node, spec.egress, wants, version);
  const device = spec.device === "" ? null : facts.devices.find((one) => one.name === spec.device);
  if (device === undefined) return facts.source === "assumed" ? "unknown" : NOTHING;
  const by = (family: 4 | 6): Device | null => device ?? defaultDevice(node, family);
  const four = wants[4] ? by(4) : null;
  const six = wants[6] ? by(6) : null;
  if ((wants[4] && four === null) || (wants[6] && six === null)) return NOTHING;
  if (four !== null && six !== null && four !== six) return NOTHING;
  return addressesOf(four ?? six!, wants);
}

function deriveFromAddress(node: Node, egress: Address, wants: Needed, version: number): Derived | "unknown" {
  const device = node.facts.devices.find(({ addresses }) => addresses.some(({ address }) => address.text === egress.text)) ?? null;
  if (device === null) {
    if (version < 18) return { ...NOTHING, [egress.family]: egress };
    return node.facts.source === "assumed" ? "unknown" : NOTHING;
  }
  // Only 1.20 has an IPv6 address beside, or as the one that is given.
  if (version < 20) return egress.family === 4 ? { 4: egress, 6: null, device } : NOTHING;
  const other = addressesOf(device, { ...wants, [egress.family]: false } as Needed);
  if (wants[egress.family === 4 ? 6 : 4] && other === NOTHING) return NOTHING;
  return { ...other, [egress.family]: wants[egress.family] ? egress : null, device };
}

/** First addresses of the families that are wanted; where one is missing the agent uses neither. */
function addressesOf(device: Device, wants: Needed): Derived {
  const first = (family: 4 | 6): Address | null =>
    device.addresses.find(({ address }) => address.family === family && (family === 4 || !isLinkLocal(address)))?.address ?? null;
  const found = { 4: wants[4] ? first(4) : null, 6: wants[6] ? first(6) : null, device };
  return (wants[4] && found[4] === null) || (wants[6] && found[6] === null) ? NOTHING : found;
}

function defaultDevice({ facts }: Node, family: 4 | 6): Device | null {
  const route = facts.routes.find(({ destination, type }) =>
    destination.length === 0 && destination.address.family === family && type === "unicast");
  return facts.devices.find(({ index }) => index === route?.device) ?? null;
}

/** No route to any part of the destination leads out of another uplink. From 1.19 the agent names the device, before it the routes do. */
function leavesBy({ facts }: Node, device: Device, destination: Prefix): boolean {
  const uplinks = new Set(facts.devices.filter(({ kind }) => kind === "uplink").map(({ index }) => index));
  return facts.routes.every((route) => {
    if (route.device === null || !uplinks.has(route.device) || route.device === device.index) return true;
    if (route.destination.address.family !== destination.address.family) return true;
    const wider = route.destination.length <= destination.length;
    return !(wider ? prefixContains(route.destination, destination.address) : prefixContains(destination, route.destination.address));
  });
}

/** computeEndpointHash: FNV-1a, 32 bits. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const at = a.findIndex((byte, index) => byte !== b[index]);
  return at < 0 ? 0 : a[at] - b[at];
}
