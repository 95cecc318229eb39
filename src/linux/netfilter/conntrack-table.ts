/**
 * The conntrack table of a node: entries by both tuples, and by original source for NAT (nat_bysource).
 *
 * Hash tables with numeric keys. An entry ends at an exact virtual time: one whose time is over is never
 * found, and is unlinked when it is met. A sweep frees the rest; it changes nothing that can be observed.
 * The limit on the number of entries (nf_conntrack_max) is the caller's to heed: isFull.
 */
import type { ConntrackDelete } from "../../cluster/cluster.js";
import { Connection, Status as statuses, type TupleNode } from "./connection.js";
import { word } from "./packet.js";
import { hashSource, hashTuple, sameTuple, type Tuple } from "./tuple.js";

// Constants of this module are part of its machine code; an imported one is looked up at each use.
const Status = statuses;

export class ConntrackTable {
  /** Virtual time; never goes back. */
  nowNs = 0;
  count = 0;
  private heads: (TupleNode | null)[] = new Array(1024).fill(null);
  private sources: (Connection | null)[] = new Array(1024).fill(null);
  private nextId = 1;
  private sweepAt = 4096;
  /** What the last lookup found dead: a new entry of the same tuple continues its generation. */
  private deadGeneration = -1;

  /** The entry a tuple belongs to, or null. */
  find(tuple: Tuple): TupleNode | null {
    const hash = hashTuple(tuple);
    let node = this.heads[hash & (this.heads.length - 1)];
    this.deadGeneration = -1;
    while (node !== null) {
      const next: TupleNode | null = node.next;
      if (node.hash === hash && sameTuple(node, tuple)) {
        if (node.connection.expiresNs > this.nowNs) return node;
        if (node.direction === 0) this.deadGeneration = node.connection.generation;
        this.remove(node.connection);
      }
      node = next;
    }
    return null;
  }

  /** Whether another live entry is already known by this tuple (nf_conntrack_tuple_taken). */
  taken(tuple: Tuple, except: Connection): boolean {
    const node = this.find(tuple);
    return node !== null && node.connection !== except;
  }

  /**
   * Whether `limit` live entries are there. The kernel then drops one that saw no answer, if it finds one near
   * in its table (early_drop: where, its hash decides), else the new packet.
   */
  isFull(limit: number): boolean {
    if (this.count < limit) return false;
    this.sweep();
    return this.count >= limit;
  }

  /** A fresh, unconfirmed entry; the caller fills the tuples. */
  create(): Connection {
    const connection = new Connection(this.nextId++);
    connection.generation = this.deadGeneration + 1;
    return connection;
  }

  /** Ends an entry so that the next one of its tuple counts as its successor. */
  kill(connection: Connection): void {
    this.remove(connection);
    this.deadGeneration = connection.generation;
  }

  /**
   * Puts an entry into the table under both tuples; false where one of them is taken, then nothing changes
   * (__nf_conntrack_confirm).
   */
  confirm(connection: Connection): boolean {
    const { original, reply } = connection;
    if (this.find(original) !== null || this.find(reply) !== null) return false;
    if (this.count >= this.sweepAt) this.sweep();
    if (this.count * 2 > this.heads.length) this.grow();
    this.link(original);
    this.link(reply);
    if ((connection.status & Status.SourceNatDone) !== 0) this.linkSource(connection);
    connection.status |= Status.Confirmed;
    connection.expiresNs += this.nowNs;
    this.count++;
    return true;
  }

  remove(connection: Connection): void {
    if ((connection.status & Status.Dying) !== 0) return;
    connection.status |= Status.Dying;
    if ((connection.status & Status.Confirmed) === 0) return;
    this.unlinkSource(connection);
    this.unlink(connection.original);
    this.unlink(connection.reply);
    this.count--;
  }

  /** First of the entries that may share the source of `tuple`; follow nextOfSource and compare. */
  firstOfSource(tuple: Tuple): Connection | null {
    return this.sources[hashSource(tuple) & (this.sources.length - 1)];
  }

  /** Live entries, oldest first. */
  entries(): Connection[] {
    const found: Connection[] = [];
    for (const head of this.heads) {
      for (let node = head; node !== null; node = node.next) {
        if (node.direction === 0 && node.connection.expiresNs > this.nowNs) found.push(node.connection);
      }
    }
    return found.sort((a, b) => a.id - b.id);
  }

