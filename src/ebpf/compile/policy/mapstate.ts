/**
 * The state of one policy map, kept so that the datapath's lookup gives the intended verdict.
 *
 * The lookup takes the longest matching key of the packet's identity and of identity 0 and compares the two. That is
 * only right while, for one identity, a longer key never has a lower precedence; insertion keeps this true by leaving
 * out entries that are covered and removing those that become covered (`pkg/policy/mapstate.go`,
 * `insertWithChanges`). What pruning takes out is remembered in `shadowed`.
 *
 *   traffic, 30 bits:  | direction 1 | protocol 8 | port prefix length 5 | port 16 |
 *
 * Allows of equal precedence never cover one another, so a map of plain allows costs one hash insert an entry.
 */
import type { CookieTable } from "./cookies.js";

/** As in the `egress` bit of the key. */
export const Traffic = { Ingress: 0, Egress: 1 } as const;

/** Low byte of the precedence at priority 0 (`pkg/policy/types/entry.go`, 1.20). */
export const DENY = 255;
export const ALLOW = 1;
export const FIRST_REDIRECT = 2;
const HIGHEST = 0xffffff;

/** Precedence of a verdict at an ordered level, 0 the first. */
export function precedenceOf(priority: number, low: number): number {
  return (HIGHEST - priority) * 256 + low;
}

export function trafficKey(direction: number, protocol: number, port: number, portPrefixLength: number): number {
  return (direction << 29) | (protocol << 21) | (portPrefixLength << 16) | port;
}
export const trafficDirection = (traffic: number): number => (traffic >>> 29) & 1;
export const trafficProtocol = (traffic: number): number => (traffic >>> 21) & 0xff;
export const trafficPortPrefixLength = (traffic: number): number => (traffic >>> 16) & 0x1f;
export const trafficPort = (traffic: number): number => traffic & 0xffff;

/** `lpm_prefix_length` of the value: 0 any, 8 protocol, 8 + n with n port bits. */
export function trafficLpmLength(traffic: number): number {
  return trafficProtocol(traffic) === 0 ? 0 : 8 + trafficPortPrefixLength(traffic);
}

/** Whether every packet of `inner` is one of `outer`. */
export function trafficCovers(outer: number, inner: number): boolean {
  if (trafficDirection(outer) !== trafficDirection(inner)) return false;
  const protocol = trafficProtocol(outer);
  if (protocol === 0) return true;
  if (protocol !== trafficProtocol(inner)) return false;
  const length = trafficPortPrefixLength(outer);
  if (length > trafficPortPrefixLength(inner)) return false;
  return length === 0 || (trafficPort(outer) ^ trafficPort(inner)) >>> (16 - length) === 0;
}

export interface Shadowed {
  readonly identity: number;
  readonly traffic: number;
  readonly precedence: number;
  readonly cookie: number;
  /** Cookie of the entry that covers it. */
  readonly by: number;
}

/** Sorted by traffic, then identity: columns of one map. */
export interface MapEntries {
  readonly identity: Uint32Array;
  readonly traffic: Uint32Array;
  readonly precedence: Uint32Array;
  readonly cookie: Uint32Array;
}

interface Slot {
  readonly traffic: number;
  readonly precedence: Map<number, number>;
  readonly cookie: Map<number, number>;
}

export class MapState {
  private readonly slots = new Map<number, Slot>();
  private readonly precedences = new Set<number>();
  readonly shadowed: Shadowed[] = [];
  size = 0;

  constructor(private readonly cookies: CookieTable) {}

  /** Adds one entry as the agent would; `cookie` says where it comes from. */
  insert(identity: number, traffic: number, precedence: number, cookie: number): void {
    const slot = this.slots.get(traffic) ?? this.newSlot(traffic);
    const present = slot.precedence.get(identity);
    if (present === precedence) {
      slot.cookie.set(identity, this.cookies.join(slot.cookie.get(identity)!, cookie));
      return;
    }
    this.precedences.add(precedence);
    if (this.precedences.size > 1 || (precedence & 0xff) === DENY) {
      const by = this.coveredBy(identity, traffic, precedence);
      if (by >= 0) {
        this.shadowed.push({ identity, traffic, precedence, cookie, by });
        return;
      }
      this.removeCovered(identity, traffic, precedence, cookie);
    }
    if (!slot.precedence.has(identity)) this.size++;
    slot.precedence.set(identity, precedence);
    slot.cookie.set(identity, cookie);
  }

  /** The map's content, in an order that does not depend on insertion. */
  entries(): MapEntries {
    const identity = new Uint32Array(this.size);
    const traffic = new Uint32Array(this.size);
    const precedence = new Uint32Array(this.size);
    const cookie = new Uint32Array(this.size);
    let row = 0;
    for (const slot of [...this.slots.values()].sort((a, b) => a.traffic - b.traffic)) {
      const ids = Uint32Array.from(slot.precedence.keys()).sort();
      for (const id of ids) {
        identity[row] = id;
        traffic[row] = slot.traffic;
        precedence[row] = slot.precedence.get(id)!;
        cookie[row] = slot.cookie.get(id)!;
        row++;
      }
    }
    return { identity, traffic, precedence, cookie };
  }

  private newSlot(traffic: number): Slot {
    const slot: Slot = { traffic, precedence: new Map(), cookie: new Map() };
    this.slots.set(traffic, slot);
    return slot;
  }

  /** Cookie of an entry that makes the new one useless, or -1. */
  private coveredBy(identity: number, traffic: number, precedence: number): number {
    const deny = (precedence & 0xff) === DENY;
    for (const slot of this.slots.values()) {
      if (!trafficCovers(slot.traffic, traffic)) continue;
      for (const owner of identity === 0 ? [0] : [identity, 0]) {
        const found = slot.precedence.get(owner);
        if (found === undefined) continue;
        const sameKey = owner === identity && slot.traffic === traffic;
        // Denies of one precedence: the wider one is enough. Allows of one precedence all stay.
        if (found > precedence || (deny && found === precedence && !sameKey)) return slot.cookie.get(owner)!;
      }
    }
    return -1;
  }

  private removeCovered(identity: number, traffic: number, precedence: number, by: number): void {
    const deny = (precedence & 0xff) === DENY;
    for (const slot of this.slots.values()) {
      if (!trafficCovers(traffic, slot.traffic)) continue;
      for (const owner of identity === 0 ? [...slot.precedence.keys()] : [identity]) {
        const found = slot.precedence.get(owner);
        if (found === undefined) continue;
        const sameKey = owner === identity && slot.traffic === traffic;
        if (found > precedence || (found === precedence && !(deny && !sameKey))) continue;
        this.shadowed.push({ identity: owner, traffic: slot.traffic, precedence: found, cookie: slot.cookie.get(owner)!, by });
        slot.precedence.delete(owner);
        slot.cookie.delete(owner);
        this.size--;
      }
    }
  }
}
