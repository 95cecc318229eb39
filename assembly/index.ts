/** The module's exports: the whole ABI between host and WebAssembly. */
import { CONTRACT_HASH } from "./abi.gen";
import { faultRecord } from "./fault";
import { descriptors, MapMemory } from "./maps/memory";

export {
  map_count, map_cursor, map_delete, map_dump, map_error, map_inner_create, map_inner_destroy, map_limit, map_lookup,
  map_next, map_node_count, map_read_ring, map_update, map_use,
} from "./maps/host";
export * from "./programs/exports";

/** Equal to the host's or the module is from another build. */
export function contract_hash(): u32 {
  return CONTRACT_HASH;
}

/** Address of the FaultRecord. */
export function fault_record(): usize {
  return faultRecord;
}

/** Address of the first MapDescriptor. */
export function map_descriptors(): usize {
  return descriptors;
}

export function map_create(
  number: u32, kind: u32, keySize: u32, valueSize: u32, maxEntries: u32, nodeOffset: u32, partitions: u32, slots: u32,
): i32 {
  return MapMemory.create(number, kind, keySize, valueSize, maxEntries, nodeOffset, partitions, slots);
}

export function map_create_inner(
  number: u32, kind: u32, keySize: u32, valueSize: u32, maxEntries: u32, innerMaps: u32, slots: u32,
): i32 {
  return MapMemory.createInner(number, kind, keySize, valueSize, maxEntries, innerMaps, slots);
}

/** Pages the memory needs for all maps created and an arena of so many bytes. */
export function memory_layout(arena: u32): u32 {
  return MapMemory.layout(arena);
}

/** Fixes the layout, once the memory has grown to it. */
export function memory_reserve(): i32 {
  return MapMemory.reserve();
}

/** Address of the arena. */
export function memory_arena(): u32 {
  return MapMemory.arena();
}
