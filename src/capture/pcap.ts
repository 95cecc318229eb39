/**
 * Classic pcap, record by record: µs and ns time stamps, both byte orders, versions 2.0 to 2.4, and
 * Kuznetzov's modified format.
 *
 *     file    | magic 4 | major 2 | minor 2 | zone 4 | sigfigs 4 | snaplen 4 | link type 4 |
 *     record  | seconds 4 | fraction 4 | captured 4 | wire 4 |              then the bytes
 *     record' | …as above…                | ifindex 4 | protocol 2 | type 1 | pad 1 |  then the bytes
 *
 * Source: draft-ietf-opsawg-pcap; libpcap sf-pcap.c for the old versions and the modified record header.
 * Captured lengths above the file's snapshot length are read, as libpcap and Wireshark do, up to
 * MAX_CAPTURED.
 */
import type { FormatParser } from "./format.js";
import { Step } from "./format.js";
import { linkTypeSupported, linkTypeText } from "./linktype.js";
import type { CaptureCounters, CaptureError, CaptureRecord } from "./record.js";
import type { ByteWindow } from "./window.js";
import { u16, u32 } from "./window.js";

export const PCAP_MAGIC_US = 0xa1b2c3d4;
export const PCAP_MAGIC_NS = 0xa1b23c4d;
/** Alexey Kuznetzov's patched libpcap, 1998 to 2000. */
export const PCAP_MAGIC_MODIFIED = 0xa1b2cd34;

export const PCAP_FILE_HEADER = 24;
export const PCAP_RECORD_HEADER = 16;
const MODIFIED_RECORD_HEADER = 24;

/** Largest captured length taken for true: MAXIMUM_SNAPLEN of libpcap, WTAP_MAX_PACKET_SIZE of Wireshark. */
export const MAX_CAPTURED = 262144;

export class PcapParser implements FormatParser {
  readonly format = "pcap";
  error: CaptureError | null = null;
  readonly linkType: number;
  /** Bytes of frame check sequence behind each frame. */
  readonly fcsLength: number;
  /** 0: the file does not say. */
  readonly snapLength: number;
  readonly nanoseconds: boolean;
  private readonly littleEndian: boolean;
  private readonly minor: number;
  private readonly headerLength: number;
  /** Byte offset of an empty record whose header looks like a file header; -1: none seen. */
  private fileHeaderAt = -1;

  private constructor(header: Uint8Array, at: number, littleEndian: boolean) {
    const magic = u32(header, at, littleEndian);
    const link = u32(header, at + 20, littleEndian);
    this.littleEndian = littleEndian;
    this.nanoseconds = magic === PCAP_MAGIC_NS;
    this.headerLength = magic === PCAP_MAGIC_MODIFIED ? MODIFIED_RECORD_HEADER : PCAP_RECORD_HEADER;
    this.minor = u16(header, at + 6, littleEndian);
    this.snapLength = u32(header, at + 16, littleEndian);
    this.linkType = link & 0xffff;
    // Bit 26 (P) says that bits 28 to 31 hold the frame check sequence's length in 16-bit words.
    this.fcsLength = (link & 0x04000000) !== 0 ? (link >>> 28) * 2 : 0;
  }

  /** Reads the file header, which the window holds whole at its position, and consumes it. */
  static open(window: ByteWindow): PcapParser | CaptureError {
    const { bytes, pos } = window;
    const littleEndian = bytes[pos] !== 0xa1;
    const major = u16(bytes, pos + 4, littleEndian);
    const minor = u16(bytes, pos + 6, littleEndian);
    const refuse = (what: string): CaptureError => ({ byteOffset: window.offset, recordNumber: 0, what });
    if (major !== 2 || minor > 4)
      return refuse(`pcap version ${major}.${minor} is not supported, only 2.0 to 2.4`);
    const parser = new PcapParser(bytes, pos, littleEndian);
    if (!linkTypeSupported(parser.linkType))
      return refuse(`link type ${linkTypeText(parser.linkType)} is not supported`);
    window.pos += PCAP_FILE_HEADER;
    return parser;
  }

