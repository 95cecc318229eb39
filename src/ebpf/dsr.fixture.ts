/** Two nodes, a pod on each, and a LoadBalancer service of both families in front of the second; frames put into the plane. */
import { packet, type PacketInput } from "../../test/packets.js";
import { moduleBytes } from "../../test/programs.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { End, FrameBlock, PacketType, StepResults } from "../dataplane.js";
import { createEbpfPlane } from "./plane.js";

export const [CLIENT, CLIENT6, SERVICE, SERVICE6] = ["203.0.113.9", "2001:db8:9::9", "198.51.100.1", "2001:db8:1::1"];

const node = (n: number): object => ({ apiVersion: "v1", kind: "Node", metadata: { name: `node-${n}` },
  spec: { podCIDRs: [`10.244.${n}.0/24`, `fd00:10:${n}::/64`] },
  status: { addresses: [`192.168.50.1${n}`, `fd00:50::1${n}`].map((address) => ({ type: "InternalIP", address })) } });
const pod = (n: number): object => ({ apiVersion: "v1", kind: "Pod", metadata: { name: `web-${n}`, namespace: "d", labels: { app: "web" } },
  spec: { nodeName: `node-${n}`, containers: [{ name: "c" }] },
  status: { phase: "Running", podIPs: [{ ip: `10.244.${n}.9` }, { ip: `fd00:10:${n}::9` }] } });
const service = { apiVersion: "v1", kind: "Service", metadata: { name: "s", namespace: "d" },
  spec: { type: "LoadBalancer", clusterIP: "10.96.0.1", clusterIPs: ["10.96.0.1", "fd00:96::1"], ipFamilies: ["IPv4", "IPv6"],
    ports: [{ name: "tcp", port: 80, nodePort: 30080 }, { name: "udp", port: 53, nodePort: 30053, protocol: "UDP" }] },
  status: { loadBalancer: { ingress: [{ ip: SERVICE }, { ip: SERVICE6 }] } } };
const slices = (four: string, six: string): object[] => ([["IPv4", four], ["IPv6", six]] as const).map(([addressType, address]) => ({
  apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType,
  metadata: { name: `s-${addressType.toLowerCase()}`, namespace: "d", labels: { "kubernetes.io/service-name": "s" } },
  ports: [{ name: "tcp", port: 8080, protocol: "TCP" }, { name: "udp", port: 5353, protocol: "UDP" }],
  endpoints: [{ addresses: [address], nodeName: "node-2", conditions: { ready: true } }] }));

export interface Sent { end: string; reason: string; images: Uint8Array[] }

export function plane(version: string, cilium: Record<string, string>, backend = ["10.244.2.9", "fd00:10:2::9"], more: object[] = []) {
  const items = [node(1), node(2), pod(1), pod(2), service, ...slices(backend[0], backend[1]), ...more];
  const { objects } = readManifests([{ name: "c.json", text: JSON.stringify({ kind: "List", apiVersion: "v1", items }) }]);
  const cluster = buildCluster(objects);
  const made = createEbpfPlane({ name: "target", profile: `cilium@${version}`, cluster, epochNs: 0n, connections: 4096,
    wasm: { fast: moduleBytes(), traced: moduleBytes(true) }, cilium: { "enable-ipv6": "true", ...cilium } });
  const results = new StepResults();
  const send = (input: PacketInput, { seconds = 1, at = "node-1" } = {}): Sent => sendBytes(packet(input), input.from, seconds, at);
  const sendBytes = (bytes: Uint8Array, from: string, seconds = 1, at = "node-1"): Sent => {
    const owner = cluster.pods.find((one) => one.ips.some((ip) => ip.text === from));
    const place = cluster.nodes.find(({ name }) => name === (owner?.nodeName ?? at))!;
    const device = place.facts.devices.find((one) => (owner === undefined ? one.kind === "uplink" : one.pod === `d/${owner.name}`))!;
    const block = new FrameBlock();
    block.push(bytes, 0, bytes.length, bytes.length, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800, PacketType.Host,
      made.nodes.indexOf(place.name), device.index, seconds * 1e9);
    made.step(block, results);
    return { end: Object.entries(End).find(([, value]) => value === results.end[0])![0], reason: made.reasons[results.reason[0]],
      images: Array.from({ length: results.emissions }, (_, index) => results.bytes.slice(results.emissionOffset[index],
        results.emissionOffset[index] + results.emissionLength[index])) };
  };
  return { send, sendBytes, made };
}

export const hex = (bytes: Uint8Array, from: number, to: number): string => Buffer.from(bytes.subarray(from, to)).toString("hex");
