/**
 * BPF_MAP_TYPE_ARRAY_OF_MAPS and BPF_MAP_TYPE_HASH_OF_MAPS. The outer map's values are numbers of inner maps; all
 * inner maps of one outer map share a descriptor, and their entries one slab. An inner map has a limit of its own.
 *
 * Number 0 is no map. An inner map that an outer map holds cannot be destroyed.
 */
import { Errno, MapDescriptor, MapKind, UpdateFlag } from "../abi.gen";
import { ArrayMap } from "./array";
import { HashMap } from "./hash";
import { Lpm } from "./lpm";
import { Partitions } from "./partitions";

export class MapInMap {
  /** The descriptor that the inner maps share: hand it to Lpm.lookupInner or ArrayMap.atInner. */
  @inline
  static inner(map: MapDescriptor): MapDescriptor {
    return changetype<MapDescriptor>(<usize>map.inner);
  }

  /** Number of the inner map at a key, or 0. */
  @inline
  static lookup(map: MapDescriptor, key: usize): u32 {
    const entry = MapInMap.entry(map, key);
    return entry == 0 ? 0 : load<u32>(entry);
  }

  /** The same where the outer map is an array. */
  @inline
  static at(map: MapDescriptor, index: u32): u32 {
    const entry = ArrayMap.at(map, index);
    return entry == 0 ? 0 : load<u32>(entry);
  }

  private static entry(map: MapDescriptor, key: usize): usize {
    return map.kind == <u32>MapKind.ARRAY_OF_MAPS ? ArrayMap.lookup(map, key) : HashMap.lookup(map, key);
  }

  /** -EBADF where the number is not that of an inner map. The order of the checks is the kernel's. */
  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    const inner = MapInMap.inner(map);
    const number = load<u32>(value);
    const old = MapInMap.lookup(map, key);
    let result: i32;
    if (map.kind == <u32>MapKind.ARRAY_OF_MAPS) {
      // fd_array_map_update_elem takes no other flag than BPF_ANY.
      if (flags != <u32>UpdateFlag.ANY) return -Errno.EINVAL;
      if (ArrayMap.lookup(map, key) == 0) return -Errno.E2BIG;
      if (!MapInMap.exists(inner, number)) return -Errno.EBADF;
      result = ArrayMap.update(map, key, value, flags);
    } else {
      // bpf(2) itself refuses what is no flag of a hash (BPF_F_LOCK), before it looks at the descriptor.
      if (flags > <u32>(UpdateFlag.NOEXIST | UpdateFlag.EXIST)) return -Errno.EINVAL;
      if (!MapInMap.exists(inner, number)) return -Errno.EBADF;
      result = HashMap.update(map, key, value, flags);
    }
    if (result != 0) return result;
    Partitions.at(inner, number).references += 1;
    if (old != 0) Partitions.at(inner, old).references -= 1;
    return 0;
  }

  static remove(map: MapDescriptor, key: usize): i32 {
    const old = MapInMap.lookup(map, key);
    if (map.kind == <u32>MapKind.ARRAY_OF_MAPS) {
      const entry = ArrayMap.lookup(map, key);
      if (entry == 0) return -Errno.E2BIG;
      if (old == 0) return -Errno.ENOENT;
      store<u32>(entry, 0);
    } else {
      const result = HashMap.remove(map, key);
      if (result != 0) return result;
    }
    Partitions.at(MapInMap.inner(map), old).references -= 1;
    return 0;
  }

  /** A new, empty inner map with its own limit: its number, or -ENOMEM where no more are reserved. */
  static create(map: MapDescriptor, limit: u32): i32 {
    const inner = MapInMap.inner(map);
    if (limit == 0 || (inner.kind == <u32>MapKind.ARRAY && limit > inner.max_entries)) return -Errno.EINVAL;
    let number = inner.free;
    if (number != 0) {
      inner.free = Partitions.at(inner, number).free;
    } else {
      if (inner.unused >= inner.partitions) {
        inner.exhausted += 1;
        return -Errno.ENOMEM;
      }
      number = inner.unused;
      inner.unused += 1;
    }
    const partition = Partitions.at(inner, number);
    partition.limit = limit;
    partition.free = 0;
    if (inner.kind == <u32>MapKind.ARRAY) {
      memory.fill(ArrayMap.atInner(inner, number, 0), 0, inner.max_entries * inner.slot_size);
    }
    return <i32>number;
  }

  /** -EBADF where there is no such inner map, -EBUSY while an outer map holds it. */
  static destroy(map: MapDescriptor, number: u32): i32 {
    const inner = MapInMap.inner(map);
    if (!MapInMap.exists(inner, number)) return -Errno.EBADF;
    const partition = Partitions.at(inner, number);
    if (partition.references != 0) return -Errno.EBUSY;
    if (inner.kind == <u32>MapKind.LPM_TRIE) Lpm.clear(inner, number);
    partition.limit = 0;
    partition.free = inner.free;
    inner.free = number;
    return 0;
  }

  static exists(inner: MapDescriptor, number: u32): bool {
    return number != 0 && number < inner.unused && Partitions.at(inner, number).limit != 0;
  }
}
