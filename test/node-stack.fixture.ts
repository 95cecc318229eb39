/**
 * A Cilium plane whose nodes masquerade in iptables, one packet at a time: two nodes, two pods on the first, one on the
 * second, dual stack, and a client outside.
 */
import { readWasm } from "../src/cli/wasm.js";
import { parsePrefix } from "../src/cluster/address.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { readManifests } from "../src/cluster/manifests.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { End, FrameBlock, type Journey, PacketType, type Pin, StepResults } from "../src/dataplane.js";
import { createEbpfPlane, type EbpfPlane } from "../src/ebpf/plane.js";
import { buildPlane, type Network } from "../src/planes.js";
import { packet, type PacketInput, read } from "./packets.js";

export const A = "10.244.1.10";
export const B = "10.244.1.11";
export const FAR = "10.244.2.10";
export const NODE = "192.168.50.11";
export const OTHER_NODE = "192.168.50.12";
export const CLIENT = "203.0.113.9";
export const A6 = "fd00:10:244:1::10";
export const NODE6 = "fd00:50::11";
export const CLIENT6 = "2001:db8::9";

const node = (name: string, number: number): string => `
apiVersion: v1
kind: Node
metadata: {name: ${name}}
spec: {podCIDRs: [10.244.${number}.0/24, "fd00:10:244:${number}::/64"]}
status: {addresses: [{type: InternalIP, address: 192.168.50.1${number}}, {type: InternalIP, address: "fd00:50::1${number}"}]}
`;
const pod = (name: string, on: string, ip: string, ip6: string): string => `
apiVersion: v1
kind: Pod
metadata: {name: ${name}, namespace: default, labels: {app: ${name}}}
spec: {nodeName: ${on}, containers: [{name: c}]}
status: {phase: Running, podIPs: [{ip: ${ip}}, {ip: "${ip6}"}]}
`;
const SERVICE = `
apiVersion: v1
kind: Service
metadata: {name: b, namespace: default}
spec: {type: NodePort, clusterIP: 10.96.0.10, selector: {app: b}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: b-1, namespace: default, labels: {kubernetes.io/service-name: b}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: [${B}], nodeName: node-1, conditions: {ready: true}}]
`;

export interface Went {
  readonly end: string;
  readonly reason: string;
  readonly journey: Journey;
  /** `kind made from:port > to:port` of each image, and its bytes. */
  readonly images: readonly { readonly text: string; readonly bytes: Uint8Array; readonly device: number }[];
  /** Of the last image. */
  readonly last: string;
  readonly flags: number;
}

export interface Enters {
  /** Node and device; the pod's own where absent. `process`: sent by the node itself. */
  readonly at?: "uplink" | "process";
  readonly node?: string;
  readonly timeNs?: number;
  readonly pin?: Pin;
  /** Bytes in place of the packet. */
  readonly bytes?: Uint8Array;
}

export interface NodeStackBench {
  readonly plane: EbpfPlane;
  readonly cluster: Cluster;
  send(input: PacketInput, enters?: Enters): Went;
  /** From now on the cluster has these objects in place of `more.objects`. */
  change(objects: string): void;
}

/** `config`: a cilium-config. AKS by its profile's text. */
export function nodeStackBench(profile: string, config: Readonly<Record<string, string>> = {}, network: Partial<Network> = {},
  more: { readonly objects?: string; readonly traced?: boolean; /** Nobody gives the nodes' rules. */ readonly routesAlone?: true } = {})
  : NodeStackBench {
  const data = Object.entries(config).map(([name, value]) => `  ${name}: "${value}"`).join("\n");
  const clusterWith = (more: string): Cluster => {
    const text = [node("node-1", 1), node("node-2", 2), pod("a", "node-1", A, A6), pod("b", "node-1", B, "fd00:10:244:1::11"),
      pod("c", "node-2", FAR, "fd00:10:244:2::10"), SERVICE, more,
      `\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata:\n${data}\n`]
      .filter((one) => one !== "").join("---\n");
    const { objects, problems } = readManifests([{ name: "cluster.yaml", text }]);
    if (problems.length > 0) throw new Error(problems[0].what);
    return buildTimeline({ initial: objects }).initial;
  };
  const cluster = clusterWith(more.objects ?? "");
  const clusterCidrs = [parsePrefix("10.244.0.0/16")!, parsePrefix("fd00:10:244::/48")!];
  const whole = { clusterCidrs, nonMasqueradeCidrs: [], ...network };
  const common = { cluster, epochNs: 0n, wasm: readWasm(), seed: 1, traced: more.traced ?? false };
  const plane = more.routesAlone === true ? createEbpfPlane({ ...common, name: "target", profile })
    : buildPlane("target", { text: profile, engine: "cilium", policyEngine: true },
      { ...common, udpCleanup: true, network: whole }) as EbpfPlane;
  const results = new StepResults();
  const deviceOf = (input: PacketInput, { at, node: name }: Enters): [string, number] => {
    if (at === "process") return [name ?? "node-1", 0];
    const holder = cluster.pods.find((one) => one.ips.some((ip) => ip.text === input.from));
    const where = name ?? (at === "uplink" ? "node-1" : holder!.nodeName);
    const { devices } = cluster.nodes.find((one) => one.name === where)!.facts;
    const device = devices.find((one) => (at === "uplink" ? one.kind === "uplink" : one.pod === `default/${holder!.name}`))!;
    return [where, device.index];
  };
  return { plane, cluster, change: (more) => plane.change(clusterWith(more), 0), send: (input, enters = {}) => {
    const block = new FrameBlock();
    const bytes = enters.bytes ?? packet(input);
    const [where, device] = deviceOf(input, enters);
    block.push(bytes, 0, bytes.length, bytes.length, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800, PacketType.Host,
      plane.nodes.indexOf(where), device, enters.timeNs ?? 1e9);
    if (enters.pin !== undefined) block.pin[0] = block.pins.push(enters.pin);
    plane.step(block, results);
    const images = Array.from({ length: results.emissions }, (_, index) => {
      const image = results.bytes.slice(results.emissionOffset[index],
        results.emissionOffset[index] + results.emissionLength[index]);
      const { from, to, sport, dport } = read(image);
      return { bytes: image, device: results.emissionDevice[index],
        text: `${["out", "in", "local"][results.emissionKind[index]]}${results.emissionMade[index] === 1 ? " made" : ""} `
          + `${from}:${sport} > ${to}:${dport}` };
    });
    return { end: Object.entries(End).find(([, value]) => value === results.end[0])![0], reason: plane.reasons[results.reason[0]],
      journey: plane.journey(results.journey[0]), images, last: images.at(-1)?.text ?? "", flags: results.flags[0] };
  } };
}
