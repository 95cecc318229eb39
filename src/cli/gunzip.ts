/** gzip unpacked as its chunks come, in bounded memory and without waiting: where a reader takes its text piece by piece. */
import * as zlib from "node:zlib";
import { Gunzip } from "fflate";

/** What one push may unpack to is some thousand times as much. */
const PUSHED_BYTES = 1 << 13;
const TRAILER_BYTES = 8;
/** Since Node 20.15 and 22.2; without it the length alone is checked. */
const crc32 = (zlib as { crc32?: (data: Uint8Array, value?: number) => number }).crc32;

/** Data that cannot be unpacked further; what came before was handed on. */
export class GzipDamage extends Error {
  readonly code = "Z_DATA_ERROR";
}

export function* gunzipped(packed: Iterable<Uint8Array>): Generator<Uint8Array, void> {
  const ready: Uint8Array[] = [];
  const member = { bytes: 0, sum: 0 };
  const stream = new Gunzip((chunk) => {
    if (chunk.length === 0) return;
    member.bytes = (member.bytes + chunk.length) >>> 0;
    member.sum = crc32?.(chunk, member.sum) ?? 0;
    ready.push(chunk);
  });
  stream.onmember = () => {
    member.bytes = member.sum = 0;
  };
  let last = new Uint8Array(0);
  try {
    for (const chunk of packed) {
      for (let at = 0; at < chunk.length; at += PUSHED_BYTES) {
        stream.push(chunk.subarray(at, at + PUSHED_BYTES));
        yield* ready.splice(0);
      }
      last = Uint8Array.from([...last, ...chunk.subarray(-TRAILER_BYTES)]).slice(-TRAILER_BYTES);
    }
    stream.push(new Uint8Array(0), true);
  } catch (error) {
    yield* ready.splice(0);
    // The library's own errors have numbers; others are ours.
    if (!(error instanceof Error) || !("code" in error) || typeof error.code !== "number") throw error;
    throw new GzipDamage(error.message);
  }
  yield* ready.splice(0);
  const trailer = new DataView(last.buffer, last.byteOffset, last.length);
  if (last.length < TRAILER_BYTES || trailer.getUint32(4, true) !== member.bytes
    || (crc32 !== undefined && trailer.getUint32(0, true) !== member.sum)) throw new GzipDamage("checksum");
}
