/**
 * What the host may do with a map, by the map's number: the operations of bpf(2), many entries in a call. Keys lie one
 * behind the other at `keys`, values at `values`, without gaps. `inner` is the number of an inner map, or 0 for the
 * map itself.
 *
 * An operation on many stops at the first entry that fails and returns how many were done; `map_error` then is that
 * entry's negative errno, and 0 after a call that did all. A lookup from here is no use in the sense of an LRU.
 */
import { Errno, MapDescriptor, MapKind, MAX_MAPS } from "../abi.gen";
import { ArrayMap, ProgramArray } from "./array";
import { Bytes } from "./bytes";
import { Groups, NOWHERE } from "./groups";
import { HashMap, LruHash } from "./hash";
import { Lpm } from "./lpm";
import { MapInMap } from "./mapinmap";
import { MapMemory } from "./memory";
import { Partitions } from "./partitions";
import { RingBuffer } from "./ringbuf";

let error: i32 = 0;
let cursor: u32 = 0;

/** The descriptor to work on, or null with `error` set. */
function mapOf(number: u32, inner: u32): MapDescriptor | null {
  error = 0;
  if (number >= MAX_MAPS || MapMemory.descriptor(number).kind == <u32>MapKind.NONE) {
    error = -Errno.EBADF;
    return null;
  }
  const map = MapMemory.descriptor(number);
  if (inner == 0) return map;
  if (map.inner == 0 || !MapInMap.exists(MapInMap.inner(map), inner)) {
    error = -Errno.EBADF;
    return null;
  }
  return MapInMap.inner(map);
}

export function map_error(): i32 {
  return error;
}

export function map_update(number: u32, inner: u32, keys: usize, values: usize, count: u32, flags: u32): u32 {
  const map = mapOf(number, inner);
  if (map === null) return 0;
  for (let done: u32 = 0; done < count; done++) {
    error = updateOne(map, inner, keys, values, flags);
    if (error != 0) return done;
    keys += <usize>map.key_size;
    values += <usize>map.value_size;
  }
  return count;
}

function updateOne(map: MapDescriptor, inner: u32, key: usize, value: usize, flags: u32): i32 {
  switch (map.kind) {
    case MapKind.HASH: return HashMap.update(map, key, value, flags);
    case MapKind.LRU_HASH: return LruHash.update(map, key, value, flags);
    case MapKind.LPM_TRIE: return Lpm.updateInner(map, inner, key, value, flags);
    case MapKind.ARRAY:
      return inner == 0 ? ArrayMap.update(map, key, value, flags) : ArrayMap.updateInner(map, inner, key, value, flags);
    case MapKind.PROG_ARRAY: return ProgramArray.update(map, key, value, flags);
    case MapKind.ARRAY_OF_MAPS:
    case MapKind.HASH_OF_MAPS: return MapInMap.update(map, key, value, flags);
    default: return -Errno.ENOTSUPP;
  }
}

export function map_lookup(number: u32, inner: u32, keys: usize, values: usize, count: u32): u32 {
  const map = mapOf(number, inner);
  if (map === null) return 0;
  for (let done: u32 = 0; done < count; done++) {
    const value = lookupOne(map, inner, keys);
    if (value == 0) {
      if (error == 0) error = -Errno.ENOENT;
      return done;
    }
    Bytes.copy(values, value, map.value_size);
    keys += <usize>map.key_size;
    values += <usize>map.value_size;
  }
  return count;
}

function lookupOne(map: MapDescriptor, inner: u32, key: usize): usize {
  switch (map.kind) {
    case MapKind.HASH: return HashMap.lookup(map, key);
    case MapKind.LRU_HASH: return LruHash.peek(map, key);
    case MapKind.LPM_TRIE: return Lpm.lookupInner(map, inner, key);
    case MapKind.ARRAY: return inner == 0 ? ArrayMap.lookup(map, key) : ArrayMap.atInner(map, inner, load<u32>(key));
    case MapKind.PROG_ARRAY:
    case MapKind.ARRAY_OF_MAPS: {
      const value = ArrayMap.lookup(map, key);
      return value != 0 && load<u32>(value) == 0 ? 0 : value;
    }
    case MapKind.HASH_OF_MAPS: return HashMap.lookup(map, key);
    default:
      error = -Errno.ENOTSUPP;
      return 0;
  }
}

export function map_delete(number: u32, inner: u32, keys: usize, count: u32): u32 {
  const map = mapOf(number, inner);
  if (map === null) return 0;
  for (let done: u32 = 0; done < count; done++) {
    error = deleteOne(map, inner, keys);
    if (error != 0) return done;
    keys += <usize>map.key_size;
  }
  return count;
}

