/**
 * Which of its addresses a node sends from: inet_select_addr (net/ipv4/devinet.c) and the rules of RFC 6724 that
 * ipv6_dev_get_saddr (net/ipv6/addrconf.c) applies to addresses without a lifetime: same address, scope, outgoing
 * interface, label, longest prefix. Deprecated, temporary and home addresses are not part of NodeFacts.
 */
import { type Address, prefixContains, prefixOf } from "../../cluster/address.js";
import type { Device } from "../../cluster/cluster.js";

interface Owned {
  readonly address: Address;
  readonly length: number;
  readonly device: number;
  /** IPv4: a further address of the same subnet on the device; never chosen. */
  readonly secondary: boolean;
}

export class AddressBook {
  private readonly v4: Owned[] = [];
  private readonly v6: Owned[] = [];
  /** Answers per `device` and next hop: the address sets do not change. */
  private readonly chosen4 = new Map<number, Address | null>();

  constructor(devices: readonly Device[]) {
    for (const device of devices) {
      if (!device.up) continue;
      for (const { address, length } of device.addresses) {
        const list = address.family === 4 ? this.v4 : this.v6;
        const secondary = address.family === 4 && list.some((other) => other.device === device.index
          && other.length === length && !other.secondary && prefixContains(prefixOf(other.address, length), address));
        list.push({ address, length, device: device.index, secondary });
      }
    }
  }

  /** The device's primary address, rather one in the subnet of `nextHop`; else another device's. Null: none. */
  select4(device: number, nextHop: Address | null): Address | null {
    if (nextHop !== null) return this.choose4(device, nextHop);
    let answer = this.chosen4.get(device);
    if (answer === undefined) {
      answer = this.choose4(device, null);
      this.chosen4.set(device, answer);
    }
    return answer;
  }

  /** `destination` is 16 bytes at `at`. Link-local and multicast destinations take an address of `device` only. */
  select6(device: number, destination: Uint8Array, at: number): Address | null {
    const target = destination.subarray(at, at + 16);
    const scope = scope6(target);
    const onlyDevice = target[0] === 0xff || scope === LINK;
    let best: Owned | null = null;
    for (const owned of this.v6) {
      if (onlyDevice && owned.device !== device) continue;
      if (best === null || better6(owned, best, target, scope, device)) best = owned;
    }
    return best?.address ?? null;
  }

  private choose4(device: number, nextHop: Address | null): Address | null {
    let first: Address | null = null;
    for (const owned of this.v4) {
      if (owned.device !== device || owned.secondary || hostScope(owned.address)) continue;
      if (nextHop === null || prefixContains(prefixOf(owned.address, owned.length), nextHop)) return owned.address;
      first ??= owned.address;
    }
    if (first !== null) return first;
    // Unnumbered device: the first global address of any other.
    for (const owned of this.v4) {
      if (!owned.secondary && !hostScope(owned.address)) return owned.address;
    }
    return null;
  }
}

/** `ip address add` gives 127/8 scope host; everything else is global. */
function hostScope(address: Address): boolean {
  return address.bytes[0] === 127;
}

const HOST = 1;
const LINK = 2;
const SITE = 5;
const GLOBAL = 14;

/** RFC 4291 scopes, with loopback as node-local; unique local addresses (fc00::/7) are global. */
function scope6(bytes: Uint8Array): number {
  if (bytes[0] === 0xff) return bytes[1] & 15;
  if (bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0x80) return LINK;
  if (bytes[0] === 0xfe && (bytes[1] & 0xc0) === 0xc0) return SITE;
  for (let index = 0; index < 15; index++) if (bytes[index] !== 0) return GLOBAL;
  return bytes[15] === 1 ? HOST : GLOBAL;
}

/** Whether `a` beats `b`, which came first. */
function better6(a: Owned, b: Owned, target: Uint8Array, scope: number, device: number): boolean {
  const isTarget = (one: Owned): number => Number(prefixLength6(one.address.bytes, target) === 128);
  const same = isTarget(a) - isTarget(b);
  if (same !== 0) return same > 0;
  // Rule 2: the smallest scope that reaches, and if none reaches, the largest.
  const byScope = scopeScore(a.address.bytes, scope) - scopeScore(b.address.bytes, scope);
  if (byScope !== 0) return byScope > 0;
  const byDevice = Number(a.device === device) - Number(b.device === device);
  if (byDevice !== 0) return byDevice > 0;
  const label = label6(target);
  const byLabel = Number(label6(a.address.bytes) === label) - Number(label6(b.address.bytes) === label);
  if (byLabel !== 0) return byLabel > 0;
  const matchA = Math.min(prefixLength6(a.address.bytes, target), a.length);
  const matchB = Math.min(prefixLength6(b.address.bytes, target), b.length);
  return matchA > matchB;
}

function scopeScore(bytes: Uint8Array, scope: number): number {
  const own = scope6(bytes);
  return own >= scope ? -own : own - 128;
}

function prefixLength6(a: Uint8Array, b: Uint8Array): number {
  for (let index = 0; index < 16; index++) {
    const difference = a[index] ^ b[index];
    if (difference !== 0) return index * 8 + Math.clz32(difference) - 24;
  }
  return 128;
}

/** ip6addrlbl_init_table (net/ipv6/addrlabel.c). */
function label6(bytes: Uint8Array): number {
  const word = (bytes[0] << 8) | bytes[1];
  const next = (bytes[2] << 8) | bytes[3];
  const zeroUpTo = (count: number): boolean => bytes.subarray(0, count).every((byte) => byte === 0);
  if (zeroUpTo(15) && bytes[15] === 1) return 0;
  if (zeroUpTo(10) && bytes[10] === 0xff && bytes[11] === 0xff) return 4;
  if (zeroUpTo(12)) return 3;
  if (word === 0x2002) return 2;
  if ((bytes[0] & 0xfe) === 0xfc) return 5;
  if (word === 0x2001 && next === 0) return 6;
  if (word === 0x2001 && (next & 0xfff0) === 0x10) return 7;
  return 1;
}
