/**
 * Random clusters for the policy ring, without their policies: three nodes, pods with many kinds of labels and ports, some
 * on the host's network, services with and without a selector, an API server in the cluster or outside it. Given as
 * manifests, so that they take the product's own way in.
 */
import { parseAddress } from "../../src/cluster/address.js";
import type { DNSNames } from "../../src/cluster/names.js";
import { type Random, subset } from "./random.js";

export type Plain = Record<string, unknown>;

export const NODES = ["n1", "n2", "n3"] as const;
export const OUTSIDE = ["203.0.113.9", "203.0.113.200", "198.18.0.1", "8.8.8.8", "172.16.5.5"];
export const OUTSIDE6 = ["2001:db8:9::9", "2001:db8:77::1"];
export const NAMESPACES = ["red", "blue", "green"];
export const PORTS = [53, 80, 443, 8080, 9090, 9091];
export const PORT_NAMES = ["http", "dns", "alt"];
/** Values of the labels that selectors ask for. The last four are left out of identities, the very last from 1.20 on. */
export const POD_LABELS: Readonly<Record<string, readonly string[]>> = { app: ["a", "b", "c"], tier: ["x", "y", ""],
  "app.kubernetes.io/name": ["a", "b"], "pod-template-hash": ["h1", "h2"], "k8s.io/part": ["p"], "controller-uid": ["u"],
  "topology.kubernetes.io/zone": ["z1", "z2"] };
export const NAMESPACE_LABELS: Readonly<Record<string, readonly string[]>> = { team: ["one", "two"], env: ["dev", "prod"],
  "kubernetes.io/metadata.name": NAMESPACES };
/** DNS names that clusters know addresses of, or do not. */
export const NAMES = ["example.com", "api.example.com", "a.b.example.com", "example.org", "x.api.test"];
export const SERVICES = ["plain", "picked", "bare"];

export interface BaseCluster {
  readonly items: readonly Plain[];
  readonly v6: boolean;
}

export function baseCluster(random: Random): BaseCluster {
  const v6 = random.chance(25);
  return { v6, items: [
    ...NODES.map((name, index) => ({ apiVersion: "v1", kind: "Node", metadata: { name, labels: { zone: index === 0 ? "a" : "b" } },
      spec: { podCIDRs: [`10.244.${index + 1}.0/24`, ...(v6 ? [`fd00:244:${index + 1}::/64`] : [])] },
      status: { addresses: nodeAddresses(index, v6).map((address) => ({ type: "InternalIP", address })) } })),
    ...NAMESPACES.map((name) => ({ apiVersion: "v1", kind: "Namespace", metadata: { name, labels: labels(random, NAMESPACE_LABELS,
      60) } })),
    ...Array.from({ length: 6 + random.below(5) }, (_, index) => pod(random, index, v6)),
    ...services(random),
    ...apiServer(random),
    ...groups(random),
  ] };
}

function nodeAddresses(index: number, v6: boolean): string[] {
  return [`192.168.50.${11 + index}`, ...(v6 ? [`fd00:50::${11 + index}`] : [])];
}

export function labels(random: Random, from: Readonly<Record<string, readonly string[]>>, percent: number): Record<string, string> {
  return Object.fromEntries(Object.entries(from).filter(([key]) => key !== "kubernetes.io/metadata.name" && random.chance(percent))
    .map(([key, values]) => [key, random.pick(values)]));
}

function pod(random: Random, index: number, v6: boolean): Plain {
  const node = random.below(NODES.length);
  const hostNetwork = index > 2 && random.chance(15);
  const ports = PORT_NAMES.filter(() => random.chance(50)).map((name) => ({ name, containerPort: random.pick(PORTS),
    protocol: name === "dns" ? "UDP" : random.pick(["TCP", "TCP", "UDP"]) }));
  const own = [`10.244.${node + 1}.${20 + index}`, ...(v6 ? [`fd00:244:${node + 1}::${20 + index}`] : [])];
  return {
    apiVersion: "v1", kind: "Pod",
    metadata: { name: `p${index}`, namespace: random.pick(NAMESPACES), labels: labels(random, POD_LABELS, 45) },
    spec: { nodeName: NODES[node], hostNetwork, serviceAccountName: random.pick(["default", "robot"]),
      containers: [{ name: "c", ports: hostNetwork ? [] : ports }] },
    status: { phase: "Running", podIPs: (hostNetwork ? nodeAddresses(node, v6) : own).map((ip) => ({ ip })) },
  };
}

/** `plain` selects pods, `bare` has endpoints outside and selects none; `picked` is found by its labels. */
function services(random: Random): Plain[] {
  return SERVICES.flatMap((name, index) => {
    const namespace = random.pick(NAMESPACES);
    const selector = name === "bare" ? undefined : { app: random.pick(POD_LABELS.app) };
    const service = { apiVersion: "v1", kind: "Service", metadata: { name, namespace, labels: { kind: name } },
      spec: { clusterIP: `10.96.0.${10 + index}`, selector, ports: [{ port: 80, targetPort: 8080 }] } };
    const slice = { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: `${name}-1`, namespace, labels: { "kubernetes.io/service-name": name } },
      ports: [{ port: 8080, protocol: "TCP" }], endpoints: [{ addresses: [random.pick(OUTSIDE)], conditions: { ready: true } }] };
    return name === "bare" ? [service, slice] : [service];
  });
}

/** What is known of names: addresses outside, and some of pods, which no name opens. */
export function names(random: Random, v6: boolean): DNSNames | null {
  if (!random.chance(65)) return null;
  const choice = [...OUTSIDE, ...(v6 ? OUTSIDE6 : []), "10.244.1.20", "10.244.2.21"];
  const known = subset(random, NAMES, 70, 1).map((name) => [name, subset(random, choice, 35, 1).map((text) => parseAddress(text)!)] as const);
  return { addresses: new Map(known), complete: random.chance(60) };
}

function apiServer(random: Random): Plain[] {
  if (!random.chance(60)) return [];
  const address = random.pick(["192.168.50.11", "203.0.113.9"]);
  return [
    { apiVersion: "v1", kind: "Service", metadata: { name: "kubernetes", namespace: "default" },
      spec: { clusterIP: "10.96.0.1", ports: [{ port: 443, targetPort: 6443 }] } },
    { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: "kubernetes", namespace: "default", labels: { "kubernetes.io/service-name": "kubernetes" } },
      ports: [{ port: 6443, protocol: "TCP" }], endpoints: [{ addresses: [address], conditions: { ready: true } }] },
  ];
}

function groups(random: Random): Plain[] {
  return ["north", "south"].map((name) => ({ apiVersion: "cilium.io/v2alpha1", kind: "CiliumCIDRGroup",
    metadata: { name, labels: { side: name } },
    spec: { externalCIDRs: [random.pick(["203.0.113.0/25", "203.0.113.128/25", "198.18.0.0/15", "8.8.8.8/32", "10.244.0.0/16"])] } }));
}
