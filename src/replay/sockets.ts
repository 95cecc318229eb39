/**
 * The tuples that sockets of a node used before OUTPUT translated them. A capture never sees them: the first view of
 * such a packet is after NAT. The kernel's conntrack entries of the node hold both tuples; the reply tuple turned
 * round is what the capture shows.
 */
import type { Cluster } from "../cluster/cluster.js";
import type { ConntrackFlow, ConntrackTuple } from "../cluster/conntrack-flow.js";
import { TupleTable, TUPLE_BYTES, writeTuple } from "./tuple.js";

/** conntrack's time is when its event was read: as much as this after the packet. */
const EVENT_DELAY_NS = 1e9;

interface Entry {
  /** ns since the replay's epoch; -Infinity for entries of a listing. */
  readonly timeNs: number;
  readonly original: Uint8Array;
}

export class SocketTuples {
  private readonly tables = new Map<number, { table: TupleTable; entries: Entry[][] }>();

  constructor(cluster: Cluster, nodes: readonly string[], flows: ReadonlyMap<string, readonly ConntrackFlow[]>, epochNs: bigint) {
    for (const [name, list] of flows) {
      const own = new Set<string>();
      for (const device of cluster.nodes.find((node) => node.name === name)?.facts.devices ?? []) {
        for (const { address } of device.addresses) own.add(address.text);
      }
      const kept = { table: new TupleTable(), entries: [] as Entry[][] };
      for (const flow of list) {
        if (flow.event !== "DESTROY" && flow.event !== "UPDATE" && own.has(flow.original.source.text)) add(kept, flow, epochNs);
      }
      this.tables.set(nodes.indexOf(name), kept);
    }
  }

  /** The tuple before translation of a packet that left the node with `tuple`; null: not known. */
  find(node: number, tuple: Uint8Array, timeNs: number): Uint8Array | null {
    const kept = this.tables.get(node);
    if (kept === undefined) return null;
    const index = kept.table.get(tuple);
    if (index < 0) return null;
    let best: Entry | null = null;
    for (const entry of kept.entries[index]) if (best === null || entry.timeNs <= timeNs + EVENT_DELAY_NS) best = entry;
    return best?.original ?? null;
  }
}

function add(kept: { table: TupleTable; entries: Entry[][] }, flow: ConntrackFlow, epochNs: bigint): void {
  const seen = tupleOf(flow.reply, flow.family, flow.protocol, true);
  const entry = {
    timeNs: flow.timeNs === null ? Number.NEGATIVE_INFINITY : Number(flow.timeNs - epochNs),
    original: tupleOf(flow.original, flow.family, flow.protocol, false),
  };
  const index = kept.table.get(seen);
  if (index >= 0) kept.entries[index].push(entry);
  else kept.table.set(seen, 0, kept.entries.push([entry]) - 1);
}

function tupleOf(tuple: ConntrackTuple, family: number, protocol: number, turned: boolean): Uint8Array {
  const size = family === 4 ? 4 : 16;
  const bytes = new Uint8Array(2 * size);
  bytes.set((turned ? tuple.destination : tuple.source).bytes);
  bytes.set((turned ? tuple.source : tuple.destination).bytes, size);
  const from = tuple.icmp?.id ?? (turned ? tuple.destinationPort : tuple.sourcePort);
  const to = tuple.icmp?.id ?? (turned ? tuple.sourcePort : tuple.destinationPort);
  const into = new Uint8Array(TUPLE_BYTES);
  writeTuple(into, 0, family, protocol, bytes, 0, size, from, to);
  return into;
}
