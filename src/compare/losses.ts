/**
 * Datagrams of which one plane dropped a fragment while the other waits for the rest: that they differ shows only when
 * the other has put the datagram together, and by then it is another packet. And those that the target has seen the beginning of.
 */
import { End } from "../dataplane.js";
import type { Packet } from "../replay/loop.js";
import type { Outcome } from "../replay/outcome.js";
import { addressText } from "../cluster/address.js";
import { Tuple } from "../replay/tuple.js";

interface Loss {
  readonly plane: 0 | 1;
  readonly outcome: Outcome;
  readonly timeNs: number;
}

/** The kernel waits this long for a datagram's rest (net.ipv4.ipfrag_time). */
const WAIT_NS = 30e9;
const MOST = 4096;

export class Losses {
  private readonly open = new Map<string, Loss>();
  /** Datagrams whose first fragment the target let through. */
  private readonly begun = new Set<string>();

  /** Fragments that a plane holds, by datagram, as long as no later fragment of it was judged; and of datagrams that are forgotten. */
  private readonly waiting = new Map<string, number>();
  private given = 0;

  /** Held fragments of datagrams that were never whole, so that nothing is known of them. */
  get neverWhole(): number {
    return [...this.waiting.values()].reduce((sum, fragments) => sum + fragments, this.given);
  }

  /** A packet that was judged, or is held. */
  begin(packet: Packet, held: boolean): void {
    const { view, outcomes: [, target] } = packet;
    if (view.isFragment) this.wait(keyOf(packet), held);
    if (!view.isFragment || view.fragmentOffset !== 0 || (!target.arrived && target.end !== End.Held)) return;
    this.begun.add(keyOf(packet));
    if (this.begun.size > MOST) this.begun.delete(this.begun.values().next().value!);
  }

  private wait(key: string, held: boolean): void {
    const before = this.waiting.get(key) ?? 0;
    this.waiting.delete(key);
    if (!held) return;
    this.waiting.set(key, before + 1);
    if (this.waiting.size <= MOST) return;
    const [oldest, fragments] = this.waiting.entries().next().value!;
    this.waiting.delete(oldest);
    this.given += fragments;
  }

  /** Whether the packet is of a datagram whose first fragment the target let through before. */
  hasBegun(packet: Packet): boolean {
    return this.begun.has(keyOf(packet));
  }

  /** A fragment that a plane holds. */
  note(packet: Packet): void {
    const [current, target] = packet.outcomes;
    const plane = current.end === End.Dropped ? 0 : target.end === End.Dropped ? 1 : null;
    if (plane === null || !packet.view.isFragment) return;
    this.open.set(keyOf(packet), { plane, outcome: packet.outcomes[plane].copy(), timeNs: packet.view.timeNs });
    if (this.open.size > MOST) this.open.delete(this.open.keys().next().value!);
  }

  /** The packet as the drop of that fragment decided it, where it completes the datagram in the other plane; else null. */
  of(packet: Packet): Packet | null {
    if (!packet.view.isFragment || this.open.size === 0) return null;
    const key = keyOf(packet);
    const loss = this.open.get(key);
    if (loss === undefined || packet.view.timeNs - loss.timeNs > WAIT_NS) return null;
    const { outcomes: [current, target] } = packet;
    if (!(loss.plane === 0 ? target : current).arrived) return null;
    this.open.delete(key);
    return { ...packet, outcomes: loss.plane === 0 ? [loss.outcome, target] : [current, loss.outcome] };
  }
}

function keyOf({ view }: Packet): string {
  const address = (bytes: Uint8Array): string => addressText(bytes);
  return `${address(Tuple.source(view.tuple))} ${address(Tuple.destination(view.tuple))} ${view.protocol} ${view.fragmentId}`;
}
