/**
 * Pairs of a class of pods and what it talks to, for composing what both ends say: another class of pods, or the backends
 * of one class behind a service. Each pair stands in up to three ways: on one node, on two, and a pod that comes back to itself.
 */
import type { PodClass } from "./classes.js";
import type { Probe } from "./probe.js";
import type { Traffic } from "./traffic.js";

export const Stand = { OneNode: 0, TwoNodes: 1, Itself: 2 } as const;
export type Stand = (typeof Stand)[keyof typeof Stand];
export const STANDS: readonly Stand[] = [Stand.OneNode, Stand.TwoNodes, Stand.Itself];

/** The other end of a pair. */
export interface Item {
  readonly class: PodClass;
  /** Number of what planes see of it beside the class; equal ones are alike. */
  readonly traits: number;
}

export interface CellProbe {
  /** Which of the probes of a stand it is: family, kind of address, node that traffic enters by. */
  readonly shape: string;
  /** The interval of ports that policies judge; of services the same for all. */
  readonly traffic: Traffic;
  readonly probe: Probe;
}

export interface Cells {
  readonly items: readonly Item[];
  /** The service that an item is; none where it is none. */
  serviceOf(item: number): readonly string[];
  /** The ways in which pairs of the two stand, as bits. */
  stands(sender: PodClass, item: number): number;
  /** How many pairs they are that stand so. */
  pairs(sender: PodClass, item: number, stand: Stand): number;
  /** One for each shape and each class of traffic; what the pair has no probe for is left out. */
  probes(sender: PodClass, item: number, stand: Stand, traffic: readonly Traffic[]): CellProbe[];
}

/** Which nodes classes of pods stand on, to ask for two at once. */
export class NodeSets {
  private readonly sets: readonly Uint32Array[];

  constructor(classes: readonly PodClass[], nodes: number) {
    const words = Math.ceil(nodes / 32);
    this.sets = classes.map(({ byNode }) => {
      const set = new Uint32Array(words);
      for (const node of byNode.keys()) set[node >> 5] |= 1 << (node & 31);
      return set;
    });
  }

  of({ index }: PodClass): Uint32Array {
    return this.sets[index];
  }
}

export function meet(a: Uint32Array, b: Uint32Array): boolean {
  for (let word = 0; word < a.length; word++) if ((a[word] & b[word]) !== 0) return true;
  return false;
}

/** Whether a has what b has not. */
export function exceeds(a: Uint32Array, b: Uint32Array): boolean {
  for (let word = 0; word < a.length; word++) if ((a[word] & ~b[word]) !== 0) return true;
  return false;
}
