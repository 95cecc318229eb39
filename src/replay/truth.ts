/**
 * A plane held against the recording. For each passage: every later view must be an image the plane produced at
 * that node, device and direction; every image it produced at a point that was captured must have been recorded.
 *
 * An image and its view need not come from the same row: a datagram's fragments leave when the last one has come,
 * and an ICMP error is a packet of its own in the capture. What is not matched at once waits on one of two lists
 * and is settled when its partner comes or the window ends. Nothing is forgiven: a view without image and an image
 * without view are disagreements, each with its passage. Packets that are stated, not seen, hold nothing against it.
 */
import type { StepResults } from "../dataplane.js";
import { Emission, End } from "../dataplane.js";
import { compareImages, type ImageDifference } from "./image.js";
import { pointKey } from "./passages.js";
import { type View, ViewClass } from "./view.js";

export interface Disagreement {
  readonly kind: "not produced" | "not recorded" | ImageDifference;
  readonly node: number;
  readonly device: number;
  /** Emission.In or Emission.Out. */
  readonly direction: number;
  readonly timeNs: number;
  readonly capture: number;
  /** Record number of the view, or of the passage's first view; from 1. */
  readonly record: number;
  readonly detail: string;
}

export interface TruthTally {
  /** Views that a plane should reproduce, and those it did. */
  views: number;
  agreed: number;
  /** Views of passages the plane could not judge, by reason. */
  undecided: Map<string, number>;
  /** Passages that were recorded once: dropped, answered or consumed by the kernel, and so in the plane. */
  consumedAgreed: number;
  disagreements: Disagreement[];
  /** All of them; `disagreements` holds the first thousand. */
  disagreed: number;
  /** Of those, views that differ in a port alone, as where the kernel drew another one to masquerade with. */
  otherPorts: number;
}

interface Waiting {
  keyA: number;
  keyB: number;
  node: number;
  device: number;
  kind: number;
  made: boolean;
  timeNs: number;
  capture: number;
  record: number;
  bytes: Uint8Array;
  next: Waiting | null;
  settled: boolean;
}

/** Reads the copy key of an image; supplied by the caller because views and images are decoded alike. */
export type KeyOf = (bytes: Uint8Array, offset: number, length: number) => { keyA: number; keyB: number } | null;

const KEPT = 1000;

export class Truth {
  readonly tally: TruthTally = {
    views: 0, agreed: 0, undecided: new Map(), consumedAgreed: 0, disagreements: [], disagreed: 0, otherPorts: 0,
  };
  /** Views that no image answers yet, and images that no view shows yet, by pointKey. */
  private readonly views = new Map<number, Waiting>();
  private readonly images = new Map<number, Waiting>();
  private readonly order: Waiting[] = [];
  private head = 0;
  private taken = new Uint8Array(64);
  /** The results' bytes as words; images begin at multiples of 8. */
  private words: Int32Array = new Int32Array(0);
  private wordsOf: Uint8Array | null = null;

  constructor(
    private readonly windowNs: number,
    private readonly keyOf: KeyOf,
    /** Whether the recordings see everything that crosses this device of this node. */
    private readonly covered: (node: number, device: number) => boolean,
  ) {}

  /**
   * Holds one row against the views of its passage. `expected`: 1 where the first view is what was injected, and 0
   * where the packet set out before it was seen. `reason` names an undecided row.
   */
  settle(views: readonly View[], expected: number, results: StepResults, row: number, reason: string): void {
    if (views[0].stated) return;
    const from = results.firstEmission[row];
    const to = results.firstEmission[row + 1];
    if (results.end[row] === End.Undecided) {
      this.countUndecided(views.length - expected, reason);
      return;
    }
    if (this.taken.length < to - from) this.taken = new Uint8Array((to - from) * 2);
    this.taken.fill(0, 0, to - from);
    if (this.wordsOf !== results.bytes) {
      this.wordsOf = results.bytes;
      this.words = new Int32Array(results.bytes.buffer, results.bytes.byteOffset, results.bytes.length >> 2);
    }
    for (let index = expected; index < views.length; index++) this.matchView(views[index], results, from, to);
    for (let index = from; index < to; index++) {
      if (this.taken[index - from] === 0) this.keepImage(views[0], results, index);
    }
    if (views.length === 1 && from === to) this.tally.consumedAgreed++;
  }

  /**
   * Holds a row against its passage where the plane may rightly have sent it elsewhere: what is as recorded counts,
   * of the rest nobody can say.
   */
  settleIfSame(views: readonly View[], expected: number, results: StepResults, reason: string): void {
    if (views[0].stated) return;
    const from = results.firstEmission[0];
    const to = results.firstEmission[1];
    if (results.end[0] !== End.Undecided && this.matchesAll(views, expected, results, from, to)) {
      this.settle(views, expected, results, 0, "");
    } else this.countUndecided(views.length - expected, reason);
  }

