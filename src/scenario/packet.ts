/**
 * The packets of a probe: where each enters the cluster, and its bytes. Names become addresses by the cluster of the
 * moment; what the cluster does not have is a sentence for the user.
 */
import { type Address, type Family, parseAddress } from "../cluster/address.js";
import type { Cluster, Node, Pod } from "../cluster/cluster.js";
import { CHECKSUM_AT, entryPacket, hasFirstPacket, type PacketTuple, settle } from "../replay/entryPacket.js";
import { EtherType, sum16 } from "../wire/index.js";
import type { Probe } from "./scenario.js";
import { TCP_FLAGS } from "./schema.js";

/** Where a probe's packets enter, and from what to what they go. */
export interface Way {
  readonly node: string;
  /** ifindex; 0: a socket of the node. */
  readonly device: number;
  /** Of the sender itself. */
  readonly client: Address;
  readonly source: Address;
  readonly destination: Address;
  readonly port: number;
  /** IP protocol number. */
  readonly protocol: number;
}

/** What is wrong with a probe, in a sentence. */
export class ProbeError extends Error {}

const PROTOCOLS = { TCP: 6, UDP: 17, SCTP: 132 } as const;

export function wayOf(probe: Probe, cluster: Cluster): Way {
  const { from, to } = probe;
  const wanted = probe.family ?? familyOf(to.ip) ?? familyOf(from.ip);
  if (probe.packet !== null || probe.icmpError !== null) return wayOfBytes(probe, cluster);
  const ends = destinationsOf(probe, cluster);
  const sender = senderOf(probe, cluster);
  for (const destination of ends) {
    if (wanted !== null && destination.family !== wanted) continue;
    const client = sender.addresses.find((one) => one.family === destination.family);
    if (client === undefined) continue;
    const protocol = typeof probe.protocol === "number" ? probe.protocol
      : probe.protocol === "ICMP" ? (client.family === 4 ? 1 : 58) : PROTOCOLS[probe.protocol];
    const spoofed = from.pod !== undefined || from.node !== undefined ? from.ip : undefined;
    return { node: sender.node, device: sender.device, client, source: spoofed === undefined ? client : addressOf(spoofed),
      destination, port: portOf(probe, cluster), protocol };
  }
  throw new ProbeError(`sender and destination have no ${wanted === null ? "" : `IPv${wanted} `}addresses of one family`);
}

/** Every connection has a source port of its own. */
export function packetOf(probe: Probe, way: Way, sourcePort: number, connection: number): { bytes: Uint8Array; etherType: number } {
  const etherType = probe.etherType ?? (way.source.family === 4 ? EtherType.Ipv4 : EtherType.Ipv6);
  if (probe.packet !== null) return { bytes: probe.packet, etherType };
  const icmp = way.protocol === 1 || way.protocol === 58;
  const { source, destination } = way;
  const tuple: PacketTuple = { source, destination, sourcePort, destinationPort: icmp ? sourcePort : way.port };
  const made = hasFirstPacket(way.protocol) ? entryPacket(way.protocol, tuple, false, connection, probe.ttl, flagsOf(probe))
    : portless(way, probe.ttl);
  const bytes = probe.length === null ? made : lengthened(made, probe.length, way);
  if (probe.fragment !== null) fragment(bytes, probe.fragment);
  if (probe.checksum !== null) spoil(bytes, probe.checksum, way);
  return { bytes, etherType };
}

/** Whether an answer can be made to such a packet. */
export function hasAnswer(probe: Probe, way: Way): boolean {
  const ends = probe.tcpFlags?.some((flag) => flag === "RST" || flag === "FIN") === true;
  const whole = probe.packet === null && probe.checksum === null && probe.fragment === null;
  return probe.answer && whole && !ends && hasFirstPacket(way.protocol);
}

function flagsOf({ tcpFlags }: Probe): number | undefined {
  return tcpFlags?.reduce((bits, flag) => bits | (1 << (TCP_FLAGS as readonly string[]).indexOf(flag)), 0);
}

