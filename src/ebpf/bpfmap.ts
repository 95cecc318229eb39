/**
 * A map of the WebAssembly module, as the host handles it: bpf(2)'s operations on many entries at once, with records
 * of the contract or with their bytes.
 *
 * It never looks inside a map: everything goes through the module's own operations, in pieces that fit the arena.
 * Errors of an operation are values (`errno`, positive, 0 for none); wrong use throws.
 */
import { type AnyRecord, decodeFrom, encodeInto } from "../contract/codec.js";
import { Errno, UpdateFlag } from "../contract/codes.js";
import { codeText, type RecordOf, type Struct } from "../contract/layout.js";
import type { WasmMemory } from "./webassembly.js";

/** The module's map operations; see assembly/maps/host.ts. */
export interface MapExports {
  map_error(): number;
  map_update(map: number, inner: number, keys: number, values: number, count: number, flags: number): number;
  map_lookup(map: number, inner: number, keys: number, values: number, count: number): number;
  map_delete(map: number, inner: number, keys: number, count: number): number;
  map_next(map: number, inner: number, key: number, out: number): number;
  map_dump(map: number, inner: number, from: number, keys: number, values: number, count: number): number;
  map_cursor(): number;
  map_count(map: number, inner: number): number;
  map_node_count(map: number, node: number): number;
  map_limit(map: number, inner: number, node: number, limit: number): number;
  map_inner_create(map: number, limit: number): number;
  map_inner_destroy(map: number, inner: number): number;
  map_read_ring(map: number, out: number, room: number): number;
  map_use(map: number, key: number): number;
}

/** Where an operation puts keys and values on their way. */
export interface Arena {
  readonly exports: MapExports;
  readonly memory: WasmMemory;
  readonly address: number;
  readonly bytes: number;
}

export interface MapResult {
  /** Entries done before the one that failed, or all. */
  readonly done: number;
  /** Positive error number of the entry that failed; 0 where all were done. */
  readonly errno: number;
}

/** Key and value structs of a map, and those of its inner maps. */
export interface MapTypes<Key extends Struct = Struct, Value extends Struct = Struct> {
  readonly name: string;
  readonly number: number;
  readonly key: Key;
  readonly value: Value;
}

export class BpfMap<Key extends Struct = Struct, Value extends Struct = Struct> {
  readonly types: MapTypes<Key, Value>;
  /** Number of the inner map this is, 0 for the map itself. */
  readonly inner: number;
  private readonly arena: Arena;
  /** Entries that fit the arena at once. */
  private readonly batch: number;

  constructor(types: MapTypes<Key, Value>, inner: number, arena: Arena) {
    this.types = types;
    this.inner = inner;
    this.arena = arena;
    this.batch = Math.floor((arena.bytes - 16) / (types.key.size + types.value.size));
    if (this.batch < 1) throw new Error(`the arena has no room for an entry of ${types.name}`);
  }

  /** Entries, all nodes together. */
  get count(): number {
    return this.arena.exports.map_count(this.types.number, this.inner) >>> 0;
  }

  /** Entries of one node, in a map whose key holds the node. */
  nodeCount(node: number): number {
    return this.arena.exports.map_node_count(this.types.number, node) >>> 0;
  }

  /** Sets one node's limit, or this inner map's. */
  limit(entries: number, node = 0): void {
    const result = this.arena.exports.map_limit(this.types.number, this.inner, node, entries);
    if (result !== 0) throw new Error(`${this.types.name}: no limit of ${entries} for node ${node}`);
  }

  update(
    entries: Iterable<readonly [Partial<RecordOf<Key>>, Partial<RecordOf<Value>>]>,
    flags: number = UpdateFlag.values.ANY,
  ): MapResult {
    const list = Array.isArray(entries) ? entries : [...entries];
    const { key, value } = this.types;
    const keys = new Uint8Array(list.length * key.size);
    const values = new Uint8Array(list.length * value.size);
    const keyView = new DataView(keys.buffer);
    const valueView = new DataView(values.buffer);
    list.forEach(([keyRecord, valueRecord], index) => {
      encodeInto(key, keyRecord as Partial<AnyRecord>, keyView, index * key.size);
      encodeInto(value, valueRecord as Partial<AnyRecord>, valueView, index * value.size);
    });
    return this.updateBytes(keys, values, flags);
  }