  /** `conntrack -D`: removes the entries that match every given field; returns how many. */
  delete(filter: ConntrackDelete): number {
    let removed = 0;
    for (const connection of this.entries()) {
      if (!matches(connection, filter)) continue;
      this.remove(connection);
      removed++;
    }
    return removed;
  }

  private link(node: TupleNode): void {
    node.hash = hashTuple(node);
    const slot = node.hash & (this.heads.length - 1);
    node.next = this.heads[slot];
    this.heads[slot] = node;
  }

  private unlink(node: TupleNode): void {
    const slot = node.hash & (this.heads.length - 1);
    let at = this.heads[slot];
    if (at === node) {
      this.heads[slot] = node.next;
      return;
    }
    while (at !== null && at.next !== node) at = at.next;
    if (at === null) throw new Error("a conntrack tuple is not in the slot of its hash");
    at.next = node.next;
  }

  /** Makes an entry findable by its original source. Dropped packets leave nothing: only confirmed ones are. */
  private linkSource(connection: Connection): void {
    connection.sourceHash = hashSource(connection.original);
    const slot = connection.sourceHash & (this.sources.length - 1);
    connection.nextOfSource = this.sources[slot];
    this.sources[slot] = connection;
  }

  private unlinkSource(connection: Connection): void {
    if ((connection.status & Status.SourceNatDone) === 0) return;
    const slot = connection.sourceHash & (this.sources.length - 1);
    let at = this.sources[slot];
    if (at === connection) {
      this.sources[slot] = connection.nextOfSource;
    } else {
      while (at !== null && at.nextOfSource !== connection) at = at.nextOfSource;
      if (at !== null) at.nextOfSource = connection.nextOfSource;
    }
    connection.nextOfSource = null;
  }

  /** Doubles both tables. */
  private grow(): void {
    const nodes = this.heads;
    this.heads = new Array(nodes.length * 2).fill(null);
    // Each slot is relinked from its tail, so that the order inside a slot stays.
    const chain: TupleNode[] = [];
    for (const head of nodes) {
      chain.length = 0;
      for (let node = head; node !== null; node = node.next) chain.push(node);
      for (let i = chain.length - 1; i >= 0; i--) {
        const node = chain[i];
        const slot = node.hash & (this.heads.length - 1);
        node.next = this.heads[slot];
        this.heads[slot] = node;
      }
    }
    const connections = this.sources;
    this.sources = new Array(connections.length * 2).fill(null);
    const sources: Connection[] = [];
    for (const head of connections) {
      sources.length = 0;
      for (let at = head; at !== null; at = at.nextOfSource) sources.push(at);
      for (let i = sources.length - 1; i >= 0; i--) {
        const slot = sources[i].sourceHash & (this.sources.length - 1);
        sources[i].nextOfSource = this.sources[slot];
        this.sources[slot] = sources[i];
      }
    }
  }

  /** Frees what has ended. */
  private sweep(): void {
    for (const head of this.heads) {
      for (let node = head; node !== null; ) {
        const next: TupleNode | null = node.next;
        if (node.direction === 0 && node.connection.expiresNs <= this.nowNs) this.remove(node.connection);
        node = next;
      }
    }
    this.sweepAt = Math.max(4096, this.count * 2);
  }
}

function matches(connection: Connection, filter: ConntrackDelete): boolean {
  const { original, reply } = connection;
  return (
    original.family === filter.family &&
    original.protocol === filter.protocol &&
    (filter.originalSource === null || holds(original, "s", filter.originalSource.bytes)) &&
    (filter.originalDestination === null || holds(original, "d", filter.originalDestination.bytes)) &&
    (filter.originalSourcePort === null || original.source === filter.originalSourcePort) &&
    (filter.originalDestinationPort === null || original.destination === filter.originalDestinationPort) &&
    (filter.replySource === null || holds(reply, "s", filter.replySource.bytes))
  );
}

function holds(tuple: Tuple, side: "s" | "d", bytes: Uint8Array): boolean {
  if (bytes.length === 4) return tuple.family === 4 && word(bytes, 0) === tuple[`${side}3`];
  return (
    tuple.family === 6 &&
    word(bytes, 0) === tuple[`${side}0`] &&
    word(bytes, 4) === tuple[`${side}1`] &&
    word(bytes, 8) === tuple[`${side}2`] &&
    word(bytes, 12) === tuple[`${side}3`]
  );
}
