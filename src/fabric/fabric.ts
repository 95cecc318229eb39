/**
 * What lies between the nodes: which node a frame reaches that left another node's uplink, by its addresses.
 *
 * A destination MAC says nothing here (a cloud's network rewrites it), so the table is by prefix: addresses
 * of nodes, addresses of pods, pod ranges. Virtual addresses of services are not in it: who routes them to
 * which node is the business of a load balancer outside, and a frame to one leaves the cluster. The longest
 * prefix wins.
 *
 * Guarantees: lookup allocates nothing and takes one probe per prefix length in use. `rows` is the whole
 * table as plain data, for a plane that keeps its own copy. Not here: loss, delay, MTU between nodes,
 * security groups.
 */
import { addressFromBytes, prefixOf, type Address, type Family, type Prefix } from "../cluster/address.js";
import type { Cluster, Device, Node, Pod } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";

export interface FabricRow {
  readonly prefix: Prefix;
  /** Index into the list of nodes the fabric was built with. */
  readonly node: number;
  /** ifindex of the uplink where the frame arrives; 0 where the node has none. */
  readonly device: number;
}

/**
 * The table of a cluster. `nodes` fixes the numbering; a node of the cluster that is not in it gets no rows.
 */
export function buildFabric(cluster: Cluster, nodes: readonly string[]): Fabric {
  const builder = new FabricBuilder(new Map(nodes.map((name, index) => [name, index])));
  const sorted = cluster.nodes.toSorted((a, b) => order(a.name, b.name));
  for (const node of sorted) builder.addNodeAddresses(node);
  const byName = new Map(cluster.nodes.map((node) => [node.name, node]));
  for (const pod of cluster.pods) builder.addPod(pod, byName.get(pod.nodeName));
  for (const node of sorted) builder.addPodRanges(node);
  return new Fabric([...builder.rows.values()], builder.problems);
}

/** Words of a row's key, then its row number plus one; 0 marks an empty slot. */
const SLOT = 6;

export class Fabric {
  readonly rows: readonly FabricRow[];
  readonly problems: readonly Problem[];
  private readonly slots: Uint32Array;
  private readonly mask: number;
  /** Prefix lengths in use, longest first; by family. */
  private readonly lengths4: Uint8Array;
  private readonly lengths6: Uint8Array;

  constructor(rows: readonly FabricRow[], problems: readonly Problem[]) {
    this.rows = rows;
    this.problems = problems;
    let capacity = 16;
    while (capacity < rows.length * 2) capacity *= 2;
    this.mask = capacity - 1;
    this.slots = new Uint32Array(capacity * SLOT);
    this.lengths4 = lengthsOf(rows, 4);
    this.lengths6 = lengthsOf(rows, 6);
    for (let row = 0; row < rows.length; row++) this.insert(row);
  }

  /** Row for the address at `offset` (4 or 16 bytes in wire order), or -1: outside the cluster. */
  lookup(bytes: Uint8Array, offset: number, family: Family): number {
    const w0 = word(bytes, offset);
    const w1 = family === 6 ? word(bytes, offset + 4) : 0;
    const w2 = family === 6 ? word(bytes, offset + 8) : 0;
    const w3 = family === 6 ? word(bytes, offset + 12) : 0;
    const lengths = family === 4 ? this.lengths4 : this.lengths6;
    for (let index = 0; index < lengths.length; index++) {
      const length = lengths[index];
      const row = this.find((family << 8) | length, masked(w0, length), masked(w1, length - 32),
        masked(w2, length - 64), masked(w3, length - 96));
      if (row >= 0) return row;
    }
    return -1;
  }

  /**
   * Where a frame goes that a node sent out of an uplink: to the node that owns the next hop, or, where the
   * next hop is a router's, to the one that owns the destination. Row number, or -1: it leaves the cluster.
   */
  next(nextHop: Address | null, bytes: Uint8Array, destinationAt: number, family: Family): number {
    if (nextHop !== null) {
      const row = this.lookup(nextHop.bytes, 0, nextHop.family);
      if (row >= 0) return row;
    }
    return this.lookup(bytes, destinationAt, family);
  }

  private insert(row: number): void {
    const { prefix } = this.rows[row];
    const { bytes, family } = prefix.address;
    const key = (family << 8) | prefix.length;
    const words = [word(bytes, 0), ...(family === 6 ? [word(bytes, 4), word(bytes, 8), word(bytes, 12)] : [0, 0, 0])];
    let slot = hash(key, words[0], words[1], words[2], words[3]) & this.mask;
    while (this.slots[slot * SLOT + 5] !== 0) slot = (slot + 1) & this.mask;
    this.slots.set([key, ...words, row + 1], slot * SLOT);
  }

