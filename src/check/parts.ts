/**
 * What one end says of classes of pairs: for each group of pods under the same policies of a direction, and each class of
 * the other end that those policies see as one, the packets of a pair that stands for them, through planes in which the
 * other end says nothing (halves.ts), and what came of each.
 */
import { type CellProbe, type Cells, STANDS } from "./cells.js";
import type { PodClass } from "./classes.js";
import type { Group } from "./groups.js";
import type { Heard } from "./heard.js";
import type { Traffic } from "./traffic.js";

export interface Part {
  readonly group: Group;
  /** By stand; empty where no pair of the class stands so. */
  readonly probes: (readonly CellProbe[])[];
  readonly heard: (readonly Heard[])[];
  /** Stands that no pair was found for yet, as bits. */
  missing: number;
  /** Numbers of vectors by stand, and of the three together. */
  readonly vectors: number[];
  profile: number;
}

/** One probe of a vector: which it is and how it fared. */
export interface VectorRow {
  readonly shape: string;
  readonly traffic: Traffic;
  /** `Heard.sign`, numbered. */
  readonly sign: number;
}

/** Texts and lists by number. */
export class Interned {
  readonly signs: string[] = [];
  readonly vectors: (readonly VectorRow[])[] = [];
  private readonly numbers = new Map<string, number>();

  sign(text: string): number {
    return this.number(`sign ${text}`, () => this.signs.push(text) - 1);
  }

  vector(rows: readonly VectorRow[]): number {
    const text = rows.map(({ shape, traffic: { protocol, first, last }, sign }) => `${shape} ${protocol} ${first}-${last}=${sign}`)
      .join(";");
    return this.number(`vector ${text}`, () => this.vectors.push(rows) - 1);
  }

  profile(vectors: readonly number[]): number {
    return this.number(`profile ${vectors.join()}`, () => this.profiles++);
  }

  private profiles = 0;

  private number(key: string, made: () => number): number {
    let number = this.numbers.get(key);
    if (number === undefined) this.numbers.set(key, number = made());
    return number;
  }
}

/** Parts of one direction. */
export class Parts {
  readonly all: Part[] = [];
  private readonly byGroup: Map<number, number>[];

  /** @param trafficOf intervals of ports that a group's policies tell apart */
  constructor(private readonly groups: readonly Group[], private readonly trafficOf: (group: Group) => readonly Traffic[]) {
    this.byGroup = groups.map(() => new Map());
  }

  /** @param key equal for other ends that the group sees as one */
  number(group: number, key: number): number {
    let number = this.byGroup[group].get(key);
    if (number === undefined) {
      number = this.all.push({ group: this.groups[group], probes: [[], [], []], heard: [[], [], []], missing: 7, vectors: [0, 0, 0],
        profile: 0 }) - 1;
      this.byGroup[group].set(key, number);
    }
    return number;
  }

  /** Takes the pair for what stands are missing still. @param stands those in which it stands, as bits */
  witness(number: number, stands: number, cells: Cells, sender: PodClass, item: number): void {
    const part = this.all[number];
    if ((part.missing & stands) === 0) return;
    for (const stand of STANDS) {
      if ((part.missing & stands & (1 << stand)) !== 0) part.probes[stand] = cells.probes(sender, item, stand, this.trafficOf(part.group));
    }
    part.missing &= ~stands;
  }

  /** Sends what stands for each part. */
  hear(send: (probe: CellProbe["probe"]) => Heard): void {
    for (const { probes, heard } of this.all) for (const stand of STANDS) heard[stand] = probes[stand].map(({ probe }) => send(probe));
  }

  /** Gives vectors their numbers. */
  fill(interned: Interned): void {
    for (const part of this.all) {
      for (const stand of STANDS) {
        part.vectors[stand] = interned.vector(part.probes[stand].map(({ shape, traffic }, index) =>
          ({ shape, traffic, sign: interned.sign(part.heard[stand][index].sign) })));
      }
      part.profile = interned.profile(part.vectors);
    }
  }
}

/** The probes of all parts of a list. */
export function* probesOfParts(parts: Parts): Generator<CellProbe["probe"]> {
  for (const { probes } of parts.all) for (const list of probes) for (const { probe } of list) yield probe;
}
