/**
 * pcapng, block by block: sections of either byte order, interfaces with their own link type, resolution,
 * offset and name, Enhanced, Simple and (obsolete) Packet Blocks. Other blocks are skipped and counted.
 *
 *     | type 4 | total length 4 | body … | total length 4 |
 *     Section header   | byte-order magic 4 | major 2 | minor 2 | section length 8 | options
 *     Interface        | link type 2 | 0 2 | snaplen 4 | options
 *     Enhanced packet  | interface 4 | time high 4 | low 4 | captured 4 | wire 4 | bytes, padded | options
 *     Packet           | interface 2 | drops 2 | …then as Enhanced
 *     Simple packet    | wire 4 | bytes
 *
 * Source: draft-ietf-opsawg-pcapng. A block is at most MAX_BLOCK long, which bounds memory.
 */
import { PacketType } from "../dataplane.js";
import type { FormatParser } from "./format.js";
import { Step } from "./format.js";
import { linkTypeSupported } from "./linktype.js";
import type { CaptureCounters, CaptureError, CaptureRecord } from "./record.js";
import { PACKET_TYPE_UNKNOWN, SeenDirection } from "./record.js";
import { TimeUnit } from "./timestamp.js";
import type { ByteWindow } from "./window.js";
import { u16, u32 } from "./window.js";

export const BlockType = {
  SectionHeader: 0x0a0d0d0a,
  Interface: 1,
  Packet: 2,
  SimplePacket: 3,
  NameResolution: 4,
  InterfaceStatistics: 5,
  EnhancedPacket: 6,
  SystemdJournal: 9,
  DecryptionSecrets: 10,
  Custom: 0xbad,
  CustomNoCopy: 0x40000bad,
} as const;

const PACKETLESS: ReadonlySet<number> = new Set([
  BlockType.NameResolution,
  BlockType.InterfaceStatistics,
  BlockType.SystemdJournal,
  BlockType.DecryptionSecrets,
  BlockType.Custom,
  BlockType.CustomNoCopy,
]);

export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** INITIAL_MAX_BLOCKSIZE of libpcap. */
const MAX_BLOCK = 16 * 1024 * 1024;
const MAX_INTERFACES = 65536;

/** Head and trailer of any block. */
const BLOCK_FRAME = 12;
const SECTION_MIN = 28;
const INTERFACE_MIN = 20;
const PACKET_MIN = 32;
const SIMPLE_MIN = 16;

/** if_tsresol where the option is absent: microseconds. */
const DEFAULT_TSRESOL = 6;

/** One interface of the current section, as its block describes it. */
export interface CaptureInterface {
  readonly linkType: number;
  /** if_name; empty where absent. */
  readonly name: string;
  /** 0: no limit. */
  readonly snapLength: number;
  readonly fcsLength: number;
  readonly unit: TimeUnit;
}

export class PcapngParser implements FormatParser {
  readonly format = "pcapng";
  error: CaptureError | null = null;
  /** Packets of interfaces whose link type is not read, by link type. */
  readonly unsupported = new Map<number, number>();
  private littleEndian = true;
  private interfaces: CaptureInterface[] = [];
  private block = 0;
  /** Whether the last block read holds a packet to hand out. */
  private handedOut = false;
  private optionCode = 0;
  private optionAt = 0;
  private optionLength = 0;

  next(window: ByteWindow, record: CaptureRecord, counters: CaptureCounters): Step {
    for (;;) {
      if (!window.ensure(8)) return Step.NeedMore;
      // The section header's type reads alike in both byte orders; its body says which one holds from here
      // on.
      const section = u32(window.bytes, window.pos, true) === BlockType.SectionHeader;
      if (section) {
        if (!window.ensure(12)) return Step.NeedMore;
        if (!this.readByteOrder(window, counters)) return Step.Failed;
      }
      const type = u32(window.bytes, window.pos, this.littleEndian);
      const total = u32(window.bytes, window.pos + 4, this.littleEndian);
      const wrong = this.wrongLength(total);
      if (wrong !== "") return this.fail(window, counters, wrong);
      if (!window.ensure(total)) return Step.NeedMore;
      const trailer = u32(window.bytes, window.pos + total - 4, this.littleEndian);
      if (trailer !== total)
        return this.fail(window, counters, `says ${total} bytes in front and ${trailer} at its end`);
      record.fileOffset = window.offset;
      const found = this.readBlock(type, total, window, record, counters);
      if (found !== null) return this.fail(window, counters, found);
      window.pos += total;
      this.block++;
      if (this.handedOut) return Step.Record;
    }
  }

  cutShort(window: ByteWindow, left: number, counters: CaptureCounters): CaptureError {
    this.fail(window, counters, `cut short, ${left} bytes of it are there`);
    return this.error as CaptureError;
  }

