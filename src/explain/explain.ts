/**
 * What an id means: a difference or capacity limit of the catalogue, a drop reason of Cilium by name or number, or why a
 * packet is undecided. Finds it; `src/report/explain.ts` prints it.
 */
import { CATALOGUE, type Difference, UNEXPLAINED } from "../compare/catalogue/index.js";
import { supportOfProfile } from "../planes.js";
import { REASON_TEXTS } from "./reasons.js";

export type Explanation =
  | { readonly kind: "difference"; readonly id: string; readonly difference: Difference }
  | { readonly kind: "reason"; readonly id: string; readonly code: number; readonly what: string; readonly look: string;
    /** Why it does not arise here; empty where it does. */ readonly why: string }
  | { readonly kind: "undecided"; readonly id: string; readonly what: string };

/** Any version has the table of reasons; the newest has all of them. */
const NEWEST = "cilium@1.20";
const UNEXPLAINED_TEXT = "The planes disagree, and no known difference fits: a mistake of twinplane, or a difference that nobody"
  + " has written down. Please report it with the output of `twinplane trace`.";
const NEAR = 5;

/** Everything that can be explained, in the order of the catalogue, then of Cilium's numbers. */
export function explanations(): Explanation[] {
  const support = supportOfProfile(NEWEST);
  if (typeof support === "string") throw new Error(support);
  return [
    ...CATALOGUE.map((difference): Explanation => ({ kind: "difference", id: difference.id, difference })),
    { kind: "undecided", id: UNEXPLAINED, what: UNEXPLAINED_TEXT },
    ...support.reasons.map(({ name, code, status, why }): Explanation => {
      const text = REASON_TEXTS[name];
      return { kind: "reason", id: name, code, what: text?.what ?? "", look: text?.look ?? "", why: status === "modelled" ? "" : why };
    }),
    ...support.undecided.map(({ name, meaning }): Explanation => ({ kind: "undecided", id: name, what: meaning })),
  ];
}

/** Those of one id, in any letter case; a reason by its number too, an option or map by the limit that it is of. */
export function explain(text: string, all: readonly Explanation[] = explanations()): Explanation[] {
  const wanted = text.trim().toUpperCase().replace(/^DROP_(?=POLICY)/, "");
  return all.filter((one) => one.id.toUpperCase() === wanted || (one.kind === "reason" && String(one.code) === wanted)
    || (one.kind === "difference" && (one.difference.limits ?? []).some((name) => name.toUpperCase() === wanted)));
}

/** Ids that a mistyped text may mean, the nearest first. */
export function nearIds(text: string, all: readonly Explanation[] = explanations()): string[] {
  const wanted = text.trim().toUpperCase().replaceAll("_", "-");
  const ranked = all.map(({ id }) => {
    const name = id.toUpperCase().replaceAll("_", "-");
    const inside = wanted.length >= 3 && (name.includes(wanted) || wanted.includes(name));
    return { id, distance: inside ? 0 : distanceOf(wanted, name) };
  });
  return ranked.filter(({ id, distance }) => distance <= Math.max(2, Math.floor(id.length / 3)))
    .sort((a, b) => a.distance - b.distance || (a.id < b.id ? -1 : 1)).slice(0, NEAR).map(({ id }) => id);
}

/** Levenshtein's: insertions, deletions and replacements between two texts. */
function distanceOf(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row++) {
    const line = [row];
    for (let at = 1; at <= b.length; at++) {
      line.push(Math.min(above[at] + 1, line[at - 1] + 1, above[at - 1] + (a[row - 1] === b[at - 1] ? 0 : 1)));
    }
    above = line;
  }
  return above[b.length];
}
