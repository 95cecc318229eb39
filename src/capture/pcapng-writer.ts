/**
 * Writes one little-endian pcapng section: named interfaces, packets in ns with direction and comments.
 * Layout: pcapng.ts. Wireshark shows the comments as `frame.comment`; libpcap tools ignore them.
 */
import { PacketType } from "../dataplane.js";
import { BlockType, BYTE_ORDER_MAGIC } from "./pcapng.js";
import { SeenDirection } from "./record.js";
import { ByteSink } from "./sink.js";

const LITTLE = true;

const Option = { End: 0, Comment: 1, IfName: 2, EpbFlags: 2, IfTsresol: 9, ShbUserAppl: 4 } as const;

/** An option's length field has 16 bits. */
const MAX_OPTION = 65535;

export interface PcapngInterface {
  /** LINKTYPE_ number. */
  readonly linkType: number;
  readonly name: string;
  /** Default: 0, no limit. */
  readonly snapLength?: number;
}

export interface PcapngPacket {
  /** What `addInterface` returned. */
  readonly interfaceId: number;
  readonly timeSec: number;
  /** 0 to 999,999,999. */
  readonly timeFracNs: number;
  readonly bytes: Uint8Array;
  readonly offset: number;
  readonly capturedLength: number;
  readonly wireLength: number;
  /** Default: Unknown. */
  readonly direction?: SeenDirection;
  /** PacketType of dataplane.ts; default: not said. */
  readonly packetType?: number;
  readonly comments?: readonly string[];
}

export class PcapngWriter {
  private readonly sink = new ByteSink();
  private interfaces = 0;

  /** The section header is the first thing that `take` gives. */
  constructor(application = "twinplane") {
    const at = this.begin(BlockType.SectionHeader);
    this.sink.u32(BYTE_ORDER_MAGIC, LITTLE);
    this.sink.u16(1, LITTLE);
    this.sink.u16(0, LITTLE);
    // Section length not known beforehand: all ones.
    this.sink.u32(-1, LITTLE);
    this.sink.u32(-1, LITTLE);
    this.textOption(Option.ShbUserAppl, application);
    this.endOptions();
    this.finish(at);
  }

  /** Describes an interface and returns its number. Its times are in nanoseconds. */
  addInterface(described: PcapngInterface): number {
    const at = this.begin(BlockType.Interface);
    this.sink.u16(described.linkType, LITTLE);
    this.sink.u16(0, LITTLE);
    this.sink.u32(described.snapLength ?? 0, LITTLE);
    if (described.name !== "") this.textOption(Option.IfName, described.name);
    this.sink.u16(Option.IfTsresol, LITTLE);
    this.sink.u16(1, LITTLE);
    this.sink.u8(9);
    this.sink.pad();
    this.endOptions();
    this.finish(at);
    return this.interfaces++;
  }

  /** Appends a packet. Times outside 0 … 2^64 ns (the year 2554) wrap. */
  write(packet: PcapngPacket): void {
    if (packet.interfaceId >= this.interfaces)
      throw new Error(`pcapng interface ${packet.interfaceId} was not added`);
    const at = this.begin(BlockType.EnhancedPacket);
    this.sink.u32(packet.interfaceId, LITTLE);
    this.time(packet.timeSec, packet.timeFracNs);
    this.sink.u32(packet.capturedLength, LITTLE);
    this.sink.u32(packet.wireLength, LITTLE);
    this.sink.append(packet.bytes, packet.offset, packet.capturedLength);
    this.sink.pad();
    const flags = epbFlags(packet.direction ?? SeenDirection.Unknown, packet.packetType);
    for (const comment of packet.comments ?? []) this.textOption(Option.Comment, comment);
    if (flags !== 0) {
      this.sink.u16(Option.EpbFlags, LITTLE);
      this.sink.u16(4, LITTLE);
      this.sink.u32(flags, LITTLE);
    }
    if (flags !== 0 || (packet.comments ?? []).length > 0) this.endOptions();
    this.finish(at);
  }

  /** Bytes waiting to be taken. */
  get pending(): number {
    return this.sink.length;
  }

  /** The bytes written since the last `take`. */
  take(): Uint8Array {
    return this.sink.take();
  }

  private begin(type: number): number {
    const at = this.sink.length;
    this.sink.u32(type, LITTLE);
    this.sink.u32(0, LITTLE);
    return at;
  }

  private finish(at: number): void {
    const total = this.sink.length + 4 - at;
    this.sink.u32(total, LITTLE);
    this.sink.patch32(at + 4, total, LITTLE);
  }

  private textOption(code: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const length = cutUtf8(bytes, MAX_OPTION);
    this.sink.u16(code, LITTLE);
    this.sink.u16(length, LITTLE);
    this.sink.append(bytes, 0, length);
    this.sink.pad();
  }

  private endOptions(): void {
    this.sink.u16(Option.End, LITTLE);
    this.sink.u16(0, LITTLE);
  }

  /** Upper and lower half of sec * 10^9 + ns, by halves of 16 bits so that float64 stays exact. */
  private time(sec: number, fracNs: number): void {
    const top = Math.floor(sec / 65536) * 1e9;
    const low = (top % 65536) * 65536 + (sec % 65536) * 1e9 + fracNs;
    const high = Math.floor(top / 65536) + Math.floor(low / 4294967296);
    this.sink.u32(high % 4294967296, LITTLE);
    this.sink.u32(low % 4294967296, LITTLE);
  }
}

/** epb_flags: direction in bits 0-1, reception type in bits 2-4. */
function epbFlags(direction: SeenDirection, packetType: number | undefined): number {
  const way = direction === SeenDirection.In ? 1 : direction === SeenDirection.Out ? 2 : 0;
  if (way === 2) return way;
  switch (packetType) {
    case PacketType.Host:
      return way | (1 << 2);
    case PacketType.Multicast:
      return way | (2 << 2);
    case PacketType.Broadcast:
      return way | (3 << 2);
    case PacketType.OtherHost:
      return way | (4 << 2);
  }
  return way;
}

/** The longest prefix of at most `limit` bytes that ends between two characters. */
function cutUtf8(bytes: Uint8Array, limit: number): number {
  if (bytes.length <= limit) return bytes.length;
  let length = limit;
  while (length > 0 && (bytes[length] & 0xc0) === 0x80) length--;
  return length;
}
