/** The options a match of this folder was given, checked for number and form before the match reads them. */
import { parseNumber } from "../names.js";

/** One option with its words: `! --dport 80` is {name: "--dport", values: ["80"], invert: true}. */
export interface Option {
  readonly name: string;
  readonly values: readonly string[];
  readonly invert: boolean;
}

/** Words that follow an option, and whether `!` may stand before it. */
export interface Shape {
  readonly words: 0 | 1 | 2;
  readonly invert: boolean;
}

/** An option of one word that `!` may stand before; the most frequent shape. */
export const word1: Shape = { words: 1, invert: true };
export const plain1: Shape = { words: 1, invert: false };
export const flag: Shape = { words: 0, invert: true };
export const plainFlag: Shape = { words: 0, invert: false };

export type Options = ReadonlyMap<string, Option>;

/**
 * Options by name. A string says what iptables would refuse; null: an option that is not known here, so that the match
 * is not modelled. `synonyms` maps further spellings to the name in `shapes`.
 */
export function gather(
  options: readonly Option[],
  shapes: Readonly<Record<string, Shape>>,
  synonyms: Readonly<Record<string, string>> = {},
): Options | string | null {
  const found = new Map<string, Option>();
  for (const option of options) {
    const name = Object.hasOwn(synonyms, option.name) ? synonyms[option.name] : option.name;
    if (!Object.hasOwn(shapes, name)) return null;
    const shape = shapes[name];
    if (found.has(name)) return `${name} is given twice`;
    if (option.values.length !== shape.words) return `${name} takes ${shape.words === 1 ? "one word" : `${shape.words} words`}`;
    if (option.invert && !shape.invert) return `${name} cannot be inverted`;
    found.set(name, option);
  }
  return found;
}

/** `5`, `5:10`, `:10`, `5:`; `separator` may be another. Null where it is no number up to `max` or no range. */
export function numberRange(text: string, max: number, separator = ":"): { min: number; max: number } | null {
  const at = text.indexOf(separator);
  const first = at < 0 ? text : text.slice(0, at);
  const last = at < 0 ? text : text.slice(at + 1);
  const low = first === "" && at >= 0 ? 0 : parseNumber(first, max);
  const high = last === "" && at >= 0 ? max : parseNumber(last, max);
  return low === null || high === null || low > high ? null : { min: low, max: high };
}

/** `! ` where inverted. */
export function bang(option: { readonly invert: boolean }): string {
  return option.invert ? "! " : "";
}

/** Two hexadecimal digits at least, as iptables prints bytes. */
export function byteHex(value: number): string {
  return `0x${value.toString(16).padStart(2, "0")}`;
}
