/**
 * Writes classic pcap 2.4, µs or ns, either byte order. Layout: pcap.ts.
 *
 * Times are cut to the resolution, not rounded; seconds are kept modulo 2^32, as the format has no more room.
 */
import { MAX_CAPTURED, PCAP_MAGIC_NS, PCAP_MAGIC_US } from "./pcap.js";
import { ByteSink } from "./sink.js";

export interface PcapWriterOptions {
  /** LINKTYPE_ number. */
  readonly linkType: number;
  /** Default: true. */
  readonly nanoseconds?: boolean;
  /** Default: true. */
  readonly littleEndian?: boolean;
  /** Default: MAX_CAPTURED. */
  readonly snapLength?: number;
}

export class PcapWriter {
  private readonly sink = new ByteSink();
  private readonly nanoseconds: boolean;
  private readonly littleEndian: boolean;

  /** The file header is the first thing that `take` gives. */
  constructor(options: PcapWriterOptions) {
    this.nanoseconds = options.nanoseconds ?? true;
    this.littleEndian = options.littleEndian ?? true;
    const little = this.littleEndian;
    this.sink.u32(this.nanoseconds ? PCAP_MAGIC_NS : PCAP_MAGIC_US, little);
    this.sink.u16(2, little);
    this.sink.u16(4, little);
    this.sink.u32(0, little);
    this.sink.u32(0, little);
    this.sink.u32(options.snapLength ?? MAX_CAPTURED, little);
    this.sink.u32(options.linkType, little);
  }

  /** Appends a record of `captured` bytes at `offset`; the frame had `wire`. `fracNs` is 0 to 999,999,999. */
  write(
    sec: number,
    fracNs: number,
    bytes: Uint8Array,
    offset: number,
    captured: number,
    wire: number,
  ): void {
    const little = this.littleEndian;
    this.sink.u32(sec % 4294967296, little);
    this.sink.u32(this.nanoseconds ? fracNs : Math.floor(fracNs / 1000), little);
    this.sink.u32(captured, little);
    this.sink.u32(wire, little);
    this.sink.append(bytes, offset, captured);
  }

  /** Bytes waiting to be taken. */
  get pending(): number {
    return this.sink.length;
  }

  /** The bytes written since the last `take`. */
  take(): Uint8Array {
    return this.sink.take();
  }
}
