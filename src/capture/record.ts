/**
 * What a capture reader hands out: one record object, used again for every record, and the counters of a
 * whole capture. Plain containers; no behaviour beyond reading a record's comments.
 */
import { Direction } from "../dataplane.js";

/** Which way a record crossed its interface, as far as the capture says. */
export const SeenDirection = { ...Direction, Unknown: 2 } as const;
export type SeenDirection = (typeof SeenDirection)[keyof typeof SeenDirection];

/** `packetType` of a record whose capture does not say who the frame was addressed to. */
export const PACKET_TYPE_UNKNOWN = 255;

const NO_BYTES = new Uint8Array(0);

/**
 * One captured frame. `bytes` is the reader's own window or the caller's chunk: good until the next `next()`
 * or `push()`, to be read only between `offset` and `offset + capturedLength`.
 */
export class CaptureRecord {
  bytes: Uint8Array = NO_BYTES;
  /** Where the link header begins in `bytes`. */
  offset = 0;
  /** Bytes captured, without a trailing frame check sequence. */
  capturedLength = 0;
  /** Bytes the frame had, without a trailing frame check sequence; never less than `capturedLength`. */
  wireLength = 0;
  /** Frame check sequence bytes that were captured behind the frame and are left out of both lengths. */
  fcsLength = 0;
  /** Seconds since the Unix epoch, may lie past 2^32; 0 without `hasTime`. */
  timeSec = 0;
  /** Nanoseconds in the second, 0 to 999,999,999. */
  timeFracNs = 0;
  hasTime = false;
  /** LINKTYPE_ number. */
  linkType = 0;
  /** 1-based, counting every packet record of the capture, also those of a link type that is not read. */
  recordNumber = 0;
  /** Byte offset in the (unpacked) capture of the record's header or block. */
  fileOffset = 0;
  /** pcapng interface number within its section; -1 in classic pcap. */
  interfaceId = -1;
  /** pcapng if_name; empty where the capture has none. */
  interfaceName = "";
  /** ifindex of an SLL2 header; 0 where the capture does not say. */
  interfaceIndex = 0;
  direction: SeenDirection = SeenDirection.Unknown;
  /** PacketType of dataplane.ts, or PACKET_TYPE_UNKNOWN. */
  packetType = PACKET_TYPE_UNKNOWN;
  /** pcapng options of the record: where they begin and end in `bytes`, and their byte order. */
  optionsOffset = 0;
  optionsEnd = 0;
  littleEndian = true;

  /** The pcapng comments (opt_comment, code 1) of this record, in order. */
  comments(): string[] {
    const found: string[] = [];
    const high = this.littleEndian ? 1 : 0;
    for (let at = this.optionsOffset; at + 4 <= this.optionsEnd; ) {
      const code = (this.bytes[at + high] << 8) | this.bytes[at + 1 - high];
      const length = (this.bytes[at + 2 + high] << 8) | this.bytes[at + 3 - high];
      if (code === 0 || at + 4 + length > this.optionsEnd) break;
      if (code === 1) found.push(new TextDecoder().decode(this.bytes.subarray(at + 4, at + 4 + length)));
      at += 4 + ((length + 3) & ~3);
    }
    return found;
  }
}

/**
 * What was seen while reading, over the whole capture. All are counts of records unless they say otherwise.
 */
export class CaptureCounters {
  /** Packet records found, handed out or not. */
  records = 0;
  /** Captured bytes are fewer than the frame had. */
  snapTruncated = 0;
  /** The record says the frame was shorter than what was captured of it. */
  wireShorterThanCaptured = 0;
  /** More was captured than the file's own snapshot length allows. */
  longerThanSnapLength = 0;
  /** Nothing captured and a frame of no length. */
  empty = 0;
  /** Simple Packet Blocks have no time stamp. */
  noTime = 0;
  /** Earlier than the record with a time before it. */
  timeWentBack = 0;
  /** Fraction of a second of a second or more; carried into the seconds. */
  fractionCarried = 0;
  /** Blocks of a type that no specification names, skipped. */
  unknownBlocks = 0;
  /** Known blocks that hold no packet (names, statistics, secrets, journal, custom), skipped. */
  otherBlocks = 0;
  /** Blocks whose options run past the block; the options from there on are ignored. */
  badOptions = 0;
  /** pcapng packets of interfaces whose link type is not read, not handed out. */
  unsupportedLinkType = 0;
}

/** Where and why reading stopped. */
export interface CaptureError {
  /** Offset in the (unpacked) capture of the record, block or header that could not be read. */
  readonly byteOffset: number;
  /** Number the damaged record would have had; 0: the file as a whole. */
  readonly recordNumber: number;
  /** One line without the offset. */
  readonly what: string;
}
