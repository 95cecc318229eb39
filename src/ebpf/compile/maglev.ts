/**
 * Maglev tables of services (pkg/maglev, pkg/murmur3): which backend stands at which place.
 *
 *     name -> murmur3_x64_128 -> where a backend's walk over the places starts, and its step
 *     round robin over the backends by name: each takes the next free place of its walk; heavier ones more often
 *
 * Frontends with the same backends share a table, and so do nodes: a table is 4 bytes a place, 64 KiB at the default
 * size. `TABLE_BYTES` bounds all of one family; a frontend that finds no room gets the empty table, which the
 * program reads as undecided. A table is computed when it is loaded, not here.
 */
import { AllNodes } from "../../contract/codes.js";
import type { Problem } from "../../cluster/problem.js";
import type { CiliumOptions, CiliumVersion } from "../options.js";
import type { Backend, Frontend } from "./service.js";

/** Bytes of tables, each family. */
export const TABLE_BYTES = 1 << 29;
/** Index of the table that is all zeros. */
export const EMPTY_TABLE = 0;

export interface MaglevMember {
  readonly id: number;
  /** What is hashed, and sorted by. */
  readonly name: string;
  readonly weight: number;
}

export interface MaglevTable {
  /** Equal keys, equal tables. */
  readonly key: string;
  /** In the order of their names. */
  readonly members: readonly MaglevMember[];
}

export interface MaglevTables {
  /** Places of a table. */
  readonly size: number;
  readonly seed: number;
  /** The first is the empty one. */
  readonly tables: readonly MaglevTable[];
  /** `node` is AllNodes for a frontend that every node has. */
  readonly of: readonly { readonly revNatId: number; readonly node: number; readonly table: number }[];
}

export interface CompiledMaglev {
  readonly v4: MaglevTables;
  readonly v6: MaglevTables;
}

/** Services and backends as compiled; `nodes` is the numbering of nodes. */
export function compileMaglev(
  frontends: readonly Frontend[],
  backends: readonly Backend[],
  nodes: ReadonlyMap<string, number>,
  options: CiliumOptions,
  problems: Problem[],
): CompiledMaglev {
  const byId = new Map(backends.map((backend) => [backend.id, backend]));
  const family = (wanted: 4 | 6): MaglevTables => {
    const chosen = frontends.filter((frontend) => frontend.maglev && frontend.address.family === wanted);
    return tablesOf(chosen, byId, nodes, options, problems);
  };
  return { v4: family(4), v6: family(6) };
}

function tablesOf(
  frontends: readonly Frontend[],
  backends: ReadonlyMap<number, Backend>,
  nodes: ReadonlyMap<string, number>,
  options: CiliumOptions,
  problems: Problem[],
): MaglevTables {
  const size = options["bpf-lb-maglev-table-size"];
  const most = Math.floor(TABLE_BYTES / (size * 4));
  const tables: MaglevTable[] = [{ key: "", members: [] }];
  const known = new Map<string, number>();
  const of: { revNatId: number; node: number; table: number }[] = [];
  let refused = 0;
  for (const frontend of frontends) {
    const node = frontend.node === null ? AllNodes.values.ALL : nodes.get(frontend.node);
    if (node === undefined || frontend.active.length === 0) continue;
    const members = frontend.active.map((id, index) => ({
      id,
      name: backendName(backends.get(id)!, options.version),
      weight: frontend.weights[index],
    }));
    members.sort((a, b) => (a.name < b.name ? -1 : 1));
    const key = members.map(({ id, weight }) => `${id}*${weight}`).join(" ");
    let table = known.get(key);
    if (table === undefined) {
      table = tables.length < most ? tables.push({ key, members }) - 1 : EMPTY_TABLE;
      if (table === EMPTY_TABLE) refused++;
      else known.set(key, table);
    }
    of.push({ revNatId: frontend.revNatId, node, table });
  }
  if (refused > 0) {
    problems.push({
      where: null,
      severity: "warning",
      what:
        `Maglev tables of ${refused} frontends do not fit into ${TABLE_BYTES / 2 ** 20} MiB; ` +
        "what comes to them from outside is undecided",
    });
  }
  return { size, seed: maglevSeeds(options["bpf-lb-maglev-hash-seed"])[0], tables, of };
}

