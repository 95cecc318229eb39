/**
 * BPF_MAP_TYPE_HASH and BPF_MAP_TYPE_LRU_HASH. Results and errors are those of bpf(2): 0 or a negative errno.
 *
 * A slot is the key, rounded up to eight bytes, then the value. A lookup returns the address of the value, which
 * stays where it is until the entry is deleted or evicted. A map with a node in its key has a limit per node.
 *
 * The LRU hash evicts strictly the entry of the same partition that was used longest ago; use is a program's lookup,
 * or an update. (The kernel's is approximate, and like this one does not count a lookup from user space as use.)
 * When reserved memory rather than a limit is used up, an insert fails with -ENOMEM and `exhausted` counts it.
 */
import { Errno, MapDescriptor, MapPartition, UpdateFlag } from "../abi.gen";
import { Bytes } from "./bytes";
import { Groups, NOWHERE } from "./groups";
import { Partitions } from "./partitions";

export class HashMap {
  /** Address of the value, or 0. */
  static lookup(map: MapDescriptor, key: usize): usize {
    const size = map.key_size;
    const slot = Groups.find(map, Bytes.hash(key, size), key, size);
    return slot == NOWHERE ? 0 : Groups.slot(map, slot) + <usize>map.value_offset;
  }

  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    if (flags > <u32>UpdateFlag.EXIST) return -Errno.EINVAL;
    const number = Partitions.ofKey(map, key);
    if (!Partitions.holds(map, number)) return -Errno.EINVAL;
    const hash = Bytes.hash(key, map.key_size);
    const found = Groups.find(map, hash, key, map.key_size);
    if (found != NOWHERE) {
      if (flags == <u32>UpdateFlag.NOEXIST) return -Errno.EEXIST;
      Bytes.copy(Groups.slot(map, found) + <usize>map.value_offset, value, map.value_size);
      return 0;
    }
    if (flags == <u32>UpdateFlag.EXIST) return -Errno.ENOENT;
    const partition = Partitions.at(map, number);
    if (partition.count >= partition.limit) return -Errno.E2BIG;
    return HashMap.insert(map, partition, hash, key, map.key_size, value) == NOWHERE ? -Errno.ENOMEM : 0;
  }

  static remove(map: MapDescriptor, key: usize): i32 {
    const hash = Bytes.hash(key, map.key_size);
    const slot = Groups.find(map, hash, key, map.key_size);
    if (slot == NOWHERE) return -Errno.ENOENT;
    HashMap.drop(map, Partitions.at(map, Partitions.ofKey(map, key)), hash, slot);
    return 0;
  }

  /** Writes the key after this one, or the first where the key is 0 or not in the map. The order is the slots'. */
  static next(map: MapDescriptor, key: usize, out: usize): i32 {
    let from: u32 = 0;
    if (key != 0) {
      const slot = Groups.find(map, Bytes.hash(key, map.key_size), key, map.key_size);
      if (slot != NOWHERE) from = slot + 1;
    }
    const next = Groups.next(map, from);
    if (next == NOWHERE) return -Errno.ENOENT;
    Bytes.copy(out, Groups.slot(map, next), map.key_size);
    return 0;
  }

  /** Slot of a new entry whose partition has room, or NOWHERE where the reserved memory is used up. */
  static insert(map: MapDescriptor, partition: MapPartition, hash: u64, key: usize, size: u32, value: usize): u32 {
    if (map.count >= map.slots) {
      map.exhausted += 1;
      return NOWHERE;
    }
    const index = Groups.take(map, hash);
    const slot = Groups.slot(map, index);
    Bytes.copy(slot, key, size);
    Bytes.copy(slot + <usize>map.value_offset, value, map.value_size);
    map.count += 1;
    partition.count += 1;
    if (map.links != 0) Partitions.pushFront(map, partition, index);
    return index;
  }

  static drop(map: MapDescriptor, partition: MapPartition, hash: u64, slot: u32): void {
    Groups.release(map, hash, slot);
    map.count -= 1;
    partition.count -= 1;
    if (map.links != 0) Partitions.remove(map, partition, slot);
  }
}

export class LruHash {
  /** A program's lookup: address of the value, or 0. The entry becomes the one used last. */
  static lookup(map: MapDescriptor, key: usize): usize {
    const size = map.key_size;
    const slot = Groups.find(map, Bytes.hash(key, size), key, size);
    if (slot == NOWHERE) return 0;
    Partitions.moveToFront(map, Partitions.at(map, Partitions.ofKey(map, key)), slot);
    return Groups.slot(map, slot) + <usize>map.value_offset;
  }

  /** A lookup that leaves the order alone. */
  @inline
  static peek(map: MapDescriptor, key: usize): usize {
    return HashMap.lookup(map, key);
  }

  static update(map: MapDescriptor, key: usize, value: usize, flags: u32): i32 {
    if (flags > <u32>UpdateFlag.EXIST) return -Errno.EINVAL;
    const number = Partitions.ofKey(map, key);
    if (!Partitions.holds(map, number)) return -Errno.EINVAL;
    const partition = Partitions.at(map, number);
    const hash = Bytes.hash(key, map.key_size);
    const found = Groups.find(map, hash, key, map.key_size);
    if (found != NOWHERE) {
      if (flags == <u32>UpdateFlag.NOEXIST) return -Errno.EEXIST;
      Bytes.copy(Groups.slot(map, found) + <usize>map.value_offset, value, map.value_size);
      Partitions.moveToFront(map, partition, found);
      return 0;
    }
    if (flags == <u32>UpdateFlag.EXIST) return -Errno.ENOENT;
    if (partition.count >= partition.limit) LruHash.evict(map, partition);
    return HashMap.insert(map, partition, hash, key, map.key_size, value) == NOWHERE ? -Errno.ENOMEM : 0;
  }

  @inline
  static remove(map: MapDescriptor, key: usize): i32 {
    return HashMap.remove(map, key);
  }

  private static evict(map: MapDescriptor, partition: MapPartition): void {
    const slot = partition.last - 1;
    HashMap.drop(map, partition, Bytes.hash(Groups.slot(map, slot), map.key_size), slot);
    map.evicted += 1;
  }
}
