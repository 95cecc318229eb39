/**
 * BPF_MAP_TYPE_RINGBUF: records in the order they were written, refused and counted when there is no room. A record
 * is {length u32, 0 u32, bytes, zeros up to a multiple of eight}; one that would not fit before the end of the memory
 * starts at its beginning, and a record with SKIPPED fills the gap.
 *
 * One reader, which takes whole records. The size is a power of two.
 */
import { Errno, MapDescriptor } from "../abi.gen";
import { Bytes } from "./bytes";

const HEAD: u32 = 8;
const SKIPPED: u32 = 0x80000000;

export class RingBuffer {
  /** bpf_ringbuf_output: 0, or -ENOSPC (-EAGAIN in the kernel) where the reader is too far behind. */
  static output(map: MapDescriptor, from: usize, length: u32): i32 {
    const size = HEAD + ((length + 7) & ~7);
    const capacity = map.max_entries;
    const left = capacity - (map.producer & (capacity - 1));
    const gap: u32 = left < size ? left : 0;
    if (map.producer - map.consumer + gap + size > capacity) {
      map.dropped += 1;
      return -Errno.ENOSPC;
    }
    if (gap != 0) {
      store<u32>(RingBuffer.place(map, map.producer), SKIPPED | (gap - HEAD));
      map.producer += gap;
    }
    const record = RingBuffer.place(map, map.producer);
    store<u32>(record, length);
    store<u32>(record, 0, 4);
    Bytes.copy(record + HEAD, from, length);
    map.producer += size;
    return 0;
  }

  /** Moves whole records to `out`, at most `room` bytes with their heads; returns the bytes moved. */
  static read(map: MapDescriptor, out: usize, room: u32): u32 {
    let moved: u32 = 0;
    while (map.consumer != map.producer) {
      const record = RingBuffer.place(map, map.consumer);
      const length = load<u32>(record);
      const size = HEAD + (((length & ~SKIPPED) + 7) & ~7);
      if ((length & SKIPPED) == 0) {
        if (moved + size > room) break;
        Bytes.copy(out + moved, record, size);
        moved += size;
      }
      map.consumer += size;
    }
    return moved;
  }

  @inline
  private static place(map: MapDescriptor, position: u32): usize {
    return <usize>map.data + <usize>(position & (map.max_entries - 1));
  }
}
