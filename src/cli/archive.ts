/**
 * Archives of a node as Retina's captures are: `capture-node-time.tar.gz` with the capture itself and, beside it,
 * what commands printed on the node. Used are the captures and the rules (iptables-rules.txt).
 */
import { readFileSync } from "node:fs";
import { constants, gunzipSync } from "node:zlib";
import { basename } from "node:path";
import { FileKind, SNIFF_BYTES, sniff } from "../capture/index.js";
import { readTar, type TarFile } from "../capture/tar.js";
import { type Failure, sentenceOf } from "./files.js";

export const ARCHIVE_NAME = /\.(tar|tar\.gz|tgz)$/i;
const CAPTURE_NAME = /\.(pcap|pcapng|cap)$/i;
const RULES_NAME = /(^|\/)(ip6?tables-rules|ip6?tables-save)[^/]*\.txt$/i;
/** What an archive may unpack to; captures of Retina end at 100 MB by default. */
const MOST_BYTES = 1 << 30;

export interface Archive {
  readonly captures: readonly TarFile[];
  readonly rules: readonly { readonly name: string; readonly text: string }[];
  /** Why reading stopped before the end; null: it did not. */
  readonly damage: string | null;
}

/** The archive's captures and rules, or why it cannot be read. */
export function readArchive(file: string): Archive | Failure {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
    // A file that ends too early is used up to there.
    if (sniff(bytes.subarray(0, SNIFF_BYTES)) === FileKind.Gzip) {
      bytes = gunzipSync(bytes, { maxOutputLength: MOST_BYTES, finishFlush: constants.Z_SYNC_FLUSH });
    }
  } catch (error) {
    return { file, what: unpackSentence(error) };
  }
  if (sniff(bytes.subarray(0, SNIFF_BYTES)) !== FileKind.Tar) {
    return { file, what: "this is no tar archive, though its name says so" };
  }
  const { files, damage } = readTar(bytes);
  const rules = files.filter(({ name }) => RULES_NAME.test(name));
  return {
    captures: files.filter(({ name }) => CAPTURE_NAME.test(name)), damage,
    rules: rules.map((one) => ({ name: one.name, text: new TextDecoder().decode(one.bytes) })),
  };
}

/** The node in `capture-node-time.tar.gz`; null where none is. */
export function archiveNode(file: string, nodes: readonly string[]): string | null {
  const name = basename(file);
  return nodes.filter((node) => name.includes(`-${node}-`)).sort((a, b) => b.length - a.length)[0] ?? null;
}

function unpackSentence(error: unknown): string {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "ERR_BUFFER_TOO_LARGE") return `unpacks to more than ${MOST_BYTES / 2 ** 30} GiB; unpack it and name its files`;
  return code.startsWith("Z_") ? "gzip data damaged" : sentenceOf(error);
}
