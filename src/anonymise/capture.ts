/**
 * A capture written anew, record by record: frames as `anonymiseFrame` leaves them, with their times, lengths, interfaces and
 * directions. Comments, name resolution and secrets of pcapng are left out.
 */
import { PcapWriter } from "../capture/pcap-writer.js";
import { PcapngWriter } from "../capture/pcapng-writer.js";
import { type CaptureEnd, CaptureReader } from "../capture/reader.js";
import { PACKET_TYPE_UNKNOWN } from "../capture/record.js";
import type { Mapping } from "./mapping.js";
import { anonymiseFrame } from "./packet.js";

export class CaptureAnonymiser {
  private readonly reader = new CaptureReader();
  private pcap: PcapWriter | null = null;
  private pcapng: PcapngWriter | null = null;
  private readonly interfaces = new Map<string, number>();
  private head = new Uint8Array(0);

  constructor(private readonly mapping: Mapping) {}

  /** Bytes to be written for the next bytes read. */
  push(chunk: Uint8Array): Uint8Array {
    // The file header says byte order, resolution and link type.
    if (this.head.length < 24) this.head = Uint8Array.from([...this.head, ...chunk.subarray(0, 24 - this.head.length)]);
    this.reader.push(chunk);
    return this.take();
  }

  /** The last bytes, and how reading went. */
  finish(): { readonly bytes: Uint8Array; readonly end: CaptureEnd } {
    this.reader.end();
    const bytes = this.take();
    return { bytes, end: this.reader.finish() };
  }

  private take(): Uint8Array {
    while (this.reader.next()) this.write();
    if (this.head.length >= 24 && this.pcap === null && this.pcapng === null) this.open(this.head[0] === 0x0a);
    return this.pcap?.take() ?? this.pcapng?.take() ?? new Uint8Array(0);
  }

  private open(isPcapng: boolean): void {
    if (isPcapng) {
      this.pcapng = new PcapngWriter();
      return;
    }
    const view = new DataView(this.head.buffer);
    const littleEndian = this.head[0] !== 0xa1;
    const nanoseconds = (littleEndian ? this.head[0] : this.head[3]) === 0x4d;
    this.pcap = new PcapWriter({ linkType: view.getUint32(20, littleEndian) & 0xffff, nanoseconds, littleEndian,
      snapLength: view.getUint32(16, littleEndian) });
  }

  private write(): void {
    const { record } = this.reader;
    const bytes = record.bytes.slice(record.offset, record.offset + record.capturedLength);
    anonymiseFrame(bytes, record.wireLength, record.linkType, this.mapping);
    if (this.pcap === null && this.pcapng === null) this.open(record.interfaceId >= 0);
    this.pcap?.write(record.timeSec, record.timeFracNs, bytes, 0, bytes.length, record.wireLength);
    if (this.pcapng === null) return;
    const key = `${record.interfaceId} ${record.linkType} ${record.interfaceName}`;
    const known = this.interfaces.get(key);
    const interfaceId = known ?? this.pcapng.addInterface({ linkType: record.linkType, name: this.mapping.device(record.interfaceName) });
    this.interfaces.set(key, interfaceId);
    this.pcapng.write({ interfaceId, timeSec: record.timeSec, timeFracNs: record.timeFracNs, bytes, offset: 0, capturedLength: bytes.length,
      wireLength: record.wireLength, direction: record.direction,
      ...(record.packetType === PACKET_TYPE_UNKNOWN ? {} : { packetType: record.packetType }) });
  }
}
