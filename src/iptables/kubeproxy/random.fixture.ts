/**
 * Test support: random clusters with every kind of Service and EndpointSlice that kube-proxy treats apart, and
 * random configurations, as fast-check arbitraries. Nothing in a cluster is left to chance but what fast-check
 * draws, so a seed and a path give the same cluster again.
 *
 * Where things are, so that a packet-level test knows what to send and where it may come out (`RANGES`):
 *
 *     node `here`       192.168.0.2, fd00::2 on eth0; zone a; the node that rules are generated for
 *     pods of `here`    10.244.0.0/24, fd00:10:244::/64; endpoints with nodeName `here`
 *     other pods        10.244.1.0/24, fd00:10:244:1::/64; nodeName `there`, or no nodeName at all
 *     cluster IPs       10.96.0.0/24, fd00:10:96::/112; the address of service `s3` ends in 4
 *     external IPs      192.0.2.0/24, 2001:db8:e::/64, and the node's own 192.168.0.2, fd00::2
 *     VIPs              198.51.100.0/24, 2001:db8:b::/64, some shared by services
 *     clients           203.0.113.0/24, 2001:db8:c::/64; source ranges are of these and of the node's network
 *
 * No two service ports share an address with a port and protocol, nor a node port and protocol: the order of services,
 * which kube-proxy leaves to chance, never decides where a packet goes.
 */
import fc from "fast-check";
import type { Prefix } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import { clusterOf, deviceOf, nodeNamed, type Plain, prefix } from "../manifests.fixture.js";
import { type DetectLocalMode, KUBE_PROXY_DEFAULTS, type KubeProxyConfig } from "./config.js";

type RangeName = "pods" | "localPods" | "otherPods" | "clusterIPs" | "externalIPs" | "vips" | "clients" | "nodes";

export const RANGES: Readonly<Record<RangeName, readonly [v4: Prefix, v6: Prefix]>> = {
  pods: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
  localPods: [prefix("10.244.0.0/24"), prefix("fd00:10:244::/64")],
  otherPods: [prefix("10.244.1.0/24"), prefix("fd00:10:244:1::/64")],
  clusterIPs: [prefix("10.96.0.0/24"), prefix("fd00:10:96::/112")],
  externalIPs: [prefix("192.0.2.0/24"), prefix("2001:db8:e::/64")],
  vips: [prefix("198.51.100.0/24"), prefix("2001:db8:b::/64")],
  clients: [prefix("203.0.113.0/24"), prefix("2001:db8:c::/64")],
  nodes: [prefix("192.168.0.0/24"), prefix("fd00::/64")],
};

/** The node `here` with its devices; the clusters themselves hold no Node object. */
export const HERE: Node = {
  ...nodeNamed("here", ["192.168.0.2", "fd00::2"], { "topology.kubernetes.io/zone": "a" }, [
    deviceOf(1, "lo", "loopback", ["127.0.0.1/8", "::1/128"]),
    deviceOf(2, "eth0", "uplink", ["192.168.0.2/24", "fd00::2/64"]),
    deviceOf(3, "eth1", "other", ["192.168.7.2/24", "fd00:7::2/64"]),
  ]),
  podCIDRs: RANGES.localPods,
};

/** One to eight services with their slices. */
export function randomCluster(): fc.Arbitrary<Cluster> {
  return randomObjects().map(clusterOf);
}

/** The same as plain Kubernetes objects, for what reads manifests. */
export function randomObjects(): fc.Arbitrary<Plain[]> {
  return fc.array(randomService(), { minLength: 1, maxLength: 8 })
    .map((seeds) => seeds.flatMap((seed, index) => objectsOf(seed, index)));
}

/**
 * A configuration with every option that changes rules. `detectLocalMode` by device uses cbr0 and veth*; nfacct
 * counters are left out, because a node without the nfacct objects refuses such rules.
 */
export function randomConfig(): fc.Arbitrary<KubeProxyConfig> {
  return fc.record({
    masqueradeBit: fc.constantFrom(14, 14, 0, 31), masqueradeAll: rarely(),
    detectLocalMode: fc.constantFrom<DetectLocalMode>("ClusterCIDR", "ClusterCIDR", "NodeCIDR", "BridgeInterface",
      "InterfaceNamePrefix", "None"),
    clusterCIDR: fc.constantFrom(RANGES.pods, RANGES.pods, RANGES.pods.slice(0, 1), []),
    detectLocal: fc.constant({ bridgeInterface: "cbr0", interfaceNamePrefix: "veth" }),
    nodePortAddresses: fc.constantFrom<Prefix[][]>([], [], [prefix("192.168.0.0/24"), prefix("fd00::/64")],
      [prefix("192.168.0.0/16"), prefix("127.0.0.0/8")], [prefix("0.0.0.0/0"), prefix("::/0")], [prefix("fd00::2/128")],
      [prefix("172.16.0.0/12")]),
    localhostNodePorts: often(), randomFully: fc.boolean(), tcpBeLiberal: rarely(), loadBalancerIPMode: often(),
    preferSameTrafficDistribution: fc.boolean(), largeClusterEndpointsThreshold: fc.constantFrom(1000, 1000, 3),
  }).map((drawn) => ({ ...KUBE_PROXY_DEFAULTS, ...drawn }));
}

