/**
 * Security identities: one number for every distinct set of identity labels.
 *
 * Numbers depend on the cluster at this instant only: pods' identities count from 256 in the order of their
 * label text, CIDR identities from 16777217 in the order of their prefixes (see numbers.ts for changes over
 * time). A running Cilium numbers in order of arrival, so numbers are comparable within one image, not with a
 * real cluster.
 *
 * Host-network pods have no identity of their own: they are their node, `host` on itself and `remote-node`
 * (or `kube-apiserver`) elsewhere. World is 2 where one family is enabled, 9 and 10 where both are.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { prefixOf } from "../../cluster/address.js";
import type { Cluster, ContainerPort, Node, Pod } from "../../cluster/cluster.js";
import type { CiliumOptions } from "../options.js";
import { labelFilter } from "./label-filter.js";
import { CLUSTER_LABEL, identityLabels, labelTexts } from "./labels.js";
import type { Numbering, Numbers } from "./numbers.js";

/** `pkg/identity/numericidentity.go`. */
export const Reserved = {
  Unknown: 0,
  Host: 1,
  World: 2,
  Unmanaged: 3,
  Health: 4,
  Init: 5,
  RemoteNode: 6,
  KubeApiserver: 7,
  Ingress: 8,
  WorldIPv4: 9,
  WorldIPv6: 10,
} as const;

export interface Identity {
  readonly id: number;
  readonly kind: "reserved" | "pod" | "cidr" | "node";
  /** With their source, sorted. */
  readonly labels: readonly string[];
  /** Keys without source, for selectors; null for everything that is not a pod. */
  readonly podLabels: ReadonlyMap<string, string> | null;
  /** Named container ports of its pods; from 1.20 all pods of an identity have the same. */
  readonly ports: readonly ContainerPort[];
  /** CIDR labels: one for a CIDR, the address of a node under policy-cidr-match-mode=nodes. */
  readonly prefix: Prefix | null;
}

export interface Identities {
  /** By number. */
  readonly all: readonly Identity[];
  readonly byId: ReadonlyMap<number, Identity>;
  /** By `cluster.pods` index; null: no identity of its own (host network, no address, terminated). */
  readonly ofPod: readonly (Identity | null)[];
  /** By prefix text. */
  readonly ofPrefix: ReadonlyMap<string, Identity>;
  /** Node addresses by text: the identity other nodes see. */
  readonly ofNodeAddress: ReadonlyMap<string, Identity>;
  readonly world: { readonly v4: Identity; readonly v6: Identity };
  readonly host: Identity;
}

/** Whether the pod is an endpoint of Cilium's: it has an address of its own and has not ended. */
export function isEndpoint(pod: Pod): boolean {
  return !pod.hostNetwork && pod.ips.length > 0 && pod.phase !== "Succeeded" && pod.phase !== "Failed";
}

/**
 * Numbers everything that can be a peer. `prefixes` are the CIDRs that policies name (blocks and excepts);
 * those of length 0 are world, and those that are exactly an endpoint's or a node's address stay with it.
 */
export function allocateIdentities(
  cluster: Cluster,
  options: CiliumOptions,
  prefixes: readonly Prefix[],
  numbers: Numbers,
): Identities {
  const byId = new Map<number, Identity>();
  const dual = options["enable-ipv4"] && options["enable-ipv6"];
  for (const [id, label] of RESERVED_LABELS) byId.set(id, reserved(id, label));
  const host = byId.get(Reserved.Host)!;
  const world = dual
    ? { v4: byId.get(Reserved.WorldIPv4)!, v6: byId.get(Reserved.WorldIPv6)! }
    : { v4: byId.get(Reserved.World)!, v6: byId.get(Reserved.World)! };
  const ofPod = podIdentities(cluster, options, numbers.pods, byId);
  const apiserver = apiserverAddresses(cluster);
  const ofNodeAddress = nodeIdentities(cluster, options, apiserver, numbers.remoteNodes, byId);
  const taken = new Set<string>(ofNodeAddress.keys());
  for (const pod of cluster.pods) if (isEndpoint(pod)) for (const ip of pod.ips) taken.add(ip.text);
  const ofPrefix = cidrIdentities(prefixes, apiserver, taken, dual, numbers.cidrs, byId);
  const all = [...byId.values()].sort((a, b) => a.id - b.id);
  return { all, byId, ofPod, ofPrefix, ofNodeAddress, world, host };
}

