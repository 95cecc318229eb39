/**
 * Puts other addresses and ports into a captured packet and carries its checksums along by difference (RFC 1624),
 * so a right sum stays right, a wrong one wrong, one not computed yet (checksum offload) not computed, and UDP's
 * zero zero. Works on fragments, whose checksum covers bytes that are elsewhere.
 */
import { Tuple } from "./tuple.js";

export interface Layout {
  readonly family: number;
  readonly protocol: number;
  /** Offsets from the start of the buffer. */
  readonly l3: number;
  readonly l4: number;
  /** End of the captured bytes. */
  readonly end: number;
  readonly laterFragment: boolean;
}

export function rewriteTuple(bytes: Uint8Array, at: Layout, tuple: Uint8Array): void {
  const { protocol, l3, l4, end } = at;
  const v4 = at.family === 4;
  const size = v4 ? 4 : 16;
  const source = l3 + (v4 ? 12 : 8);
  let change = replaced(bytes, source, Tuple.source(tuple)) + replaced(bytes, source + size, Tuple.destination(tuple));
  if (v4) addTo(bytes, l3 + 10, change);
  if (at.laterFragment) return;
  const sumAt = checksumOffset(protocol, l4);
  if (protocol === 1 || protocol === 58) {
    // The identifier is the port; ICMPv4 covers no pseudo-header.
    const identifier = isEcho(protocol, bytes[l4]) && l4 + 6 <= end ? putPort(bytes, l4 + 4, Tuple.sourcePort(tuple)) : 0;
    change = protocol === 1 ? identifier : change + identifier;
  } else if (protocol === 6 || protocol === 17 || protocol === 132) {
    if (l4 + 4 > end) return;
    change += putPort(bytes, l4, Tuple.sourcePort(tuple)) + putPort(bytes, l4 + 2, Tuple.destinationPort(tuple));
  } else return;
  if (sumAt < 0 || sumAt + 2 > end) return;
  if (protocol === 17 && bytes[sumAt] === 0 && bytes[sumAt + 1] === 0) return;
  addTo(bytes, sumAt, change);
}

/** The same where the buffer's checksum field holds the pseudo-header sum, which is kept uncomplemented. */
export function rewritePartial(bytes: Uint8Array, at: Layout, tuple: Uint8Array): void {
  const sumAt = checksumOffset(at.protocol, at.l4);
  if (sumAt < 0 || sumAt + 2 > at.end) {
    rewriteTuple(bytes, at, tuple);
    return;
  }
  const partial = (bytes[sumAt] << 8) | bytes[sumAt + 1];
  const size = at.family === 4 ? 4 : 16;
  const source = at.l3 + (at.family === 4 ? 12 : 8);
  const before = sumOf(bytes, source, size * 2);
  rewriteTuple(bytes, at, tuple);
  let sum = partial + sumOf(bytes, source, size * 2) + (0xffff - before % 0xffff);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  bytes[sumAt] = sum >> 8;
  bytes[sumAt + 1] = sum;
}

export function checksumOffset(protocol: number, l4: number): number {
  return protocol === 6 ? l4 + 16 : protocol === 17 ? l4 + 6 : protocol === 1 || protocol === 58 ? l4 + 2 : -1;
}

function isEcho(protocol: number, type: number): boolean {
  return protocol === 1 ? type === 0 || type === 8 : type === 128 || type === 129;
}

/** Overwrites an address and returns new minus old, as ones'-complement words. */
function replaced(bytes: Uint8Array, at: number, address: Uint8Array): number {
  let change = 0;
  for (let index = 0; index < address.length; index += 2) {
    change += 0xffff - ((bytes[at + index] << 8) | bytes[at + index + 1]);
    bytes[at + index] = address[index];
    bytes[at + index + 1] = address[index + 1];
    change += (bytes[at + index] << 8) | bytes[at + index + 1];
  }
  return change;
}

function putPort(bytes: Uint8Array, at: number, port: number): number {
  const before = (bytes[at] << 8) | bytes[at + 1];
  bytes[at] = port >> 8;
  bytes[at + 1] = port;
  return 0xffff - before + port;
}

/** HC' = ~(~HC + change), RFC 1624 equation 3. */
function addTo(bytes: Uint8Array, at: number, change: number): void {
  let sum = 0xffff - ((bytes[at] << 8) | bytes[at + 1]) + change;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  const value = 0xffff - sum;
  bytes[at] = value >> 8;
  bytes[at + 1] = value;
}

function sumOf(bytes: Uint8Array, at: number, length: number): number {
  let sum = 0;
  for (let index = 0; index < length; index += 2) sum += (bytes[at + index] << 8) | bytes[at + index + 1];
  return sum;
}
