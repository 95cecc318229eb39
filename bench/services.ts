/**
 * A large cluster as data: many services behind cluster IPs, pods spread over nodes. Sizes follow the measurement of
 * 10,000 services in about 60,000 rules that imroc/tke-guide publishes (network-benchmark.md).
 */
import { parseAddress, parsePrefix } from "../src/cluster/address.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { KUBE_PROXY_DEFAULTS } from "../src/iptables/kubeproxy/config.js";
import type { IptablesConfig } from "../src/iptables/planeNode.js";

export interface ClusterSize {
  readonly nodes: number;
  readonly services: number;
  /** Every how manieth service has a node port and externalTrafficPolicy Local, so that nodes' rules differ; 0: none. */
  readonly local?: number;
}

export const NAMESPACE = "default";
export const PORT = 80;
export const TARGET_PORT = 8080;

export const PODS = parsePrefix("10.128.0.0/9")!;

/** Who writes the nodes' rules. */
export const generators: IptablesConfig = {
  kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: [PODS] },
  masquerade: { agent: "cni", clusterCIDR: [PODS], nonMasqueradeCIDRs: [], randomFully: false },
};

/** Every third service has two endpoints, the others one: six rules a service. */
export function endpointsOf(service: number): number {
  return service % 3 === 0 ? 2 : 1;
}

export function clusterIp(service: number): string {
  return `10.96.${service >> 8}.${service & 255}`;
}

/** At most 62 pods on a node. */
export function podIp(node: number, pod: number): string {
  return `10.${128 + (node >> 10)}.${(node >> 2) & 255}.${((node & 3) << 6) + pod + 1}`;
}

export function nodeIp(node: number): string {
  return `192.168.${node >> 8}.${node & 255}`;
}

/** The node of each of a service's endpoints. */
export function nodesOf(service: number, nodes: number): number[] {
  const first = service + Math.ceil(service / 3);
  return Array.from({ length: endpointsOf(service) }, (_, index) => (first + index) % nodes);
}

/** The same cluster with the endpoints of one service not ready. */
export function withChangedSlice(cluster: Cluster, service: number): Cluster {
  const endpointSlices = cluster.endpointSlices.map((slice) => (slice.serviceName !== `service-${service}` ? slice
    : { ...slice, endpoints: slice.endpoints.map((one) => ({ ...one, ready: false, serving: false })) }));
  return { ...cluster, endpointSlices };
}

/** An IPv4 TCP segment from a port to PORT, checksums right. */
export function segment(source: string, destination: string, port: number, flags: number,
  numbers: { readonly seq: number; readonly ack: number } = { seq: 1, ack: 0 },
  payload = 0, toPort = PORT): Uint8Array {
  const { bytes, view } = packet(6, 20 + payload, source, destination, port, toPort);
  view.setUint32(24, numbers.seq);
  view.setUint32(28, numbers.ack);
  bytes.set([0x50, flags, 0xff, 0xff], 32);
  view.setUint16(36, checksum(view, 12, bytes.length, 6 + 20 + payload));
  return bytes;
}

/** An IPv4 UDP datagram, checksums right. */
export function datagram(source: string, destination: string, port: number, toPort: number, payload: number): Uint8Array {
  const { bytes, view } = packet(17, 8 + payload, source, destination, port, toPort);
  view.setUint16(24, 8 + payload);
  view.setUint16(26, checksum(view, 12, bytes.length, 17 + 8 + payload));
  return bytes;
}

/** IPv4 header and ports, and room for `size` bytes with the latter. */
function packet(protocol: number, size: number, source: string, destination: string, port: number, toPort: number): {
  bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(20 + size);
  const view = new DataView(bytes.buffer);
  bytes.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocol]);
  view.setUint16(2, bytes.length);
  bytes.set(parseAddress(source)!.bytes, 12);
  bytes.set(parseAddress(destination)!.bytes, 16);
  view.setUint16(10, checksum(view, 0, 20, 0));
  view.setUint16(20, port);
  view.setUint16(22, toPort);
  return { bytes, view };
}

function checksum(view: DataView, from: number, to: number, start: number): number {
  let sum = start;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function clusterOf(size: ClusterSize): Cluster {
  const { objects, problems } = readManifests([{ name: "cluster.json",
    text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [...manifests(size)] }) }]);
  const { initial, problems: more } = buildTimeline({ initial: objects });
  if (problems.length + more.length > 0) throw new Error(`the cluster of the benchmark: ${JSON.stringify([...problems, ...more][0])}`);
  return initial;
}

function* manifests({ nodes, services, local = 0 }: ClusterSize): Generator<object> {
  for (let node = 0; node < nodes; node++) {
    yield { apiVersion: "v1", kind: "Node", metadata: { name: `node-${node}` },
      spec: { podCIDRs: [`${podIp(node, -1)}/26`] },
      status: { addresses: [{ type: "InternalIP", address: nodeIp(node) }] } };
  }
  const pods = new Array<number>(nodes).fill(0);
  let next = 0;
  for (let service = 0; service < services; service++) {
    const port = { port: PORT, targetPort: TARGET_PORT, protocol: "TCP" };
    yield { apiVersion: "v1", kind: "Service", metadata: { name: `service-${service}`, namespace: NAMESPACE },
      spec: { clusterIP: clusterIp(service), clusterIPs: [clusterIp(service)], 
        ...(local === 0 || service % local !== 0 ? { ports: [port] }
          : { type: "NodePort", externalTrafficPolicy: "Local", ports: [{ ...port, nodePort: 30_000 + (service % 2768) }] }) } };
    const endpoints: object[] = [];
    for (let index = 0; index < endpointsOf(service); index++) {
      const node = next++ % nodes;
      const ip = podIp(node, pods[node] = (pods[node] + 1) % 62);
      endpoints.push({ addresses: [ip], nodeName: `node-${node}`, conditions: { ready: true } });
      yield { apiVersion: "v1", kind: "Pod", metadata: { name: `pod-${next}`, namespace: NAMESPACE },
        spec: { nodeName: `node-${node}`, containers: [{ name: "c" }] }, status: { phase: "Running", podIPs: [{ ip }] } };
    }
    yield { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: `service-${service}-1`, namespace: NAMESPACE,
        labels: { "kubernetes.io/service-name": `service-${service}` } },
      ports: [{ port: TARGET_PORT, protocol: "TCP" }], endpoints };
  }
}
