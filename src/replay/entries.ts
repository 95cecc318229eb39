/**
 * conntrack entries as captures. An entry of a node says which packet came in (the original tuple) and what the kernel
 * made of it (the reply tuple turned round). So its connection is replayed as if captured there: its first packet
 * entering and leaving the node, and where it was answered, the first answer entering and leaving. Entries of several
 * nodes that are one connection on its way are one packet with more views. Where a connection comes from or goes to a
 * node of the cluster that has no such entry, it is taken to have crossed that node unchanged: what that node did to
 * it before (a service's address, a masquerade) is not known and not judged.
 *
 * What cannot be placed (an address that no pod of the cluster has, another conntrack zone) is counted by its reason.
 */
import { type Address, prefixContains } from "../cluster/address.js";
import type { Cluster, Device } from "../cluster/cluster.js";
import type { ConntrackFlow, ConntrackTuple } from "../cluster/conntrack-flow.js";
import { LinkType, PcapngWriter } from "../capture/index.js";
import { SeenDirection } from "../capture/record.js";
import { entryPacket, hasFirstPacket, type PacketTuple } from "./entryPacket.js";

/** Entries of one file, taken on one node. */
export interface EntryFile {
  readonly file: string;
  readonly node: string;
  readonly flows: readonly ConntrackFlow[];
}

export interface EntryCapture {
  /** Of the entries; also where they stand for views on a node that had none. */
  readonly file: string;
  readonly node: string;
  readonly bytes: Uint8Array;
  /** Line of the file that each record stands for. */
  readonly lines: readonly number[];
  /** Of each record whether its entry has a time; a listing's have none. */
  readonly timed: readonly boolean[];
}

export interface EntryCaptures {
  readonly captures: readonly EntryCapture[];
  /** Entries, those of them that are replayed, and the others by reason. Further events of one connection count once. */
  readonly entries: number;
  readonly replayed: number;
  /** Of those replayed, how many begin on a node that has no entry of them. */
  readonly headless: number;
  readonly unplaced: readonly (readonly [reason: string, entries: number])[];
}

/** An entry where its packets enter and leave the node. */
interface Hop {
  readonly file: string;
  readonly node: string;
  readonly flow: ConntrackFlow;
  /** null: a socket of the node. */
  readonly enters: Device | null;
  readonly leaves: Device | null;
  readonly original: PacketTuple;
  /** As it leaves. */
  readonly translated: PacketTuple;
  readonly answered: boolean;
  next: Hop | null;
  isNext: boolean;
}

/** Between two connections of a listing, which has no times, and between two views of a packet; ns. */
const APART_NS = 1_000_000n;
const STEP_NS = 1_000n;
const LISTING_BEGINS_NS = 1_000_000_000n;
const TTL = 64;
const ECHO_REQUEST: Readonly<Record<number, number>> = { 1: 8, 58: 128 };

export function entryCaptures(cluster: Cluster, files: readonly EntryFile[]): EntryCaptures {
  const places = new Places(cluster);
  const unplaced = new Map<string, number>();
  const hops: Hop[] = [];
  let entries = 0;
  for (const { file, node, flows } of files) {
    const answered = answeredTuples(flows);
    for (const flow of flows) {
      if (flow.event === "UPDATE" || flow.event === "DESTROY") continue;
      entries++;
      const hop = places.hop(node, file, flow, answered);
      if (typeof hop === "string") unplaced.set(hop, (unplaced.get(hop) ?? 0) + 1);
      else hops.push(hop);
    }
  }
  join(hops);
  let headless = 0;
  const heads = hops.filter((hop) => !hop.isNext).map((hop) => {
    const before = places.before(hop);
    if (before !== null) headless++;
    return before ?? hop;
  });
  for (const hop of hops) if (hop.next === null) hop.next = places.after(hop);
  return {
    captures: write(heads.sort(byTime)), entries, replayed: hops.length, headless,
    unplaced: [...unplaced].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
  };
}

/** Original tuples of connections that some line says were answered: the line of a NEW event never does. */
function answeredTuples(flows: readonly ConntrackFlow[]): Set<string> {
  return new Set(flows.filter((flow) => !flow.unreplied).map((flow) => keyOf(flow.protocol, tupleOf(flow.original))));
}

class Places {
  private readonly own = new Map<string, Map<string, Device>>();
  private readonly podNode = new Map<string, string>();
  private readonly podDevice = new Map<string, Device | null>();

