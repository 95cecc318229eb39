/** Addresses where they stand in a packet: text, equality. 4 or 16 bytes in wire order. */
import { addressText as textOf } from "../cluster/address.js";

/** Canonical text of the address at `at`; `length` is 4 or 16. For output, not for the packet path. */
export function addressText(bytes: Uint8Array, at: number, length: number): string {
  return textOf(bytes.subarray(at, at + length));
}

/** Whether the `length` bytes at both places are equal. */
export function sameBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number, length: number): boolean {
  for (let index = 0; index < length; index++) if (a[aAt + index] !== b[bAt + index]) return false;
  return true;
}
