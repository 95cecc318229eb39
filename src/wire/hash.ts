/**
 * 32-bit hashes in plain numbers: the round and the finish of MurmurHash3 (x86, 32 bit), public domain by
 * Austin Appleby. Results are int32; the same input gives the same hash on every machine.
 */

/** One round: mixes a 32-bit word into a running hash. */
export function mix(hash: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51);
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593);
  const h = hash ^ k;
  return (Math.imul((h << 13) | (h >>> 19), 5) + 0xe6546b64) | 0;
}

/** Spreads the last words over all bits; call once at the end. */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/**
 * Mixes `length` bytes into a running hash, big-endian words, the rest zero-filled. Mix the length in beside
 * it.
 */
export function mixBytes(hash: number, bytes: Uint8Array, at: number, length: number): number {
  let h = hash;
  const words = at + (length & ~3);
  let index = at;
  for (; index < words; index += 4) h = mix(h, word(bytes, index));
  const rest = length & 3;
  if (rest === 0) return h;
  let last = bytes[index] << 24;
  if (rest > 1) last |= bytes[index + 1] << 16;
  if (rest > 2) last |= bytes[index + 2] << 8;
  return mix(h, last);
}

/** Hash of `length` bytes: MurmurHash3 but for the byte order of its words. */
export function hashBytes(bytes: Uint8Array, at: number, length: number, seed: number): number {
  return finish(mixBytes(seed, bytes, at, length) ^ length);
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}
