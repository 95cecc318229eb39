/**
 * Maglev tables into the module: each distinct table is computed once and loaded as one inner map, which the outer
 * entries of all its frontends hold. Of a change only the tables that are new are computed.
 */
import type { MaglevEntry, MaglevIndex, MaglevKey, InnerMap } from "../contract/structs.js";
import type { BpfMapOfMaps } from "./bpfmap.js";
import type { MaglevTables } from "./compile/maglev.js";
import { maglevTable } from "./compile/maglev.js";

type Outer = BpfMapOfMaps<typeof MaglevKey, typeof InnerMap, typeof MaglevIndex, typeof MaglevEntry>;
type OuterKey = { readonly rev_nat_id: number; readonly node: number };

export class MaglevLoader {
  /** Number of the inner map by the key of its table. */
  private readonly inner = new Map<string, number>();
  /** What the outer entries hold, by service and node. */
  private held = new Map<string, { readonly key: OuterKey; readonly inner: number }>();

  load(outer: Outer, { tables, of, size, seed }: MaglevTables): void {
    const wanted = new Set(of.map(({ revNatId, node }) => textOf(revNatId, node)));
    for (const [at, { key }] of this.held) {
      if (wanted.has(at)) continue;
      outer.delete([key]);
      this.held.delete(at);
    }
    for (const { revNatId, node, table } of of) {
      const at = textOf(revNatId, node);
      const inner = this.innerOf(outer, size, tables[table].key, () => maglevTable(tables[table].members, size, seed));
      if (this.held.get(at)?.inner === inner) continue;
      const key = { rev_nat_id: revNatId, node };
      const { errno } = outer.update([[key, { inner }]]);
      if (errno !== 0) throw new Error(`no entry for the Maglev table of service ${revNatId}: error ${errno}`);
      this.held.set(at, { key, inner });
    }
    const used = new Set([...this.held.values()].map(({ inner }) => inner));
    for (const [key, inner] of this.inner) {
      if (used.has(inner) || key === "") continue;
      outer.destroyInner(inner);
      this.inner.delete(key);
    }
  }

  /** The inner map of a table, new where there is none; the empty one where there is no room for another. */
  private innerOf(outer: Outer, size: number, key: string, compute: () => Uint32Array): number {
    const known = this.inner.get(key);
    if (known !== undefined) return known;
    // The empty table is kept from the first on, so that there is room for it.
    if (!this.inner.has("")) this.inner.set("", outer.createInner(size)!.inner);
    if (key === "") return this.inner.get("")!;
    const created = outer.createInner(size);
    if (created === null) return this.inner.get("")!;
    const table = compute();
    const keys = new Uint8Array(Uint32Array.from(table.keys()).buffer);
    const { errno } = created.updateBytes(keys, new Uint8Array(table.buffer));
    if (errno !== 0) throw new Error(`a Maglev table was refused with error ${errno}`);
    this.inner.set(key, created.inner);
    return created.inner;
  }
}

function textOf(revNatId: number, node: number): string {
  return `${revNatId} ${node}`;
}
