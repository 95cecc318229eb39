/**
 * The files of a zip archive that are wanted by name, unpacked. What `cilium sysdump` writes, or a folder that somebody
 * packed: the archive is read whole, and of its files only those that are wanted are unpacked.
 */
import { readFileSync } from "node:fs";
import { unzipSync } from "fflate";
import { type Failure, sentenceOf } from "./files.js";

export const ZIP_NAME = /\.zip$/i;
/** What one of its files may unpack to, and all of them. */
const MOST_FILE = 2 ** 30;
const MOST_BYTES = 2 ** 31;

export interface ZippedFile {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Sorted by name, or why the archive cannot be read. */
export function readZip(file: string, wanted: (name: string) => boolean): { readonly files: readonly ZippedFile[] } | Failure {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    return { file, what: sentenceOf(error) };
  }
  let sum = 0;
  try {
    const unpacked = unzipSync(bytes, { filter: ({ name, originalSize }) => {
      if (name.endsWith("/") || !wanted(name)) return false;
      sum += originalSize;
      if (originalSize > MOST_FILE || sum > MOST_BYTES) throw new TooLarge();
      return true;
    } });
    const files = Object.entries(unpacked).map(([name, content]) => ({ name, bytes: content }));
    return { files: files.sort((a, b) => (a.name < b.name ? -1 : 1)) };
  } catch (error) {
    // The library's own errors have numbers; others are ours.
    if (error instanceof TooLarge) return { file, what: "unpacks to more than 2 GiB; unpack it and name its files" };
    if (error instanceof RangeError || (error instanceof Error && "code" in error)) return { file, what: "zip data damaged" };
    throw error;
  }
}

class TooLarge extends Error {}
