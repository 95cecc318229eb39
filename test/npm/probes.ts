/** Probes of the policy ring: first packets of new connections, put into a plane where they would begin. */
import type { Cluster, ContainerPort } from "../../src/cluster/cluster.js";
import { addressFromBytes, parseAddress } from "../../src/cluster/address.js";
import { Emission, type Journey, PacketType, FrameBlock, type Pin, type Plane, StepResults } from "../../src/dataplane.js";
import { NODES, OUTSIDE, OUTSIDE6, type Random } from "./clusters.js";
import type { End, Entry } from "./route.js";

export const PROTOCOL_NUMBERS = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1 } as const;
export type ProbeProtocol = keyof typeof PROTOCOL_NUMBERS;

export interface Probe {
  readonly source: End;
  readonly entry: Entry;
  /** Who is to get it. */
  readonly backend: End;
  /** The port there. */
  readonly port: number;
  readonly protocol: ProbeProtocol;
  /** Where a frame from outside enters. */
  readonly at: string;
}

/** A probe at random, or null where what was drawn has no sense (a pod to itself, a service without endpoints). */
export function randomProbe(random: Random, cluster: Cluster): Probe | null {
  if (random.chance(4)) return inIPv6(directProbe(random, cluster, randomSource(random, cluster)), cluster);
  const source = randomSource(random, cluster);
  const service = random.chance(30) ? random.pick(cluster.services) : undefined;
  return service === undefined ? directProbe(random, cluster, source) : serviceProbe(random, cluster, source, service);
}

function directProbe(random: Random, cluster: Cluster, source: End): Probe | null {
  const backend = random.chance(70) ? podEnd(random, cluster) : random.chance(60) ? nodeEnd(random, cluster)
    : outsideEnd(random);
  if (backend === null || backend.address === source.address) return null;
  // What begins at a node's own socket or outside meets no forwarding node on its way to no pod.
  if (source.kind !== "pod" && backend.kind !== "pod") return null;
  const named = random.chance(40) ? random.pick(portsAt(cluster, backend)) : undefined;
  const protocol = named?.protocol ?? random.pick(["TCP", "TCP", "UDP", "SCTP", "ICMP"] as const);
  const port = named?.containerPort ?? (protocol === "ICMP" ? 0 : random.pick([53, 80, 443, 8080, 9090, 81, 300, 22]));
  return { source, backend, port, protocol, at: backend.node ?? NODES[0],
    entry: { kind: "direct", local: false, address: backend.address, port, node: null } };
}

/** Container ports of the pod there; none where there is none. */
function portsAt(cluster: Cluster, end: End): readonly ContainerPort[] {
  return cluster.pods.find((pod) => end.kind === "pod" && pod.ips.some((ip) => ip.text === end.address))?.ports ?? [];
}

/** The same ends by their IPv6 addresses. */
function inIPv6(probe: Probe | null, cluster: Cluster): Probe | null {
  if (probe === null) return null;
  const six = (end: End): End => {
    const pods = cluster.pods.filter((pod) => !pod.hostNetwork && pod.phase !== "Succeeded").map((pod) => pod.ips);
    const owners = [...pods, ...cluster.nodes.map((node) => node.addresses.map(({ address }) => address))];
    const owner = owners.find((ips) => ips.some((ip) => ip.text === end.address));
    return { ...end, address: owner?.find((ip) => ip.family === 6)?.text ?? OUTSIDE6 };
  };
  const [source, backend] = [six(probe.source), six(probe.backend)];
  return { ...probe, source, backend, entry: { ...probe.entry, address: backend.address } };
}

