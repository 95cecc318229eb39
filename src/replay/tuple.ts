/**
 * Five-tuples as 38 bytes, and a hash table from tuples to small integers.
 *
 *     0        1         2        4        6              22             38
 *     | family | proto   | sport  | dport  | source (16)  | destination  |
 *
 * Ports are in wire order; IPv4 addresses fill the first four bytes of their field. For ICMP echo both ports hold
 * the identifier, so a request and its reply turn into each other as TCP tuples do. Protocols without ports have 0.
 * The table keeps its keys in one slab: no string, no object for a packet.
 */
export const TUPLE_BYTES = 38;

const FAMILY = 0;
const PROTOCOL = 1;
const SOURCE_PORT = 2;
const DESTINATION_PORT = 4;
const SOURCE = 6;
const DESTINATION = 22;
export { DESTINATION as DESTINATION_AT, SOURCE as SOURCE_AT };

/** Writes a tuple at `at`. Addresses are 4 or 16 bytes in `bytes` by family; ports in host order. */
export function writeTuple(into: Uint8Array, at: number, family: number, protocol: number, bytes: Uint8Array,
  source: number, destination: number, sourcePort: number, destinationPort: number): void {
  const size = family === 4 ? 4 : 16;
  const zeroed = into[at + FAMILY] === 4;
  into[at + FAMILY] = family;
  into[at + PROTOCOL] = protocol;
  into[at + SOURCE_PORT] = sourcePort >> 8;
  into[at + SOURCE_PORT + 1] = sourcePort;
  into[at + DESTINATION_PORT] = destinationPort >> 8;
  into[at + DESTINATION_PORT + 1] = destinationPort;
  for (let index = 0; index < size; index++) {
    into[at + SOURCE + index] = bytes[source + index];
    into[at + DESTINATION + index] = bytes[destination + index];
  }
  if (zeroed) return;
  for (let index = size; index < 16; index++) {
    into[at + SOURCE + index] = 0;
    into[at + DESTINATION + index] = 0;
  }
}

/** The same flow seen from the other end. `from` and `into` must not overlap. */
export function turnTuple(from: Uint8Array, fromAt: number, into: Uint8Array, intoAt: number): void {
  // Behind an IPv4 address there are zeros, in both.
  const size = from[fromAt] === 4 && into[intoAt] === 4 ? 4 : 16;
  into[intoAt] = from[fromAt];
  into[intoAt + PROTOCOL] = from[fromAt + PROTOCOL];
  for (let index = 0; index < 2; index++) {
    into[intoAt + SOURCE_PORT + index] = from[fromAt + DESTINATION_PORT + index];
    into[intoAt + DESTINATION_PORT + index] = from[fromAt + SOURCE_PORT + index];
  }
  for (let index = 0; index < size; index++) {
    into[intoAt + SOURCE + index] = from[fromAt + DESTINATION + index];
    into[intoAt + DESTINATION + index] = from[fromAt + SOURCE + index];
  }
}

export function copyTuple(from: Uint8Array, into: Uint8Array): void {
  const size = from[FAMILY] === 4 && into[FAMILY] === 4 ? 4 : 16;
  for (let index = 0; index < SOURCE + size; index++) into[index] = from[index];
  for (let index = DESTINATION; index < DESTINATION + size; index++) into[index] = from[index];
}

export function sameTuple(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  const size = a[aAt] === 4 ? 4 : 16;
  for (let index = 0; index < SOURCE + size; index++) if (a[aAt + index] !== b[bAt + index]) return false;
  for (let index = DESTINATION; index < DESTINATION + size; index++) if (a[aAt + index] !== b[bAt + index]) return false;
  return true;
}

export function sameSource(a: Uint8Array, b: Uint8Array): boolean {
  return sameAddress(a, b, SOURCE);
}

export function sameDestination(a: Uint8Array, b: Uint8Array): boolean {
  return sameAddress(a, b, DESTINATION);
}

/** Equal destination address and port. */
export function sameEnd(a: Uint8Array, b: Uint8Array): boolean {
  for (let at = DESTINATION; at < TUPLE_BYTES; at++) if (a[at] !== b[at]) return false;
  return Tuple.destinationPort(a) === Tuple.destinationPort(b);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}