/** A service before it is an object. Booleans say whether a field is there at all. */
interface ServiceSeed {
  readonly type: "ClusterIP" | "NodePort" | "LoadBalancer" | "Headless" | "ExternalName";
  /** spec.ipFamilies, in their order. */
  readonly families: readonly (4 | 6)[];
  readonly externalLocal: boolean;
  readonly internalLocal: boolean;
  /** Seconds; 0 is no affinity. */
  readonly affinity: number;
  readonly externalIPs: readonly ("own" | "node" | "other-family")[];
  readonly ranges: readonly string[];
  /** The number of the address among VIPs, and its ipMode. */
  readonly vips: readonly { readonly number: number; readonly mode: "VIP" | "Proxy" | null }[];
  /** A node port on type ClusterIP, which kube-proxy serves all the same. */
  readonly strayNodePort: boolean;
  readonly ports: readonly PortSeed[];
  readonly slices: readonly SliceSeed[];
}

interface PortSeed {
  readonly protocol: "TCP" | "UDP" | "SCTP";
  /** Ports with one slot have one number. */
  readonly slot: number;
}

interface SliceSeed {
  /** The slice has its own target ports, as where a port's name means another number. */
  readonly ownTarget: boolean;
  /** The slice lacks the service's last port. */
  readonly lacksPort: boolean;
  readonly endpoints: readonly EndpointSeed[];
}

interface EndpointSeed {
  readonly host: number;
  readonly node: "here" | "there" | "";
  readonly conditions: { readonly ready?: boolean; readonly serving?: boolean; readonly terminating?: boolean };
  readonly zones: readonly string[];
  readonly nodes: readonly string[];
}

function randomService(): fc.Arbitrary<ServiceSeed> {
  return fc.record({
    type: fc.constantFrom("ClusterIP" as const, "ClusterIP" as const, "NodePort" as const, "NodePort" as const,
      "LoadBalancer" as const, "LoadBalancer" as const, "LoadBalancer" as const, "Headless" as const, "ExternalName" as const),
    families: fc.constantFrom<(4 | 6)[][]>([4], [6], [4, 6], [4, 6], [6, 4]),
    externalLocal: fc.boolean(), internalLocal: rarely(), affinity: fc.constantFrom(0, 0, 1, 10800, 86400),
    externalIPs: fc.subarray(["own" as const, "node" as const, "other-family" as const], { maxLength: 2 }),
    ranges: fc.oneof(fc.constant([]), fc.subarray(["192.168.0.0/24", "203.0.113.7/32", " 203.0.113.0/025", "fd00::/64",
      "2001:db8:c::7/128", "0.0.0.0/0", "::/0"])),
    vips: fc.uniqueArray(fc.record({ number: fc.integer({ min: 1, max: 4 }), mode: fc.constantFrom("VIP", "VIP", null, "Proxy") }),
      { maxLength: 2, selector: (vip) => vip.number }),
    strayNodePort: rarely(),
    ports: fc.uniqueArray(fc.record<PortSeed>({ protocol: fc.constantFrom("TCP", "TCP", "UDP", "SCTP"),
      slot: fc.integer({ min: 0, max: 2 }) }), { minLength: 1, maxLength: 3, selector: (port) => `${port.protocol}${port.slot}` }),
    slices: fc.array(randomSlice(), { maxLength: 3 }),
  });
}

/** Most endpoints are ready and have a hint; one host may be in several slices. */
function randomSlice(): fc.Arbitrary<SliceSeed> {
  return fc.record({
    ownTarget: rarely(), lacksPort: rarely(),
    endpoints: fc.uniqueArray(fc.record<EndpointSeed>({
      host: fc.integer({ min: 1, max: 24 }), node: fc.constantFrom("here", "here", "there", "there", ""),
      conditions: fc.constantFrom({}, {}, { ready: true, serving: true, terminating: false }, { ready: false },
        { ready: false, serving: true, terminating: false }, { ready: false, serving: true, terminating: true },
        { ready: false, serving: false, terminating: true }),
      zones: fc.constantFrom(["a"], ["a"], ["b"], ["b"], ["a", "b"], []),
      nodes: fc.constantFrom(["here"], ["there"], []),
    }), { maxLength: 4, selector: (endpoint) => endpoint.host }),
  });
}