function serviceProbe(random: Random, cluster: Cluster, source: End, service: Cluster["services"][number]): Probe | null {
  const kinds = { ClusterIP: ["ClusterIP"], NodePort: ["ClusterIP", "NodePort", "NodePort"],
    LoadBalancer: ["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"], ExternalName: [] } as const;
  const kind: Entry["kind"] = random.pick<Entry["kind"]>(kinds[service.type]);
  const slice = cluster.endpointSlices.find((one) => one.serviceName === service.name);
  const local = service.externalTrafficPolicy === "Local";
  const node = random.pick(NODES);
  const at = source.node ?? node;
  const translator = kind === "NodePort" ? node : at;
  const ready = slice?.endpoints.filter(({ nodeName }) => (
    // Traffic from outside the pods' range goes to endpoints of the node only; a node's own goes to all.
    kind === "ClusterIP" || !local || source.kind === "pod" || (source.kind === "node" && translator === at)
      || nodeName === translator)) ?? [];
  if (slice === undefined || ready.length === 0) return null;
  const endpoint = random.pick(ready);
  const address = endpoint.addresses[0].text;
  const pod = cluster.pods.find((one) => !one.hostNetwork && one.ips.some((ip) => ip.text === address));
  const backend: End = { kind: pod === undefined ? "node" : "pod", address, node: endpoint.nodeName };
  const protocol = service.ports[0].protocol;
  return { source, backend, port: slice.ports[0].port, protocol, at,
    entry: { kind, local: kind !== "ClusterIP" && local, node: kind === "NodePort" ? node : null,
      address: kind === "ClusterIP" ? service.clusterIPs[0].text : kind === "NodePort" ? nodeAddress(cluster, node)
        : service.loadBalancerIngress[0].ip.text,
      port: kind === "NodePort" ? service.ports[0].nodePort : service.ports[0].port } };
}

export function nodeAddress(cluster: Cluster, name: string): string {
  return cluster.nodes.find((node) => node.name === name)!.addresses[0].address.text;
}

function randomSource(random: Random, cluster: Cluster): End {
  const kind = random.below(10);
  const pod = kind < 7 ? podEnd(random, cluster) : null;
  return pod ?? (kind < 8 ? nodeEnd(random, cluster) : outsideEnd(random));
}

function podEnd(random: Random, cluster: Cluster): End | null {
  const pods = cluster.pods.filter((pod) => !pod.hostNetwork && pod.phase !== "Succeeded");
  if (pods.length === 0) return null;
  const pod = random.pick(pods);
  return { kind: "pod", address: pod.ips.find((ip) => ip.family === 4)!.text, node: pod.nodeName };
}

function nodeEnd(random: Random, cluster: Cluster): End {
  const name = random.pick(NODES);
  return { kind: "node", address: nodeAddress(cluster, name), node: name };
}

function outsideEnd(random: Random): End {
  return { kind: "outside", address: random.pick(OUTSIDE), node: null };
}

/** What became of a probe. */
export interface Fate {
  readonly end: number;
  readonly reason: string;
  readonly journey: Journey;
  /** Source and destination of the last image. */
  readonly source: string;
  readonly reached: string;
}

/** Sends probes through a plane, each from a source port of its own. */
export class Sender {
  private readonly block = new FrameBlock(1);
  private readonly results = new StepResults(1);
  private count = 0;

  constructor(private readonly plane: Plane, private readonly cluster: Cluster) {}

  send(probe: Probe): Fate {
    const { plane, block, results } = this;
    const node = probe.source.node ?? probe.at;
    const number = this.count++;
    const bytes = frame(probe.protocol, probe.source.address, probe.entry.address, 1024 + (number % 60000), probe.entry.port);
    block.clear();
    // A day between two of one source port: no connection lives that long unanswered.
    block.push(bytes, 0, bytes.length, bytes.length, bytes[0] >> 4 === 6 ? 0x86dd : 0x0800, PacketType.Host, plane.nodes.indexOf(node),
      this.device(probe.source, node), number * 1e7);
    const address = parseAddress(probe.backend.address);
    const pin: Pin | null = probe.entry.kind === "direct" || address === null ? null
      : { backend: { address, port: probe.port }, sourcePort: null };
    if (pin !== null) block.pin[0] = block.pins.push(pin);
    plane.step(block, results);
    return { end: results.end[0], reason: plane.reasons[results.reason[0]], journey: plane.journey(results.journey[0]),
      ...this.lastImage() };
  }

