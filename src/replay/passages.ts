/**
 * Copies: the views that are one packet on its way. `tcpdump -i any` records a forwarded packet when it enters and
 * when it leaves, and captures of several nodes see it on each. They share what NAT leaves alone (View.keyA/keyB)
 * and follow one another within a time window.
 *
 * Guarantees: views are handed in oldest first (a k-way merge of the captures) and passages come out in the order
 * of their first view, each once, when the window has passed or the packet is known to have come to its end. The
 * same point and direction twice is a retransmission: it opens a passage of its own. Memory holds one window of
 * traffic.
 */
import { Emission } from "../dataplane.js";
import { DESTINATION_AT, sameTuple, SOURCE_AT } from "./tuple.js";
import { type View, ViewClass, type ViewPool } from "./view.js";

export class Passage {
  readonly views: View[] = [];
  /** Next open passage in the same slot. */
  next: Passage | null = null;
  /** No later view can belong to it. */
  closed = false;

  get first(): View {
    return this.views[0];
  }

  get last(): View {
    return this.views[this.views.length - 1];
  }
}

/** How the points lie to each other; from node facts. */
export interface Points {
  /** Kind of a device (Device.kind) of node `node`. */
  deviceKind(node: number, device: number): string;
  /** Whether the captures see everything that crosses this device. */
  covered(node: number, device: number): boolean;
  /** ifindex of the node's uplink, and of its tunnel device; 0: none. */
  uplink(node: number): number;
  tunnel(node: number): number;
}

/** Chains stay short up to some tens of thousands of packets within a window. */
const SLOTS = 8192;
const SLOT_MASK = SLOTS - 1;

export class Passages {
  private readonly queue: Passage[] = [];
  private head = 0;
  /** Open passages by their key, chained in the order they came. */
  private readonly open = new Array<Passage | null>(SLOTS).fill(null);
  private readonly free: Passage[] = [];

  /** `seesAll`: every device was captured, so that a packet's last view is known as such before the window ends. */
  constructor(private readonly points: Points, private readonly pool: ViewPool, private readonly windowNs: number,
    private readonly seesAll = false) {}

  /** Adds a view: to the passage it continues, else as the first of a new one. */
  add(view: View): void {
    // A tagged frame is no further sight of one without: they are in different networks.
    if (view.class === ViewClass.Packet && view.vlanProtocol === 0) {
      // Of several candidates the one seen last: nodes take microseconds, and an older one may have been dropped.
      let best: Passage | null = null;
      for (let passage = this.open[view.keyA & SLOT_MASK]; passage !== null; passage = passage.next) {
        if (passage.first.keyA === view.keyA && !passage.closed && this.continues(passage, view)
          && (best === null || passage.last.timeNs >= best.last.timeNs)) best = passage;
      }
      if (best !== null) {
        best.views.push(view);
        return;
      }
    }
    const passage = this.free.pop() ?? new Passage();
    passage.views.push(view);
    passage.closed = view.class !== ViewClass.Packet;
    this.queue.push(passage);
    if (!passage.closed) this.link(passage);
  }

  /** The oldest passage if its window ended before `nowNs` or it came to its end, else null. Infinity drains. */
  take(nowNs: number): Passage | null {
    if (this.head === this.queue.length) return null;
    const passage = this.queue[this.head];
    if (passage.first.timeNs + this.windowNs >= nowNs && !this.ended(passage.last)) return null;
    this.head++;
    if (this.head > 4096 && this.head * 2 > this.queue.length) {
      this.queue.splice(0, this.head);
      this.head = 0;
    }
    if (passage.first.class === ViewClass.Packet) this.unlink(passage);
    return passage;
  }

  /** Gives a passage that was taken, and its views, back for another use. */
  give(passage: Passage): void {
    // `length = 0` would give the array's memory back, to be asked for again.
    for (let view = passage.views.pop(); view !== undefined; view = passage.views.pop()) this.pool.give(view);
    passage.next = null;
    passage.closed = false;
    this.free.push(passage);
  }

  /** Passages not taken yet, oldest first. */
  *waiting(): Iterable<Passage> {
    for (let index = this.head; index < this.queue.length; index++) yield this.queue[index];
  }