  /** Every view has its image, and there is no image at a captured point without its view. */
  private matchesAll(views: readonly View[], expected: number, results: StepResults, from: number, to: number): boolean {
    let images = 0;
    for (let index = from; index < to; index++) {
      if (results.emissionKind[index] === Emission.Local) continue;
      if (this.covered(results.emissionNode[index], results.emissionDevice[index])) images++;
    }
    if (images !== views.length - expected) return false;
    for (let at = expected; at < views.length; at++) {
      const view = views[at];
      let found = false;
      for (let index = from; index < to && !found; index++) {
        found = results.emissionNode[index] === view.node && results.emissionDevice[index] === view.device
          && results.emissionKind[index] === view.kind && compareImages(view.bytes, view.length, results.bytes,
          results.emissionOffset[index], results.emissionLength[index], results.emissionMade[index] !== 0) === "same";
      }
      if (!found) return false;
    }
    return true;
  }

  /** Nobody can say what becomes of it. */
  undecided(views: readonly View[], reason: string): void {
    if (!views[0].stated) this.countUndecided(Math.max(1, views.length - 1), reason);
  }

  /** The packet answers what never arrived in this plane, although the recording shows its answer. */
  missing(views: readonly View[]): void {
    for (const view of views) {
      this.tally.views++;
      this.disagree({
        kind: "not produced", node: view.node, device: view.device, direction: view.kind, timeNs: view.timeNs,
        capture: view.capture, record: view.record, detail: "it answers a packet that did not arrive in the plane",
      });
    }
  }

  /** A packet the node made itself: its views are expected output. */
  expectMade(views: readonly View[]): void {
    for (const view of views) {
      this.tally.views++;
      if (!this.claimImage(view)) this.keepView(view);
    }
  }

  /** Whether the plane made such a packet there, and no view has shown it yet. */
  awaitsMade(view: View): boolean {
    if (this.images.size === 0 || view.class !== ViewClass.Packet) return false;
    const key = pointKey(view.node, view.device, view.kind, view.keyA);
    for (let image = this.images.get(key) ?? null; image !== null; image = image.next) {
      if (image.made && samePlace(image, view)) return true;
    }
    return false;
  }

  /** Ends the waiting of what is older than the window. */
  expire(nowNs: number): void {
    while (this.head < this.order.length && this.order[this.head].timeNs + this.windowNs < nowNs) {
      const waiting = this.order[this.head++];
      if (waiting.settled) continue;
      waiting.settled = true;
      const produced = this.images.get(pointKey(waiting.node, waiting.device, waiting.kind, waiting.keyA)) !== undefined
        && this.remove(this.images, waiting);
      if (!produced) this.remove(this.views, waiting);
      this.disagree({
        kind: produced ? "not recorded" : "not produced", node: waiting.node, device: waiting.device,
        direction: waiting.kind, timeNs: waiting.timeNs, capture: waiting.capture, record: waiting.record,
        detail: waiting.made ? "made by the node" : "",
      });
    }
    if (this.head > 4096) {
      this.order.splice(0, this.head);
      this.head = 0;
    }
  }

  /** Finds the image for a view: the one that is the same, else one of the same packet, which then differs. */
  private matchView(view: View, results: StepResults, from: number, to: number): void {
    this.tally.views++;
    let other = -1;
    let otherDifference: ImageDifference = "same";
    for (let index = from; index < to; index++) {
      if (this.taken[index - from] !== 0 || results.emissionNode[index] !== view.node
        || results.emissionDevice[index] !== view.device || results.emissionKind[index] !== view.kind) continue;
      const difference = this.isImage(view, results, index) ? "same" : compareImages(view.bytes, view.length,
        results.bytes, results.emissionOffset[index], results.emissionLength[index], results.emissionMade[index] !== 0);
      if (difference === "same") {
        this.taken[index - from] = 1;
        this.tally.agreed++;
        return;
      }
      const key = this.keyOf(results.bytes, results.emissionOffset[index], results.emissionLength[index]);
      if (other < 0 && key !== null && key.keyA === view.keyA && key.keyB === view.keyB) {
        other = index;
        otherDifference = difference;
      }
    }
    if (other >= 0) {
      this.taken[other - from] = 1;
      this.judge(view, otherDifference);
    } else if (!this.claimImage(view)) this.keepView(view);
  }