  private lastImage(): { source: string; reached: string } {
    const { results } = this;
    for (let index = results.emissions - 1; index >= 0; index--) {
      if (results.emissionMade[index] !== 0 || results.emissionKind[index] === Emission.In) continue;
      const bytes = results.bytes.subarray(results.emissionOffset[index]);
      const [from, size] = bytes[0] >> 4 === 6 ? [8, 16] : [12, 4];
      const text = (at: number): string => addressFromBytes(bytes.subarray(at, at + size)).text;
      return { source: text(from), reached: text(from + size) };
    }
    return { source: "", reached: "" };
  }

  private device(source: End, node: string): number {
    if (source.kind === "node") return 0;
    const { facts } = this.cluster.nodes.find((one) => one.name === node)!;
    if (source.kind === "outside") return facts.devices.find((device) => device.kind === "uplink")!.index;
    const pod = this.cluster.pods.find((one) => !one.hostNetwork && one.phase !== "Succeeded"
      && one.ips.some((ip) => ip.text === source.address))!;
    return facts.devices.find((device) => device.pod === `${pod.namespace}/${pod.name}`)!.index;
  }
}

/** TCP SYN, UDP, SCTP INIT or an echo request, with right checksums. */
export function frame(protocol: ProbeProtocol, source: string, destination: string, sourcePort: number, port: number): Uint8Array {
  const addresses = [source, destination].map((text) => parseAddress(text)!);
  const six = addresses[0].family === 6;
  const upper = upperLayer(protocol, sourcePort, port, six);
  const head = six ? 40 : 20;
  const bytes = new Uint8Array(head + upper.length);
  const view = new DataView(bytes.buffer);
  const number = protocol === "ICMP" && six ? 58 : PROTOCOL_NUMBERS[protocol];
  bytes.set(upper, head);
  if (six) {
    bytes.set([0x60, 0, 0, 0, upper.length >> 8, upper.length & 255, number, 64]);
  } else {
    bytes.set([0x45, 0, bytes.length >> 8, bytes.length & 255, 0, 1, 0, 0, 64, number]);
  }
  bytes.set(addresses[0].bytes, six ? 8 : 12);
  bytes.set(addresses[1].bytes, six ? 24 : 16);
  if (!six) view.setUint16(10, ~sum(bytes, 0, 20, 0) & 0xffff);
  const at = head + { TCP: 16, UDP: 6, SCTP: 8, ICMP: 2 }[protocol];
  if (protocol === "SCTP") view.setUint32(at, crc32c(upper), true);
  else {
    const pseudo = protocol === "ICMP" && !six ? 0 : number + upper.length;
    const from = protocol === "ICMP" && !six ? head : six ? 8 : 12;
    view.setUint16(at, ~sum(bytes, from, bytes.length, pseudo) & 0xffff);
  }
  return bytes;
}

function upperLayer(protocol: ProbeProtocol, sourcePort: number, port: number, six: boolean): Uint8Array {
  const ports = [sourcePort >> 8, sourcePort & 255, port >> 8, port & 255];
  if (protocol === "TCP") return Uint8Array.of(...ports, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0);
  if (protocol === "UDP") return Uint8Array.of(...ports, 0, 12, 0, 0, 1, 2, 3, 4);
  if (protocol === "ICMP") return Uint8Array.of(six ? 128 : 8, 0, 0, 0, sourcePort >> 8, sourcePort & 255, 0, 1);
  // Verification tag 0 and an INIT chunk: initiate tag, window, streams, TSN.
  return Uint8Array.of(...ports, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 20, 0, 0, 0, 9, 0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 1);
}

function sum(bytes: Uint8Array, from: number, to: number, start: number): number {
  let total = start;
  for (let at = from; at < to; at++) total += (at - from) % 2 === 0 ? bytes[at] << 8 : bytes[at];
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** RFC 9260, appendix A; the field itself counts as zero. */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}