function deleteOne(map: MapDescriptor, inner: u32, key: usize): i32 {
  switch (map.kind) {
    case MapKind.HASH: return HashMap.remove(map, key);
    case MapKind.LRU_HASH: return LruHash.remove(map, key);
    case MapKind.LPM_TRIE: return Lpm.removeInner(map, inner, key);
    case MapKind.ARRAY: return -Errno.EINVAL;
    case MapKind.PROG_ARRAY: return ProgramArray.remove(map, key);
    case MapKind.ARRAY_OF_MAPS:
    case MapKind.HASH_OF_MAPS: return MapInMap.remove(map, key);
    default: return -Errno.ENOTSUPP;
  }
}

/** Writes the key after `key` (0: the first key) to `out`; 0 or a negative errno. */
export function map_next(number: u32, inner: u32, key: usize, out: usize): i32 {
  const map = mapOf(number, inner);
  if (map === null) return error;
  switch (map.kind) {
    case MapKind.HASH:
    case MapKind.LRU_HASH:
    case MapKind.HASH_OF_MAPS: error = HashMap.next(map, key, out); break;
    case MapKind.LPM_TRIE: error = Lpm.next(map, inner, key, out); break;
    case MapKind.ARRAY:
    case MapKind.PROG_ARRAY:
    case MapKind.ARRAY_OF_MAPS: error = ArrayMap.next(map, key, out); break;
    default: error = -Errno.ENOTSUPP;
  }
  return error;
}

/**
 * Copies up to `count` entries of a hashed map from a cursor on (0: the start) and returns how many; `map_cursor` is
 * where to go on, 0 at the end. Entries that change between calls may be seen or not.
 */
export function map_dump(number: u32, inner: u32, from: u32, keys: usize, values: usize, count: u32): u32 {
  cursor = 0;
  const map = mapOf(number, inner);
  if (map === null) return 0;
  if (map.groups == 0) {
    error = -Errno.ENOTSUPP;
    return 0;
  }
  const keyAt: usize = map.kind == <u32>MapKind.LPM_TRIE ? 4 : 0;
  let done: u32 = 0;
  let slot = nextSlot(map, inner, from);
  while (slot != NOWHERE && done < count) {
    const at = Groups.slot(map, slot);
    Bytes.copy(keys, at + keyAt, map.key_size);
    Bytes.copy(values, at + <usize>map.value_offset, map.value_size);
    keys += <usize>map.key_size;
    values += <usize>map.value_size;
    done += 1;
    cursor = slot + 1;
    slot = nextSlot(map, inner, cursor);
  }
  if (slot == NOWHERE) cursor = 0;
  return done;
}

function nextSlot(map: MapDescriptor, inner: u32, from: u32): u32 {
  return inner == 0 ? Groups.next(map, from) : Partitions.after(map, Partitions.at(map, inner), from - 1);
}

export function map_cursor(): u32 {
  return cursor;
}

/** Entries of a map, of an inner map, or of one node's part (`inner` 0, `partition` the node). */
export function map_count(number: u32, inner: u32): u32 {
  const map = mapOf(number, inner);
  if (map === null) return 0;
  return inner == 0 ? map.count : Partitions.at(map, inner).count;
}

export function map_node_count(number: u32, node: u32): u32 {
  const map = mapOf(number, 0);
  return map === null || node >= map.partitions ? 0 : Partitions.at(map, node).count;
}

/** Sets the limit of one node's part, or of one inner map; entries above it stay. */
export function map_limit(number: u32, inner: u32, node: u32, limit: u32): i32 {
  const map = mapOf(number, inner);
  if (map === null) return error;
  const partition = inner == 0 ? node : inner;
  if (partition >= map.partitions || limit == 0) return -Errno.EINVAL;
  Partitions.at(map, partition).limit = limit;
  return 0;
}

/** Makes an inner map: its number (1…) or a negative errno. */
export function map_inner_create(number: u32, limit: u32): i32 {
  const map = mapOf(number, 0);
  if (map === null) return error;
  return map.inner == 0 ? -Errno.EINVAL : MapInMap.create(map, limit);
}

export function map_inner_destroy(number: u32, inner: u32): i32 {
  const map = mapOf(number, inner);
  return map === null ? error : MapInMap.destroy(MapMemory.descriptor(number), inner);
}

/** Moves whole records of a ring buffer to `out`; returns the bytes moved. */
export function map_read_ring(number: u32, out: usize, room: u32): u32 {
  const map = mapOf(number, 0);
  return map === null || map.kind != <u32>MapKind.RINGBUF ? 0 : RingBuffer.read(map, out, room);
}

/** A program's lookup, which counts as use: for tests of the order of eviction. Address of the value, or 0. */
export function map_use(number: u32, key: usize): usize {
  const map = mapOf(number, 0);
  return map === null || map.kind != <u32>MapKind.LRU_HASH ? 0 : LruHash.lookup(map, key);
}
