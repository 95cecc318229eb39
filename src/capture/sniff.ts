/**
 * What kind of file the first bytes belong to. By magic only: extensions lie (pcapng named .pcap is common).
 */
export const FileKind = {
  Empty: "empty",
  Pcap: "pcap",
  Pcapng: "pcapng",
  Gzip: "gzip",
  Zstd: "zstd",
  Xz: "xz",
  Bzip2: "bzip2",
  Lz4: "lz4",
  Zip: "zip",
  Tar: "tar",
  Snoop: "snoop",
  Text: "text",
  Unknown: "unknown",
} as const;
export type FileKind = (typeof FileKind)[keyof typeof FileKind];

/** First bytes in file order; pcap's byte order and time unit do not matter here. */
const MAGICS: ReadonlyArray<readonly [FileKind, readonly number[]]> = [
  [FileKind.Pcap, [0xd4, 0xc3, 0xb2, 0xa1]],
  [FileKind.Pcap, [0xa1, 0xb2, 0xc3, 0xd4]],
  [FileKind.Pcap, [0x4d, 0x3c, 0xb2, 0xa1]],
  [FileKind.Pcap, [0xa1, 0xb2, 0x3c, 0x4d]],
  [FileKind.Pcap, [0x34, 0xcd, 0xb2, 0xa1]],
  [FileKind.Pcap, [0xa1, 0xb2, 0xcd, 0x34]],
  [FileKind.Pcapng, [0x0a, 0x0d, 0x0d, 0x0a]],
  [FileKind.Gzip, [0x1f, 0x8b]],
  [FileKind.Zstd, [0x28, 0xb5, 0x2f, 0xfd]],
  [FileKind.Xz, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  [FileKind.Bzip2, [0x42, 0x5a, 0x68]],
  [FileKind.Lz4, [0x04, 0x22, 0x4d, 0x18]],
  [FileKind.Zip, [0x50, 0x4b, 0x03, 0x04]],
  [FileKind.Snoop, [0x73, 0x6e, 0x6f, 0x6f, 0x70, 0, 0, 0]],
];

const TAR_MAGIC_AT = 257;
const TAR_MAGIC = [0x75, 0x73, 0x74, 0x61, 0x72];

/** Enough first bytes to recognise every kind. */
export const SNIFF_BYTES = TAR_MAGIC_AT + TAR_MAGIC.length;

/** Recognises a file by its first bytes: up to SNIFF_BYTES of them, fewer where the file is shorter. */
export function sniff(first: Uint8Array): FileKind {
  if (first.length === 0) return FileKind.Empty;
  for (const [kind, magic] of MAGICS) if (startsWith(first, 0, magic)) return kind;
  if (startsWith(first, TAR_MAGIC_AT, TAR_MAGIC)) return FileKind.Tar;
  return looksLikeText(first) ? FileKind.Text : FileKind.Unknown;
}

function startsWith(bytes: Uint8Array, at: number, magic: readonly number[]): boolean {
  if (bytes.length < at + magic.length) return false;
  return magic.every((byte, index) => bytes[at + index] === byte);
}

/** No control characters but white space among the first bytes. UTF-8 passes. */
function looksLikeText(first: Uint8Array): boolean {
  const size = Math.min(first.length, SNIFF_BYTES);
  for (let index = 0; index < size; index++) {
    const byte = first[index];
    if (byte === 0x7f || (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0d && byte !== 0x1b))
      return false;
  }
  return true;
}
