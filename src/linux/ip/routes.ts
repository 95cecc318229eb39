/**
 * Route lookup of one family: the local table first, then main, then default, and in each the longest prefix with the
 * lowest metric (net/ipv4/fib_trie.c, fib_rules.c with the three built-in rules; net/ipv6/ip6_fib.c).
 *
 * Policy routing (`ip rule`) and tables with a number are not part of NodeFacts and are left out of the lookup.
 * Neighbours are taken as reachable and devices as up, as in the dump that the routes come from.
 */
import type { Address } from "../../cluster/address.js";
import type { Route } from "../../cluster/cluster.js";
import { getU32 } from "./bytes.js";

export interface RouteEntry {
  readonly type: Route["type"];
  /** ifindex; 0 for unreachable and the like. */
  readonly device: number;
  readonly gateway: Address | null;
  readonly prefSrc: Address | null;
  /** Of the route itself; 0: the device's. */
  readonly mtu: number;
  readonly local: boolean;
}

const TABLES: Readonly<Record<string, number>> = { local: 0, main: 1, default: 2 };
const CACHE = 1024;

export class RouteTable {
  readonly entries: readonly RouteEntry[];
  private readonly words: 1 | 4;
  /** Per entry `words` words each. */
  private readonly networks: Uint32Array;
  private readonly masks: Uint32Array;
  private readonly tables: Uint8Array;
  /** Direct-mapped: `words` of the destination, then the entry's index plus one; 0: empty, count + 1: no route. */
  private readonly cacheKeys: Uint32Array;
  private readonly cacheValues: Uint32Array;
  private readonly sought = new Uint32Array(4);

  constructor(family: 4 | 6, routes: readonly Route[]) {
    this.words = family === 4 ? 1 : 4;
    const ordered = routes
      .filter((route) => route.destination.address.family === family && TABLES[route.table] !== undefined)
      .map((route, order) => ({ route, order }))
      .sort((a, b) => TABLES[a.route.table] - TABLES[b.route.table]
        || b.route.destination.length - a.route.destination.length
        || a.route.metric - b.route.metric || a.order - b.order)
      .map(({ route }) => route);
    this.entries = ordered.map((route) => ({
      type: route.type, device: route.device ?? 0, gateway: route.via, prefSrc: route.prefSrc, mtu: route.mtu ?? 0,
      local: route.type === "local",
    }));
    this.networks = new Uint32Array(ordered.length * this.words);
    this.masks = new Uint32Array(ordered.length * this.words);
    this.tables = Uint8Array.from(ordered, (route) => TABLES[route.table]);
    ordered.forEach((route, index) => {
      for (let word = 0; word < this.words; word++) {
        const bits = Math.min(32, Math.max(0, route.destination.length - word * 32));
        this.networks[index * this.words + word] = getU32(route.destination.address.bytes, word * 4);
        this.masks[index * this.words + word] = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
      }
    });
    this.cacheKeys = new Uint32Array(CACHE * this.words);
    this.cacheValues = new Uint32Array(CACHE);
  }

  /** The route to the address at `bytes[at…]`, or null where there is none. */
  lookup(bytes: Uint8Array, at: number): RouteEntry | null {
    const { words, sought, cacheKeys } = this;
    let hash = 0;
    for (let word = 0; word < words; word++) {
      sought[word] = getU32(bytes, at + word * 4);
      hash = Math.imul(hash ^ sought[word], 0x9e3779b1);
    }
    const slot = (hash ^ (hash >>> 15)) & (CACHE - 1);
    let same = this.cacheValues[slot] !== 0;
    for (let word = 0; same && word < words; word++) same = cacheKeys[slot * words + word] === sought[word];
    if (!same) {
      this.cacheValues[slot] = this.find() + 1;
      for (let word = 0; word < words; word++) cacheKeys[slot * words + word] = sought[word];
    }
    const index = this.cacheValues[slot] - 1;
    return index === this.entries.length ? null : this.entries[index];
  }

  /** As `lookup`, in the local table only (inet_addr_type looks nowhere else). */
  lookupLocal(bytes: Uint8Array, at: number): RouteEntry | null {
    for (let word = 0; word < this.words; word++) this.sought[word] = getU32(bytes, at + word * 4);
    for (let index = 0; index < this.entries.length && this.tables[index] === 0; index++) {
      if (this.matches(index)) return this.entries[index];
    }
    return null;
  }

  /** Index of the first entry that holds `sought`; the entries are in the kernel's order of preference. */
  private find(): number {
    let skipTable = -1;
    for (let index = 0; index < this.entries.length; index++) {
      if (this.tables[index] === skipTable || !this.matches(index)) continue;
      // A throw route ends the search in its table and lets the next rule decide.
      if (this.entries[index].type === "throw") skipTable = this.tables[index];
      else return index;
    }
    return this.entries.length;
  }

  private matches(index: number): boolean {
    const base = index * this.words;
    for (let word = 0; word < this.words; word++) {
      if ((this.sought[word] & this.masks[base + word]) >>> 0 !== this.networks[base + word]) return false;
    }
    return true;
  }
}
