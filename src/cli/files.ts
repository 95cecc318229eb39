/** Files and folders as the user names them. What cannot be read is said in one sentence, never thrown. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { gunzipped } from "./gunzip.js";

/** Files below a path, sorted; a file, pipe or device is itself. A sentence where it cannot be listed. */
export interface Listing {
  /** A folder was named, so files in it are taken by their names. */
  readonly folder: boolean;
  readonly files: readonly string[];
  /** Parts of a folder that could not be listed, and why. */
  readonly failures: readonly Failure[];
}

export interface Failure {
  readonly file: string;
  readonly what: string;
}

export function list(path: string): Listing {
  const files: string[] = [];
  const failures: Failure[] = [];
  const folder = walk(path, files, failures);
  return { folder, files, failures };
}

/** Whether it is a folder. Names that begin with a dot and node_modules are left out. */
function walk(path: string, files: string[], failures: Failure[]): boolean {
  try {
    if (!statSync(path).isDirectory()) {
      files.push(path);
      return false;
    }
    for (const name of readdirSync(path).sort()) {
      if (!name.startsWith(".") && name !== "node_modules") walk(join(path, name), files, failures);
    }
  } catch (error) {
    failures.push({ file: path, what: sentenceOf(error) });
  }
  return true;
}

/** What a packed text may unpack to. */
const MOST_BYTES = 2 ** 31;

/** The text of a file, unpacked where it is gzip, `-` for standard input; or why it cannot be read. */
export function readText(file: string): { readonly text: string } | Failure {
  try {
    return textOf(file, file === "-" ? Buffer.concat([...standardInput()]) : readFileSync(file));
  } catch (error) {
    return { file, what: sentenceOf(error) };
  }
}

function textOf(file: string, bytes: Uint8Array): { readonly text: string } | Failure {
  const unpacked = isGzip(bytes) ? unpack(file, bytes) : { bytes };
  if ("what" in unpacked) return unpacked;
  try {
    return { text: withoutMark(unpacked.bytes) };
  } catch (error) {
    return { file, what: sentenceOf(error) };
  }
}

function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

function unpack(file: string, bytes: Uint8Array): { readonly bytes: Uint8Array } | Failure {
  try {
    return { bytes: gunzipSync(bytes, { maxOutputLength: MOST_BYTES }) };
  } catch (error) {
    if (codeOf(error).startsWith("Z_")) return { file, what: "gzip data damaged" };
    if (codeOf(error) === "ERR_BUFFER_TOO_LARGE") return { file, what: "unpacks to more than 2 GiB" };
    return { file, what: sentenceOf(error) };
  }
}

/** Texts up to this are held whole. */
const WHOLE_BYTES = 1 << 24;
const CHUNK_BYTES = 1 << 20;

/** The text of a file; of a large one its chunks, to be taken once; or why it cannot be read. */
export function readTextOrChunks(file: string, onDamage: (what: string) => void)
  : { readonly text: string } | { readonly head: string; readonly chunks: Iterable<string> } | Failure {
  const bytes = bytesOf(file);
  const first: Uint8Array[] = [];
  let length = 0;
  try {
    while (length <= WHOLE_BYTES) {
      const chunk = bytes.next();
      if (chunk.done === true) return smallOf(file, Buffer.concat(first), onDamage);
      first.push(chunk.value);
      length += chunk.value.length;
    }
  } catch (error) {
    return { file, what: sentenceOf(error) };
  }
  const start = Buffer.concat(first);
  return chunked(isGzip(start) ? gunzipped(joined(start, bytes)) : joined(start, bytes), onDamage);
}

/** Of a file that is small itself; what is packed in it may be large. */
function smallOf(file: string, bytes: Uint8Array, onDamage: (what: string) => void): ReturnType<typeof readTextOrChunks> {
  if (!isGzip(bytes)) return textOf(file, bytes);
  try {
    return { text: withoutMark(gunzipSync(bytes, { maxOutputLength: WHOLE_BYTES })) };
  } catch (error) {
    if (codeOf(error) === "ERR_BUFFER_TOO_LARGE") return chunked(gunzipped([bytes]), onDamage);
    return { file, what: sentenceOf(error) };
  }
}