  /** Keys and values one behind the other, without gaps. */
  updateBytes(keys: Uint8Array, values: Uint8Array, flags: number = UpdateFlag.values.ANY): MapResult {
    const { exports } = this.arena;
    return this.inBatches(keys, (count, start, keysAt, valuesAt) => {
      this.bytes(valuesAt, values.subarray(start * this.types.value.size, (start + count) * this.types.value.size));
      return exports.map_update(this.types.number, this.inner, keysAt, valuesAt, count, flags);
    });
  }

  /** The value, or null where there is none. */
  lookup(key: Partial<RecordOf<Key>>): RecordOf<Value> | null {
    const { exports } = this.arena;
    const keysAt = this.put(key);
    const valuesAt = align(keysAt + this.types.key.size);
    if (exports.map_lookup(this.types.number, this.inner, keysAt, valuesAt, 1) === 1) {
      return decodeFrom(this.types.value, new DataView(this.arena.memory.buffer), valuesAt);
    }
    if (exports.map_error() !== -Errno.values.ENOENT) this.misuse(exports.map_error());
    return null;
  }

  /** Whether the key is there; a program's lookup, which an LRU map counts as use. */
  use(key: Partial<RecordOf<Key>>): boolean {
    return this.arena.exports.map_use(this.types.number, this.put(key)) !== 0;
  }

  delete(keys: Iterable<Partial<RecordOf<Key>>>): MapResult {
    const list = Array.isArray(keys) ? keys : [...keys];
    const bytes = new Uint8Array(list.length * this.types.key.size);
    const view = new DataView(bytes.buffer);
    list.forEach((key, index) => {
      encodeInto(this.types.key, key as Partial<AnyRecord>, view, index * this.types.key.size);
    });
    return this.deleteBytes(bytes);
  }

  deleteBytes(keys: Uint8Array): MapResult {
    const { exports } = this.arena;
    return this.inBatches(keys, (count, _start, keysAt) =>
      exports.map_delete(this.types.number, this.inner, keysAt, count));
  }

  /** Every key, by get_next_key: of any map but a ring buffer. The map must not change meanwhile. */
  keys(): Uint8Array[] {
    const { exports, memory, address } = this.arena;
    const { size } = this.types.key;
    const keys: Uint8Array[] = [];
    const out = align(address + size);
    let result = exports.map_next(this.types.number, this.inner, 0, out);
    while (result === 0) {
      const key = new Uint8Array(memory.buffer, out, size).slice();
      keys.push(key);
      this.bytes(address, key);
      result = exports.map_next(this.types.number, this.inner, address, out);
    }
    if (result !== -Errno.values.ENOENT) this.misuse(result);
    return keys;
  }

  /** Every entry of a hashed map, in the order of its slots. The map must not change meanwhile. */
  *entries(): Generator<[RecordOf<Key>, RecordOf<Value>]> {
    const { key, value } = this.types;
    for (const [keys, values, count] of this.dump()) {
      const keyView = new DataView(keys.buffer);
      const valueView = new DataView(values.buffer);
      for (let index = 0; index < count; index++) {
        yield [decodeFrom(key, keyView, index * key.size), decodeFrom(value, valueView, index * value.size)];
      }
    }
  }

  /** The same as bytes: keys, values and how many, piece by piece. */
  *dump(): Generator<[Uint8Array, Uint8Array, number]> {
    const { exports, memory, address } = this.arena;
    const { key, value, number } = this.types;
    const valuesAt = align(address + this.batch * key.size);
    let cursor = 0;
    do {
      const count = exports.map_dump(number, this.inner, cursor, address, valuesAt, this.batch);
      if (exports.map_error() !== 0) this.misuse(exports.map_error());
      cursor = exports.map_cursor();
      yield [
        new Uint8Array(memory.buffer, address, count * key.size).slice(),
        new Uint8Array(memory.buffer, valuesAt, count * value.size).slice(),
        count,
      ];
    } while (cursor !== 0);
  }

