/**
 * Which of many selectors may select an object, found by labels that they require: a thousand policies over thousands of
 * label sets take no product of the two. It only leaves out what cannot hold; whoever asks still holds the selector itself
 * against the labels.
 */
import type { LabelSelector } from "./cluster.js";
import type { Labels } from "./selector.js";

/** A label's key and value. */
export type LabelPair = readonly [key: string, value: string];

/** No label has this key: the namespace stands beside the labels. */
const NAMESPACE = "\0namespace";

export class LabelIndex<Item> {
  /** `key`, NUL, `value` -> numbers of those that require it, ascending. Each item stands once. */
  private readonly numbers = new Map<string, number[]>();
  /** Of those that require no label. */
  private readonly always: number[] = [];

  /** @param requires labels without which the item selects nothing; any of them may be left out */
  constructor(private readonly items: readonly Item[], requires: (item: Item) => readonly LabelPair[]) {
    const keys = items.map((item) => requires(item).map(textOf));
    const counts = new Map<string, number>();
    for (const own of keys) for (const key of own) counts.set(key, (counts.get(key) ?? 0) + 1);
    keys.forEach((own, number) => {
      // The label that fewest ask for tells most.
      const rarest = own.reduce<string | null>((best, key) => (best === null || counts.get(key)! < counts.get(best)! ? key : best), null);
      if (rarest === null) this.always.push(number);
      else if (this.numbers.has(rarest)) this.numbers.get(rarest)!.push(number);
      else this.numbers.set(rarest, [number]);
    });
  }

  /** Of the items, in their order, all that require none but these labels, and perhaps others. */
  candidates(labels: Iterable<LabelPair>): Item[] {
    const keys = new Set([...labels].map(textOf));
    const found = [...keys].flatMap((key) => this.numbers.get(key) ?? []);
    return [...this.always, ...found].sort((a, b) => a - b).map((number) => this.items[number]);
  }
}

/** What a namespaced selector of labels requires, for a LabelIndex. */
export function requiredLabels(namespace: string, { matchLabels }: LabelSelector): LabelPair[] {
  return [[NAMESPACE, namespace], ...Object.entries(matchLabels)];
}

/** What such selectors are asked with. */
export function labelsIn(namespace: string, labels: Labels): LabelPair[] {
  return [[NAMESPACE, namespace], ...Object.entries(labels)];
}

function textOf([key, value]: LabelPair): string {
  return `${key}\0${value}`;
}
