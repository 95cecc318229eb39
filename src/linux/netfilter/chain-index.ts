/**
 * A shortcut through long chains such as KUBE-SERVICES: rows that want exactly one destination address,
 * protocol and port are found by a hash of the three, all other rows ("plain") are met one by one, in the
 * order of the chain.
 *
 * A row that is passed over could not have matched, could not have dropped the packet and changes nothing, so
 * verdicts, marks and counters are those of the walk without it. Packets without a whole upper-layer header
 * are walked plainly.
 */
import type { Packet } from "./packet.js";

/** Chains shorter than this are walked. */
export const indexFrom = 16;

export class ChainIndex {
  /** Row -> the next plain row at or after it, by row - first. */
  private readonly nextPlain: Int32Array;
  private readonly first: number;
  private readonly heads: Int32Array;
  /** By row - first: the next indexed row of the same slot, -1 at the end. Ascending. */
  private readonly nextOfSlot: Int32Array;
  private readonly hashes: Int32Array;
  private readonly mask: number;

  /**
   * `keys` has a row's hash, or null for a plain one; the row after the last rule (the chain's end) is plain.
   */
  constructor(first: number, keys: readonly (number | null)[]) {
    this.first = first;
    this.nextPlain = new Int32Array(keys.length + 1);
    this.nextOfSlot = new Int32Array(keys.length).fill(-1);
    this.hashes = new Int32Array(keys.length);
    let size = 16;
    while (size < keys.length * 2) size *= 2;
    this.mask = size - 1;
    this.heads = new Int32Array(size).fill(-1);
    this.nextPlain[keys.length] = first + keys.length;
    for (let at = keys.length - 1; at >= 0; at--) {
      const key = keys[at];
      this.nextPlain[at] = key === null ? first + at : this.nextPlain[at + 1];
      if (key === null) continue;
      this.hashes[at] = key;
      this.nextOfSlot[at] = this.heads[key & this.mask];
      this.heads[key & this.mask] = first + at;
    }
  }

  /** The first row at or after `row` that may match. */
  seek(row: number, packet: Packet): number {
    const plain = this.nextPlain[row - this.first];
    const hash = destinationHash(
      packet.d0,
      packet.d1,
      packet.d2,
      packet.d3,
      packet.protocol,
      packet.destinationPort,
    );
    for (
      let at = this.heads[hash & this.mask];
      at >= 0 && at < plain;
      at = this.nextOfSlot[at - this.first]
    ) {
      if (at >= row && this.hashes[at - this.first] === hash) return at;
    }
    return plain;
  }
}

export function destinationHash(
  d0: number,
  d1: number,
  d2: number,
  d3: number,
  protocol: number,
  port: number,
): number {
  let hash = Math.imul(d3 ^ Math.imul(d2, 31) ^ Math.imul(d1, 961) ^ Math.imul(d0, 29791), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13) ^ ((protocol << 16) | port), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}