  constructor(private readonly cluster: Cluster) {
    for (const node of cluster.nodes) {
      const own = new Map<string, Device>();
      for (const device of node.facts.devices) for (const { address } of device.addresses) own.set(address.text, device);
      this.own.set(node.name, own);
      const byPod = new Map(node.facts.devices.filter((device) => device.pod !== null).map((device) => [device.pod, device]));
      for (const pod of cluster.pods) {
        if (pod.nodeName !== node.name || pod.hostNetwork) continue;
        for (const ip of pod.ips) {
          this.podNode.set(ip.text, node.name);
          this.podDevice.set(ip.text, byPod.get(`${pod.namespace}/${pod.name}`) ?? null);
        }
      }
    }
  }

  /** The entry in its place, or why it has none. */
  hop(node: string, file: string, flow: ConntrackFlow, answered: ReadonlySet<string>): Hop | string {
    if (flow.zone !== 0) return "of another conntrack zone than the node's own";
    if (!hasFirstPacket(flow.protocol)) return `of IP protocol ${flow.protocol}, of which no first packet is made`;
    const { icmp } = flow.original;
    if (icmp !== null && icmp.type !== ECHO_REQUEST[flow.protocol]) {
      return `of ICMP type ${icmp.type}; only echo requests are replayed`;
    }
    const original = tupleOf(flow.original);
    const translated = turned(tupleOf(flow.reply));
    if (isLoopback(original.source) || isLoopback(translated.destination)) return "on loopback";
    const enters = this.device(node, original.source, "source");
    const leaves = this.device(node, translated.destination, "destination");
    if (typeof enters === "string") return enters;
    if (typeof leaves === "string") return leaves;
    if (enters === null && leaves === null) return "on loopback";
    return { file, node, flow, enters, leaves, original, translated, next: null, isNext: false,
      answered: answered.has(keyOf(flow.protocol, original)) };
  }

  /** The hop on the node that sent what enters this one by the uplink; null: it came from outside. */
  before(hop: Hop): Hop | null {
    const node = hop.enters?.kind === "uplink" ? this.nodeOf(hop.original.source) : null;
    return node === null || node === hop.node ? null
      : this.unchanged(hop, node, hop.original, this.device(node, hop.original.source, "source"), this.uplink(node), hop);
  }

  /** The hop on the node that this one's packets go to by the uplink; null: they go outside. */
  after(hop: Hop): Hop | null {
    const { destination } = hop.translated;
    const node = hop.leaves?.kind === "uplink" ? this.nodeOf(destination) : null;
    return node === null || node === hop.node ? null
      : this.unchanged(hop, node, hop.translated, this.uplink(node), this.device(node, destination, "destination"), null);
  }

  private unchanged(hop: Hop, node: string, tuple: PacketTuple, enters: Device | null | string, leaves: Device | null | string,
    next: Hop | null): Hop | null {
    if (typeof enters === "string" || typeof leaves === "string") return null;
    return { file: hop.file, node, flow: hop.flow, enters, leaves, original: tuple, translated: tuple, answered: hop.answered, next,
      isNext: false };
  }

  private nodeOf(address: Address): string | null {
    return this.podNode.get(address.text)
      ?? this.cluster.nodes.find((one) => this.own.get(one.name)?.has(address.text) === true)?.name ?? null;
  }

  private uplink(node: string): Device | string {
    const devices = this.cluster.nodes.find((one) => one.name === node)?.facts.devices ?? [];
    return devices.find((device) => device.kind === "uplink") ?? "the node's uplink is not known";
  }

  /** The device towards an address, null for the node itself, or why there is none. */
  private device(node: string, address: Address, end: "source" | "destination"): Device | null | string {
    if (this.own.get(node)?.has(address.text) === true) return null;
    const at = this.podNode.get(address.text);
    if (at === node) return this.podDevice.get(address.text) ?? `the device of the ${end}'s pod is not known`;
    const inPods = this.cluster.nodes.some((one) => one.podCIDRs.some((range) => prefixContains(range, address)));
    const ofNode = this.cluster.nodes.some((one) => this.own.get(one.name)?.has(address.text) === true);
    if (inPods && at === undefined && !ofNode) return `no pod of the cluster has the ${end}'s address`;
    const devices = this.cluster.nodes.find((one) => one.name === node)?.facts.devices ?? [];
    const tunnel = at === undefined ? undefined : devices.find((device) => device.kind === "tunnel");
    return tunnel ?? this.uplink(node);
  }
}

