/**
 * Test support: plain Kubernetes objects to a Cluster, with the defaults kube-proxy's own tests rely on (no
 * type means ClusterIP, no conditions means ready) and its sloppy reading of IPv4 octets with leading zeros.
 * It reads only what the iptables generators use. Not part of the product: src/cluster reads manifests.
 */
import { parseAddress, parsePrefix, type Address, type Prefix } from "../cluster/address.js";
import type { Cluster, Device, EndpointSlice, Node, NodeFacts, ObjectMeta, Pod, Protocol, Service }
  from "../cluster/cluster.js";

/** An object as YAML gives it. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into objects of any kind
export type Plain = Record<string, any>;

export function clusterOf(objects: readonly Plain[]): Cluster {
  const of = (kind: string): Plain[] => objects.filter((object) => object.kind === kind);
  return {
    namespaces: new Map(),
    nodes: of("Node").map(nodeOf),
    pods: of("Pod").map(podOf),
    services: of("Service").map(serviceOf),
    endpointSlices: of("EndpointSlice").map(sliceOf),
    networkPolicies: [],
    adminPolicies: [],
    ciliumPolicies: [],
    cidrGroups: [],
    others: [],
  };
}

export function nodeNamed(name: string, addresses: readonly string[], labels: Record<string, string> = {},
  devices: readonly Device[] = []): Node {
  const node = nodeOf({ metadata: { name, labels },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) } });
  return { ...node, facts: { ...node.facts, devices } };
}

export function deviceOf(index: number, name: string, kind: Device["kind"], addresses: readonly string[],
  pod: string | null = null): Device {
  return {
    index, name, kind, mac: "", mtu: 1500, up: true, pod, vxlan: null,
    addresses: addresses.map((text) => ({
      address: address(text.split("/")[0]), length: Number(text.split("/")[1] ?? (text.includes(":") ? 128 : 32)),
    })),
  };
}

/** Leading zeros are decimal, as kube-proxy reads them (netutils.ParseIPSloppy). */
export function address(text: string): Address {
  const parsed = parseAddress(sloppy(text));
  if (parsed === null) throw new Error(`not an address: ${text}`);
  return parsed;
}

export function prefix(text: string): Prefix {
  const [head, length] = text.trim().split("/");
  const parsed = parsePrefix(`${sloppy(head)}/${Number(length ?? (head.includes(":") ? 128 : 32))}`);
  if (parsed === null) throw new Error(`not a prefix: ${text}`);
  return parsed;
}

function sloppy(text: string): string {
  return text.includes(":") ? text : text.split(".").map((octet) => String(Number(octet))).join(".");
}

function meta(kind: string, object: Plain): ObjectMeta {
  return {
    kind, namespace: object.metadata.namespace ?? "", name: object.metadata.name,
    labels: object.metadata.labels ?? {}, annotations: object.metadata.annotations ?? {},
    where: { file: "test.yaml", line: object.line ?? 1 },
  };
}

const NO_FACTS: NodeFacts = { devices: [], routes: [], neighbours: [], sysctls: {}, source: "assumed" };

function nodeOf(object: Plain): Node {
  return {
    ...meta("Node", object),
    addresses: (object.status?.addresses ?? []).map((entry: Plain) => (
      { type: entry.type, address: address(entry.address) })),
    podCIDRs: (object.spec?.podCIDRs ?? []).map(prefix),
    facts: NO_FACTS,
  };
}

function podOf(object: Plain): Pod {
  return {
    ...meta("Pod", object), nodeName: object.spec.nodeName ?? "",
    ips: (object.status?.podIPs ?? []).map((entry: Plain) => address(entry.ip)),
    hostNetwork: object.spec.hostNetwork ?? false, serviceAccountName: "default", ports: [],
    phase: object.status?.phase ?? "Running",
  };
}

function serviceOf(object: Plain): Service {
  const { spec } = object;
  const ips: string[] = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  const headless = ips.length === 0 || ips[0] === "None" || ips[0] === "";
  return {
    ...meta("Service", object), type: spec.type ?? "ClusterIP", headless,
    clusterIPs: headless ? [] : ips.map(address), ipFamilies: spec.ipFamilies ?? [],
    externalIPs: (spec.externalIPs ?? []).map(address),
    loadBalancerIngress: (object.status?.loadBalancer?.ingress ?? []).filter((entry: Plain) => entry.ip)
      .map((entry: Plain) => ({ ip: address(entry.ip), ipMode: entry.ipMode ?? "VIP" })),
    loadBalancerSourceRanges: (spec.loadBalancerSourceRanges ?? []).map(prefix),
    externalTrafficPolicy: spec.externalTrafficPolicy ?? "Cluster",
    internalTrafficPolicy: spec.internalTrafficPolicy ?? "Cluster",
    sessionAffinity: spec.sessionAffinity ?? "None",
    sessionAffinityTimeoutSeconds: spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10800,
    healthCheckNodePort: spec.healthCheckNodePort ?? 0, publishNotReadyAddresses: false, trafficDistribution: "",
    loadBalancerClass: spec.loadBalancerClass ?? "",
    selector: spec.selector ?? null,
    ports: spec.ports.map((port: Plain) => ({
      name: port.name ?? "", protocol: (port.protocol ?? "TCP") as Protocol, port: port.port,
      targetPort: port.targetPort ?? port.port, nodePort: port.nodePort ?? 0,
    })),
  };
}

function sliceOf(object: Plain): EndpointSlice {
  return {
    ...meta("EndpointSlice", object), addressType: object.addressType ?? "IPv4",
    serviceName: object.metadata.labels?.["kubernetes.io/service-name"] ?? "",
    ports: (object.ports ?? []).map((port: Plain) => (
      { name: port.name ?? "", protocol: port.protocol ?? "TCP", port: port.port ?? 0 })),
    endpoints: (object.endpoints ?? []).map((endpoint: Plain) => {
      const ready = endpoint.conditions?.ready ?? true;
      return {
        addresses: endpoint.addresses.map(address), nodeName: endpoint.nodeName ?? "", zone: endpoint.zone ?? "",
        ready, serving: endpoint.conditions?.serving ?? ready,
        ...(endpoint.conditions?.serving === undefined && !ready ? { servingAbsent: true } : {}),
        terminating: endpoint.conditions?.terminating ?? false,
        targetRef: null, hintZones: (endpoint.hints?.forZones ?? []).map((zone: Plain) => zone.name),
        hintNodes: (endpoint.hints?.forNodes ?? []).map((node: Plain) => node.name),
      };
    }),
  };
}
