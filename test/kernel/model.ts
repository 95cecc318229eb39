/** Maps as the manual page says they are, without a thought for speed: the reference the module's maps are held to. */
import { bytesOf, cleared, innerShape, type Operation, type Shape, type Subject } from "./operations.js";

const ENOENT = "-2";
const E2BIG = "-7";
const EBADF = "-9";
const EEXIST = "-17";
const EINVAL = "-22";
const ENOSPC = "-28";

/** Entries in order of use, the one used last at the end. */
export class ModelMap implements Subject {
  private readonly shape: Shape;
  private readonly entries = new Map<string, string>();
  private readonly inners: ModelMap[];

  constructor(shape: Shape) {
    this.shape = shape;
    this.inners = Array.from({ length: shape.innerMaps }, () => new ModelMap(innerShape));
    if (shape.kind === "array") {
      for (let index = 0; index < shape.maxEntries; index++) {
        this.entries.set(Buffer.from(new Uint32Array([index]).buffer).toString("hex"), "00".repeat(shape.valueSize));
      }
    }
  }

  run(operation: Operation): string {
    if (operation.op === "put") return this.put(operation.key, operation.map, operation.flags);
    if (operation.inner > 0) return this.inners[operation.inner - 1].run({ ...operation, inner: 0 });
    switch (operation.op) {
      case "update": return this.update(operation.key, operation.value, operation.flags);
      case "lookup": return this.lookup(operation.key);
      case "delete": return this.delete(operation.key);
      case "walk": return this.walk();
    }
  }

  /** A program's lookup: makes the entry the one used last. */
  use(key: string): boolean {
    const value = this.entries.get(key);
    if (value === undefined) return false;
    this.entries.delete(key);
    this.entries.set(key, value);
    return true;
  }

  private update(given: string, value: string, flags: number): string {
    const key = this.canonical(given);
    if (flags > 2 || key === null) return EINVAL;
    if (this.isArray && !this.inRange(key)) return E2BIG;
    const exists = this.entries.has(key);
    if (exists && flags === 1) return EEXIST;
    if (!exists && flags === 2) return ENOENT;
    if (!exists && this.entries.size >= this.shape.maxEntries) {
      if (this.shape.kind === "lpm_trie") return ENOSPC;
      if (this.shape.kind !== "lru_hash") return E2BIG;
      this.entries.delete(this.entries.keys().next().value as string);
    }
    this.entries.delete(key);
    this.entries.set(key, value);
    return "0";
  }

  private put(key: string, map: number, flags: number): string {
    const exists = map >= 1 && map <= this.inners.length;
    if (this.shape.kind === "array_of_maps") {
      if (flags !== 0) return EINVAL;
      if (!this.inRange(key)) return E2BIG;
    }
    // bpf(2) refuses flag 4 (BPF_F_LOCK) before it looks at the descriptor, a hash refuses 3 after it.
    if (flags > 3) return EINVAL;
    if (!exists) return EBADF;
    return this.update(key, String(map), flags);
  }

  private lookup(given: string): string {
    if (this.shape.kind !== "lpm_trie") return this.entries.get(given) ?? ENOENT;
    let best = -1;
    let value = ENOENT;
    const limit = lengthOf(given);
    if (this.canonical(given) === null) return ENOENT;
    for (const [key, candidate] of this.entries) {
      const length = lengthOf(key);
      if (length <= limit && length > best && key.slice(8) === cleared(key.slice(0, 8) + given.slice(8)).slice(8)) {
        best = length;
        value = candidate;
      }
    }
    return value;
  }

  private delete(given: string): string {
    const key = this.canonical(given);
    if (key === null || this.shape.kind === "array") return EINVAL;
    if (this.isArray && !this.inRange(key)) return E2BIG;
    return this.entries.delete(key) ? "0" : ENOENT;
  }

  /** An array of maps has all its indices, in use or not. */
  private walk(): string {
    if (this.shape.kind === "array_of_maps") return new ModelMap({ ...this.shape, kind: "array", innerMaps: 0 }).walk();
    return [...this.entries.keys()].sort().join(" ");
  }

  private get isArray(): boolean {
    return this.shape.kind === "array" || this.shape.kind === "array_of_maps";
  }

  private inRange(key: string): boolean {
    return lengthOf(key) < this.shape.maxEntries;
  }

  /** An LPM key without the bits behind its prefix; null where the prefix is longer than the key. */
  private canonical(key: string): string | null {
    if (this.shape.kind !== "lpm_trie") return key;
    return lengthOf(key) > (this.shape.keySize - 4) * 8 ? null : cleared(key);
  }
}

/** The u32 a key begins with: a prefix length, or an array's index. */
function lengthOf(key: string): number {
  return new DataView(bytesOf(key.slice(0, 8)).buffer).getUint32(0, true);
}
