/**
 * Reads a tar archive that is whole in memory: POSIX ustar and pax, GNU long names. Only files; links, folders and
 * devices are passed over. What comes before a damage is given.
 *
 * Source: POSIX.1-2017 pax, "ustar Interchange Format" and "pax Header Block"; GNU tar's manual, "Basic Tar Format".
 */
export interface TarFile {
  /** As the archive has it, with its folders. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface TarContent {
  readonly files: readonly TarFile[];
  /** Where and why reading stopped before the end; null: it did not. */
  readonly damage: string | null;
}

const BLOCK = 512;
const Size = { at: 124, length: 12 } as const;
const Sum = { at: 148, length: 8 } as const;

export function readTar(bytes: Uint8Array): TarContent {
  const files: TarFile[] = [];
  /** Of the entry to come, by a header of its own. */
  let longName = "";
  let at = 0;
  while (at + BLOCK <= bytes.length) {
    const header = bytes.subarray(at, at + BLOCK);
    // The end: blocks of zeros.
    if (header.every((byte) => byte === 0)) return { files, damage: null };
    const size = numberOf(header, Size.at, Size.length);
    if (size === null || !isSummed(header)) return { files, damage: `no tar header at byte ${at}` };
    const from = at + BLOCK;
    const content = bytes.subarray(from, from + size);
    const type = String.fromCharCode(header[156]);
    if (type === "L") longName = textOf(content);
    else if (type === "x") longName = paxPath(content) ?? longName;
    else {
      if (type === "0" || type === "\0") files.push({ name: longName === "" ? nameOf(header) : longName, bytes: content });
      longName = "";
    }
    if (from + size > bytes.length) return { files, damage: `cut off at byte ${bytes.length}, inside a file of ${size} bytes` };
    at = from + Math.ceil(size / BLOCK) * BLOCK;
  }
  return { files, damage: `cut off at byte ${bytes.length}, before the end of the archive` };
}

/** Octal text, or base 256 where the first bit is set; null where it is neither. */
function numberOf(header: Uint8Array, at: number, length: number): number | null {
  if ((header[at] & 0x80) !== 0) {
    let value = header[at] & 0x7f;
    for (let index = at + 1; index < at + length; index++) value = value * 256 + header[index];
    return Number.isSafeInteger(value) ? value : null;
  }
  const text = textOf(header.subarray(at, at + length)).trim();
  return /^[0-7]+$/.test(text) ? Number.parseInt(text, 8) : null;
}

/** The sum of the header's bytes with blanks in the place of the sum. */
function isSummed(header: Uint8Array): boolean {
  let sum = 0;
  for (let index = 0; index < BLOCK; index++) {
    sum += index >= Sum.at && index < Sum.at + Sum.length ? 0x20 : header[index];
  }
  return numberOf(header, Sum.at, Sum.length) === sum;
}

function nameOf(header: Uint8Array): string {
  const name = textOf(header.subarray(0, 100));
  const ustar = textOf(header.subarray(257, 262)) === "ustar" && header[262] === 0;
  const prefix = ustar ? textOf(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** `length key=value\n` records; the length counts the whole record. */
function paxPath(content: Uint8Array): string | null {
  const text = new TextDecoder().decode(content);
  return /(?:^|\n)\d+ path=([^\n]*)\n/.exec(text)?.[1] ?? null;
}

/** Up to the first NUL. */
function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}