/** Every address of a node: those of its status, and those on its devices that other nodes may see. */
export function nodeAddresses(node: Cluster["nodes"][number]): Address[] {
  const found = new Map<string, Address>();
  for (const { type, address } of node.addresses) {
    if (type === "InternalIP" || type === "ExternalIP" || type === "CiliumInternalIP")
      found.set(address.text, address);
  }
  for (const device of node.facts.devices) {
    if (device.kind !== "uplink" && device.name !== "cilium_host") continue;
    for (const { address } of device.addresses) if (!isLinkLocal(address)) found.set(address.text, address);
  }
  return [...found.values()];
}

/**
 * Labels of a node's host endpoint (pkg/endpoint InitWithNodeLabels): host, the node's own that the label filter keeps, and
 * what else it has as a peer.
 */
export function hostLabels(node: Node, options: CiliumOptions, more: readonly string[]): string[] {
  const filter = labelFilter(options);
  const own = Object.entries(node.labels).filter(([key]) => filter.keeps(key)).map(([key, value]) => `k8s:${key}=${value}`);
  return [...new Set(["reserved:host", ...more, ...own])].sort();
}

const RESERVED_LABELS: readonly (readonly [number, string])[] = [
  [Reserved.Host, "host"],
  [Reserved.World, "world"],
  [Reserved.Unmanaged, "unmanaged"],
  [Reserved.Health, "health"],
  [Reserved.Init, "init"],
  [Reserved.RemoteNode, "remote-node"],
  [Reserved.KubeApiserver, "kube-apiserver"],
  [Reserved.Ingress, "ingress"],
  [Reserved.WorldIPv4, "world-ipv4"],
  [Reserved.WorldIPv6, "world-ipv6"],
];

function reserved(id: number, label: string): Identity {
  const labels = [`reserved:${label}`];
  // The reserved kube-apiserver is one that runs on a node of the cluster (identity.go, LookupByLabels).
  if (id === Reserved.KubeApiserver) labels.push("reserved:remote-node");
  return { id, kind: "reserved", labels, podLabels: null, ports: [], prefix: null };
}

function podIdentities(
  cluster: Cluster,
  options: CiliumOptions,
  numbers: Numbering,
  byId: Map<number, Identity>,
): (Identity | null)[] {
  const sets = new Map<string, { labels: readonly string[]; podLabels: Map<string, string>; pods: Pod[] }>();
  const shapes = new Map<string, string>();
  const filter = labelFilter(options);
  const textOfPod: (string | null)[] = cluster.pods.map((pod) => {
    if (!isEndpoint(pod)) return null;
    const shape = JSON.stringify([pod.namespace, pod.serviceAccountName, pod.labels, pod.ports]);
    let text = shapes.get(shape);
    if (text === undefined) {
      const podLabels = identityLabels(pod, cluster.namespaces.get(pod.namespace), options["cluster-name"], filter);
      const labels = labelTexts(podLabels, pod.ports, options.version);
      text = labels.join(";");
      const set = sets.get(text);
      if (set === undefined) sets.set(text, { labels, podLabels, pods: [pod] });
      else set.pods.push(pod);
      shapes.set(shape, text);
    }
    return text;
  });
  const idOf = new Map<string, Identity>();
  for (const text of [...sets.keys()].sort()) {
    const { labels, podLabels, pods } = sets.get(text)!;
    const ports = pods.flatMap((pod) => pod.ports.filter((port) => port.name !== ""));
    const identity: Identity = { id: numbers.of(text), kind: "pod", labels, podLabels, ports, prefix: null };
    idOf.set(text, identity);
    byId.set(identity.id, identity);
  }
  return textOfPod.map((text) => (text === null ? null : idOf.get(text)!));
}

/** Addresses of the API server: those of the Service default/kubernetes. */
export function apiserverAddresses(cluster: Cluster): Map<string, Address> {
  const found = new Map<string, Address>();
  for (const slice of cluster.endpointSlices) {
    if (slice.namespace !== "default" || slice.serviceName !== "kubernetes") continue;
    for (const endpoint of slice.endpoints)
      for (const address of endpoint.addresses) found.set(address.text, address);
  }
  return found;
}