  private find(key: number, w0: number, w1: number, w2: number, w3: number): number {
    const { slots } = this;
    for (let slot = hash(key, w0, w1, w2, w3) & this.mask; ; slot = (slot + 1) & this.mask) {
      const at = slot * SLOT;
      if (slots[at + 5] === 0) return -1;
      if (slots[at] === key && slots[at + 1] === w0 && slots[at + 2] === w1 && slots[at + 3] === w2
        && slots[at + 4] === w3) return slots[at + 5] - 1;
    }
  }
}

/** Collects rows; of two with the same prefix the first stays, and another node's claim is a Problem. */
class FabricBuilder {
  readonly rows = new Map<string, FabricRow>();
  readonly problems: Problem[] = [];

  constructor(private readonly numbers: ReadonlyMap<string, number>) {}

  addNodeAddresses(node: Node): void {
    for (const { type, address } of node.addresses) {
      if (type === "InternalIP" || type === "ExternalIP") this.add(node, full(address), arrivalDevice(node, address));
    }
    // Tunnel devices' addresses are pod-range addresses: what reaches them came through the tunnel, not the
    // uplink.
    for (const device of node.facts.devices) {
      if (device.kind !== "uplink") continue;
      for (const { address } of device.addresses) {
        if (!isLinkLocal(address)) this.add(node, full(address), device.index);
      }
    }
  }

  addPod(pod: Pod, node: Node | undefined): void {
    if (node === undefined || pod.hostNetwork || pod.phase === "Succeeded" || pod.phase === "Failed") return;
    for (const ip of pod.ips) this.add(node, full(ip), arrivalDevice(node, ip), pod);
  }

  addPodRanges(node: Node): void {
    for (const range of node.podCIDRs) this.add(node, range, arrivalDevice(node, range.address));
  }

  private add(node: Node, prefix: Prefix, device: number, pod: Pod | null = null): void {
    const number = this.numbers.get(node.name);
    if (number === undefined) return;
    const known = this.rows.get(prefix.text);
    if (known === undefined) {
      this.rows.set(prefix.text, { prefix, node: number, device });
    } else if (known.node !== number) {
      const owner = pod === null ? `node ${node.name}` : `pod ${pod.namespace}/${pod.name} on node ${node.name}`;
      this.problems.push({ where: (pod ?? node).where, severity: "warning",
        what: `${owner} has ${prefix.text}, which is on another node already; expected one owner, the first is used` });
    }
  }
}

/** The uplink that has the address; else the first with an address of its family; else the first; else 0. */
function arrivalDevice(node: Node, address: Address): number {
  const uplinks = node.facts.devices.filter((device) => device.kind === "uplink");
  const has = (device: Device, wanted: (one: Address) => boolean): boolean => (
    device.addresses.some((entry) => wanted(entry.address)));
  const chosen = uplinks.find((device) => has(device, (one) => one.text === address.text))
    ?? uplinks.find((device) => has(device, (one) => one.family === address.family)) ?? uplinks[0];
  return chosen?.index ?? 0;
}

function full(address: Address): Prefix {
  return prefixOf(addressFromBytes(address.bytes), address.bytes.length * 8);
}

/** fe80::/10 and 169.254.0.0/16 are the same on every node. */
function isLinkLocal({ bytes }: Address): boolean {
  return bytes.length === 4 ? bytes[0] === 169 && bytes[1] === 254 : bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0x80;
}

function lengthsOf(rows: readonly FabricRow[], family: Family): Uint8Array {
  const lengths = new Set(rows.filter((row) => row.prefix.address.family === family).map((row) => row.prefix.length));
  return Uint8Array.from([...lengths].sort((a, b) => b - a));
}

function word(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

/** The word with its first `bits` kept; JavaScript shifts by 32 as by 0. */
function masked(value: number, bits: number): number {
  if (bits >= 32) return value;
  return bits <= 0 ? 0 : (value & (0xffffffff << (32 - bits))) >>> 0;
}

function hash(key: number, w0: number, w1: number, w2: number, w3: number): number {
  let value = Math.imul(key ^ w0, 0x9e3779b1);
  value = Math.imul(value ^ (value >>> 15) ^ w1, 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 13) ^ w2, 0xc2b2ae35);
  value = Math.imul(value ^ (value >>> 16) ^ w3, 0x27d4eb2f);
  return (value ^ (value >>> 15)) >>> 0;
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
