/**
 * The slots of every hashed map: which are taken, and by what. Sixteen bytes describe fifteen slots:
 *
 *      0     1           14    15
 *     | tag | tag | ... | tag | passed |        tag: 0 empty, else 0x80 | seven bits of the hash
 *
 * A key lives in its home group or, where that was full, in the next one with room; every full group that an entry
 * passed over counts it in `passed` (255 sticks). A lookup ends at a group that nothing passed, so a miss costs one
 * load, and taking an entry out leaves nothing behind: no tombstones, no rehash, and an entry never moves.
 *
 * Mechanism only: limits, lists and flags are the business of the maps built on this.
 */
import { MapDescriptor } from "../abi.gen";
import { Bytes } from "./bytes";

export const GROUP_SLOTS: u32 = 15;
/** Entries a group is meant to hold: the rest is room for chance. */
export const GROUP_LOAD: u32 = 12;
const PASSED: usize = 15;
const STICKS: u8 = 255;
const SLOT_BITS: u32 = 0x7fff;

/** No slot. */
export const NOWHERE: u32 = 0xffffffff;

export class Groups {
  /** Groups for so many entries. */
  static needed(slots: u32): u32 {
    return (slots + GROUP_LOAD - 1) / GROUP_LOAD;
  }

  @inline
  static slot(map: MapDescriptor, index: u32): usize {
    return <usize>map.data + <usize>index * <usize>map.slot_size;
  }

  /** High half of the hash, scaled to the number of groups. */
  @inline
  private static home(map: MapDescriptor, hash: u64): u32 {
    return <u32>(((hash >> 32) * <u64>map.groups) >> 32);
  }

  @inline
  private static tag(hash: u64): u8 {
    return <u8>(hash & 0x7f) | 0x80;
  }

  /** Slot with these key bytes, or NOWHERE. */
  static find(map: MapDescriptor, hash: u64, key: usize, size: u32): u32 {
    let group = Groups.home(map, hash);
    const wanted = i8x16.splat(<i8>Groups.tag(hash));
    const groups = map.groups;
    for (let tried: u32 = 0; tried < groups; tried++) {
      const tags = <usize>map.tags + (<usize>group << 4);
      let same = <u32>i8x16.bitmask(i8x16.eq(v128.load(tags), wanted)) & SLOT_BITS;
      while (same != 0) {
        const index = group * GROUP_SLOTS + ctz(same);
        if (Bytes.equal(Groups.slot(map, index), key, size)) return index;
        same &= same - 1;
      }
      if (load<u8>(tags, PASSED) == 0) return NOWHERE;
      group = group + 1 == groups ? 0 : group + 1;
    }
    return NOWHERE;
  }

  /** As `find` for a key of the words a and b, and of more behind them where a and b leave no choice of those. */
  static findTwo(map: MapDescriptor, hash: u64, a: u64, b: u64): u32 {
    let group = Groups.home(map, hash);
    const wanted = i8x16.splat(<i8>Groups.tag(hash));
    const groups = map.groups;
    for (let tried: u32 = 0; tried < groups; tried++) {
      const tags = <usize>map.tags + (<usize>group << 4);
      let same = <u32>i8x16.bitmask(i8x16.eq(v128.load(tags), wanted)) & SLOT_BITS;
      while (same != 0) {
        const index = group * GROUP_SLOTS + ctz(same);
        const slot = Groups.slot(map, index);
        if (load<u64>(slot) == a && load<u64>(slot, 8) == b) return index;
        same &= same - 1;
      }
      if (load<u8>(tags, PASSED) == 0) return NOWHERE;
      group = group + 1 == groups ? 0 : group + 1;
    }
    return NOWHERE;
  }

  /** Takes a slot for a key that is not there. The caller has seen to it that the map has room. */
  static take(map: MapDescriptor, hash: u64): u32 {
    let group = Groups.home(map, hash);
    const groups = map.groups;
    for (let tried: u32 = 0; tried < groups; tried++) {
      const tags = <usize>map.tags + (<usize>group << 4);
      const empty = ~<u32>i8x16.bitmask(v128.load(tags)) & SLOT_BITS;
      if (empty != 0) {
        const place = ctz(empty);
        store<u8>(tags + <usize>place, Groups.tag(hash));
        return group * GROUP_SLOTS + place;
      }
      const passed = load<u8>(tags, PASSED);
      if (passed != STICKS) store<u8>(tags, passed + 1, PASSED);
      group = group + 1 == groups ? 0 : group + 1;
    }
    assert(false, "a map with room has no empty slot");
    return NOWHERE;
  }

  /** Empties a slot whose key has this hash. */
  static release(map: MapDescriptor, hash: u64, index: u32): void {
    const last = index / GROUP_SLOTS;
    store<u8>(<usize>map.tags + (<usize>last << 4) + <usize>(index - last * GROUP_SLOTS), 0);
    let group = Groups.home(map, hash);
    while (group != last) {
      const tags = <usize>map.tags + (<usize>group << 4);
      const passed = load<u8>(tags, PASSED);
      if (passed != STICKS) store<u8>(tags, passed - 1, PASSED);
      group = group + 1 == map.groups ? 0 : group + 1;
    }
  }

  /** First taken slot from `index` on, or NOWHERE. */
  static next(map: MapDescriptor, index: u32): u32 {
    let group = index / GROUP_SLOTS;
    let from = index - group * GROUP_SLOTS;
    for (; group < map.groups; group++) {
      const taken = <u32>i8x16.bitmask(v128.load(<usize>map.tags + (<usize>group << 4))) & SLOT_BITS & (~0 << from);
      if (taken != 0) return group * GROUP_SLOTS + ctz(taken);
      from = 0;
    }
    return NOWHERE;
  }
}