  next(window: ByteWindow, record: CaptureRecord, counters: CaptureCounters): Step {
    const header = this.headerLength;
    if (!window.ensure(header)) return Step.NeedMore;
    const little = this.littleEndian;
    let bytes = window.bytes;
    let pos = window.pos;
    let captured = u32(bytes, pos + 8, little);
    let wire = u32(bytes, pos + 12, little);
    // Before 2.3 the two lengths stood the other way round; in 2.3 both orders are about (libpcap,
    // sf_next_packet).
    if (this.minor < 3 || (this.minor === 3 && captured > wire)) {
      const swap = captured;
      captured = wire;
      wire = swap;
    }
    if (captured > MAX_CAPTURED)
      return this.fail(window, counters, `claims ${captured} captured bytes, more than ${MAX_CAPTURED}`);
    if (!window.ensure(header + captured)) return Step.NeedMore;
    bytes = window.bytes;
    pos = window.pos;
    counters.records++;
    record.fileOffset = window.offset;
    this.readTime(record, counters, u32(bytes, pos, little), u32(bytes, pos + 4, little));
    if (captured === 0 && wire === 0 && this.looksLikeFileHeader(bytes, pos))
      this.fileHeaderAt = window.offset;
    if (this.snapLength !== 0 && captured > this.snapLength) counters.longerThanSnapLength++;
    if (header === MODIFIED_RECORD_HEADER) record.interfaceIndex = u32(bytes, pos + 16, little);
    record.bytes = bytes;
    record.offset = pos + header;
    record.capturedLength = captured;
    record.wireLength = wire;
    record.fcsLength = this.fcsLength;
    record.linkType = this.linkType;
    record.recordNumber = counters.records;
    window.pos = pos + header + captured;
    return Step.Record;
  }

  cutShort(window: ByteWindow, left: number, counters: CaptureCounters): CaptureError {
    const number = counters.records + 1;
    const what =
      left < this.headerLength
        ? `record ${number}: header cut short, ${left} of ${this.headerLength} bytes`
        : `record ${number}: data cut short, ${left - this.headerLength} of ${this.claimed(window)} bytes`;
    return { byteOffset: window.offset, recordNumber: number, what: what + this.hint() };
  }

  private readTime(
    record: CaptureRecord,
    counters: CaptureCounters,
    seconds: number,
    fraction: number,
  ): void {
    const perSecond = this.nanoseconds ? 1e9 : 1e6;
    record.hasTime = true;
    if (fraction >= perSecond) {
      counters.fractionCarried++;
      const carry = Math.floor(fraction / perSecond);
      seconds += carry;
      fraction -= carry * perSecond;
    }
    record.timeSec = seconds;
    record.timeFracNs = this.nanoseconds ? fraction : fraction * 1000;
  }

  /** A file header read as a record header: magic, version 2.x, zone 0, sigfigs 0. */
  private looksLikeFileHeader(bytes: Uint8Array, pos: number): boolean {
    const magic = u32(bytes, pos, this.littleEndian);
    return (
      (magic === PCAP_MAGIC_US || magic === PCAP_MAGIC_NS) && u16(bytes, pos + 4, this.littleEndian) === 2
    );
  }

  private claimed(window: ByteWindow): number {
    const first = u32(window.bytes, window.pos + 8, this.littleEndian);
    const second = u32(window.bytes, window.pos + 12, this.littleEndian);
    return this.minor < 3 || (this.minor === 3 && first > second) ? second : first;
  }

  private fail(window: ByteWindow, counters: CaptureCounters, what: string): Step {
    const number = counters.records + 1;
    this.error = {
      byteOffset: window.offset,
      recordNumber: number,
      what: `record ${number} ${what}${this.hint()}`,
    };
    return Step.Failed;
  }

  private hint(): string {
    if (this.fileHeaderAt < 0) return "";
    const at = this.fileHeaderAt;
    return `; another capture file's header was met as a record at byte ${at}: were two files joined?`;
  }
}
