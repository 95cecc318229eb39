/** A file's bytes in chunks, unpacked where it is gzip; told by its magic. Holds one chunk at a time. */
import { closeSync, createReadStream, openSync, readSync } from "node:fs";
import { createGunzip } from "node:zlib";
import { FileKind, sniff, SNIFF_BYTES } from "../capture/index.js";

const CHUNK_BYTES = 1 << 20;

/** `onDamage` is told once where unpacking stopped before the end. */
export function fileChunks(file: string, onDamage: (what: string) => void): AsyncIterator<Uint8Array> | Iterator<Uint8Array> {
  return kindOf(file) === FileKind.Gzip ? gunzipped(file, onDamage) : plain(file);
}

function kindOf(file: string): FileKind {
  const head = new Uint8Array(SNIFF_BYTES);
  const handle = openSync(file, "r");
  try {
    return sniff(head.subarray(0, readSync(handle, head, 0, head.length, 0)));
  } finally {
    closeSync(handle);
  }
}

function* plain(file: string): Generator<Uint8Array> {
  const handle = openSync(file, "r");
  try {
    for (;;) {
      const chunk = new Uint8Array(CHUNK_BYTES);
      const read = readSync(handle, chunk, 0, CHUNK_BYTES, null);
      if (read === 0) return;
      yield chunk.subarray(0, read);
    }
  } finally {
    closeSync(handle);
  }
}

/** What was unpacked before a damage is used. */
async function* gunzipped(file: string, onDamage: (what: string) => void): AsyncGenerator<Uint8Array> {
  let unpacked = 0;
  try {
    for await (const chunk of createReadStream(file, { highWaterMark: CHUNK_BYTES }).pipe(createGunzip())) {
      unpacked += chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || !String(error.code).startsWith("Z_")) throw error;
    onDamage(`gzip data damaged after ${unpacked} unpacked bytes (${error.message}); what came before was used`);
  }
}
