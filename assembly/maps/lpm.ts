/**
 * BPF_MAP_TYPE_LPM_TRIE: longest match over keys {prefixlen u32, data}. Bits count from the first byte's highest.
 *
 * One slab of slots holds every inner map of a map-in-map; a plain LPM map is inner map 0 of its slab. A slot's key is
 *
 *      0       4           8
 *     | inner | prefixlen | data, bits behind the prefix cleared, zeros up to a multiple of eight |
 *
 * A lookup asks once for each prefix length in use in its inner map, longest first. Each such question is a tag
 * probe, so the lengths that have nothing cost one load each. Beside the lengths' counts lies a bitmap of them:
 *
 *     lengths of one inner map:  bitmap, (bits / 64 + 1) words of 64 | count u32 for each length 0..bits
 *
 * Unlike the kernel's trie it does not keep the bits behind a prefix: `next` returns them cleared.
 */
import { Errno, MapDescriptor, UpdateFlag } from "../abi.gen";
import { Bytes } from "./bytes";
import { Groups, NOWHERE } from "./groups";
import { HashMap } from "./hash";
import { Partitions } from "./partitions";

/** Bits of a word. */
const WORD: i32 = 64;

/** Slot key under construction: inner, prefixlen, up to 256 bytes of data. */
const scratch: usize = memory.data(264, 8);

export class Lpm {
  /** Address of the value with the longest prefix of the key's first `prefixlen` bits, or 0. */
  @inline
  static lookup(map: MapDescriptor, key: usize): usize {
    return Lpm.lookupInner(map, 0, key);
  }

  static lookupInner(map: MapDescriptor, inner: u32, key: usize): usize {
    const limit = load<u32>(key);
    if (limit > Lpm.bits(map)) return 0;
    let length = Lpm.longest(map, inner, limit);
    while (length > WORD) {
      const size = Lpm.compose(map, inner, key, length);
      const slot = Groups.find(map, Bytes.hash(scratch, size), scratch, size);
      if (slot != NOWHERE) return Groups.slot(map, slot) + <usize>map.value_offset;
      length = Lpm.longest(map, inner, length - 1);
    }
    return length < 0 ? 0 : Lpm.lookupWord(map, inner, key, length);
  }

  /**
   * Lengths from `limit` (in use, at most 64) down: all but the first eight bytes of data are cleared, so slot keys are
   * made of two words without going through memory. Every policy key and every IPv4 prefix is found here.
   */
  private static lookupWord(map: MapDescriptor, inner: u32, key: usize, limit: i32): usize {
    const size = map.value_offset;
    const rest = <u64>size + Bytes.zeroWords((size >> 3) - 2);
    const lengths = Lpm.lengths(map, inner);
    const data = map.key_size >= 12 ? load<u64>(key, 4) : Lpm.shortWord(map, key);
    // The first word of the bitmap has the lengths 0 to 63.
    let used = load<u64>(lengths);
    let length = limit;
    if (limit < WORD) used &= (<u64>2 << <u64>limit) - 1;
    while (length >= 0) {
      const head = (<u64>length << 32) | <u64>inner;
      const masked = length == 0 ? 0 : data & bswap<u64>(~<u64>0 << <u64>(WORD - length));
      const slot = Groups.findTwo(map, Bytes.hashTwo(head, masked, rest), head, masked);
      if (slot != NOWHERE) return Groups.slot(map, slot) + <usize>map.value_offset;
      if (length < WORD) used ^= <u64>1 << <u64>length;
      // -1 when no length is left.
      length = WORD - 1 - <i32>clz(used);
    }
    return 0;
  }

  /** The data of a key that has less than eight bytes of it. */
  private static shortWord(map: MapDescriptor, key: usize): u64 {
    Lpm.compose(map, 0, key, Lpm.bits(map));
    return load<u64>(scratch, 8);
  }

