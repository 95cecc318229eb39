/**
 * NAT decisions (net/netfilter/nf_nat_core.c, nf_nat_masquerade.c): which tuple a new connection gets. A
 * decision is made once per connection and kind, kept in the entry, and carried out on each packet by
 * manip.ts.
 *
 * Free ports are searched as the kernel does: from an offset that chance gives, inside the class of the old
 * port, 128 tries, then half as many from another offset, down to 16; in the last tries of a round a TCP
 * connection that is over gives its port away.
 */
import type { Skb } from "../skb.js";
import { jhash4, scaled, swapped } from "./address-range.js";
import { type Connection, Dir, Status } from "./connection.js";
import type { ConntrackTable } from "./conntrack-table.js";
import { Manip } from "./manip.js";
import { Proto } from "./packet.js";
import { TcpState } from "./tcp-state.js";
import { invertTuple, sameTuple, Tuple } from "./tuple.js";

/** NF_NAT_HARDER_THRESH. */
const harderAttempts = 32;

/** A uint32 that depends on the seed, the plane, the flow and how many were drawn for it before. */
export type Chance = (flow: number, draw: number) => number;

/** struct nf_nat_range2: what a NAT target asks for. */
export class NatRange {
  /** Whether the address is given (NF_NAT_RANGE_MAP_IPS). */
  hasAddress = false;
  a0 = 0;
  a1 = 0;
  a2 = 0;
  a3 = 0;
  /** The last address; the first, where it is one. */
  b0 = 0;
  b1 = 0;
  b2 = 0;
  b3 = 0;
  /** --persistent: the address depends on the source alone. */
  persistent = false;
  /** NF_NAT_RANGE_PROTO_OFFSET: the port that maps to the first; -1: none. */
  basePort = -1;
  /** 0: no port given. */
  minPort = 0;
  maxPort = 0;
  /** --random, --random-fully. */
  random = false;
}

export class Nat {
  /** First and last port of the last search made by chance, host order; -1: none since it was reset. */
  lastPortMin = -1;
  lastPortMax = -1;
  private readonly table: ConntrackTable;
  private readonly chance: Chance;
  private readonly current = new Tuple();
  private readonly chosen = new Tuple();
  private readonly probe = new Tuple();
  private readonly nothing = new NatRange();

  constructor(table: ConntrackTable, chance: Chance) {
    this.table = table;
    this.chance = chance;
  }

  /** nf_nat_setup_info. */
  setup(skb: Skb, ct: Connection, range: NatRange, manip: Manip): void {
    const { current, chosen } = this;
    if ((ct.status & Status.Confirmed) !== 0) return;
    const done = manip === Manip.Source ? Status.SourceNatDone : Status.DestinationNatDone;
    if ((ct.status & done) !== 0) throw new Error("NAT was set up twice for one connection");
    invertTuple(current, ct.reply);
    this.choose(skb, ct, range, manip);
    if (!sameTuple(chosen, current)) {
      invertTuple(ct.reply, chosen);
      ct.status |= manip === Manip.Source ? Status.SourceNat : Status.DestinationNat;
    }
    ct.status |= done;
  }

  /**
   * nf_nat_alloc_null_binding: the addresses stay; a source port may still change where the answer would
   * clash.
   */
  nullBinding(skb: Skb, ct: Connection, manip: Manip): void {
    const range = this.nothing;
    const { reply } = ct;
    const source = manip === Manip.Source;
    range.hasAddress = true;
    range.a0 = source ? reply.d0 : reply.s0;
    range.a1 = source ? reply.d1 : reply.s1;
    range.a2 = source ? reply.d2 : reply.s2;
    range.a3 = source ? reply.d3 : reply.s3;
    [range.b0, range.b1, range.b2, range.b3] = [range.a0, range.a1, range.a2, range.a3];
    this.setup(skb, ct, range, manip);
  }

  /** get_unique_tuple: `current` -> `chosen`. */
  private choose(skb: Skb, ct: Connection, range: NatRange, manip: Manip): void {
    const { current, chosen } = this;
    if (manip === Manip.Source && !range.random) {
      if (inRange(current, range)) {
        if (!this.used(current, ct)) {
          Tuple.copy(chosen, current);
          return;
        }
      } else if (this.sameMapping(range) && !this.used(chosen, ct)) {
        return;
      }
    }
    Tuple.copy(chosen, current);
    if (range.hasAddress) setAddress(chosen, range, manip);
    if (!range.random) {
      if (range.minPort !== 0) {
        const port = manip === Manip.Source ? chosen.source : chosen.destination;
        if (
          !hasPorts(chosen.protocol) ||
          (range.basePort < 0 &&
            port >= range.minPort &&
            port <= range.maxPort &&
            (range.minPort === range.maxPort || !this.used(chosen, ct)))
        )
          return;
      } else if (!this.used(chosen, ct)) {
        return;
      }
    }
    this.searchPort(skb, ct, range, manip);
  }