function sameAddress(a: Uint8Array, b: Uint8Array, at: number): boolean {
  if (a[FAMILY] !== b[FAMILY]) return false;
  const end = at + (a[FAMILY] === 4 ? 4 : 16);
  for (let index = at; index < end; index++) if (a[index] !== b[index]) return false;
  return true;
}

export const Tuple = {
  family: (t: Uint8Array, at = 0): number => t[at + FAMILY],
  protocol: (t: Uint8Array, at = 0): number => t[at + PROTOCOL],
  sourcePort: (t: Uint8Array, at = 0): number => (t[at + SOURCE_PORT] << 8) | t[at + SOURCE_PORT + 1],
  destinationPort: (t: Uint8Array, at = 0): number => (t[at + DESTINATION_PORT] << 8) | t[at + DESTINATION_PORT + 1],
  /** 4 or 16 bytes; a view into the tuple. */
  source: (t: Uint8Array, at = 0): Uint8Array => t.subarray(at + SOURCE, at + SOURCE + (t[at] === 4 ? 4 : 16)),
  destination: (t: Uint8Array, at = 0): Uint8Array => t.subarray(at + DESTINATION, at + DESTINATION + (t[at] === 4 ? 4 : 16)),
};

export function hashTuple(t: Uint8Array, at: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < 6; index++) hash = Math.imul(hash ^ t[at + index], 0x01000193);
  const size = t[at] === 4 ? 4 : 16;
  for (let index = 0; index < size; index++) {
    hash = Math.imul(hash ^ t[at + SOURCE + index], 0x01000193);
    hash = Math.imul(hash ^ t[at + DESTINATION + index], 0x01000193);
  }
  hash ^= hash >>> 15;
  return (hash = Math.imul(hash, 0x85ebca6b)) ^ (hash >>> 13);
}

/** Open addressing, linear probing with backward-shift deletion; doubles when half full. */
export class TupleTable {
  private slots = 1024;
  private keys = new Uint8Array(this.slots * TUPLE_BYTES);
  private values = new Int32Array(this.slots);
  size = 0;

  /** The value stored for the tuple, or -1. */
  get(t: Uint8Array, at = 0): number {
    return this.values[this.find(t, at)] - 1;
  }

  /** Stores a value >= 0. */
  set(t: Uint8Array, at: number, value: number): void {
    if (this.size * 2 >= this.slots) this.grow();
    const slot = this.find(t, at);
    if (this.values[slot] === 0) {
      this.size++;
      this.keys.set(t.subarray(at, at + TUPLE_BYTES), slot * TUPLE_BYTES);
    }
    this.values[slot] = value + 1;
  }

  delete(t: Uint8Array, at = 0): void {
    let hole = this.find(t, at);
    if (this.values[hole] === 0) return;
    this.size--;
    const mask = this.slots - 1;
    for (let slot = (hole + 1) & mask; this.values[slot] !== 0; slot = (slot + 1) & mask) {
      const home = hashTuple(this.keys, slot * TUPLE_BYTES) & mask;
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      this.keys.copyWithin(hole * TUPLE_BYTES, slot * TUPLE_BYTES, (slot + 1) * TUPLE_BYTES);
      this.values[hole] = this.values[slot];
      hole = slot;
    }
    this.values[hole] = 0;
  }

  private find(t: Uint8Array, at: number): number {
    const mask = this.slots - 1;
    let slot = hashTuple(t, at) & mask;
    while (this.values[slot] !== 0 && !sameTuple(this.keys, slot * TUPLE_BYTES, t, at)) slot = (slot + 1) & mask;
    return slot;
  }

  private grow(): void {
    const { keys, values, slots } = this;
    this.slots *= 2;
    this.keys = new Uint8Array(this.slots * TUPLE_BYTES);
    this.values = new Int32Array(this.slots);
    for (let slot = 0; slot < slots; slot++) {
      if (values[slot] === 0) continue;
      const into = this.find(keys, slot * TUPLE_BYTES);
      this.keys.set(keys.subarray(slot * TUPLE_BYTES, (slot + 1) * TUPLE_BYTES), into * TUPLE_BYTES);
      this.values[into] = values[slot];
    }
  }
}
