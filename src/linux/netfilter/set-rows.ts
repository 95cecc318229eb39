/**
 * Rows of a chain that ask IP sets first. What such a set holds says which addresses' packets such a row concerns, so an
 * index finds it by each of them; of several sets the smallest is taken, since every one must hold the address.
 */
import type { Family } from "../../cluster/address.js";
import { addressHash, ChainIndex, Key, keyHash } from "./chain-index.js";
import { SetFlag } from "./sets/element.js";
import type { IpSets } from "./sets/ipsets.js";
import type { SetMatch } from "./sets/set-rule.js";

export class SetRows {
  /**
   * Keys and hashes as ChainIndex takes them.
   * @param asking by row - first: the sets that a row asks before all else
   */
  constructor(private readonly first: number, private readonly keys: Int8Array, private readonly hashes: Int32Array,
    private readonly asking: ReadonlyMap<number, readonly SetMatch[]>) {}

  /** The chain's index with these rows, for sets as they are now. */
  index(sets: IpSets, family: Family): ChainIndex {
    const keys = this.keys.slice();
    const several = new Map<number, Int32Array>();
    for (const [at, matches] of this.asking) {
      let best: Int32Array | null = null;
      for (const { set, invert, dimensions, sources, flags } of matches) {
        // What it counts, sets behind it must not keep from it.
        if (sets.counts(set)) break;
        if (invert || dimensions < 1 || (flags & SetFlag.ReturnNomatch) !== 0) continue;
        const addresses = sets.addressesOf(set, family);
        if (addresses === null || (best !== null && best.length <= addresses.length)) continue;
        best = addresses;
        keys[at] = (sources & 1) !== 0 ? Key.Source : Key.Destination;
      }
      if (best !== null) several.set(at, hashesOf(keys[at] as Key, best));
    }
    return new ChainIndex(this.first, keys, this.hashes, several);
  }
}

function hashesOf(key: Key, addresses: Int32Array): Int32Array {
  const hashes = new Int32Array(addresses.length / 4);
  for (let at = 0; at < hashes.length; at++) {
    const word = at * 4;
    hashes[at] = keyHash(key, addressHash(addresses[word], addresses[word + 1], addresses[word + 2], addresses[word + 3]), 0);
  }
  return hashes;
}