function senderOf({ from }: Probe, cluster: Cluster): { node: string; device: number; addresses: readonly Address[] } {
  if (from.pod !== undefined) {
    const pod = podNamed(from.pod, cluster);
    const node = nodeNamed(pod.nodeName, cluster);
    if (pod.hostNetwork) return { node: node.name, device: 0, addresses: pod.ips };
    const device = node.facts.devices.find((one) => one.pod === from.pod);
    if (device === undefined) throw new ProbeError(`node ${node.name} has no device of pod ${from.pod}`);
    return { node: node.name, device: device.index, addresses: pod.ips };
  }
  if (from.node !== undefined) return { node: from.node, device: 0, addresses: nodeAddresses(nodeNamed(from.node, cluster)) };
  if (from.via === undefined && cluster.nodes.length !== 1) {
    throw new ProbeError("from {ip:} needs via: the node whose uplink it comes in by");
  }
  const node = nodeNamed(from.via ?? cluster.nodes[0].name, cluster);
  const uplink = node.facts.devices.find((device) => device.kind === "uplink");
  if (uplink === undefined) throw new ProbeError(`node ${node.name} has no uplink`);
  return { node: node.name, device: uplink.index, addresses: from.ip === undefined ? [] : [addressOf(from.ip)] };
}

function destinationsOf({ to }: Probe, cluster: Cluster): readonly Address[] {
  if (to.ip !== undefined) return [addressOf(to.ip)];
  if (to.pod !== undefined) return podNamed(to.pod, cluster).ips;
  if (to.node !== undefined) return nodeAddresses(nodeNamed(to.node, cluster));
  const service = serviceNamed(to.service ?? "", cluster);
  if (service.clusterIPs.length === 0) throw new ProbeError(`service ${to.service} has no cluster address`);
  return service.clusterIPs;
}

function portOf({ port, to, protocol }: Probe, cluster: Cluster): number {
  if (typeof port === "number") return port;
  const hasPorts = typeof protocol === "string" && protocol !== "ICMP";
  if (port === null) {
    if (!hasPorts) return 0;
    if (to.service === undefined) throw new ProbeError("found no port, expected a number or a port's name");
    const { ports } = serviceNamed(to.service, cluster);
    const own = ports.filter((one) => one.protocol === protocol);
    if (own.length !== 1) throw new ProbeError(`service ${to.service} has ${own.length} ${protocol} ports, expected port: to say which`);
    return to.node === undefined ? own[0].port : own[0].nodePort;
  }
  if (to.service !== undefined) {
    const found = serviceNamed(to.service, cluster).ports.find((one) => one.name === port && (!hasPorts || one.protocol === protocol));
    if (found === undefined) throw new ProbeError(`service ${to.service} has no port named ${port}`);
    return to.node === undefined ? found.port : found.nodePort;
  }
  if (to.pod === undefined) throw new ProbeError(`a port's name (${port}) needs a service or a pod, expected a number`);
  const found = podNamed(to.pod, cluster).ports.find((one) => one.name === port && (!hasPorts || one.protocol === protocol));
  if (found === undefined) throw new ProbeError(`pod ${to.pod} has no port named ${port}`);
  return found.containerPort;
}

/** Where bytes of the user's own, or an ICMP error, enter; their destinations are in them. */
function wayOfBytes(probe: Probe, cluster: Cluster): Way {
  const sender = senderOf(probe, cluster);
  const any = sender.addresses[0] ?? addressOf("0.0.0.0");
  const six = probe.packet === null ? (probe.family ?? any.family) === 6
    : probe.etherType === EtherType.Ipv6 || (probe.packet[0] >> 4 === 6 && probe.etherType === null);
  const client = sender.addresses.find((one) => (one.family === 6) === six) ?? (six ? addressOf("::") : any);
  return { node: sender.node, device: sender.device, client, source: client, destination: client, port: 0, protocol: 0 };
}

/** A packet of a protocol without ports that is known: header and eight bytes. */
function portless(way: Way, ttl: number): Uint8Array {
  const v6 = way.source.family === 6;
  const head = v6 ? 40 : 20;
  const bytes = new Uint8Array(head + 8);
  const view = new DataView(bytes.buffer);
  bytes[0] = v6 ? 0x60 : 0x45;
  if (v6) view.setUint16(4, 8);
  else view.setUint16(2, bytes.length);
  bytes[v6 ? 6 : 9] = way.protocol;
  bytes[v6 ? 7 : 8] = ttl;
  bytes.set(way.source.bytes, v6 ? 8 : 12);
  bytes.set(way.destination.bytes, v6 ? 24 : 16);
  if (!v6) checksum(bytes);
  return bytes;
}

