/**
 * Records of the contract to bytes and back, by the declarations. Little endian as the module is, `be*` fields in
 * wire order.
 *
 * For control work (compilers, dumps, tests): it looks fields up by name. The packet path has its own views.
 */
import { addressFromBytes } from "../cluster/address.js";
import type { Field, RecordOf, Struct } from "./layout.js";

/** Any struct's record, where the struct is only known at run time. */
export type AnyRecord = Record<string, number | bigint | Uint8Array>;

/**
 * Writes a record at `offset`; fields left out are zero. Throws on a field the struct has not, a number out of its
 * range, or bytes longer than the field: that is our own mistake, never the input's.
 */
export function encodeInto(struct: Struct, record: Partial<AnyRecord>, view: DataView, offset: number): void {
  for (const name of Object.keys(record)) {
    if (!Object.hasOwn(struct.declared, name)) throw new Error(`${struct.name} has no field ${name}`);
  }
  for (const field of struct.fields) {
    writeField(struct, field, record[field.name] ?? 0, view, offset + field.offset);
  }
}

/** The bytes of a record. */
export function encode<S extends Struct>(struct: S, record: Partial<RecordOf<S>>): Uint8Array {
  const bytes = new Uint8Array(struct.size);
  encodeInto(struct, record as Partial<AnyRecord>, new DataView(bytes.buffer), 0);
  return bytes;
}

export function decodeFrom<S extends Struct>(struct: S, view: DataView, offset: number): RecordOf<S> {
  const record: AnyRecord = {};
  for (const field of struct.fields) record[field.name] = readField(field, view, offset + field.offset);
  return record as RecordOf<S>;
}

export function decode<S extends Struct>(struct: S, bytes: Uint8Array): RecordOf<S> {
  if (bytes.length !== struct.size) throw new Error(`${struct.name} has ${struct.size} bytes, not ${bytes.length}`);
  return decodeFrom(struct, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0);
}

/** `field=value` for each field in order, zeros and padding left out; 16-byte fields as addresses. */
export function format(struct: Struct, bytes: Uint8Array): string {
  const record = decode(struct, bytes) as AnyRecord;
  const parts: string[] = [];
  for (const field of struct.fields) {
    const value = record[field.name];
    if (/^pad\d?$/.test(field.name) || isZero(value)) continue;
    parts.push(`${field.name}=${value instanceof Uint8Array ? formatBytes(value) : value}`);
  }
  return parts.join(" ");
}

/** An address field: four bytes and zeros read as IPv4, anything else as IPv6, other sizes as hexadecimal. */
function formatBytes(bytes: Uint8Array): string {
  if (bytes.length !== 16) return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
  return addressFromBytes(isZero(bytes.subarray(4)) ? bytes.subarray(0, 4) : bytes).text;
}

function isZero(value: number | bigint | Uint8Array): boolean {
  return value instanceof Uint8Array ? value.every((byte) => byte === 0) : value === 0 || value === 0n;
}

/** The 16-byte form of an address: IPv4 in the first four bytes, zeros behind. */
export function addressField(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 4 && bytes.length !== 16) throw new Error(`an address has 4 or 16 bytes, not ${bytes.length}`);
  const field = new Uint8Array(16);
  field.set(bytes);
  return field;
}

/** By a number's size in bytes: the first that it cannot hold. */
const LIMITS: readonly number[] = Array.from({ length: 9 }, (_, size) => 2 ** (size * 8));

function writeField(
  struct: Struct, field: Field, value: number | bigint | Uint8Array, view: DataView, at: number,
): void {
  const { kind, size } = field.type;
  if (kind === "bytes") {
    if (value !== 0 && !(value instanceof Uint8Array && value.length <= size)) {
      throw new Error(`${struct.name}.${field.name}: expected up to ${size} bytes`);
    }
    // Byte by byte: an array over the field is made more slowly than so few bytes are written.
    const length = value === 0 ? 0 : (value as Uint8Array).length;
    for (let index = 0; index < length; index++) view.setUint8(at + index, (value as Uint8Array)[index]);
    for (let index = length; index < size; index++) view.setUint8(at + index, 0);
    return;
  }
  if (kind === "u64") {
    const number = typeof value === "number" ? BigInt(value) : value;
    if (typeof number !== "bigint" || BigInt.asUintN(64, number) !== number) outOfRange(struct, field, value);
    view.setBigUint64(at, number, true);
    return;
  }
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= LIMITS[size]) {
    outOfRange(struct, field, value);
  }
  switch (kind) {
    case "u8": view.setUint8(at, value); break;
    case "u16": view.setUint16(at, value, true); break;
    case "be16": view.setUint16(at, value, false); break;
    case "u32": view.setUint32(at, value, true); break;
    case "be32": view.setUint32(at, value, false); break;
  }
}

function outOfRange(struct: Struct, field: Field, value: unknown): never {
  throw new Error(`${struct.name}.${field.name}: ${String(value)} is not a ${field.type.kind}`);
}

function readField(field: Field, view: DataView, at: number): number | bigint | Uint8Array {
  switch (field.type.kind) {
    case "u8": return view.getUint8(at);
    case "u16": return view.getUint16(at, true);
    case "be16": return view.getUint16(at, false);
    case "u32": return view.getUint32(at, true);
    case "be32": return view.getUint32(at, false);
    case "u64": return view.getBigUint64(at, true);
    case "bytes": return new Uint8Array(view.buffer, view.byteOffset + at, field.type.size).slice();
  }
}
