/**
 * The vocabulary in which the contract between the host and the WebAssembly module is written: scalars, structs,
 * maps, code sets. Declarations are plain data; codec.ts reads and writes bytes by them, emit.ts writes
 * assembly/abi.gen.ts from them, contractHash() names them.
 *
 * Guarantees: a struct has no padding the declaration does not name, every field is aligned to its own size, and a
 * declaration that breaks this throws when it is loaded. Fields lie in the order they are written.
 *
 * It does not do nested structs, unions or variable lengths.
 */

/** `be*` fields hold bytes as they are on the wire; the host's value is the number they mean. */
export type Kind = "u8" | "u16" | "u32" | "u64" | "be16" | "be32" | "bytes";

export interface FieldType<Value> {
  readonly kind: Kind;
  /** Bytes. */
  readonly size: number;
  /** The field's offset is a multiple of this. */
  readonly align: number;
  /** Carries the host's type of a value; never set. */
  readonly value?: Value;
}

export const u8: FieldType<number> = scalar("u8", 1);
export const u16: FieldType<number> = scalar("u16", 2);
export const u32: FieldType<number> = scalar("u32", 4);
export const u64: FieldType<bigint> = { kind: "u64", size: 8, align: 8 };
/** A port or another 16-bit field in wire order. The host sees 80 for the bytes 00 50. */
export const be16: FieldType<number> = scalar("be16", 2);
export const be32: FieldType<number> = scalar("be32", 4);

/** Opaque bytes. Aligned to nothing here; see `wordSize` for how the module sees them. */
export function bytes(size: number): FieldType<Uint8Array> {
  return { kind: "bytes", size, align: 1 };
}

function scalar(kind: Kind, size: number): FieldType<number> {
  return { kind, size, align: size };
}

// ---- structs -----------------------------------------------------------------------------------------------

/** Fields in memory order: name -> type and one line of documentation. */
// biome-ignore lint/suspicious/noExplicitAny: the value type is only looked at by inference
export type FieldList = Readonly<Record<string, readonly [FieldType<any>, string]>>;

export interface Field {
  readonly name: string;
  readonly type: FieldType<unknown>;
  readonly offset: number;
  readonly doc: string;
}

export interface Struct<Fields extends FieldList = FieldList> {
  readonly name: string;
  readonly doc: string;
  /** Bytes. */
  readonly size: number;
  readonly fields: readonly Field[];
  /** The declaration itself; its type gives the type of a record. */
  readonly declared: Fields;
}

/** A value of a struct on the host. Fields left out when encoding are zero. */
export type RecordOf<S> = S extends Struct<infer Fields>
  ? { -readonly [Name in keyof Fields]: Fields[Name][0] extends FieldType<infer Value> ? Value : never }
  : never;

/** Declares a struct. Throws where a field is not aligned or the size is not a multiple of the widest field. */
export function struct<const Fields extends FieldList>(name: string, doc: string, declared: Fields): Struct<Fields> {
  const fields: Field[] = [];
  let offset = 0;
  let widest = 1;
  for (const [field, [type, fieldDoc]] of Object.entries(declared)) {
    if (offset % type.align !== 0) throw new Error(`${name}.${field} at ${offset} is not aligned to ${type.align}`);
    fields.push({ name: field, type, offset, doc: fieldDoc });
    offset += type.size;
    widest = Math.max(widest, type.align);
  }
  if (offset % widest !== 0) throw new Error(`${name} has ${offset} bytes, not a multiple of ${widest}`);
  return { name, doc, size: offset, fields, declared };
}

/** Bytes of the widest load that can read a `bytes` field piece by piece: 8, 4, 2 or 1. */
export function wordSize(field: Field): number {
  for (const size of [8, 4, 2]) {
    if (field.offset % size === 0 && field.type.size % size === 0) return size;
  }
  return 1;
}

// ---- code sets ---------------------------------------------------------------------------------------------

export interface Codes<Values extends Readonly<Record<string, number>> = Readonly<Record<string, number>>> {
  readonly name: string;
  readonly doc: string;
  readonly values: Values;
  /** What reports print; the names themselves where absent. */
  readonly texts: Readonly<Record<number, string>>;
  /** Numbers that once meant something or are kept free, with what they were. Never given out again. */
  readonly retired: Readonly<Record<number, string>>;
}

/** Declares a set of numbered names. Throws where a number is used twice, or is listed as retired too. */
export function codes<const Values extends Readonly<Record<string, number>>>(
  name: string,
  doc: string,
  values: Values,
  texts: Readonly<Record<number, string>> = {},
  retired: Readonly<Record<number, string>> = {},
): Codes<Values> {
  const seen = new Set<number>(Object.keys(retired).map(Number));
  for (const [code, number] of Object.entries(values)) {
    if (seen.has(number)) throw new Error(`${name}.${code}: ${number} is taken`);
    seen.add(number);
  }
  return { name, doc, values, texts, retired };
}

/** The text of a code, its name, or `unknown N`. */
export function codeText(set: Codes, number: number): string {
  const text = set.texts[number];
  if (text !== undefined) return text;
  for (const [name, value] of Object.entries(set.values)) if (value === number) return name;
  return `unknown ${number}`;
}

// ---- maps --------------------------------------------------------------------------------------------------

/** Map types of bpf(2). */
export type MapKindName =
  | "array" | "hash" | "lru_hash" | "lpm_trie" | "array_of_maps" | "hash_of_maps" | "prog_array" | "ringbuf";

export interface MapDeclaration<
  Name extends string = string, Key extends Struct = Struct, Value extends Struct = Struct,
  Inner extends InnerMaps | null = InnerMaps | null,
> {
  /** Cilium's name; `twinplane_` for what has no map in Cilium. */
  readonly name: Name;
  readonly kind: MapKindName;
  readonly doc: string;
  readonly key: Key;
  readonly value: Value;
  /**
   * Cilium's default limit, in entries; bytes for a ring buffer. For a map with a `node` field in its key this is
   * the limit of each node.
   */
  readonly maxEntries: number;
  /** Name of the key's u16 field with the node's number, where every node has a quota of its own. */
  readonly node: string | null;
  /** Of a map-in-map; null for all others. */
  readonly inner: Inner;
}

/** What the inner maps of a map-in-map are. The declaration's `key`, `value` and `maxEntries` stay the outer map's. */
export interface InnerMaps<Key extends Struct = Struct, Value extends Struct = Struct> {
  readonly kind: "lpm_trie" | "array";
  readonly key: Key;
  readonly value: Value;
  /** Limit of each inner map. */
  readonly maxEntries: number;
}

/** Declares a map. The value of a map-in-map is the number of an inner map, as `map_inner_create` returns it. */
export function map<
  const Name extends string, Key extends Struct, Value extends Struct, Inner extends InnerMaps | null = null,
>(
  name: Name,
  kind: MapKindName,
  key: Key,
  value: Value,
  maxEntries: number,
  doc: string,
  more: { readonly node?: string; readonly inner?: Inner } = {},
): MapDeclaration<Name, Key, Value, Inner> {
  if (more.node !== undefined) nodeOffset(key, more.node);
  return { name, kind, doc, key, value, maxEntries, node: more.node ?? null, inner: (more.inner ?? null) as Inner };
}

/** Offset of the u16 field that partitions a map by node. */
export function nodeOffset(key: Struct, name: string): number {
  const field = key.fields.find((candidate) => candidate.name === name);
  if (field === undefined || field.type.kind !== "u16") throw new Error(`${key.name} has no u16 field ${name}`);
  return field.offset;
}
