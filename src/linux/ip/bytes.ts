/** Numbers in wire order, and the Internet checksum's sum (RFC 1071). No bounds are checked here. */

export function getU16(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 8) | bytes[at + 1];
}

export function getU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3]) >>> 0;
}

export function setU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

export function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Sum of the 16-bit words, an odd last byte as the high half of a word; not folded. Exact up to 2^36 bytes. */
export function sum16(bytes: Uint8Array, at: number, length: number, initial = 0): number {
  let sum = initial;
  const even = at + (length & ~1);
  for (let index = at; index < even; index += 2) sum += (bytes[index] << 8) | bytes[index + 1];
  if ((length & 1) !== 0) sum += bytes[even] << 8;
  return sum;
}

/** The sum folded to 16 bits; not complemented. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x10000) + Math.floor(folded / 0x10000);
  return folded;
}

/** Writes the IPv4 header checksum. */
export function setIpv4Checksum(bytes: Uint8Array, at: number): void {
  const length = (bytes[at] & 15) * 4;
  setU16(bytes, at + 10, 0);
  setU16(bytes, at + 10, ~fold(sum16(bytes, at, length)) & 0xffff);
}

export function equalBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let index = 0; index < length; index++) {
    if (a[aAt + index] !== b[bAt + index]) return false;
  }
  return true;
}
