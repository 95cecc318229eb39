/**
 * The captures as one pcapng, oldest record first, each with what the comparison says of it as its comment. Link types,
 * interfaces, times, wire lengths and the comments that were there stay; payloads are cut off.
 */
import { CaptureReader, PcapngWriter, SeenDirection } from "../../capture/index.js";
import type { Comments } from "./comments.js";
import { headerBytes } from "./headers.js";

export interface CommentedCapture {
  /** The node it was taken on, in place of the name of an interface where the capture has none. */
  readonly node: string;
  readonly chunks: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly comments: Comments;
}

const FLUSH_BYTES = 1 << 20;

/** Bytes of the file, in blocks; equal times in the order of the captures given. */
export async function* commentedPcapng(captures: readonly CommentedCapture[]): AsyncGenerator<Uint8Array> {
  const writer = new PcapngWriter();
  const interfaces = new Map<string, number>();
  const open: Source[] = [];
  for (const capture of captures) {
    const source = new Source(capture);
    if (await source.advance()) open.push(source);
  }
  while (open.length > 0) {
    let first = open[0];
    for (const other of open) if (other.isBefore(first)) first = other;
    write(writer, interfaces, first);
    if (writer.pending >= FLUSH_BYTES) yield writer.take();
    if (!await first.advance()) open.splice(open.indexOf(first), 1);
  }
  yield writer.take();
}

/** A capture at one of its records. */
class Source {
  readonly reader = new CaptureReader();
  private sec = 0;
  private fracNs = 0;
  private dry = false;

  constructor(readonly capture: CommentedCapture) {}

  /** Moves to the next record; false at the end. */
  async advance(): Promise<boolean> {
    while (!this.reader.next()) {
      if (this.dry) return false;
      const chunk = await this.capture.chunks.next();
      if (chunk.done === true) {
        this.dry = true;
        this.reader.end();
      } else this.reader.push(chunk.value);
    }
    // A record that lies earlier than the one before stays behind it.
    const { timeSec, timeFracNs, hasTime } = this.reader.record;
    if (hasTime && (timeSec > this.sec || (timeSec === this.sec && timeFracNs > this.fracNs))) {
      this.sec = timeSec;
      this.fracNs = timeFracNs;
    }
    return true;
  }

  isBefore(other: Source): boolean {
    return this.sec < other.sec || (this.sec === other.sec && this.fracNs < other.fracNs);
  }
}

function write(writer: PcapngWriter, interfaces: Map<string, number>, { reader: { record }, capture }: Source): void {
  const name = record.interfaceName === "" ? capture.node : record.interfaceName;
  const key = JSON.stringify([capture.node, name, record.linkType]);
  let interfaceId = interfaces.get(key);
  if (interfaceId === undefined) {
    interfaceId = writer.addInterface({ linkType: record.linkType, name });
    interfaces.set(key, interfaceId);
  }
  writer.write({
    interfaceId, timeSec: record.timeSec, timeFracNs: record.timeFracNs, bytes: record.bytes, offset: record.offset,
    capturedLength: headerBytes(record), wireLength: record.wireLength,
    // Where the link header says it, it need not be said again.
    direction: record.interfaceId >= 0 ? record.direction : SeenDirection.Unknown,
    ...(record.packetType <= 3 && record.interfaceId >= 0 ? { packetType: record.packetType } : {}),
    comments: [...record.comments(), capture.comments.get(record.recordNumber)],
  });
}
