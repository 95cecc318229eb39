/**
 * Copies: the views that are one packet on its way. `tcpdump -i any` records a forwarded packet when it enters and
 * when it leaves, and captures of several nodes see it on each. They share what NAT leaves alone (View.keyA/keyB)
 * and follow one another within a time window.
 *
 * Guarantees: views are handed in oldest first (a k-way merge of the captures) and passages come out in the order
 * of their first view, each once, when the window has passed. The same point and direction twice is a
 * retransmission: it opens a passage of its own. Memory holds one window of traffic.
 */
import { Emission } from "../dataplane.js";
import { sameTuple } from "./tuple.js";
import { type View, ViewClass, type ViewPool } from "./view.js";

export class Passage {
  readonly views: View[] = [];
  /** Next open passage with the same key. */
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
}

export class Passages {
  private readonly queue: Passage[] = [];
  private head = 0;
  private readonly open = new Map<number, Passage>();
  private readonly free: Passage[] = [];

  constructor(private readonly points: Points, private readonly pool: ViewPool, private readonly windowNs: number) {}

  /** Adds a view: to the passage it continues, else as the first of a new one. */
  add(view: View): void {
    if (view.class === ViewClass.Packet) {
      // Of several candidates the one seen last: nodes take microseconds, and an older one may have been dropped.
      let best: Passage | null = null;
      for (let passage = this.open.get(view.keyA) ?? null; passage !== null; passage = passage.next) {
        if (!passage.closed && this.continues(passage, view)
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

  /** The oldest passage whose window ended before `nowNs`, or null. Infinity drains. */
  take(nowNs: number): Passage | null {
    if (this.head === this.queue.length) return null;
    const passage = this.queue[this.head];
    if (passage.first.timeNs + this.windowNs >= nowNs) return null;
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
    for (const view of passage.views) this.pool.give(view);
    passage.views.length = 0;
    passage.next = null;
    passage.closed = false;
    this.free.push(passage);
  }

  /** Passages not taken yet, oldest first. */
  *waiting(): Iterable<Passage> {
    for (let index = this.head; index < this.queue.length; index++) yield this.queue[index];
  }

  /**
   * Whether `view` is the next sight of the packet. On the wire between two nodes nothing changes, so the tuple is
   * the same there; inside a node NAT may change it.
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
      if (last.tunnelled) return view.node === last.node && view.kind === Emission.In && sameTuple(last.tuple, 0, view.tuple, 0);
      return view.node === last.node && view.kind === Emission.Out;
    }
    const lastKind = this.points.deviceKind(last.node, last.device);
    if (lastKind === "pod" || lastKind === "loopback") return false;
    if (!sameTuple(last.tuple, 0, view.tuple, 0)) return false;
    // Out of a tunnel device, then out of the uplink inside the tunnel's packet.
    if (lastKind === "tunnel") return view.node === last.node && view.kind === Emission.Out && view.tunnelled;
    return view.node !== last.node && view.kind === Emission.In;
  }

  private link(passage: Passage): void {
    const key = passage.first.keyA;
    const before = this.open.get(key);
    if (before === undefined) {
      this.open.set(key, passage);
      return;
    }
    let tail = before;
    while (tail.next !== null) tail = tail.next;
    tail.next = passage;
  }

  private unlink(passage: Passage): void {
    const key = passage.first.keyA;
    let before = this.open.get(key);
    if (before === passage) {
      if (passage.next === null) this.open.delete(key);
      else this.open.set(key, passage.next);
      return;
    }
    while (before !== undefined && before.next !== passage) before = before.next ?? undefined;
    if (before === undefined) throw new Error("a waiting passage is not in the table of open passages");
    before.next = passage.next;
  }
}

/** A number for one point and one packet there; equal numbers are confirmed by the caller. */
export function pointKey(node: number, device: number, kind: number, keyA: number): number {
  return (Math.imul(Math.imul(node * 31 + device, 0x9e3779b1) + kind, 0x85ebca6b) ^ keyA) | 0;
}

