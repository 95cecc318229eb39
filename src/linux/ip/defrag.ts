/**
 * Reassembly before netfilter: nf_defrag_ipv4 (net/ipv4/ip_fragment.c) and nf_defrag_ipv6
 * (net/ipv6/netfilter/nf_conntrack_reasm.c) on net/ipv4/inet_fragment.c.
 *
 * Fragments come in any order. One that lies wholly inside a run already received is a duplicate and vanishes alone;
 * any other overlap ends the whole datagram, and so does a length that contradicts an earlier one. A queue ends 30 s
 * (IPv6: 60 s) after its first fragment, silently: the "reassembly time exceeded" that the kernel may send for its own
 * addresses is not made. Memory limits (ipfrag_high_thresh) are not modelled.
 */
import { equalBytes, getU16, getU32, setIpv4Checksum, setU16 } from "./bytes.js";
import { Protocol } from "./checksum.js";
import { reparse } from "./header.js";
import type { Packet } from "./packet.js";
import { Reason } from "./reasons.js";

export const Gathered = { Complete: 0, Held: 1, Dropped: 2 } as const;
export type Gathered = (typeof Gathered)[keyof typeof Gathered];

interface Fragment {
  readonly offset: number;
  /** The fragment's payload; for the first one preceded by its header. */
  readonly bytes: Uint8Array;
  readonly length: number;
}

interface Queue {
  readonly user: number;
  readonly hash: number;
  /** Addresses, then identification (and protocol for IPv4), as in the header. */
  readonly key: Uint8Array;
  readonly expiresNs: number;
  /** Payload length as far as known. */
  length: number;
  lastIn: boolean;
  /** Payload bytes received. */
  meat: number;
  /** In offset order. */
  readonly fragments: Fragment[];
  /** Kernel's fragment runs: [start, end) of what was appended in order; sorted, never merged. */
  readonly runs: [number, number][];
  header: Uint8Array | null;
  /** Of the first fragment's frame, whose skb becomes the whole packet's. */
  sourceMac: Uint8Array | null;
  /** IPv6: places in `header`. */
  fragmentPrevious: number;
  fragmentHeader: number;
  maxSize: number;
  maxDfSize: number;
  ecn: number;
  /** The capture cut a fragment: the datagram cannot be rebuilt. */
  cut: boolean;
}

const SECOND = 1e9;
const MAX_PAYLOAD = 65535;

export class Reassembler {
  /** Why the last `Dropped` or `Held` was. */
  reason = "";
  private readonly family: 4 | 6;
  private readonly queues: Queue[] = [];
  private readonly key = new Uint8Array(40);

  constructor(family: 4 | 6) {
    this.family = family;
  }

  /**
   * Takes a fragment. On `Complete` the packet goes on: with the whole datagram, or as it came where the kernel does
   * not gather it. `user` keeps received and sent fragments apart (IP_DEFRAG_CONNTRACK_IN, _OUT).
   */
  gather(packet: Packet, user: number): Gathered {
    this.expire(packet.timeNs);
    if (this.family === 6 && lacksTransportHeader(packet)) return Gathered.Complete;
    const queue = this.find(packet, user);
    if (packet.truncated) queue.cut = true;
    if (queue.cut) return this.drop(Reason.TruncatedFragment);
    const offset = packet.fragmentOffset;
    const headerLength = packet.headerLength;
    let end = offset + packet.length - headerLength;
    if (!packet.moreFragments) {
      if (end < queue.length || (queue.lastIn && end !== queue.length)) return this.discard(queue);
      queue.lastIn = true;
      queue.length = end;
    } else {
      if ((end & 7) !== 0) {
        // IPv4 cuts the odd end off. IPv6 hands the fragment on as it is (-EPROTO), which nothing behind here models.
        if (this.family === 6) return this.discard(queue, "undecided: IPv6 fragment of an odd length");
        end &= ~7;
      }
      if (end > queue.length) {
        if (queue.lastIn) return this.discard(queue);
        queue.length = end;
      }
    }
    if (end === offset || end > MAX_PAYLOAD) return this.discard(queue);
    const inserted = insertRun(queue.runs, offset, end);
    if (inserted === DUPLICATE) return this.drop(Reason.DuplicateFragment);
    if (inserted === OVERLAP) return this.discard(queue);
    this.keep(queue, packet, offset, end);
    if (queue.header === null || !queue.lastIn || queue.meat !== queue.length) {
      this.reason = Reason.HeldFragment;
      return Gathered.Held;
    }
    this.remove(queue);
    const ecn = ECN[queue.ecn];
    if (ecn === 0xff || queue.length + queue.header.length > MAX_PAYLOAD + (this.family === 6 ? 40 : 0)) {
      return this.drop(Reason.BadFragment);
    }
    if (this.family === 4) rebuildIpv4(queue, queue.header, packet, ecn);
    else rebuildIpv6(queue, queue.header, packet, ecn);
    return Gathered.Complete;
  }