/**
 * What stands for a backend: `ip:port` in 1.16 (L3n4Addr.String), later with protocol and state, although only active
 * backends are in a table (BackendInfo.setHashString). A backend's scope is never the internal one, so no `/i`.
 */
function backendName({ address, port, protocol }: Backend, version: CiliumVersion): string {
  const host = address.family === 6 ? `[${address.text}]` : address.text;
  return version === "1.16" ? `${host}:${port}` : `[${host}:${port}/${PROTOCOL[protocol]},State:active]`;
}

const PROTOCOL: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };

/** Three big-endian words of the base64 seed: murmur, jhash for IPv4, jhash for IPv6. */
export function maglevSeeds(text: string): [number, number, number] {
  const view = new DataView(Uint8Array.from(atob(text), (char) => char.charCodeAt(0)).buffer);
  return [view.getUint32(0), view.getUint32(4), view.getUint32(8)];
}

/** GetLookupTable: a backend id for each place. */
export function maglevTable(members: readonly MaglevMember[], size: number, seed: number): Uint32Array {
  const table = new Uint32Array(size);
  const count = members.length;
  if (count === 0) return table;
  const at = new Uint32Array(count);
  const skip = new Uint32Array(count);
  members.forEach(({ name }, index) => {
    const [first, second] = murmur3(name, seed);
    at[index] = Number(first % BigInt(size));
    skip[index] = Number(second % BigInt(size - 1)) + 1;
  });
  const sum = members.reduce((total, { weight }) => total + weight, 0);
  const weighted = Math.floor(sum / count) > 1;
  const due = Float64Array.from(members, ({ weight }) => weight / count);
  for (let turn = 0; turn < size; turn++) {
    let index = turn % count;
    if (weighted) {
      while ((turn + 1) * members[index].weight < Math.floor(due[index])) index = (index + 1) % count;
      due[index] += sum;
    }
    while (table[at[index]] !== 0) at[index] = (at[index] + skip[index]) % size;
    table[at[index]] = members[index].id;
  }
  return table;
}

const C1 = 0x87c37b91114253d5n;
const C2 = 0x4cf5ad432745937fn;

/** MurmurHash3_x64_128 of an ASCII text. */
function murmur3(text: string, seed: number): [bigint, bigint] {
  const bytes = new TextEncoder().encode(text);
  const view = new DataView(bytes.buffer);
  let h1 = BigInt(seed);
  let h2 = BigInt(seed);
  const whole = bytes.length & ~15;
  for (let offset = 0; offset < whole; offset += 16) {
    h1 ^= u64(rotate(u64(view.getBigUint64(offset, true) * C1), 31n) * C2);
    h1 = u64((rotate(h1, 27n) + h2) * 5n + 0x52dce729n);
    h2 ^= u64(rotate(u64(view.getBigUint64(offset + 8, true) * C2), 33n) * C1);
    h2 = u64((rotate(h2, 31n) + h1) * 5n + 0x38495ab5n);
  }
  const word = (from: number): bigint => {
    let value = 0n;
    for (let index = Math.min(bytes.length, from + 8) - 1; index >= from; index--) {
      value = (value << 8n) | BigInt(bytes[index]);
    }
    return value;
  };
  h2 ^= u64(rotate(u64(word(whole + 8) * C2), 33n) * C1);
  h1 ^= u64(rotate(u64(word(whole) * C1), 31n) * C2);
  h1 ^= BigInt(bytes.length);
  h2 ^= BigInt(bytes.length);
  h1 = u64(h1 + h2);
  h2 = u64(h2 + h1);
  h1 = mixed(h1);
  h2 = mixed(h2);
  h1 = u64(h1 + h2);
  return [h1, u64(h2 + h1)];
}

function mixed(value: bigint): bigint {
  value = u64((value ^ (value >> 33n)) * 0xff51afd7ed558ccdn);
  value = u64((value ^ (value >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return value ^ (value >> 33n);
}

function rotate(value: bigint, bits: bigint): bigint {
  return u64((value << bits) | (value >> (64n - bits)));
}

function u64(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}