function fragment(bytes: Uint8Array, { id, offset, more }: NonNullable<Probe["fragment"]>): void {
  if (bytes[0] >> 4 !== 4) throw new ProbeError("fragment is of IPv4; give an IPv6 fragment with packet:");
  const view = new DataView(bytes.buffer);
  view.setUint16(4, id);
  view.setUint16(6, (more ? 0x2000 : 0) | (offset >> 3));
  checksum(bytes);
}

/** A bit of the checksum turned, so that it is wrong and, of UDP, still there. */
function spoil(bytes: Uint8Array, which: NonNullable<Probe["checksum"]>, way: Way): void {
  const v6 = bytes[0] >> 4 === 6;
  if (which === "wrong-header") {
    if (v6) throw new ProbeError("checksum: wrong-header is of IPv4; an IPv6 header has none");
    bytes[10] ^= 0x10;
    return;
  }
  const at = CHECKSUM_AT[way.protocol];
  if (at === undefined) throw new ProbeError(`found checksum: wrong of IP protocol ${way.protocol}, expected one that has a checksum`);
  const field = (v6 ? 40 : 20) + at;
  bytes[field] ^= 0x10;
  if (bytes[field] === 0 && bytes[field + 1] === 0) bytes[field] = 0x20;
}

/** The same with zeros behind it. */
function lengthened(made: Uint8Array, length: number, way: Way): Uint8Array {
  if (length < made.length) throw new ProbeError(`found length: ${length}, expected at least the ${made.length} bytes of its headers`);
  if (way.protocol === 132) throw new ProbeError("length is of TCP, UDP and ICMP; SCTP has chunks that end where they say");
  const bytes = new Uint8Array(length);
  bytes.set(made);
  const view = new DataView(bytes.buffer);
  const v6 = bytes[0] >> 4 === 6;
  const head = v6 ? 40 : 20;
  if (v6) view.setUint16(4, length - head);
  else view.setUint16(2, length);
  if (way.protocol === 17) view.setUint16(head + 4, length - head);
  if (!v6) checksum(bytes);
  const at = CHECKSUM_AT[way.protocol];
  if (at === undefined) return bytes;
  view.setUint16(head + at, 0);
  settle(bytes, head + at);
  return bytes;
}

function checksum(bytes: Uint8Array): void {
  const view = new DataView(bytes.buffer);
  view.setUint16(10, 0);
  view.setUint16(10, ~sum16(bytes, 0, 20) & 0xffff);
}

function podNamed(name: string, cluster: Cluster): Pod {
  const found = cluster.pods.find((pod) => `${pod.namespace}/${pod.name}` === name);
  if (found === undefined) {
    throw new ProbeError(`the cluster has no pod ${name}${nearest(cluster.pods.map((one) => `${one.namespace}/${one.name}`))}`);
  }
  return found;
}

function serviceNamed(name: string, cluster: Cluster): Cluster["services"][number] {
  const found = cluster.services.find((one) => `${one.namespace}/${one.name}` === name);
  if (found === undefined) {
    throw new ProbeError(`the cluster has no service ${name}${nearest(cluster.services.map((one) => `${one.namespace}/${one.name}`))}`);
  }
  return found;
}

function nodeNamed(name: string, cluster: Cluster): Node {
  const found = cluster.nodes.find((node) => node.name === name);
  if (found === undefined) throw new ProbeError(`the cluster has no node ${name}${nearest(cluster.nodes.map((one) => one.name))}`);
  return found;
}

function nearest(names: readonly string[]): string {
  return names.length === 0 ? "" : `; it has ${names.slice(0, 6).join(", ")}${names.length > 6 ? ", …" : ""}`;
}

function nodeAddresses(node: Node): Address[] {
  const internal = node.addresses.filter((one) => one.type === "InternalIP").map((one) => one.address);
  const uplink = node.facts.devices.find((device) => device.kind === "uplink");
  const known = new Set(internal.map((one) => one.text));
  return [...internal, ...(uplink?.addresses ?? []).map((one) => one.address).filter((one) => !known.has(one.text))];
}

function familyOf(text: string | undefined): Family | null {
  return text === undefined ? null : addressOf(text).family;
}

function addressOf(text: string): Address {
  const address = parseAddress(text);
  if (address === null) throw new ProbeError(`"${text}" is no address`);
  return address;
}
