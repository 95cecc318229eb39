/**
 * What became of frames, interned: frames that fared alike share one number, and a replay compares numbers.
 *
 * Reasons, choices and lists of becauses have numbers of their own, so that finding a journey again takes
 * four numbers and no text. Numbers are given in order of first appearance: the same input gives the same
 * numbers.
 */
import type { Because, End, Journey } from "../dataplane.js";

/** What a plane could have chosen for a flow. */
export interface Choice {
  /** `ip:port`, `[ip]:port`, sorted; null where no backend was chosen. */
  readonly backends: readonly string[] | null;
  readonly sourcePorts: readonly [number, number] | null;
}

export const NO_CHOICE = 0;

export class Journeys {
  /** Index 0 is the empty reason. */
  readonly reasons: string[] = [""];
  private readonly reasonNumbers = new Map<string, number>([["", 0]]);
  private readonly choices: Choice[] = [{ backends: null, sourcePorts: null }];
  private readonly choiceNumbers = new Map<string, number>([[choiceKey(null, null), NO_CHOICE]]);
  private readonly becauses: (readonly Because[])[] = [[]];
  private readonly becauseNumbers = new Map<string, number>([["", 0]]);
  private readonly becauseUnions = new Map<number, number>();
  private readonly found: Journey[] = [];
  /** Open addressing: end, reason, choice, becauses, journey number plus one. */
  private slots = new Int32Array(5 * 64);

  reason(text: string): number {
    const known = this.reasonNumbers.get(text);
    if (known !== undefined) return known;
    this.reasonNumbers.set(text, this.reasons.length);
    return this.reasons.push(text) - 1;
  }

  choice(backends: readonly string[] | null, sourcePorts: readonly [number, number] | null): number {
    const key = choiceKey(backends, sourcePorts);
    const known = this.choiceNumbers.get(key);
    if (known !== undefined) return known;
    this.choiceNumbers.set(key, this.choices.length);
    return this.choices.push({ backends, sourcePorts }) - 1;
  }

  /**
   * What choice `number` has, with what `other` has where it says nothing: a later node's choice adds to a
   * flow's.
   */
  join(number: number, other: number): number {
    if (other === NO_CHOICE || other === number) return number;
    if (number === NO_CHOICE) return other;
    const [a, b] = [this.choices[number], this.choices[other]];
    return this.choice(a.backends ?? b.backends, a.sourcePorts ?? b.sourcePorts);
  }

  /** The list is copied. */
  because(list: readonly Because[]): number {
    if (list.length === 0) return 0;
    const key = list.map(becauseKey).join("\n");
    const known = this.becauseNumbers.get(key);
    if (known !== undefined) return known;
    this.becauseNumbers.set(key, this.becauses.length);
    return this.becauses.push([...list]) - 1;
  }

  /** The union of two lists, those of `number` first. */
  joinBecauses(number: number, other: number): number {
    if (other === 0 || other === number) return number;
    if (number === 0) return other;
    const pair = number * 0x4000000 + other;
    const known = this.becauseUnions.get(pair);
    if (known !== undefined) return known;
    const union = new Map([...this.becauses[number], ...this.becauses[other]].map((one) => [becauseKey(one), one]));
    const joined = this.because([...union.values()]);
    this.becauseUnions.set(pair, joined);
    return joined;
  }

  /** The number of a journey with this end; reason, choice and because are numbers from above. */
  intern(end: End, reason: number, choice: number, because: number): number {
    const { slots } = this;
    const mask = slots.length / 5 - 1;
    let slot = hash(end, reason, choice, because) & mask;
    for (; slots[slot * 5 + 4] !== 0; slot = (slot + 1) & mask) {
      const at = slot * 5;
      if (slots[at] === end && slots[at + 1] === reason && slots[at + 2] === choice && slots[at + 3] === because) {
        return slots[at + 4] - 1;
      }
    }
    const id = this.add(end, reason, choice, because);
    slots.set([end, reason, choice, because, id + 1], slot * 5);
    if (this.found.length * 2 > mask) this.grow();
    return id;
  }

  journey(id: number): Journey {
    const journey = this.found[id];
    if (journey === undefined) throw new Error(`journey ${id} was never made`);
    return journey;
  }

  private add(end: End, reason: number, choice: number, because: number): number {
    const { backends, sourcePorts } = this.choices[choice];
    const id = this.found.length;
    this.found.push({ id, end, reason: this.reasons[reason], becauses: this.becauses[because], passed: [],
      eligibleBackends: backends, eligibleSourcePorts: sourcePorts });
    return id;
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Int32Array(old.length * 2);
    const mask = this.slots.length / 5 - 1;
    for (let at = 0; at < old.length; at += 5) {
      if (old[at + 4] === 0) continue;
      let slot = hash(old[at], old[at + 1], old[at + 2], old[at + 3]) & mask;
      while (this.slots[slot * 5 + 4] !== 0) slot = (slot + 1) & mask;
      this.slots.set(old.subarray(at, at + 5), slot * 5);
    }
  }
}

function hash(end: number, reason: number, choice: number, because: number): number {
  let value = Math.imul(end ^ Math.imul(reason, 0x9e3779b1), 0x85ebca6b);
  value = Math.imul(value ^ (value >>> 15) ^ choice, 0xc2b2ae35);
  value = Math.imul(value ^ (value >>> 13) ^ because, 0x27d4eb2f);
  return value ^ (value >>> 16);
}

function choiceKey(backends: readonly string[] | null, ports: readonly [number, number] | null): string {
  return `${backends === null ? "-" : backends.join(",")} ${ports === null ? "-" : `${ports[0]}-${ports[1]}`}`;
}

function becauseKey(because: Because): string {
  return `${because.where?.file ?? ""}:${because.where?.line ?? 0} ${because.object} ${because.rule}`;
}
