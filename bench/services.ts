/**
 * A large cluster as data: many services behind cluster IPs, pods spread over nodes. Sizes follow the measurement of
 * 10,000 services in about 60,000 rules that imroc/tke-guide publishes (network-benchmark.md).
 */
import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import type { Cluster } from "../src/cluster/cluster.js";

export interface ClusterSize {
  readonly nodes: number;
  readonly services: number;
}

export const NAMESPACE = "default";
export const PORT = 80;
export const TARGET_PORT = 8080;

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

export function clusterOf(size: ClusterSize): Cluster {
  const { objects, problems } = readManifests([{ name: "cluster.json",
    text: JSON.stringify({ apiVersion: "v1", kind: "List", items: [...manifests(size)] }) }]);
  const { initial, problems: more } = buildTimeline({ initial: objects });
  if (problems.length + more.length > 0) throw new Error(`the cluster of the benchmark: ${JSON.stringify([...problems, ...more][0])}`);
  return initial;
}

function* manifests({ nodes, services }: ClusterSize): Generator<object> {
  for (let node = 0; node < nodes; node++) {
    yield { apiVersion: "v1", kind: "Node", metadata: { name: `node-${node}` },
      spec: { podCIDRs: [`${podIp(node, -1)}/26`] },
      status: { addresses: [{ type: "InternalIP", address: nodeIp(node) }] } };
  }
  const pods = new Array<number>(nodes).fill(0);
  let next = 0;
  for (let service = 0; service < services; service++) {
    yield { apiVersion: "v1", kind: "Service", metadata: { name: `service-${service}`, namespace: NAMESPACE },
      spec: { clusterIP: clusterIp(service), clusterIPs: [clusterIp(service)], ports: [{ port: PORT, targetPort: TARGET_PORT, protocol: "TCP" }] } };
    const endpoints: object[] = [];
    for (let index = 0; index < endpointsOf(service); index++) {
      const node = next++ % nodes;
      const ip = podIp(node, pods[node] = (pods[node] + 1) % 62);
      endpoints.push({ addresses: [ip], nodeName: `node-${node}`, conditions: { ready: true } });
      yield { apiVersion: "v1", kind: "Pod", metadata: { name: `pod-${next}`, namespace: NAMESPACE },
        spec: { nodeName: `node-${node}`, containers: [{ name: "c" }] }, status: { phase: "Running", podIPs: [{ ip }] } };
    }
    yield { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: `service-${service}-1`, namespace: NAMESPACE, labels: { "kubernetes.io/service-name": `service-${service}` } },
      ports: [{ port: TARGET_PORT, protocol: "TCP" }], endpoints };
  }
}
