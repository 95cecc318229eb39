/** A file's bytes in chunks (`-`: those of standard input), unpacked where it is gzip; told by its magic. Holds one chunk at a time. */
import { closeSync, openSync, readSync } from "node:fs";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { FileKind, SNIFF_BYTES, sniff } from "../capture/index.js";
import { sentenceOf, standardInput } from "./files.js";

const CHUNK_BYTES = 1 << 20;

/** Opened at the first chunk. `onDamage` is told once where reading or unpacking stopped before the end. */
export async function* fileChunks(file: string, onDamage: (what: string) => void): AsyncGenerator<Uint8Array> {
  const chunks = plain(file, onDamage);
  const first = chunks.next();
  if (first.done === true) return;
  const rest = joined(first.value, chunks);
  if (sniff(first.value.subarray(0, SNIFF_BYTES)) === FileKind.Gzip) yield* gunzipped(rest, onDamage);
  else yield* rest;
}

function* plain(file: string, onDamage: (what: string) => void): Generator<Uint8Array, void> {
  let handle = -1;
  try {
    if (file === "-") {
      yield* standardInput();
      return;
    }
    handle = openSync(file, "r");
    for (;;) {
      const chunk = new Uint8Array(CHUNK_BYTES);
      const read = readSync(handle, chunk, 0, CHUNK_BYTES, null);
      if (read === 0) return;
      yield chunk.subarray(0, read);
    }
  } catch (error) {
    onDamage(sentenceOf(error));
  } finally {
    if (handle >= 0) closeSync(handle);
  }
}

function* joined(first: Uint8Array, rest: Generator<Uint8Array, void>): Generator<Uint8Array, void> {
  yield first;
  yield* rest;
}

/** What was unpacked before a damage is used. */
async function* gunzipped(packed: Iterable<Uint8Array>, onDamage: (what: string) => void): AsyncGenerator<Uint8Array> {
  let unpacked = 0;
  try {
    for await (const chunk of Readable.from(packed, { objectMode: false }).pipe(createGunzip())) {
      unpacked += chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || !String(error.code).startsWith("Z_")) throw error;
    onDamage(`gzip data damaged after ${unpacked} unpacked bytes (${error.message}); what came before was used`);
  }
}
