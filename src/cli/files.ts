/** Files and folders as the user names them. What cannot be read is said in one sentence, never thrown. */
import { closeSync, openSync, readdirSync, readFileSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";

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
const MOST_BYTES = 1 << 29;

/** The text of a file, unpacked where it is gzip, `-` for standard input; or why it cannot be read. */
export function readText(file: string): { readonly text: string } | Failure {
  try {
    const bytes = file === "-" ? Buffer.concat([...standardInput()]) : readFileSync(file);
    return { text: withoutMark(bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes, { maxOutputLength: MOST_BYTES }) : bytes) };
  } catch (error) {
    if (codeOf(error).startsWith("Z_")) return { file, what: "gzip data damaged" };
    if (codeOf(error) === "ERR_BUFFER_TOO_LARGE") return { file, what: "unpacks to more than 512 MiB" };
    return { file, what: sentenceOf(error) };
  }
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
  const encoding = bytes[0] === 0xff && bytes[1] === 0xfe ? "utf-16le" : bytes[0] === 0xfe && bytes[1] === 0xff ? "utf-16be" : "utf-8";
  return new TextDecoder(encoding).decode(bytes);
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