/**
 * As other nodes see them. Under policy-cidr-match-mode=nodes each node address is an identity of its own
 * that carries its CIDR label and not world; otherwise CIDR labels are taken off (pkg/ipcache/metadata.go). With
 * enable-node-selector-labels nodes have an identity for each set of labels.
 */
function nodeIdentities(
  cluster: Cluster,
  options: CiliumOptions,
  apiserver: ReadonlyMap<string, Address>,
  numbers: Numbering,
  byId: Map<number, Identity>,
): Map<string, Identity> {
  const found = new Map<string, Identity>();
  const own = cluster.nodes.flatMap((node) => nodeAddresses(node).map((address) => ({ node, address })));
  for (const { node, address } of own.sort((a, b) => byAddress(a.address, b.address))) {
    if (found.has(address.text)) continue;
    const byAddressAlone = options["policy-cidr-match-mode"] === "nodes";
    const labels = nodeSelectorLabels(node, options);
    if (!byAddressAlone && labels.length === 0) {
      found.set(
        address.text,
        byId.get(apiserver.has(address.text) ? Reserved.KubeApiserver : Reserved.RemoteNode)!,
      );
      continue;
    }
    const prefix = byAddressAlone ? prefixOf(address, address.bytes.length * 8) : null;
    labels.push("reserved:remote-node");
    if (prefix !== null) labels.push(`cidr:${prefix.text}`);
    if (apiserver.has(address.text)) labels.push("reserved:kube-apiserver");
    labels.sort();
    const id = numbers.of(byAddressAlone ? address.text : labels.join(";"));
    const identity: Identity = byId.get(id) ?? { id, kind: "node", labels, podLabels: null, ports: [], prefix };
    byId.set(id, identity);
    found.set(address.text, identity);
  }
  return found;
}

/** Labels of a node that policies may select it by (pkg/node/manager nodeIdentityLabels); none by default. */
export function nodeSelectorLabels(node: Node, options: CiliumOptions): string[] {
  if (!options["enable-node-selector-labels"]) return [];
  const own = Object.entries(node.labels).map(([key, value]) => `node:${key}=${value}`);
  return [...own, `k8s:${CLUSTER_LABEL}=${options["cluster-name"]}`];
}

function cidrIdentities(
  prefixes: readonly Prefix[],
  apiserver: ReadonlyMap<string, Address>,
  taken: ReadonlySet<string>,
  dual: boolean,
  numbers: Numbering,
  byId: Map<number, Identity>,
): Map<string, Identity> {
  const wanted = new Map<string, Prefix>();
  for (const prefix of prefixes) if (prefix.length > 0) wanted.set(prefix.text, prefix);
  for (const address of apiserver.values()) {
    const prefix = prefixOf(address, address.bytes.length * 8);
    wanted.set(prefix.text, prefix);
  }
  const found = new Map<string, Identity>();
  for (const prefix of [...wanted.values()].sort(byPrefix)) {
    const address = prefix.address;
    const whole = prefix.length === address.bytes.length * 8;
    if (whole && taken.has(address.text)) continue;
    const labels = [`cidr:${prefix.text}`, dual ? `reserved:world-ipv${address.family}` : "reserved:world"];
    if (whole && apiserver.has(address.text)) labels.push("reserved:kube-apiserver");
    const identity: Identity = {
      id: numbers.of(prefix.text),
      kind: "cidr",
      labels: labels.sort(),
      podLabels: null,
      ports: [],
      prefix,
    };
    byId.set(identity.id, identity);
    found.set(prefix.text, identity);
  }
  return found;
}

export function byAddress(a: Address, b: Address): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let index = 0; index < a.bytes.length; index++) {
    if (a.bytes[index] !== b.bytes[index]) return a.bytes[index] - b.bytes[index];
  }
  return 0;
}

export function byPrefix(a: Prefix, b: Prefix): number {
  return byAddress(a.address, b.address) || a.length - b.length;
}

export function isLinkLocal(address: Address): boolean {
  const [first, second] = address.bytes;
  return address.family === 4 ? first === 169 && second === 254 : first === 0xfe && (second & 0xc0) === 0x80;
}