/** What one node sends to another, the other has as its own entry's original. */
function join(hops: readonly Hop[]): void {
  const entering = new Map<string, Hop[]>();
  for (const hop of hops) {
    if (hop.enters?.kind !== "uplink") continue;
    const key = keyOf(hop.flow.protocol, hop.original);
    entering.set(key, [...entering.get(key) ?? [], hop]);
  }
  for (const hop of hops) {
    if (hop.leaves?.kind !== "uplink") continue;
    const found = (entering.get(keyOf(hop.flow.protocol, hop.translated)) ?? [])
      .find((other) => !other.isNext && other.node !== hop.node && !leadsTo(other, hop));
    if (found === undefined) continue;
    hop.next = found;
    found.isNext = true;
  }
}

function leadsTo(from: Hop, to: Hop): boolean {
  for (let hop: Hop | null = from; hop !== null; hop = hop.next) if (hop === to) return true;
  return false;
}

/** A capture for each file and node; records in order of time over all of them. */
function write(heads: readonly Hop[]): EntryCapture[] {
  const writers = new Map<string, Writer>();
  let nowNs = LISTING_BEGINS_NS;
  heads.forEach((head, connection) => {
    const path: Hop[] = [];
    for (let hop: Hop | null = head; hop !== null; hop = hop.next) path.push(hop);
    nowNs = later(nowNs + APART_NS, head.flow.timeNs);
    const put = (hop: Hop, device: Device, direction: SeenDirection, tuple: PacketTuple, answer: boolean, ttl: number): void => {
      nowNs += STEP_NS;
      const key = `${hop.file}\0${hop.node}`;
      const writer = writers.get(key) ?? new Writer(hop.file, hop.node);
      writers.set(key, writer);
      writer.add(device, direction, nowNs, entryPacket(hop.flow.protocol, tuple, answer, connection, ttl), hop.flow);
    };
    let ttl = TTL;
    for (const hop of path) {
      if (hop.enters !== null) put(hop, hop.enters, SeenDirection.In, hop.original, false, ttl--);
      if (hop.leaves !== null) put(hop, hop.leaves, SeenDirection.Out, hop.translated, false, ttl);
    }
    if (!path.some((hop) => hop.answered)) return;
    ttl = TTL;
    for (const hop of path.toReversed()) {
      if (hop.leaves !== null) put(hop, hop.leaves, SeenDirection.In, turned(hop.translated), true, ttl--);
      if (hop.enters !== null) put(hop, hop.enters, SeenDirection.Out, turned(hop.original), true, ttl);
    }
  });
  return [...writers.values()].map((one) => ({ file: one.file, node: one.node, bytes: one.take(), lines: one.lines, timed: one.timed }));
}

class Writer {
  readonly lines: number[] = [];
  readonly timed: boolean[] = [];
  private readonly pcapng = new PcapngWriter();
  private readonly interfaces = new Map<string, number>();

  constructor(readonly file: string, readonly node: string) {}

  add(device: Device, direction: SeenDirection, timeNs: bigint, bytes: Uint8Array, flow: ConntrackFlow): void {
    let interfaceId = this.interfaces.get(device.name);
    if (interfaceId === undefined) {
      interfaceId = this.pcapng.addInterface({ linkType: LinkType.Raw, name: device.name });
      this.interfaces.set(device.name, interfaceId);
    }
    this.pcapng.write({ interfaceId, timeSec: Number(timeNs / 1_000_000_000n), timeFracNs: Number(timeNs % 1_000_000_000n), bytes,
      offset: 0, capturedLength: bytes.length, wireLength: bytes.length, direction });
    this.lines.push(flow.line);
    this.timed.push(flow.timeNs !== null);
  }

  take(): Uint8Array {
    return this.pcapng.take();
  }
}

function byTime(a: Hop, b: Hop): number {
  const [one, other] = [a.flow.timeNs ?? 0n, b.flow.timeNs ?? 0n];
  return one < other ? -1 : one > other ? 1 : 0;
}

function later(a: bigint, b: bigint | null): bigint {
  return b === null || a > b ? a : b;
}

function tupleOf(tuple: ConntrackTuple): PacketTuple {
  const { source, destination, icmp } = tuple;
  return icmp === null ? tuple : { source, destination, sourcePort: icmp.id, destinationPort: icmp.id };
}

function turned(tuple: PacketTuple): PacketTuple {
  const { source, destination, sourcePort, destinationPort } = tuple;
  return { source: destination, destination: source, sourcePort: destinationPort, destinationPort: sourcePort };
}

function keyOf(protocol: number, tuple: PacketTuple): string {
  return `${protocol} ${tuple.source.text} ${tuple.sourcePort} ${tuple.destination.text} ${tuple.destinationPort}`;
}

function isLoopback(address: Address): boolean {
  return address.family === 4 ? address.bytes[0] === 127 : address.text === "::1";
}