  /** Byte for byte, four at once: what nearly every view is. */
  private isImage(view: View, results: StepResults, index: number): boolean {
    if (view.length !== results.emissionLength[index]) return false;
    const { words } = this;
    const seen = view.words;
    const at = results.emissionOffset[index] >> 2;
    const whole = view.length >> 2;
    for (let word = 0; word < whole; word++) if (seen[word] !== words[at + word]) return false;
    for (let byte = whole << 2; byte < view.length; byte++) {
      if (view.bytes[byte] !== results.bytes[results.emissionOffset[index] + byte]) return false;
    }
    return true;
  }

  private judge(view: View, difference: ImageDifference): void {
    if (difference === "same") this.tally.agreed++;
    else {
      this.disagree({
        kind: difference, node: view.node, device: view.device, direction: view.kind, timeNs: view.timeNs,
        capture: view.capture, record: view.record, detail: "",
      });
    }
  }

  /** Looks for an image that waits for this view. */
  private claimImage(view: View): boolean {
    const key = pointKey(view.node, view.device, view.kind, view.keyA);
    for (let image = this.images.get(key) ?? null; image !== null; image = image.next) {
      if (!samePlace(image, view)) continue;
      this.remove(this.images, image);
      image.settled = true;
      this.judge(view, compareImages(view.bytes, view.length, image.bytes, 0, image.bytes.length, image.made));
      return true;
    }
    return false;
  }

  private keepView(view: View): void {
    this.keep(this.views, {
      keyA: view.keyA, keyB: view.keyB, node: view.node, device: view.device, kind: view.kind, made: false,
      timeNs: view.timeNs, capture: view.capture, record: view.record, bytes: view.bytes.slice(0, view.length),
      next: null, settled: false,
    });
  }

  /** An image without a view in its own passage: settles a waiting view, or waits where it should have been seen. */
  private keepImage(first: View, results: StepResults, index: number): void {
    const kind = results.emissionKind[index];
    const node = results.emissionNode[index];
    const device = results.emissionDevice[index];
    if (kind === Emission.Local || !this.covered(node, device)) return;
    const offset = results.emissionOffset[index];
    const length = results.emissionLength[index];
    const made = results.emissionMade[index] !== 0;
    const key = this.keyOf(results.bytes, offset, length);
    if (key === null) return;
    for (let view = this.views.get(pointKey(node, device, kind, key.keyA)) ?? null; view !== null; view = view.next) {
      if (view.keyB !== key.keyB || view.node !== node || view.device !== device || view.kind !== kind) continue;
      this.remove(this.views, view);
      view.settled = true;
      const difference = compareImages(view.bytes, view.bytes.length, results.bytes, offset, length, made);
      if (difference === "same") this.tally.agreed++;
      else this.disagree({ ...view, kind: difference, direction: kind, detail: "" });
      return;
    }
    this.keep(this.images, {
      keyA: key.keyA, keyB: key.keyB, node, device, kind, made, timeNs: first.timeNs, capture: first.capture,
      record: first.record, bytes: results.bytes.slice(offset, offset + length), next: null, settled: false,
    });
  }

  private keep(table: Map<number, Waiting>, waiting: Waiting): void {
    const key = pointKey(waiting.node, waiting.device, waiting.kind, waiting.keyA);
    let tail = table.get(key);
    if (tail === undefined) table.set(key, waiting);
    else {
      while (tail.next !== null) tail = tail.next;
      tail.next = waiting;
    }
    this.order.push(waiting);
  }

  private remove(table: Map<number, Waiting>, waiting: Waiting): boolean {
    const key = pointKey(waiting.node, waiting.device, waiting.kind, waiting.keyA);
    let before = table.get(key);
    if (before === undefined) return false;
    if (before === waiting) {
      if (waiting.next === null) table.delete(key);
      else table.set(key, waiting.next);
      return true;
    }
    while (before.next !== null && before.next !== waiting) before = before.next;
    if (before.next === null) return false;
    before.next = waiting.next;
    return true;
  }

  private countUndecided(views: number, reason: string): void {
    if (views <= 0) return;
    this.tally.views += views;
    this.tally.undecided.set(reason, (this.tally.undecided.get(reason) ?? 0) + views);
  }

  private disagree(disagreement: Disagreement): void {
    this.tally.disagreed++;
    if (disagreement.kind === "ports") this.tally.otherPorts++;
    if (this.tally.disagreements.length < KEPT) this.tally.disagreements.push(disagreement);
  }
}

function samePlace(waiting: Waiting, view: View): boolean {
  return waiting.keyB === view.keyB && waiting.node === view.node && waiting.device === view.device
    && waiting.kind === view.kind;
}