function rarely(): fc.Arbitrary<boolean> {
  return fc.integer({ min: 0, max: 4 }).map((drawn) => drawn === 4);
}

function often(): fc.Arbitrary<boolean> {
  return rarely().map((drawn) => !drawn);
}

function objectsOf(seed: ServiceSeed, index: number): Plain[] {
  const slices = seed.slices.flatMap((slice, number) => seed.families.map((family) => sliceOf(seed, index, slice, number, family)));
  return [serviceOf(seed, index), ...slices];
}

function serviceOf(seed: ServiceSeed, index: number): Plain {
  const type = seed.type === "Headless" ? "ClusterIP" : seed.type;
  const clusterIPs = seed.type === "Headless" ? ["None"] : seed.type === "ExternalName" ? []
    : seed.families.map((family) => addressIn("clusterIPs", family, index + 1));
  const nodePorts = type === "NodePort" || type === "LoadBalancer" || (type === "ClusterIP" && seed.strayNodePort);
  return {
    apiVersion: "v1", kind: "Service", metadata: { namespace: "ns", name: `s${index}` },
    spec: {
      type, ...(clusterIPs.length === 0 ? {} : { clusterIP: clusterIPs[0], clusterIPs }),
      ipFamilies: seed.families.map((family) => `IPv${family}`),
      ports: seed.ports.map((port) => ({ ...portName(seed, port), protocol: port.protocol, port: portNumber(index, port.slot),
        ...(nodePorts ? { nodePort: 30000 + portNumber(index, port.slot) } : {}) })),
      externalIPs: seed.externalIPs.map((which) => externalIP(which, seed.families[0], index)),
      externalTrafficPolicy: seed.externalLocal ? "Local" : "Cluster",
      internalTrafficPolicy: seed.internalLocal ? "Local" : "Cluster",
      ...(seed.affinity === 0 ? {} : { sessionAffinity: "ClientIP",
        sessionAffinityConfig: { clientIP: { timeoutSeconds: seed.affinity } } }),
      ...(type === "LoadBalancer" && seed.externalLocal ? { healthCheckNodePort: 32000 + index } : {}),
      loadBalancerSourceRanges: seed.ranges,
    },
    status: { loadBalancer: { ingress: type !== "LoadBalancer" ? [] : seed.families.flatMap((family) => seed.vips.map((vip) => (
      { ip: addressIn("vips", family, vip.number), ...(vip.mode === null ? {} : { ipMode: vip.mode }) }))) } },
  };
}

function sliceOf(seed: ServiceSeed, index: number, slice: SliceSeed, number: number, family: 4 | 6): Plain {
  const ports = slice.lacksPort ? seed.ports.slice(0, -1) : seed.ports;
  return {
    apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: `IPv${family}`,
    metadata: { namespace: "ns", name: `s${index}-ipv${family}-${number}`, labels: { "kubernetes.io/service-name": `s${index}` } },
    ports: ports.map((port) => ({ ...portName(seed, port), protocol: port.protocol,
      port: 8080 + port.slot + (slice.ownTarget ? 100 * (number + 1) : 0) })),
    endpoints: slice.endpoints.map((endpoint) => ({
      addresses: [addressIn(endpoint.node === "here" ? "localPods" : "otherPods", family, endpoint.host)],
      conditions: endpoint.conditions, ...(endpoint.node === "" ? {} : { nodeName: endpoint.node }),
      hints: { ...(endpoint.zones.length === 0 ? {} : { forZones: endpoint.zones.map((name) => ({ name })) }),
        ...(endpoint.nodes.length === 0 ? {} : { forNodes: endpoint.nodes.map((name) => ({ name })) }) },
    })),
  };
}

/** A port that stands alone has no name where it has the first slot. */
function portName(seed: ServiceSeed, port: PortSeed): { name?: string } {
  return seed.ports.length === 1 && port.slot === 0 ? {} : { name: `${port.protocol.toLowerCase()}-${port.slot}` };
}

/** Services never share a number, so that they may share an address. */
function portNumber(index: number, slot: number): number {
  return 80 + index * 4 + slot;
}

function externalIP(which: "own" | "node" | "other-family", family: 4 | 6, index: number): string {
  if (which === "node") return family === 4 ? "192.168.0.2" : "fd00::2";
  return addressIn("externalIPs", which === "own" ? family : family === 4 ? 6 : 4, index + 1);
}

function addressIn(range: keyof typeof RANGES, family: 4 | 6, host: number): string {
  const network = RANGES[range][family === 4 ? 0 : 1].address.text;
  return family === 4 ? network.replace(/\.0$/, `.${host}`) : `${network}${host.toString(16)}`;
}