  private keep(queue: Queue, packet: Packet, offset: number, end: number): void {
    const { bytes, headerLength } = packet;
    const start = headerLength;
    const fragment = { offset, bytes: bytes.slice(start, start + end - offset), length: end - offset };
    let place = queue.fragments.length;
    while (place > 0 && queue.fragments[place - 1].offset > offset) place--;
    queue.fragments.splice(place, 0, fragment);
    queue.meat += end - offset;
    const size = headerLength + end - offset;
    if (size > queue.maxSize) queue.maxSize = size;
    if (this.family === 4 && (bytes[6] & 0x40) !== 0 && size > queue.maxDfSize) queue.maxDfSize = size;
    queue.ecn |= 1 << ((this.family === 4 ? bytes[1] : getU16(bytes, 0) >> 4) & 3);
    if (offset === 0) {
      queue.header = bytes.slice(0, headerLength);
      queue.sourceMac = packet.sourceMac;
      queue.fragmentPrevious = packet.fragmentPrevious;
      queue.fragmentHeader = packet.fragmentHeader;
    }
  }

  private find(packet: Packet, user: number): Queue {
    const { bytes } = packet;
    const { key } = this;
    if (this.family === 4) {
      key.set(bytes.subarray(12, 20), 0);
      key.set(bytes.subarray(4, 6), 8);
      key[10] = packet.protocol;
    } else {
      key.set(bytes.subarray(8, 40), 0);
      key.set(bytes.subarray(packet.fragmentHeader + 4, packet.fragmentHeader + 8), 32);
    }
    const length = this.family === 4 ? 11 : 36;
    let hash = user;
    for (let index = 0; index < length; index++) hash = Math.imul(hash ^ key[index], 0x01000193);
    for (const queue of this.queues) {
      if (queue.hash === hash && queue.user === user && equalBytes(queue.key, 0, key, 0, length)) return queue;
    }
    const created: Queue = {
      user, hash, key: key.slice(0, length), expiresNs: packet.timeNs + (this.family === 4 ? 30 : 60) * SECOND,
      length: 0, lastIn: false, meat: 0, fragments: [], runs: [], header: null, sourceMac: null, fragmentPrevious: 0, fragmentHeader: 0,
      maxSize: 0, maxDfSize: 0, ecn: 0, cut: false,
    };
    this.queues.push(created);
    return created;
  }

  private expire(nowNs: number): void {
    // The oldest queue is the first: all live equally long.
    while (this.queues.length > 0 && this.queues[0].expiresNs <= nowNs) this.queues.shift();
  }

  private remove(queue: Queue): void {
    const index = this.queues.indexOf(queue);
    if (index >= 0) this.queues.splice(index, 1);
  }

  private discard(queue: Queue, reason: string = Reason.BadFragment): Gathered {
    this.remove(queue);
    return this.drop(reason);
  }

