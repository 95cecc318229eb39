/**
 * Whether nodes' clocks agree, from the packets that two captures have: one leaves a node by its uplink and comes into another by
 * its own. What comes in before it left says that a clock is off, and so does what takes longer than copies may lie apart. Both ways
 * of a pair together tell by how much, as in NTP (RFC 5905, section 8): the way there and the way back take as long, so half
 * of their difference is the clocks'. One way alone tells the least that it must be.
 *
 * Memory holds the packets of some tens of thousands of crossings that have met no second one.
 */
import type { CaptureInput } from "./reading.js";
import { TUPLE_BYTES } from "./tuple.js";
import { type View, ViewClass } from "./view.js";
import { Emission } from "../dataplane.js";

export interface ClockHint {
  readonly node: number;
  /** Whose clock it is held against. */
  readonly against: number;
  /** What to add to its times for them to agree, ns; on top of what was added already. */
  readonly addNs: number;
  /** Packets that say so, there and back. */
  readonly packets: number;
  /** Only one way was seen: it is at least so much. */
  readonly atLeast: boolean;
  /** Something came in before it left; else it took too long. */
  readonly backwards: boolean;
}

interface Crossing {
  readonly keyB: number;
  readonly tuple: Uint8Array;
  readonly node: number;
  readonly kind: number;
  readonly timeNs: number;
}

const HELD = 1 << 16;
const SAMPLES = 1001;
/** Fewer packets are chance: another packet that looks the same. */
const LEAST = 3;
/** Clocks that differ by less order packets well enough. */
const SLIGHT_NS = 20_000;

export class Clocks {
  private readonly open = new Map<number, Crossing>();
  /** `from to` -> ns between leaving and coming in. */
  private readonly delays = new Map<string, number[]>();

  constructor(private readonly uplink: (node: number) => number, private readonly windowNs: number) {}

  /** Whether there is anything to hold against one another. */
  static areSeveral(captures: readonly Pick<CaptureInput, "node" | "stated">[]): boolean {
    const seen = captures.filter((one) => one.stated === undefined);
    return seen.some((one) => one.node !== seen[0].node);
  }

  see(view: View): void {
    if (view.class !== ViewClass.Packet || !view.timed || view.stated || view.device !== this.uplink(view.node)) return;
    const other = this.open.get(view.keyA);
    const same = other !== undefined && other.keyB === view.keyB && sameBytes(other.tuple, view.tuple);
    if (same && other.node !== view.node && other.kind !== view.kind) {
      this.open.delete(view.keyA);
      const [from, to] = view.kind === Emission.In ? [other, view] : [view, other];
      const key = `${from.node} ${to.node}`;
      const delays = this.delays.get(key) ?? [];
      this.delays.set(key, delays);
      if (delays.length < SAMPLES) delays.push(to.timeNs - from.timeNs);
      return;
    }
    // The same packet again at one place is a retransmission: which of them the other saw is not known.
    if (same) this.open.delete(view.keyA);
    else this.open.set(view.keyA, { keyB: view.keyB, tuple: view.tuple.slice(0, TUPLE_BYTES), node: view.node, kind: view.kind,
      timeNs: view.timeNs });
    if (this.open.size > HELD) for (const key of this.open.keys()) {
      this.open.delete(key);
      break;
    }
  }

  /** Nodes whose clock is off against that of a node before them; where all agree, none. */
  hints(): ClockHint[] {
    const pairs = this.pairs();
    if (!pairs.some((one) => one.off)) return [];
    const hints: ClockHint[] = [];
    const known = new Map<number, number>();
    const nodes = [...new Set(pairs.flatMap(({ a, b }) => [a, b]))].sort((a, b) => a - b);
    for (const root of nodes) {
      if (known.has(root)) continue;
      known.set(root, 0);
      for (const at of known.keys()) {
        for (const { a, b, aheadNs, packets, atLeast, off, backwards } of pairs) {
          const next = a === at ? b : b === at ? a : null;
          if (next === null || known.has(next)) continue;
          const addNs = known.get(at)! + (next === b ? -aheadNs : aheadNs);
          known.set(next, off || Math.abs(addNs) > SLIGHT_NS ? addNs : 0);
          if (Math.abs(addNs) > SLIGHT_NS && (off || known.get(at) !== 0)) {
            hints.push({ node: next, against: root, addNs, packets, atLeast, backwards });
          }
        }
      }
    }
    return hints;
  }

  /** Each two nodes with packets between them, the first known of them before the others. */
  private pairs(): { a: number; b: number; aheadNs: number; packets: number; atLeast: boolean; off: boolean; backwards: boolean }[] {
    const named = new Map([...this.delays.keys()].map((key) => {
      const [a, b] = key.split(" ").map(Number).sort((x, y) => x - y);
      return [`${a} ${b}`, [a, b] as const];
    }));
    return [...named.values()].sort(([a, b], [c, d]) => a - c || b - d).flatMap(([a, b]) => {
      const there = this.enough(`${a} ${b}`);
      const back = this.enough(`${b} ${a}`);
      if (there === null && back === null) return [];
      const packets = (there?.length ?? 0) + (back?.length ?? 0);
      const delays = [there, back].filter((one) => one !== null).map(median);
      const least = Math.min(...delays);
      const off = least < 0 || Math.max(...delays) > this.windowNs;
      const aheadNs = there !== null && back !== null ? Math.round((median(there) - median(back)) / 2)
        : there !== null ? median(there) : -median(back!);
      return [{ a, b, aheadNs, packets, atLeast: there === null || back === null, off, backwards: least < 0 }];
    });
  }

  private enough(key: string): number[] | null {
    const delays = this.delays.get(key);
    return delays === undefined || delays.length < LEAST ? null : delays;
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < TUPLE_BYTES; index++) if (a[index] !== b[index]) return false;
  return true;
}