  /**
   * find_appropriate_src: the mapping another connection of this source already has, where it fits the range.
   */
  private sameMapping(range: NatRange): boolean {
    const { current, chosen, table } = this;
    for (let at = table.firstOfSource(current); at !== null; at = at.nextOfSource) {
      const { original } = at;
      if (
        original.protocol !== current.protocol ||
        original.source !== current.source ||
        original.family !== current.family ||
        original.s3 !== current.s3 ||
        original.s0 !== current.s0 ||
        original.s1 !== current.s1 ||
        original.s2 !== current.s2
      )
        continue;
      if (at.expiresNs <= table.nowNs) continue;
      invertTuple(chosen, at.reply);
      chosen.d0 = current.d0;
      chosen.d1 = current.d1;
      chosen.d2 = current.d2;
      chosen.d3 = current.d3;
      chosen.destination = current.destination;
      if (inRange(chosen, range)) return true;
    }
    return false;
  }

  /** nf_nat_used_tuple: whether the answer to this tuple already belongs to another connection. */
  private used(tuple: Tuple, ct: Connection): boolean {
    invertTuple(this.probe, tuple);
    return this.table.taken(this.probe, ct);
  }

  /**
   * nf_nat_used_tuple_harder: towards the end of a search a SYN may have the port of a translated connection
   * that is over, if its sequence numbers are beyond the old ones; the old entry ends.
   */
  private usedHarder(tuple: Tuple, ct: Connection, attemptsLeft: number): boolean {
    if (attemptsLeft > harderAttempts || ct.tcp?.state !== TcpState.SynSent) return this.used(tuple, ct);
    invertTuple(this.probe, tuple);
    const node = this.table.find(this.probe);
    if (node === null || node.connection === ct) return node !== null;
    const old = node.connection;
    if (node.direction === Dir.Original || old.tcp === null || old.tcp.state < TcpState.TimeWait) return true;
    if ((old.status & Status.SourceNat) === 0) return true;
    if (((ct.tcp.original.end - old.tcp.original.end) | 0) <= 0) return true;
    this.table.remove(old);
    return false;
  }

  /** nf_nat_l4proto_unique_tuple. */
  private searchPort(skb: Skb, ct: Connection, range: NatRange, manip: Manip): void {
    const { chosen } = this;
    const isIcmp = chosen.protocol === Proto.Icmp || chosen.protocol === Proto.Icmp6;
    if (!isIcmp && !hasPorts(chosen.protocol)) return;
    const source = isIcmp || manip === Manip.Source;
    const port = source ? chosen.source : chosen.destination;
    let min: number;
    let size: number;
    if (range.minPort !== 0) {
      min = Math.min(range.minPort, range.maxPort);
      size = Math.abs(range.maxPort - range.minPort) + 1;
    } else if (isIcmp) {
      min = 0;
      size = 65536;
    } else if (!source) {
      return;
    } else if (port < 512) {
      min = 1;
      size = 511;
    } else if (port < 1024) {
      min = 600;
      size = 424;
    } else {
      min = 1024;
      size = 64512;
    }
    if (manip === Manip.Source) {
      this.lastPortMin = min;
      this.lastPortMax = min + size - 1;
      if (this.takePin(skb, ct, min, size)) return;
    }
    let attempts = Math.min(size, 128);
    let offset = this.firstOffset(ct, range, manip, port);
    for (;;) {
      for (let i = 0; i < attempts; i++, offset = (offset + 1) & 0xffff) {
        const candidate = min + (offset % size);
        if (source) chosen.source = candidate;
        else chosen.destination = candidate;
        if (!this.usedHarder(chosen, ct, attempts - i)) return;
      }
      if (attempts >= size || attempts < 16) return;
      attempts >>= 1;
      offset = this.draw(ct) & 0xffff;
    }
  }

  /** A shifted range tells where to begin, chance where a source's search does, a destination's begins at the first. */
  private firstOffset(ct: Connection, range: NatRange, manip: Manip, port: number): number {
    if (range.basePort >= 0) return (port - range.basePort) & 0xffff;
    return range.random || manip === Manip.Source ? this.draw(ct) & 0xffff : 0;
  }

