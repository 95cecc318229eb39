/** Random choices of the ring, from a seed. */
import { Random } from "../npm/clusters.js";

export { Random };

/** Every item with the same chance, in random order; at least `least` of them. */
export function subset<T>(random: Random, items: readonly T[], percent: number, least = 0): T[] {
  const shuffled = shuffle(random, items);
  const taken = shuffled.filter(() => random.chance(percent));
  return taken.length >= least ? taken : shuffled.slice(0, least);
}

export function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const left = [...items];
  return Array.from({ length: left.length }, () => left.splice(random.below(left.length), 1)[0]);
}