  @inline
  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    return Lpm.updateInner(map, 0, key, value, flags);
  }

  static updateInner(map: MapDescriptor, inner: u32, key: usize, value: usize, flags: u32): i32 {
    const length = load<u32>(key);
    if (flags > <u32>UpdateFlag.EXIST || length > Lpm.bits(map)) return -Errno.EINVAL;
    const size = Lpm.compose(map, inner, key, length);
    const hash = Bytes.hash(scratch, size);
    const found = Groups.find(map, hash, scratch, size);
    if (found != NOWHERE) {
      if (flags == <u32>UpdateFlag.NOEXIST) return -Errno.EEXIST;
      Bytes.copy(Groups.slot(map, found) + <usize>map.value_offset, value, map.value_size);
      return 0;
    }
    if (flags == <u32>UpdateFlag.EXIST) return -Errno.ENOENT;
    const partition = Partitions.at(map, inner);
    if (partition.count >= partition.limit) return -Errno.ENOSPC;
    if (HashMap.insert(map, partition, hash, scratch, size, value) == NOWHERE) return -Errno.ENOMEM;
    Lpm.count(map, inner, length, 1);
    return 0;
  }

  @inline
  static remove(map: MapDescriptor, key: usize): i32 {
    return Lpm.removeInner(map, 0, key);
  }

  static removeInner(map: MapDescriptor, inner: u32, key: usize): i32 {
    const length = load<u32>(key);
    if (length > Lpm.bits(map)) return -Errno.EINVAL;
    const size = Lpm.compose(map, inner, key, length);
    const hash = Bytes.hash(scratch, size);
    const slot = Groups.find(map, hash, scratch, size);
    if (slot == NOWHERE) return -Errno.ENOENT;
    HashMap.drop(map, Partitions.at(map, inner), hash, slot);
    Lpm.count(map, inner, length, -1);
    return 0;
  }

  /** Takes out every entry of an inner map. */
  static clear(map: MapDescriptor, inner: u32): void {
    const partition = Partitions.at(map, inner);
    while (partition.last != 0) {
      const slot = partition.last - 1;
      const at = Groups.slot(map, slot);
      const length = load<u32>(at, 4);
      HashMap.drop(map, partition, Bytes.hash(at, map.value_offset), slot);
      Lpm.count(map, inner, length, -1);
    }
  }

  /** Writes the key after this one, or the first where the key is 0 or not in the map. */
  static next(map: MapDescriptor, inner: u32, key: usize, out: usize): i32 {
    let at = NOWHERE;
    if (key != 0 && load<u32>(key) <= Lpm.bits(map)) {
      const size = Lpm.compose(map, inner, key, load<u32>(key));
      at = Groups.find(map, Bytes.hash(scratch, size), scratch, size);
    }
    const next = map.links != 0
      ? Partitions.after(map, Partitions.at(map, inner), at)
      : Groups.next(map, at + 1);
    if (next == NOWHERE) return -Errno.ENOENT;
    Bytes.copy(out, Groups.slot(map, next) + 4, map.key_size);
    return 0;
  }

  /** Bits of a key's data. */
  @inline
  static bits(map: MapDescriptor): u32 {
    return (map.key_size - 4) << 3;
  }

  /** Size of a slot's key for keys of so many bytes. */
  static slotKeySize(keySize: u32): u32 {
    return 8 + ((keySize - 4 + 7) & ~7);
  }

  /** Bytes of one inner map's prefix lengths. */
  static lengthsSize(keySize: u32): u32 {
    const bits = (keySize - 4) << 3;
    return (((bits >> 6) + 1) << 3) + (((bits + 2) & ~1) << 2);
  }

  @inline
  private static lengths(map: MapDescriptor, inner: u32): usize {
    return <usize>map.lengths + <usize>inner * <usize>map.lengths_size;
  }

  /** The longest length in use that is not above `limit`, or -1. */
  private static longest(map: MapDescriptor, inner: u32, limit: u32): i32 {
    const lengths = Lpm.lengths(map, inner);
    let word = <i32>(limit >> 6);
    let used = load<u64>(lengths + (<usize>word << 3)) & (~<u64>0 >> <u64>(63 - (limit & 63)));
    while (used == 0) {
      if (--word < 0) return -1;
      used = load<u64>(lengths + (<usize>word << 3));
    }
    return (word << 6) + 63 - <i32>clz(used);
  }

  private static count(map: MapDescriptor, inner: u32, length: u32, change: i32): void {
    const lengths = Lpm.lengths(map, inner);
    const place = lengths + <usize>(((Lpm.bits(map) >> 6) + 1) << 3) + (<usize>length << 2);
    const now = load<u32>(place) + <u32>change;
    store<u32>(place, now);
    const word = lengths + (<usize>(length >> 6) << 3);
    const bit = <u64>1 << <u64>(length & 63);
    store<u64>(word, now == 0 ? load<u64>(word) & ~bit : load<u64>(word) | bit);
  }

  /** Writes the slot key of the first `length` bits of a key into `scratch` and returns its size. */
  private static compose(map: MapDescriptor, inner: u32, key: usize, length: u32): u32 {
    const size = Lpm.slotKeySize(map.key_size);
    store<u32>(scratch, inner);
    store<u32>(scratch, length, 4);
    store<u64>(scratch + <usize>size - 8, 0);
    Bytes.copy(scratch + 8, key + 4, map.key_size - 4);
    let kept = length;
    for (let at = scratch + 8, end = scratch + <usize>size; at < end; at += 8) {
      if (kept >= 64) {
        kept -= 64;
      } else {
        const mask = kept == 0 ? <u64>0 : bswap<u64>(~<u64>0 << <u64>(64 - kept));
        store<u64>(at, load<u64>(at) & mask);
        kept = 0;
      }
    }
    return size;
  }
}