  /** Records of a ring buffer, oldest first; they are gone from it afterwards. */
  *drain(): Generator<Uint8Array> {
    const { exports, memory, address, bytes } = this.arena;
    for (;;) {
      const moved = exports.map_read_ring(this.types.number, address, bytes);
      if (moved === 0) return;
      const records = new Uint8Array(memory.buffer, address, moved).slice();
      const view = new DataView(records.buffer);
      for (let at = 0; at < moved; ) {
        const length = view.getUint32(at, true);
        yield records.subarray(at + 8, at + 8 + length);
        at += 8 + ((length + 7) & ~7);
      }
    }
  }

  private inBatches(
    keys: Uint8Array, run: (count: number, start: number, keysAt: number, valuesAt: number) => number,
  ): MapResult {
    const { key, name } = this.types;
    if (keys.length % key.size !== 0) throw new Error(`${name}: ${keys.length} bytes are no whole number of keys`);
    const total = keys.length / key.size;
    const valuesAt = align(this.arena.address + this.batch * key.size);
    for (let start = 0; start < total; start += this.batch) {
      const count = Math.min(this.batch, total - start);
      this.bytes(this.arena.address, keys.subarray(start * key.size, (start + count) * key.size));
      const done = run(count, start, this.arena.address, valuesAt);
      if (done < count) return { done: start + done, errno: -this.arena.exports.map_error() };
    }
    return { done: total, errno: 0 };
  }

  private put(key: Partial<RecordOf<Key>>): number {
    encodeInto(this.types.key, key as Partial<AnyRecord>, new DataView(this.arena.memory.buffer), this.arena.address);
    return this.arena.address;
  }

  private bytes(address: number, bytes: Uint8Array): void {
    new Uint8Array(this.arena.memory.buffer, address, bytes.length).set(bytes);
  }

  private misuse(error: number): never {
    throw new Error(`${this.types.name}: ${codeText(Errno, -error)}`);
  }
}

/** A map whose values are inner maps. */
export class BpfMapOfMaps<OuterKey extends Struct, OuterValue extends Struct, Key extends Struct, Value extends Struct>
  extends BpfMap<OuterKey, OuterValue> {
  private readonly innerTypes: MapTypes<Key, Value>;
  private readonly innerLimit: number;
  private readonly shared: Arena;

  constructor(
    types: MapTypes<OuterKey, OuterValue>, innerTypes: MapTypes<Key, Value>, innerLimit: number, arena: Arena,
  ) {
    super(types, 0, arena);
    this.innerTypes = innerTypes;
    this.innerLimit = innerLimit;
    this.shared = arena;
  }

  /** A new inner map with this limit; null where no more inner maps are reserved. */
  createInner(limit = this.innerLimit): BpfMap<Key, Value> | null {
    const number = this.shared.exports.map_inner_create(this.types.number, limit);
    if (number === -Errno.values.ENOMEM) return null;
    if (number <= 0) throw new Error(`${this.types.name}: no inner map of ${limit}: ${codeText(Errno, -number)}`);
    return this.innerMap(number);
  }

  /** The inner map of this number, as an outer entry holds it. */
  innerMap(number: number): BpfMap<Key, Value> {
    return new BpfMap(this.innerTypes, number, this.shared);
  }

  /** Empties and frees an inner map. Throws while an outer entry holds it. */
  destroyInner(number: number): void {
    const result = this.shared.exports.map_inner_destroy(this.types.number, number);
    if (result !== 0) throw new Error(`${this.types.name}: inner map ${number}: ${codeText(Errno, -result)}`);
  }
}

function align(address: number): number {
  return (address + 7) & ~7;
}