  /** Nothing follows the view of a packet that was handed to a pod. Fragments wait: others may tell their ports. */
  private ended(last: View): boolean {
    return this.seesAll && last.kind === Emission.Out && last.class === ViewClass.Packet && !last.isFragment
      && !last.tunnelled && this.isEnd(last);
  }

  private isEnd(last: View): boolean {
    const kind = this.points.deviceKind(last.node, last.device);
    return kind === "pod" || kind === "loopback";
  }

  /**
   * Whether `view` is the next sight of the packet. On the wire between two nodes nothing changes, so the tuple is
   * the same there; inside a node NAT may change it. Points that no capture sees are passed over.
   */
  private continues(passage: Passage, view: View): boolean {
    const last = passage.last;
    const first = passage.first;
    if (first.keyB !== view.keyB || view.timeNs - first.timeNs > this.windowNs) return false;
    for (const seen of passage.views) {
      if (seen.node === view.node && seen.device === view.device && seen.kind === view.kind) return false;
    }
    if (last.kind === Emission.In) {
      // After a tunnel's outer packet came in, the inner one comes in on the tunnel device.
      if (last.tunnelled && this.sees(last.node, this.points.tunnel(last.node))) {
        return view.node === last.node && view.kind === Emission.In && sameTuple(last.tuple, 0, view.tuple, 0);
      }
      if (view.node === last.node) return view.kind === Emission.Out && !echoes(last, view);
      return !this.isEnd(view) && !this.sees(last.node, this.points.uplink(last.node)) && this.comesOver(view);
    }
    if (this.isEnd(last)) return false;
    // Out of a tunnel device, then out of the uplink inside the tunnel's packet.
    if (this.points.deviceKind(last.node, last.device) === "tunnel" && this.sees(last.node, this.points.uplink(last.node))) {
      return view.node === last.node && view.kind === Emission.Out && view.tunnelled && sameTuple(last.tuple, 0, view.tuple, 0);
    }
    if (view.node === last.node) return false;
    return view.kind === Emission.In ? sameTuple(last.tuple, 0, view.tuple, 0) : this.comesOver(view);
  }

  /** Whether a packet may be seen there first on a node that it came to over the wire. */
  private comesOver(view: View): boolean {
    if (view.kind === Emission.In) return !this.isEnd(view);
    return !this.sees(view.node, this.points.uplink(view.node)) && !this.sees(view.node, this.points.tunnel(view.node));
  }

  private sees(node: number, device: number): boolean {
    return device !== 0 && this.points.covered(node, device);
  }

  private link(passage: Passage): void {
    const slot = passage.first.keyA & SLOT_MASK;
    let tail = this.open[slot];
    if (tail === null) {
      this.open[slot] = passage;
      return;
    }
    while (tail.next !== null) tail = tail.next;
    tail.next = passage;
  }

  private unlink(passage: Passage): void {
    const slot = passage.first.keyA & SLOT_MASK;
    let before = this.open[slot];
    if (before === passage) {
      this.open[slot] = passage.next;
      return;
    }
    while (before !== null && before.next !== passage) before = before.next;
    if (before === null) throw new Error("a waiting passage is not in the table of open passages");
    before.next = passage.next;
  }
}

/**
 * Part of an answer that carries back what was sent, and not the same fragment forwarded: to where the other came from,
 * by the same way, in another datagram. Later fragments have no ports that would tell.
 */
function echoes(seen: View, view: View): boolean {
  if (view.fragmentOffset === 0 || view.fragmentId === seen.fragmentId || view.device !== seen.device) return false;
  return sameAddress(seen.tuple, SOURCE_AT, view.tuple, DESTINATION_AT)
    && sameAddress(seen.tuple, DESTINATION_AT, view.tuple, SOURCE_AT);
}

function sameAddress(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let index = 0; index < 16; index++) if (a[aAt + index] !== b[bAt + index]) return false;
  return true;
}

/** A number for one point and one packet there; equal numbers are confirmed by the caller. */
export function pointKey(node: number, device: number, kind: number, keyA: number): number {
  return (Math.imul(Math.imul(node * 31 + device, 0x9e3779b1) + kind, 0x85ebca6b) ^ keyA) | 0;
}