  private readByteOrder(window: ByteWindow, counters: CaptureCounters): boolean {
    const little = u32(window.bytes, window.pos + 8, true);
    if (little !== BYTE_ORDER_MAGIC && u32(window.bytes, window.pos + 8, false) !== BYTE_ORDER_MAGIC) {
      this.fail(window, counters, `byte order of the section is not known: magic 0x${little.toString(16)}`);
      return false;
    }
    this.littleEndian = little === BYTE_ORDER_MAGIC;
    return true;
  }

  private wrongLength(total: number): string {
    if (total < BLOCK_FRAME) return `claims ${total} bytes, less than the ${BLOCK_FRAME} of an empty block`;
    if ((total & 3) !== 0) return `claims ${total} bytes, not a multiple of 4`;
    if (total > MAX_BLOCK) return `claims ${total} bytes, more than ${MAX_BLOCK}`;
    return "";
  }

  /** Reads one whole block; the fault that ends reading, or null. */
  private readBlock(
    type: number,
    total: number,
    window: ByteWindow,
    record: CaptureRecord,
    counters: CaptureCounters,
  ): string | null {
    const { bytes, pos } = window;
    this.handedOut = false;
    switch (type) {
      case BlockType.EnhancedPacket:
        return this.readPacket(u32(bytes, pos + 8, this.littleEndian), bytes, pos, total, record, counters);
      case BlockType.Packet:
        return this.readPacket(u16(bytes, pos + 8, this.littleEndian), bytes, pos, total, record, counters);
      case BlockType.SimplePacket:
        return this.readSimplePacket(bytes, pos, total, record, counters);
      case BlockType.Interface:
        return this.readInterface(bytes, pos, total, counters);
      case BlockType.SectionHeader:
        return this.readSection(bytes, pos, total);
    }
    if (PACKETLESS.has(type)) counters.otherBlocks++;
    else counters.unknownBlocks++;
    return null;
  }

  private readSection(bytes: Uint8Array, pos: number, total: number): string | null {
    if (total < SECTION_MIN) return `is too short for a section header: ${total} of ${SECTION_MIN} bytes`;
    const major = u16(bytes, pos + 12, this.littleEndian);
    if (major !== 1)
      return `pcapng version ${major}.${u16(bytes, pos + 14, this.littleEndian)} is not supported, only 1.x`;
    this.interfaces = [];
    return null;
  }

  private readInterface(
    bytes: Uint8Array,
    pos: number,
    total: number,
    counters: CaptureCounters,
  ): string | null {
    if (total < INTERFACE_MIN)
      return `is too short for an interface description: ${total} of ${INTERFACE_MIN} bytes`;
    if (this.interfaces.length === MAX_INTERFACES) return `describes more than ${MAX_INTERFACES} interfaces`;
    let name = "";
    let tsresol = DEFAULT_TSRESOL;
    let offset = 0;
    let fcsLength = 0;
    const end = pos + total - 4;
    for (let at = pos + 16; this.option(bytes, at, end, counters); at = this.optionEnd()) {
      const value = this.optionAt;
      if (this.optionCode === 2)
        name = new TextDecoder().decode(bytes.subarray(value, value + this.optionLength));
      else if (this.optionCode === 9 && this.optionLength >= 1) tsresol = bytes[value];
      else if (this.optionCode === 13 && this.optionLength >= 1) fcsLength = bytes[value];
      else if (this.optionCode === 14 && this.optionLength >= 8) offset = this.signed64(bytes, value);
    }
    this.interfaces.push({
      linkType: u16(bytes, pos + 8, this.littleEndian),
      name,
      snapLength: u32(bytes, pos + 12, this.littleEndian),
      fcsLength,
      unit: new TimeUnit(tsresol, offset),
    });
    return null;
  }

  private readPacket(
    id: number,
    bytes: Uint8Array,
    pos: number,
    total: number,
    record: CaptureRecord,
    counters: CaptureCounters,
  ): string | null {
    if (total < PACKET_MIN) return `is too short for a packet: ${total} of ${PACKET_MIN} bytes`;
    const from = this.interfaces[id];
    if (from === undefined) return `refers to interface ${id} that is not defined`;
    const captured = u32(bytes, pos + 20, this.littleEndian);
    if (captured > total - PACKET_MIN)
      return `has a captured length past the block: ${captured} of ${total - PACKET_MIN} bytes`;
    const optionsAt = pos + 28 + ((captured + 3) & ~3);
    this.describe(
      from,
      id,
      bytes,
      pos + 28,
      captured,
      u32(bytes, pos + 24, this.littleEndian),
      record,
      counters,
    );
    from.unit.convert(u32(bytes, pos + 12, this.littleEndian), u32(bytes, pos + 16, this.littleEndian));
    record.hasTime = true;
    record.timeSec = from.unit.sec;
    record.timeFracNs = from.unit.fracNs;
    if (optionsAt + 4 <= pos + total - 4)
      this.readPacketOptions(bytes, optionsAt, pos + total - 4, record, counters);
    return null;
  }

