/**
 * `-m u32`: 32-bit words of the packet, counted from the IP header, masked, shifted, followed and compared
 * (net/netfilter/xt_u32.c, iptables' libxt_u32). A word that is not all inside the packet makes the whole expression
 * false, before `!` is applied.
 *
 *     expression = test { "&&" test }        test = location "=" range { "," range }
 *     location = number { ("&" | "<<" | ">>" | "@") number }        range = number [ ":" number ]
 */
import type { Skb } from "../../skb.js";
import type { Extension } from "../extension.js";
import { Matched, stateless, unknown, yes } from "../extension.js";
import { parseNumber } from "../names.js";
import { word } from "../packet.js";
import { bang, gather, type Option, word1 } from "./options.js";

interface Step {
  readonly operator: "&" | "<<" | ">>" | "@";
  readonly number: number;
}

interface Comparison {
  readonly start: number;
  readonly steps: readonly Step[];
  readonly ranges: readonly { readonly min: number; readonly max: number }[];
}

/** XT_U32_MAXSIZE: tests of an expression, numbers of a location, ranges of a test. */
const most = 10;

export function readU32(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--u32": word1 });
  if (found === null || typeof found === "string") return found;
  const option = found.get("--u32");
  if (option === undefined) return "the u32 match needs --u32";
  const tests = parseExpression(option.values[0]);
  if (tests === null) return `--u32 "${option.values[0]}" is not an expression of u32`;
  const text = `-m u32 ${bang(option)}--u32 "${tests.map(testText).join("&&")}"`;
  return stateless(text, false, (context) => {
    for (const test of tests) {
      const held = holds(test, context.skb);
      if (held === null) return unknown(context, "u32 reads bytes that the capture cut off");
      if (!held) return yes(option.invert);
    }
    return option.invert ? Matched.No : Matched.Yes;
  });
}

/** Null: the bytes are not there to be read. */
function holds({ start, steps, ranges }: Comparison, skb: Skb): boolean | null {
  let base = 0;
  if (skb.length < 4 || start > skb.length - 4) return false;
  if (!skb.has(start + 4)) return null;
  let value = word(skb.bytes, start) >>> 0;
  for (const { operator, number } of steps) {
    switch (operator) {
      case "&":
        value = (value & number) >>> 0;
        break;
      case "<<":
        value = (value << number) >>> 0;
        break;
      case ">>":
        value >>>= number;
        break;
      case "@":
        base += value;
        if (base > 0xffffffff || skb.length < base + 4 || number > skb.length - base - 4) return false;
        if (!skb.has(base + number + 4)) return null;
        value = word(skb.bytes, base + number) >>> 0;
    }
  }
  return ranges.some(({ min, max }) => min <= value && value <= max);
}

function parseExpression(text: string): Comparison[] | null {
  const tests: Comparison[] = [];
  for (const part of text.replace(/\s+/g, "").split("&&")) {
    const [location, values, more] = part.split("=");
    if (values === undefined || more !== undefined) return null;
    const words = location.split(/(&|<<|>>|@)/);
    const numbers = words.filter((_, at) => at % 2 === 0).map(number);
    const ranges = values.split(",").map(parseRange);
    if (numbers.length > most || ranges.length > most || numbers.includes(null) || ranges.includes(null)) return null;
    tests.push({
      start: numbers[0] as number,
      steps: numbers.slice(1).map((value, at) => ({ operator: words[at * 2 + 1] as Step["operator"], number: value as number })),
      ranges: ranges as { min: number; max: number }[],
    });
  }
  return tests.length > most ? null : tests;
}

function number(text: string): number | null {
  return parseNumber(text, 0xffffffff);
}

function parseRange(text: string): { min: number; max: number } | null {
  const [first, last, more] = text.split(":");
  const min = number(first);
  const max = last === undefined ? min : number(last);
  return min === null || max === null || more !== undefined ? null : { min, max };
}

function testText({ start, steps, ranges }: Comparison): string {
  const location = steps.map(({ operator, number: value }) => `${operator}${hex(value)}`).join("");
  const values = ranges.map(({ min, max }) => (min === max ? hex(min) : `${hex(min)}:${hex(max)}`)).join(",");
  return `${hex(start)}${location}=${values}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