  /** The port seen in the capture, where it is one that chance could have given. */
  private takePin(skb: Skb, ct: Connection, min: number, size: number): boolean {
    const port = skb.pin === null ? null : skb.pin.sourcePort;
    if (port === null) return false;
    const { chosen } = this;
    const before = chosen.source;
    chosen.source = port;
    // A port of a connection that is over was seen given away: the search was at its end.
    if (port >= min && port < min + size && !this.usedHarder(chosen, ct, 1)) {
      skb.pinFlags |= 1;
      return true;
    }
    chosen.source = before;
    skb.pinFlags |= 2;
    return false;
  }

  private draw(ct: Connection): number {
    return this.chance(ct.flow, ct.draws++) >>> 0;
  }
}

function hasPorts(protocol: number): boolean {
  return (
    protocol === Proto.Tcp || protocol === Proto.Udp || protocol === Proto.Sctp || protocol === Proto.UdpLite
  );
}

/** in_range: whether the source part fits. */
function inRange(tuple: Tuple, range: NatRange): boolean {
  if (range.hasAddress && !(sourceOrder(tuple, range.a0, range.a1, range.a2, range.a3) >= 0
    && sourceOrder(tuple, range.b0, range.b1, range.b2, range.b3) <= 0))
    return false;
  if (range.minPort === 0) return true;
  const ranged = hasPorts(tuple.protocol) || tuple.protocol === Proto.Icmp || tuple.protocol === Proto.Icmp6;
  return !ranged || (tuple.source >= range.minPort && tuple.source <= range.maxPort);
}

/** Below 0 where the source comes before the address; unsigned, word by word. */
function sourceOrder({ s0, s1, s2, s3 }: Tuple, a: number, b: number, c: number, d: number): number {
  if (s0 !== a) return (s0 >>> 0) - (a >>> 0);
  if (s1 !== b) return (s1 >>> 0) - (b >>> 0);
  if (s2 !== c) return (s2 >>> 0) - (c >>> 0);
  return (s3 >>> 0) - (d >>> 0);
}

/** find_best_ips_proto for a range of addresses. */
function pickAddress(tuple: Tuple, range: NatRange, manip: Manip): void {
  const v4 = tuple.family === 4;
  const low = v4 ? [range.a3] : [range.a0, range.a1, range.a2, range.a3];
  const high = v4 ? [range.b3] : [range.b0, range.b1, range.b2, range.b3];
  const to = v4 ? [tuple.d3] : [tuple.d0, tuple.d1, tuple.d2, tuple.d3];
  const initial = range.persistent ? 0 : swapped(to[to.length - 1]);
  let hash = v4 ? jhash4(swapped(tuple.s3), 0, 0, 0, initial)
    : jhash4(swapped(tuple.s0), swapped(tuple.s1), swapped(tuple.s2), swapped(tuple.s3), initial);
  const chosen: number[] = [];
  let whole = false;
  for (const [at, first] of low.entries()) {
    const start = whole ? 0 : first >>> 0;
    const size = whole ? 0xffffffff : ((high[at] >>> 0) - start + 1) >>> 0;
    const word = (start + scaled(hash, size)) | 0;
    chosen.push(word);
    if (word !== high[at]) whole = true;
    // The destination is the one being written, where that is what changes.
    if (!range.persistent) hash = (hash ^ swapped(manip === Manip.Source ? to[at] : word)) >>> 0;
  }
  const [w0, w1, w2, w3] = v4 ? [0, 0, 0, chosen[0]] : chosen;
  if (manip === Manip.Source) [tuple.s0, tuple.s1, tuple.s2, tuple.s3] = [w0, w1, w2, w3];
  else [tuple.d0, tuple.d1, tuple.d2, tuple.d3] = [w0, w1, w2, w3];
}

function setAddress(tuple: Tuple, range: NatRange, manip: Manip): void {
  if (range.a3 !== range.b3 || range.a0 !== range.b0 || range.a1 !== range.b1 || range.a2 !== range.b2) {
    pickAddress(tuple, range, manip);
    return;
  }
  if (manip === Manip.Source) {
    tuple.s0 = range.a0;
    tuple.s1 = range.a1;
    tuple.s2 = range.a2;
    tuple.s3 = range.a3;
    return;
  }
  tuple.d0 = range.a0;
  tuple.d1 = range.a1;
  tuple.d2 = range.a2;
  tuple.d3 = range.a3;
}