  private drop(reason: string): Gathered {
    this.reason = reason;
    return Gathered.Dropped;
  }
}

/**
 * ipv6frag_thdr_truncated: a first fragment that ends inside the transport header (RFC 8200, 4.5) is not gathered, it
 * goes on alone, and the rest of its datagram waits in vain.
 */
function lacksTransportHeader(packet: Packet): boolean {
  if (packet.fragmentOffset !== 0) return false;
  const { protocol } = packet;
  const size = protocol === Protocol.Tcp ? 20 : protocol === Protocol.Udp || protocol === Protocol.Icmp6 ? 8 : 1;
  return packet.headerLength + size > packet.length;
}

const INSERTED = 0;
const DUPLICATE = 1;
const OVERLAP = 2;

/** inet_frag_queue_insert: a run grows only at the very end of the datagram. */
function insertRun(runs: [number, number][], start: number, end: number): number {
  const last = runs[runs.length - 1];
  if (last === undefined || last[1] < end) {
    if (last !== undefined && start < last[1]) return OVERLAP;
    if (last !== undefined && start === last[1]) last[1] = end;
    else runs.push([start, end]);
    return INSERTED;
  }
  let place = 0;
  for (; place < runs.length; place++) {
    const run = runs[place];
    if (end <= run[0]) break;
    if (start >= run[1]) continue;
    return start >= run[0] && end <= run[1] ? DUPLICATE : OVERLAP;
  }
  runs.splice(place, 0, [start, end]);
  return INSERTED;
}

/**
 * ip_frag_ecn_table (RFC 3168, 5.3), by the set of codepoints seen (bit 0: not-ECT, 1: ECT(1), 2: ECT(0), 3: CE):
 * CE with ECT gives CE, not-ECT with any other is refused.
 */
const ECN = [0, 0, 0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 3, 0xff, 3, 0xff, 3, 0xff];

function rebuildIpv4(queue: Queue, header: Uint8Array, packet: Packet, ecn: number): void {
  const total = header.length + queue.length;
  fill(queue, header, packet, header.length, total);
  const { bytes } = packet;
  setU16(bytes, 2, total);
  bytes[1] |= ecn;
  packet.fragMaxSize = Math.max(queue.maxSize, queue.maxDfSize);
  // DF comes back only if the largest fragment had it.
  packet.fragPmtu = packet.fragDf = queue.maxDfSize === queue.maxSize;
  setU16(bytes, 6, packet.fragPmtu ? 0x4000 : 0);
  setIpv4Checksum(bytes, 0);
  reparse(packet);
}

/** The fragment header is taken out; its next-header value moves to the header before it. */
function rebuildIpv6(queue: Queue, header: Uint8Array, packet: Packet, ecn: number): void {
  const { fragmentHeader, fragmentPrevious } = queue;
  const next = header[fragmentHeader];
  packet.fragmentId = getU32(header, fragmentHeader + 4);
  const unfragmentable = header.slice();
  unfragmentable.copyWithin(fragmentHeader, fragmentHeader + 8);
  const headerLength = header.length - 8;
  const total = headerLength + queue.length;
  fill(queue, unfragmentable, packet, headerLength, total);
  const { bytes } = packet;
  bytes[fragmentPrevious] = next;
  setU16(bytes, 4, total - 40);
  bytes[1] |= ecn << 4;
  packet.fragMaxSize = queue.maxSize;
  reparse(packet);
}

function fill(queue: Queue, header: Uint8Array, packet: Packet, headerLength: number, total: number): void {
  packet.reserve(total);
  packet.bytes.set(header.subarray(0, headerLength), 0);
  packet.boundaryCount = 0;
  for (const fragment of queue.fragments) {
    packet.bytes.set(fragment.bytes, headerLength + fragment.offset);
    packet.addBoundary(fragment.length);
  }
  packet.length = packet.captured = total;
  packet.ignoreDf = true;
  packet.sourceMac = queue.sourceMac;
}
