/**
 * Where maps lie. The host creates every map, then asks for the layout, grows the memory once to the pages that
 * says, and reserves; from then on nothing here allocates and no address changes.
 *
 *     | the module's own data | map 0: heads, tags, links, lengths, data | map 1 ... | arena |
 *
 * The arena is the host's: frames, keys and values on their way in, records on their way out.
 */
import { Errno, MapDescriptor, MapKind, MapPartition, MAX_MAPS, NotPartitioned } from "../abi.gen";
import { GROUP_SLOTS, Groups } from "./groups";
import { Lpm } from "./lpm";
import { Partitions } from "./partitions";

/** Descriptors of the maps, then those that their inner maps share. */
export const descriptors: usize = memory.data(<i32>(2 * MAX_MAPS * MapDescriptor.SIZE), 16);

const PAGE: u64 = 65536;
const LINE: u64 = 64;

let end: u64 = 0;
let arenaAt: u64 = 0;
let arenaBytes: u32 = 0;
let reserved: bool = false;

export class MapMemory {
  @inline
  static descriptor(number: u32): MapDescriptor {
    return changetype<MapDescriptor>(descriptors + <usize>number * MapDescriptor.SIZE);
  }

  /** The descriptor shared by the inner maps of map `number`. */
  @inline
  static innerDescriptor(number: u32): MapDescriptor {
    return MapMemory.descriptor(MAX_MAPS + number);
  }

  /** Declares a map. `slots`: entries to reserve memory for, over all partitions. 0, -EINVAL, or -EBUSY too late. */
  static create(
    number: u32, kind: u32, keySize: u32, valueSize: u32, maxEntries: u32, nodeOffset: u32, partitions: u32, slots: u32,
  ): i32 {
    if (reserved) return -Errno.EBUSY;
    if (number >= MAX_MAPS || partitions == 0 || maxEntries == 0) return -Errno.EINVAL;
    if (kind == <u32>MapKind.RINGBUF && (popcnt(maxEntries) != 1 || maxEntries < 8)) return -Errno.EINVAL;
    if (partitions != 1 && nodeOffset == <u32>NotPartitioned.NONE) return -Errno.EINVAL;
    const map = MapMemory.descriptor(number);
    return MapMemory.fill(map, kind, keySize, valueSize, maxEntries, nodeOffset, partitions, slots);
  }

  /** Declares what the inner maps of map `number` are, and how many there may be. */
  static createInner(
    number: u32, kind: u32, keySize: u32, valueSize: u32, maxEntries: u32, innerMaps: u32, slots: u32,
  ): i32 {
    if (reserved) return -Errno.EBUSY;
    if (number >= MAX_MAPS || maxEntries == 0) return -Errno.EINVAL;
    const map = MapMemory.innerDescriptor(number);
    const result = MapMemory.fill(
      map, kind, keySize, valueSize, maxEntries, NotPartitioned.NONE, innerMaps + 1, slots);
    if (result != 0) return result;
    map.unused = 1;
    MapMemory.descriptor(number).inner = <u32>changetype<usize>(map);
    return 0;
  }

  private static fill(
    map: MapDescriptor, kind: u32, keySize: u32, valueSize: u32, maxEntries: u32, nodeOffset: u32, partitions: u32,
    slots: u32,
  ): i32 {
    const isLpm = kind == <u32>MapKind.LPM_TRIE;
    // BPF_LPM_TRIE limits: 1 to 256 bytes of data.
    if (isLpm && (keySize < 5 || keySize > 260)) return -Errno.EINVAL;
    map.kind = kind;
    map.key_size = keySize;
    map.value_size = valueSize;
    map.max_entries = maxEntries;
    map.node_offset = nodeOffset;
    map.partitions = partitions;
    map.slots = slots;
    map.value_offset = isLpm ? Lpm.slotKeySize(keySize) : MapMemory.isArray(kind) ? 0 : (keySize + 7) & ~7;
    map.slot_size = map.value_offset + (valueSize <= 4 && MapMemory.isArray(kind) ? 4 : (valueSize + 7) & ~7);
    map.lengths_size = isLpm ? Lpm.lengthsSize(keySize) : 0;
    return 0;
  }

  private static isArray(kind: u32): bool {
    return kind == <u32>MapKind.ARRAY || kind == <u32>MapKind.PROG_ARRAY || kind == <u32>MapKind.ARRAY_OF_MAPS;
  }

  /** Gives every map its place and returns the pages needed, more than 65536 where it cannot be. */
  static layout(arena: u32): u32 {
    end = <u64>__heap_base;
    for (let number: u32 = 0; number < 2 * MAX_MAPS; number++) {
      const map = MapMemory.descriptor(number);
      if (map.kind != <u32>MapKind.NONE) MapMemory.place(map);
    }
    arenaBytes = arena;
    arenaAt = MapMemory.take(arena);
    return <u32>min<u64>((end + PAGE - 1) / PAGE, 0xffffffff);
  }

  private static place(map: MapDescriptor): void {
    map.heads = <u32>MapMemory.take(<u64>map.partitions * MapPartition.SIZE);
    if (map.kind == <u32>MapKind.RINGBUF) {
      map.data = <u32>MapMemory.take(<u64>map.max_entries);
      return;
    }
    if (MapMemory.isArray(map.kind)) {
      const arrays: u64 = map.unused == 0 ? 1 : <u64>map.partitions - 1;
      map.data = <u32>MapMemory.take(arrays * <u64>map.max_entries * <u64>map.slot_size);
      return;
    }
    map.groups = max<u32>(Groups.needed(map.slots), 1);
    const places = <u64>map.groups * GROUP_SLOTS;
    const isLpm = map.kind == <u32>MapKind.LPM_TRIE;
    map.tags = <u32>MapMemory.take(<u64>map.groups * 16);
    // Order of use decides what an LRU evicts; inner maps are listed to be emptied and walked one by one.
    const listed = map.kind == <u32>MapKind.LRU_HASH || (isLpm && map.unused != 0);
    map.links = listed ? <u32>MapMemory.take(places * 8) : 0;
    map.lengths = isLpm ? <u32>MapMemory.take(<u64>map.partitions * <u64>map.lengths_size) : 0;
    map.data = <u32>MapMemory.take(places * <u64>map.slot_size);
  }

  private static take(bytes: u64): u64 {
    const at = (end + LINE - 1) & ~(LINE - 1);
    end = at + bytes;
    return at;
  }

  /** After the memory has grown: fixes the layout. 0, or -ENOMEM where the memory is too small for it. */
  static reserve(): i32 {
    if (reserved) return -Errno.EBUSY;
    if (end == 0 || end > <u64>memory.size() * PAGE) return -Errno.ENOMEM;
    for (let number: u32 = 0; number < 2 * MAX_MAPS; number++) {
      const map = MapMemory.descriptor(number);
      if (map.kind == <u32>MapKind.NONE || map.unused != 0) continue;
      for (let index: u32 = 0; index < map.partitions; index++) Partitions.at(map, index).limit = map.max_entries;
    }
    reserved = true;
    return 0;
  }

  static arena(): u32 {
    return <u32>arenaAt;
  }

  static arenaSize(): u32 {
    return arenaBytes;
  }
}
