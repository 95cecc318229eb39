/**
 * Random sequences of map operations, and what every implementation of a map answers to them.
 *
 * Keys come from a small pool, so that they meet again, and maps are smaller than the pool where they may fill up.
 * Answers are text, so that three implementations can be compared line by line: a negative errno, the value in
 * hexadecimal, `0`, or for `walk` the sorted keys.
 */

export type Kind = "hash" | "lru_hash" | "array" | "lpm_trie" | "array_of_maps" | "hash_of_maps";

export interface Shape {
  readonly kind: Kind;
  readonly keySize: number;
  readonly valueSize: number;
  readonly maxEntries: number;
  /** Different keys in the pool. */
  readonly pool: number;
  /** Of a map-in-map: inner LPM maps, with keys of 12 and values of 8 bytes. */
  readonly innerMaps: number;
}

/** Inner maps have the policy map's shape. */
export const innerShape: Shape = { kind: "lpm_trie", keySize: 12, valueSize: 8, maxEntries: 16, pool: 40, innerMaps: 0 };

export type Operation =
  | { readonly op: "update"; readonly inner: number; readonly key: string; readonly value: string; readonly flags: number }
  /** Puts inner map `map` (1…) into a map-in-map. */
  | { readonly op: "put"; readonly key: string; readonly map: number; readonly flags: number }
  | { readonly op: "lookup" | "delete"; readonly inner: number; readonly key: string }
  | { readonly op: "walk"; readonly inner: number };

/** A map, or a map-in-map with its inner maps (`inner` 1…; 0: the map itself). */
export interface Subject {
  run(operation: Operation): string;
}

/** mulberry32: numbers below `limit`, the same for the same seed. */
export function generator(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

export function operations(shape: Shape, count: number, seed: number): Operation[] {
  const random = generator(seed);
  const pools = [keyPool(shape, random), keyPool(innerShape, random)];
  const list: Operation[] = [];
  while (list.length < count) {
    const inner = shape.innerMaps > 0 && random(2) === 0 ? 1 + random(shape.innerMaps) : 0;
    const pool = pools[inner === 0 ? 0 : 1];
    const key = pool[random(pool.length)];
    const dice = random(100);
    // 3 and 4 are flags no map takes.
    const flags = dice % 4 !== 0 ? 0 : 1 + random(4);
    if (dice < 45) {
      if (inner === 0 && shape.innerMaps > 0) list.push({ op: "put", key, map: random(shape.innerMaps + 2), flags });
      else {
        const size = inner === 0 ? shape.valueSize : innerShape.valueSize;
        list.push({ op: "update", inner, key, value: randomHex(size, random), flags });
      }
    } else if (dice < 72) list.push({ op: "lookup", inner, key });
    else if (dice < 95) list.push({ op: "delete", inner, key });
    else list.push({ op: "walk", inner });
  }
  return list;
}

export function describeShape({ kind, keySize, valueSize, maxEntries, pool }: Shape): string {
  return `${kind}, key ${keySize}, value ${valueSize}, ${maxEntries} entries, ${pool} keys`;
}

function keyPool(shape: Shape, random: (limit: number) => number): string[] {
  const keys: string[] = [];
  for (let index = 0; index < shape.pool; index++) {
    if (shape.kind === "lpm_trie") keys.push(lpmKey(shape.keySize, random));
    else if (shape.kind === "array" || shape.kind === "array_of_maps") keys.push(hexOf(u32(random(shape.maxEntries + 2))));
    // Keys that differ in little more than one byte, as addresses and ports do.
    else keys.push(("00".repeat(random(shape.keySize)) + randomHex(shape.keySize, random)).slice(0, shape.keySize * 2));
  }
  return keys;
}

/** Data bytes are 00, 80 or ff for the most part, so that prefixes hold one another. Some lengths are too large. */
function lpmKey(size: number, random: (limit: number) => number): string {
  const data = new Uint8Array(size - 4).map(() => [0, 0, 0x80, 0xff, random(256)][random(5)]);
  const bits = (size - 4) * 8;
  const usual = [random(bits + 1), bits, bits, Math.min(8 * random(4), bits)][random(4)];
  const length = random(20) === 0 ? bits + 1 + random(3) : usual;
  return hexOf(u32(length)) + hexOf(data);
}

function u32(number: number): Uint8Array {
  return new Uint8Array(new Uint32Array([number]).buffer);
}

function randomHex(size: number, random: (limit: number) => number): string {
  return hexOf(new Uint8Array(size).map(() => random(256)));
}

export function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

export function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

/** An LPM key with the bits behind its prefix cleared. The kernel's trie returns them as they were given. */
export function cleared(hex: string): string {
  const bytes = bytesOf(hex);
  const length = new DataView(bytes.buffer).getUint32(0, true);
  for (let bit = length; bit < (bytes.length - 4) * 8; bit++) bytes[4 + (bit >> 3)] &= ~(0x80 >> (bit & 7));
  return hexOf(bytes);
}
