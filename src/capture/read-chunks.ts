/** Whole captures from an iterator of chunks, for callers that need no say between records. */
import { type CaptureEnd, CaptureReader } from "./reader.js";
import type { CaptureRecord } from "./record.js";

/**
 * Hands every record to `use`. The record object is the same each time; chunks may be overwritten once taken.
 */
export function readChunks(chunks: Iterable<Uint8Array>, use: (record: CaptureRecord) => void): CaptureEnd {
  const reader = new CaptureReader();
  for (const chunk of chunks) {
    reader.push(chunk);
    drain(reader, use);
    if (reader.error !== null) break;
  }
  reader.end();
  drain(reader, use);
  return reader.finish();
}

/** As readChunks, from a stream. */
export async function readStream(
  chunks: AsyncIterable<Uint8Array>,
  use: (record: CaptureRecord) => void,
): Promise<CaptureEnd> {
  const reader = new CaptureReader();
  for await (const chunk of chunks) {
    reader.push(chunk);
    drain(reader, use);
    if (reader.error !== null) break;
  }
  reader.end();
  drain(reader, use);
  return reader.finish();
}

function drain(reader: CaptureReader, use: (record: CaptureRecord) => void): void {
  while (reader.next()) use(reader.record);
}
