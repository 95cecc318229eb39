/** A file's bytes in chunks (`-`: those of standard input), unpacked where it is gzip or zstd; told by its magic. Holds one chunk. */
import { closeSync, openSync, readSync } from "node:fs";
import { type Duplex, Readable } from "node:stream";
import * as zlib from "node:zlib";
import { Decompress } from "fzstd";
import { FileKind, SNIFF_BYTES, sniff } from "../capture/index.js";
import { sentenceOf, standardInput } from "./files.js";

const CHUNK_BYTES = 1 << 20;
/** Since Node 22.15 and 23.8. */
const createZstd = (zlib as { createZstdDecompress?: () => Duplex }).createZstdDecompress;

/** Opened at the first chunk. `onDamage` is told once where reading or unpacking stopped before the end. */
export async function* fileChunks(file: string, onDamage: (what: string) => void): AsyncGenerator<Uint8Array> {
  const chunks = plain(file, onDamage);
  const first = chunks.next();
  if (first.done === true) return;
  const rest = joined(first.value, chunks);
  const kind = sniff(first.value.subarray(0, SNIFF_BYTES));
  if (kind === FileKind.Gzip) yield* unpacked(rest, zlib.createGunzip(), "gzip", onDamage);
  else if (kind === FileKind.Zstd && createZstd !== undefined) yield* unpacked(rest, createZstd(), "zstd", onDamage);
  else if (kind === FileKind.Zstd) yield* unzstd(rest, onDamage);
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

/** zstd where Node has no reader of it. Checksums are not looked at. */
function* unzstd(packed: Iterable<Uint8Array>, onDamage: (what: string) => void): Generator<Uint8Array> {
  const ready: Uint8Array[] = [];
  let ended = false;
  const stream = new Decompress((chunk, last) => {
    if (chunk.length > 0) ready.push(chunk);
    ended = last === true;
  });
  let bytes = 0;
  const take = function* (): Generator<Uint8Array> {
    for (const chunk of ready.splice(0)) {
      bytes += chunk.length;
      yield chunk;
    }
  };
  try {
    for (const chunk of packed) {
      stream.push(chunk);
      yield* take();
    }
    stream.push(new Uint8Array(0), true);
    yield* take();
    if (!ended) onDamage(`zstd data ends too early after ${bytes} unpacked bytes; what came before was used`);
  } catch (error) {
    // The library's own errors have a code; others are ours.
    if (!(error instanceof Error) || !("code" in error)) throw error;
    yield* take();
    onDamage(`zstd data damaged after ${bytes} unpacked bytes (${error.message}); what came before was used`);
  }
}

/** What was unpacked before a damage is used. */
async function* unpacked(packed: Iterable<Uint8Array>, unpacking: Duplex, name: string, onDamage: (what: string) => void)
  : AsyncGenerator<Uint8Array> {
  let bytes = 0;
  try {
    for await (const chunk of Readable.from(packed, { objectMode: false }).pipe(unpacking)) {
      bytes += chunk.length;
      yield chunk;
    }
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || !/^(Z_|ZSTD_|ERR_)/.test(String(error.code))) throw error;
    onDamage(`${name} data damaged after ${bytes} unpacked bytes (${error.message}); what came before was used`);
  }
}