  private readSimplePacket(
    bytes: Uint8Array,
    pos: number,
    total: number,
    record: CaptureRecord,
    counters: CaptureCounters,
  ): string | null {
    if (total < SIMPLE_MIN) return `is too short for a simple packet: ${total} of ${SIMPLE_MIN} bytes`;
    const from = this.interfaces[0];
    if (from === undefined) return "refers to interface 0 that is not defined";
    const wire = u32(bytes, pos + 8, this.littleEndian);
    const limit = from.snapLength === 0 ? wire : Math.min(wire, from.snapLength);
    if (limit > total - SIMPLE_MIN)
      return `has a captured length past the block: ${limit} of ${total - SIMPLE_MIN} bytes`;
    this.describe(from, 0, bytes, pos + 12, limit, wire, record, counters);
    record.hasTime = false;
    record.timeSec = 0;
    record.timeFracNs = 0;
    return null;
  }

  private describe(
    from: CaptureInterface,
    id: number,
    bytes: Uint8Array,
    at: number,
    captured: number,
    wire: number,
    record: CaptureRecord,
    counters: CaptureCounters,
  ): void {
    counters.records++;
    this.handedOut = linkTypeSupported(from.linkType);
    if (!this.handedOut) {
      counters.unsupportedLinkType++;
      this.unsupported.set(from.linkType, (this.unsupported.get(from.linkType) ?? 0) + 1);
    }
    if (from.snapLength !== 0 && captured > from.snapLength) counters.longerThanSnapLength++;
    record.bytes = bytes;
    record.offset = at;
    record.capturedLength = captured;
    record.wireLength = wire;
    record.fcsLength = from.fcsLength;
    record.linkType = from.linkType;
    record.recordNumber = counters.records;
    record.interfaceId = id;
    record.interfaceName = from.name;
    record.littleEndian = this.littleEndian;
  }

  private readPacketOptions(
    bytes: Uint8Array,
    from: number,
    end: number,
    record: CaptureRecord,
    counters: CaptureCounters,
  ): void {
    record.optionsOffset = from;
    record.optionsEnd = end;
    for (let at = from; this.option(bytes, at, end, counters); at = this.optionEnd()) {
      if (this.optionCode === 2 && this.optionLength === 4)
        readFlags(u32(bytes, this.optionAt, this.littleEndian), record);
    }
  }

  /** Steps on to the option at `at`; false at the end of the options, or where one runs past the block. */
  private option(bytes: Uint8Array, at: number, end: number, counters: CaptureCounters): boolean {
    if (at + 4 > end) return false;
    this.optionCode = u16(bytes, at, this.littleEndian);
    this.optionLength = u16(bytes, at + 2, this.littleEndian);
    this.optionAt = at + 4;
    if (this.optionCode === 0) return false;
    if (this.optionAt + this.optionLength <= end) return true;
    counters.badOptions++;
    return false;
  }

  private optionEnd(): number {
    return this.optionAt + ((this.optionLength + 3) & ~3);
  }

  private signed64(bytes: Uint8Array, at: number): number {
    const first = u32(bytes, at, this.littleEndian);
    const second = u32(bytes, at + 4, this.littleEndian);
    const high = this.littleEndian ? second : first;
    return (high | 0) * 4294967296 + (this.littleEndian ? first : second);
  }

  private fail(window: ByteWindow, counters: CaptureCounters, what: string): Step {
    this.error = {
      byteOffset: window.offset,
      recordNumber: this.interfaces.length === 0 && counters.records === 0 ? 0 : counters.records + 1,
      what: `block ${this.block + 1} ${what}`,
    };
    return Step.Failed;
  }
}

/** epb_flags: direction in bits 0-1, reception type in bits 2-4, frame check sequence bytes in bits 5-8. */
function readFlags(flags: number, record: CaptureRecord): void {
  const direction = flags & 3;
  if (direction === 1) record.direction = SeenDirection.In;
  else if (direction === 2) record.direction = SeenDirection.Out;
  record.packetType = direction === 2 ? PacketType.Outgoing : RECEPTION[(flags >> 2) & 7];
  if (((flags >> 5) & 15) !== 0) record.fcsLength = (flags >> 5) & 15;
}

/** Reception types: not given, unicast, multicast, broadcast, promiscuous. */
const RECEPTION: readonly number[] = [
  PACKET_TYPE_UNKNOWN,
  PacketType.Host,
  PacketType.Multicast,
  PacketType.Broadcast,
  PacketType.OtherHost,
  PACKET_TYPE_UNKNOWN,
  PACKET_TYPE_UNKNOWN,
  PACKET_TYPE_UNKNOWN,
];
