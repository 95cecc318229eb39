/** BPF_MAP_TYPE_ARRAY, and the inner arrays of a map-in-map. Every index below max_entries exists, zero at first. */
import { Errno, MapDescriptor, UpdateFlag } from "../abi.gen";
import { Bytes } from "./bytes";

export class ArrayMap {
  /** Address of the value at an index, or 0 where the index is too large. */
  @inline
  static at(map: MapDescriptor, index: u32): usize {
    return index < map.max_entries ? <usize>map.data + <usize>index * <usize>map.slot_size : 0;
  }

  /** Address of a value of inner array `inner` (1…), or 0. */
  @inline
  static atInner(map: MapDescriptor, inner: u32, index: u32): usize {
    if (index >= map.max_entries || inner >= map.partitions) return 0;
    return <usize>map.data + (<usize>(inner - 1) * <usize>map.max_entries + <usize>index) * <usize>map.slot_size;
  }

  @inline
  static lookup(map: MapDescriptor, key: usize): usize {
    return ArrayMap.at(map, load<u32>(key));
  }

  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    return ArrayMap.put(map, ArrayMap.at(map, load<u32>(key)), value, flags);
  }

  static updateInner(map: MapDescriptor, inner: u32, key: usize, value: usize, flags: u32): i32 {
    return ArrayMap.put(map, ArrayMap.atInner(map, inner, load<u32>(key)), value, flags);
  }

  private static put(map: MapDescriptor, place: usize, value: usize, flags: u32): i32 {
    if (flags > <u32>UpdateFlag.EXIST) return -Errno.EINVAL;
    if (place == 0) return -Errno.E2BIG;
    if (flags == <u32>UpdateFlag.NOEXIST) return -Errno.EEXIST;
    Bytes.copy(place, value, map.value_size);
    return 0;
  }

  static next(map: MapDescriptor, key: usize, out: usize): i32 {
    const index = key == 0 ? <u32>0xffffffff : load<u32>(key);
    if (index >= map.max_entries) {
      store<u32>(out, 0);
      return 0;
    }
    if (index == map.max_entries - 1) return -Errno.ENOENT;
    store<u32>(out, index + 1);
    return 0;
  }
}

/** BPF_MAP_TYPE_PROG_ARRAY: places in the module's function table. */
export class ProgramArray {
  /** Place of the program to jump to, or 0: a tail call that misses (DROP_MISSED_TAIL_CALL). */
  @inline
  static at(map: MapDescriptor, index: u32): u32 {
    const entry = ArrayMap.at(map, index);
    return entry == 0 ? 0 : load<u32>(entry);
  }

  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    if (flags != <u32>UpdateFlag.ANY) return -Errno.EINVAL;
    return ArrayMap.update(map, key, value, flags);
  }

  static remove(map: MapDescriptor, key: usize): i32 {
    const entry = ArrayMap.lookup(map, key);
    if (entry == 0) return -Errno.E2BIG;
    if (load<u32>(entry) == 0) return -Errno.ENOENT;
    store<u32>(entry, 0);
    return 0;
  }
}