/** The text of bytes that are in memory already; of many its chunks. */
export function textOrChunks(bytes: Uint8Array): { readonly text: string } | { readonly head: string; readonly chunks: Iterable<string> } {
  return bytes.length <= WHOLE_BYTES ? { text: withoutMark(bytes) } : chunked(slices(bytes), () => {});
}

function chunked(bytes: Iterable<Uint8Array>, onDamage: (what: string) => void): { head: string; chunks: Iterable<string> } {
  const texts = decoded(bytes, onDamage);
  const first = texts.next();
  const head = first.done === true ? "" : first.value;
  return { head: head.slice(0, 4096), chunks: joined(head, texts) };
}

function* decoded(bytes: Iterable<Uint8Array>, onDamage: (what: string) => void): Generator<string, void> {
  let decoder: InstanceType<typeof TextDecoder> | null = null;
  try {
    for (const chunk of bytes) {
      decoder ??= new TextDecoder(encodingOf(chunk));
      // A large string is no place to begin; its chunks are.
      for (const part of slices(chunk)) yield decoder.decode(part, { stream: true });
    }
  } catch (error) {
    onDamage(`${sentenceOf(error)}; what came before was used`);
  }
  if (decoder !== null) yield decoder.decode();
}

function* bytesOf(file: string): Generator<Uint8Array, void> {
  if (file === "-") {
    yield* standardInput();
    return;
  }
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

function* slices(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) yield bytes.subarray(at, at + CHUNK_BYTES);
}

function* joined<T>(first: T, rest: Iterable<T>): Generator<T, void> {
  yield first;
  yield* rest;
}

/** Whether a file can be opened; null where it can. A pipe is not touched: what is read from it is gone. */
export function openFailure(file: string): Failure | null {
  try {
    if (!statSync(file).isFile()) return null;
    closeSync(openSync(file, "r"));
    return null;
  } catch (error) {
    return { file, what: sentenceOf(error) };
  }
}

/** Text editors of one system put a byte order mark first, and some shells redirect as UTF-16. */
function withoutMark(bytes: Uint8Array): string {
  return new TextDecoder(encodingOf(bytes)).decode(bytes);
}

/** By its mark; UTF-8 where it has none. */
export function encodingOf(bytes: Uint8Array): "utf-16le" | "utf-16be" | "utf-8" {
  return bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
}

/** Its chunks; a terminal or a non-blocking pipe says EAGAIN while there is nothing yet. */
export function* standardInput(): Generator<Uint8Array, void> {
  for (;;) {
    const chunk = new Uint8Array(1 << 16);
    let read = 0;
    try {
      read = readSync(0, chunk, 0, chunk.length, null);
    } catch (error) {
      if (codeOf(error) === "EOF") return;
      if (codeOf(error) !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
      continue;
    }
    if (read === 0) return;
    yield chunk.subarray(0, read);
  }
}

const SENTENCES: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder", EACCES: "permission denied", EPERM: "permission denied", EISDIR: "this is a folder, not a file",
  ENOTDIR: "a part of this path is a file, not a folder", ELOOP: "symbolic links that lead in a circle", EMFILE: "too many files open",
  ENAMETOOLONG: "the name is too long", ENXIO: "nothing is on the other side of this pipe or device", EIO: "the disk reports a read error",
  ENOSPC: "no space left on the device", EROFS: "the file system is read-only", ERR_FS_FILE_TOO_LARGE: "larger than 2 GiB",
  Z_DATA_ERROR: "gzip data damaged", Z_BUF_ERROR: "gzip data damaged",
  ERR_STRING_TOO_LONG: "larger than 512 MiB of text",
};

/** What the operating system said, in words. Errors that did not come from it are ours and go on. */
export function sentenceOf(error: unknown): string {
  const code = codeOf(error);
  if (code === "") throw error;
  return SENTENCES[code] ?? `cannot be read (${code})`;
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : "";
}
