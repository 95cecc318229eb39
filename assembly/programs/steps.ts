/**
 * Steps for `trace`: one record for each decision, into the ring buffer cilium_events. Only the module built
 * with TRACE=1 has any of this; every call stands behind `if (TRACE)`.
 */
import { StepKind, StepRecord } from "../abi.gen";
import { RingBuffer } from "../maps/ringbuf";
import { cilium_events } from "../tables";
import { Packet } from "./packet";

const RECORD: usize = memory.data(<i32>StepRecord.SIZE, 16);
const KEY_ROOM: u32 = 48;

export class Steps {
  static readonly NO_MAP: u32 = 0xffff;

  /** Row of the block under way. */
  static frame: u32 = 0;
  /** Program under way. */
  static program: u8 = 0;

  static write(kind: StepKind, map: u32, key: usize, keySize: u32, result: u32, cookie: u32,
    argument: u32): void {
    const record = changetype<StepRecord>(RECORD);
    const size = min(keySize, KEY_ROOM);
    memory.fill(RECORD, 0, StepRecord.SIZE);
    record.frame = Steps.frame;
    record.node = <u16>Packet.node;
    record.program = Steps.program;
    record.kind = <u8>kind;
    record.map = <u16>map;
    record.key_size = <u16>size;
    record.result = result;
    record.cookie = cookie;
    record.argument = argument;
    if (size != 0) memory.copy(RECORD + StepRecord.KEY, key, size);
    // A full buffer loses the record, as a perf ring does; the frame's outcome does not depend on it.
    RingBuffer.output(cilium_events, RECORD, StepRecord.SIZE);
  }
}
