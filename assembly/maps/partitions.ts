/**
 * Shares of a map: each has a count, a limit and, where entries are listed, a list from the entry used last to the
 * one used longest ago. A node's part of a conntrack map is one, an inner LPM map is one; other maps have just one.
 *
 * The links lie apart from the entries, eight bytes a slot, so that moving an entry to the front stays in a small
 * piece of memory. Slot numbers in lists are one higher than the slot, 0 is the end.
 */
import { MapDescriptor, MapPartition, NotPartitioned } from "../abi.gen";

export class Partitions {
  @inline
  static at(map: MapDescriptor, number: u32): MapPartition {
    return changetype<MapPartition>(<usize>map.heads + <usize>number * MapPartition.SIZE);
  }

  /** Number of the partition a key belongs to; a node the map has no room for is out of range, see `holds`. */
  @inline
  static ofKey(map: MapDescriptor, key: usize): u32 {
    const offset = map.node_offset;
    return offset == NotPartitioned.NONE ? 0 : <u32>load<u16>(key + <usize>offset);
  }

  @inline
  static holds(map: MapDescriptor, number: u32): bool {
    return number < map.partitions;
  }

  @inline
  private static link(map: MapDescriptor, entry: u32): usize {
    return <usize>map.links + (<usize>(entry - 1) << 3);
  }

  static pushFront(map: MapDescriptor, partition: MapPartition, slot: u32): void {
    const entry = slot + 1;
    const first = partition.first;
    const link = Partitions.link(map, entry);
    store<u32>(link, 0);
    store<u32>(link, first, 4);
    if (first == 0) partition.last = entry;
    else store<u32>(Partitions.link(map, first), entry);
    partition.first = entry;
  }

  static remove(map: MapDescriptor, partition: MapPartition, slot: u32): void {
    const link = Partitions.link(map, slot + 1);
    const previous = load<u32>(link);
    const next = load<u32>(link, 4);
    if (previous == 0) partition.first = next;
    else store<u32>(Partitions.link(map, previous), next, 4);
    if (next == 0) partition.last = previous;
    else store<u32>(Partitions.link(map, next), previous);
  }

  static moveToFront(map: MapDescriptor, partition: MapPartition, slot: u32): void {
    if (partition.first == slot + 1) return;
    Partitions.remove(map, partition, slot);
    Partitions.pushFront(map, partition, slot);
  }

  /** The slot listed after this one, or NOWHERE's value at the end; of no slot (0xffffffff): the first. */
  static after(map: MapDescriptor, partition: MapPartition, slot: u32): u32 {
    const entry = slot + 1;
    return (entry == 0 ? partition.first : load<u32>(Partitions.link(map, entry), 4)) - 1;
  }
}
