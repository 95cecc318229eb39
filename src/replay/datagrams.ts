/**
 * Datagrams that travel in fragments. A later fragment has no ports, and a node that put a datagram together may cut
 * it anew when it sends it on; what ties the pieces together is the IP identification, which NAT leaves alone.
 * Knowledge of a datagram is kept for a while and then forgotten, since identifications come back.
 */
import { Emission } from "../dataplane.js";
import type { View } from "./view.js";

interface Seen {
  readonly tuple: Uint8Array;
  readonly timeNs: number;
}

/** Datagrams known at once before old ones are looked for and forgotten. */
const MANY = 4096;

export class Datagrams {
  /** Tuple of the first fragment, by addresses and identification. */
  private readonly ports = new Map<string, Seen>();
  /** When a datagram's pieces entered a node. */
  private readonly entered = new Map<string, number>();
  /** Tuple that a first fragment was last seen leaving a node with. */
  private readonly images = new Map<string, Seen>();

  constructor(private readonly keepNs: number) {}

  /** Learns from a fragment; called for every one as it is read. */
  note(view: View): void {
    if (this.entered.size + this.images.size > MANY) this.forget(view.timeNs - this.keepNs);
    if (view.fragmentOffset === 0) {
      const seen = { tuple: view.tuple.slice(), timeNs: view.timeNs };
      this.ports.set(addressKey(view), seen);
      if (view.kind === Emission.Out) this.images.set(idKey(view), seen);
    }
    if (view.kind === Emission.In) this.entered.set(nodeKey(view), view.timeNs);
  }

  /** Gives a later fragment the ports of its datagram, where its first fragment was seen. */
  fillPorts(view: View): void {
    const seen = this.ports.get(addressKey(view));
    if (seen !== undefined) view.tuple.set(seen.tuple.subarray(2, 6), 2);
  }

  /** Leaves a node that took the same datagram in, in pieces that did not come in. */
  isRebuilt(first: View): boolean {
    return first.isFragment && this.entered.has(nodeKey(first));
  }

  /** The tuple a datagram was last seen leaving a node with; null: not seen. */
  imageOf(view: View): Uint8Array | null {
    return this.images.get(idKey(view))?.tuple ?? null;
  }

  private forget(before: number): void {
    for (const [key, seen] of this.ports) if (seen.timeNs < before) this.ports.delete(key);
    for (const [key, seen] of this.images) if (seen.timeNs < before) this.images.delete(key);
    for (const [key, timeNs] of this.entered) if (timeNs < before) this.entered.delete(key);
  }
}

function addressKey(view: View): string {
  return `${view.tuple.subarray(6).join(".")}/${view.protocol}#${view.fragmentId}`;
}

function nodeKey(view: View): string {
  return `${view.node}/${idKey(view)}`;
}

function idKey(view: View): string {
  return `${view.family}/${view.protocol}#${view.fragmentId}`;
}
