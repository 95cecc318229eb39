/**
 * A shortcut through long chains: rows that want exactly one value of something a packet has are found by its
 * hash, all other rows ("plain") are met one by one, in the order of the chain. What a row is found by, the
 * most telling first:
 *
 *     Service      destination address, protocol, port      KUBE-SERVICES, KUBE-PROXY-FIREWALL
 *     Destination  destination address                      rules of one pod
 *     Source       source address                           the bridge plugin's masquerading, a rule a pod
 *     OutDevice    device a packet leaves by                Calico's cali-to-wl-dispatch
 *     InDevice     device a packet came by                  Calico's cali-from-wl-dispatch
 *     Port         protocol and destination port            KUBE-NODEPORTS
 *
 * A row that asks an IP set of addresses first is found by each address of the set, as Destination or Source (set-rows.ts):
 * AZURE-NPM-INGRESS and -EGRESS.
 *
 * A row that is passed over could not have matched, could not have dropped the packet and changes nothing, so
 * verdicts, marks and counters are those of the walk without it; two values of one hash only cost a look. A
 * cut header drops a packet at a rule with ports: such packets are walked plainly (see Evaluator.run).
 */
import type { Packet } from "./packet.js";

/** Chains with fewer such rows are walked. */
export const indexFrom = 16;

/** What a row is found by; the number goes into the hash. */
export const Key = { Service: 0, Destination: 1, Source: 2, OutDevice: 3, InDevice: 4, Port: 5 } as const;
export type Key = (typeof Key)[keyof typeof Key];
const kinds = 6;

/** Marks a plain row where a key is expected. */
export const plain = -1;

export class ChainIndex {
  private readonly first: number;
  /** Row -> the next plain row at or after it, by row - first. */
  private readonly nextPlain: Int32Array;
  /** Open addressing: hash, first place in `rows`, one after the last place (0: the slot is empty). */
  private readonly slots: Int32Array;
  private readonly mask: number;
  /** Indexed rows, those of one hash together and ascending. */
  private readonly rows: Int32Array;
  /** Bit by Key: whether any row of the chain is found by it. */
  private readonly kinds: number;

  /**
   * By row - first: the key a row is found by, or `plain`, and the hash of its value. The row after the last
   * rule (the chain's end) is plain.
   *
   * @param several by row - first: the hashes of its values, where a row has any number of them
   */
  constructor(first: number, keys: Int8Array, hashes: Int32Array, several: ReadonlyMap<number, Int32Array> = new Map()) {
    this.first = first;
    this.nextPlain = new Int32Array(keys.length + 1);
    this.nextPlain[keys.length] = first + keys.length;
    let indexed = 0;
    let found = 0;
    for (let at = keys.length - 1; at >= 0; at--) {
      this.nextPlain[at] = keys[at] === plain ? first + at : this.nextPlain[at + 1];
      if (keys[at] === plain) continue;
      indexed += several.get(at)?.length ?? 1;
      found |= 1 << keys[at];
    }
    this.kinds = found;
    this.rows = new Int32Array(indexed);
    let size = 16;
    while (size < indexed * 2) size *= 2;
    this.mask = size - 1;
    this.slots = new Int32Array(size * 3);
    this.fill(keys, hashes, several);
  }

  /** Whether a key is in use: a packet's value of another need not be known. */
  has(key: Key): boolean {
    return (this.kinds & (1 << key)) !== 0;
  }

  /**
   * The first row at or after `row` that may match. The devices are hashes of their names (deviceHash), asked
   * for only where the index `has` them.
   */
  seek(row: number, packet: Packet, inDevice: number, outDevice: number): number {
    let best = this.nextPlain[row - this.first];
    if (best === row) return row;
    for (let key = 0; key < kinds; key++) {
      if ((this.kinds & (1 << key)) === 0) continue;
      best = this.firstOf(hashOfPacket(key as Key, packet, inDevice, outDevice), row, best);
    }
    return best;
  }

  /** The first row of a hash that lies in [row, best), else `best`. */
  private firstOf(hash: number, row: number, best: number): number {
    const { slots, rows } = this;
    let slot = (hash & this.mask) * 3;
    while (slots[slot + 2] !== 0 && slots[slot] !== hash) slot = slot === this.mask * 3 ? 0 : slot + 3;
    const end = slots[slot + 2];
    let low = slots[slot + 1];
    // Rows of one value may be many: two halves of what is left are told apart by one look.
    let high = end;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (rows[middle] < row) low = middle + 1;
      else high = middle;
    }
    return low < end && rows[low] < best ? rows[low] : best;
  }

  private fill(keys: Int8Array, hashes: Int32Array, several: ReadonlyMap<number, Int32Array>): void {
    const { slots, rows } = this;
    const slotOf = new Int32Array(rows.length);
    // One entry for each hash of a row, rows ascending.
    const rowOf = new Int32Array(rows.length);
    let entries = 0;
    const enter = (at: number, hash: number): void => {
      let slot = (hash & this.mask) * 3;
      while (slots[slot + 2] !== 0 && slots[slot] !== hash) slot = slot === this.mask * 3 ? 0 : slot + 3;
      slots[slot] = hash;
      slots[slot + 2]++;
      rowOf[entries] = this.first + at;
      slotOf[entries++] = slot;
    };
    for (let at = 0; at < keys.length; at++) {
      if (keys[at] === plain) continue;
      const own = several.get(at);
      if (own === undefined) enter(at, hashes[at]);
      else for (const hash of own) enter(at, hash);
    }
    // From counts to places: `end` begins where the slot's rows begin and moves on as they are put in.
    let place = 0;
    for (let slot = 0; slot < slots.length; slot += 3) {
      const count = slots[slot + 2];
      if (count === 0) continue;
      slots[slot + 1] = slots[slot + 2] = place;
      place += count;
    }
    for (let entry = 0; entry < entries; entry++) rows[slots[slotOf[entry] + 2]++] = rowOf[entry];
  }
}

function hashOfPacket(key: Key, packet: Packet, inDevice: number, outDevice: number): number {
  switch (key) {
    case Key.Service: {
      const { d0, d1, d2, d3, protocol, destinationPort } = packet;
      return keyHash(key, addressHash(d0, d1, d2, d3), (protocol << 16) | destinationPort);
    }
    case Key.Destination:
      return keyHash(key, addressHash(packet.d0, packet.d1, packet.d2, packet.d3), 0);
    case Key.Source:
      return keyHash(key, addressHash(packet.s0, packet.s1, packet.s2, packet.s3), 0);
    case Key.OutDevice:
      return keyHash(key, outDevice, 0);
    case Key.InDevice:
      return keyHash(key, inDevice, 0);
    case Key.Port:
      return keyHash(key, 0, (packet.protocol << 16) | packet.destinationPort);
  }
}

/** `value` is the hash of an address or a device's name, `rest` protocol << 16 | port; 0 where a key has none. */
export function keyHash(key: Key, value: number, rest: number): number {
  const hash = Math.imul(value ^ (value >>> 13) ^ rest ^ Math.imul(key, 0x9e3779b1), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

export function addressHash(w0: number, w1: number, w2: number, w3: number): number {
  return Math.imul(w3 ^ Math.imul(w2, 31) ^ Math.imul(w1, 961) ^ Math.imul(w0, 29791), 0x85ebca6b);
}

export function deviceHash(name: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash;
}
