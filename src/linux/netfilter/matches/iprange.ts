/** `-m iprange`: source and destination between two addresses, both included (net/netfilter/xt_iprange.c). */
import { type Family, parseAddress } from "../../../cluster/address.js";
import type { Extension } from "../extension.js";
import { stateless, yes } from "../extension.js";
import { wordsOf, wordsText, type Words } from "../names.js";
import type { Packet } from "../packet.js";
import { bang, gather, type Option, word1 } from "./options.js";

interface Bounds {
  readonly low: Words;
  readonly high: Words;
  readonly invert: boolean;
}

export function readIpRange(options: readonly Option[], family: Family): Extension | string | null {
  const found = gather(options, { "--src-range": word1, "--dst-range": word1 });
  if (found === null || typeof found === "string") return found;
  const sides: (Bounds | null)[] = [];
  let text = "-m iprange";
  for (const name of ["--src-range", "--dst-range"]) {
    const option = found.get(name);
    const bounds = option === undefined ? null : readBounds(option, family);
    if (option !== undefined && bounds === null) return `${name} ${option.values[0]} is not a range of IPv${family} addresses`;
    sides.push(bounds);
    if (bounds !== null) text += ` ${bang(bounds)}${name} ${wordsText(bounds.low, family)}-${wordsText(bounds.high, family)}`;
  }
  const [source, destination] = sides;
  if (source === null && destination === null) return "the iprange match needs --src-range or --dst-range";
  return stateless(text, true, ({ packet }) =>
    yes((source === null || sourceHolds(source, packet)) && (destination === null || destinationHolds(destination, packet))));
}

/** `a-b`, or one address. The kernel takes a range that is turned round, which no address is in. */
function readBounds(option: Option, family: Family): Bounds | null {
  const [first, last, more] = option.values[0].split("-");
  const low = parseAddress(first);
  const high = last === undefined ? low : parseAddress(last);
  if (more !== undefined || low?.family !== family || high?.family !== family) return null;
  return { low: wordsOf(low.bytes), high: wordsOf(high.bytes), invert: option.invert };
}

function sourceHolds(bounds: Bounds, { s0, s1, s2, s3 }: Packet): boolean {
  return inside(bounds, s0, s1, s2, s3) !== bounds.invert;
}

function destinationHolds(bounds: Bounds, { d0, d1, d2, d3 }: Packet): boolean {
  return inside(bounds, d0, d1, d2, d3) !== bounds.invert;
}

function inside({ low, high }: Bounds, a: number, b: number, c: number, d: number): boolean {
  return order(low, a, b, c, d) <= 0 && order(high, a, b, c, d) >= 0;
}

/** Below 0 where the bound comes before the address, compared unsigned word by word. */
function order(bound: Words, a: number, b: number, c: number, d: number): number {
  if (bound[0] !== a) return (bound[0] >>> 0) - (a >>> 0);
  if (bound[1] !== b) return (bound[1] >>> 0) - (b >>> 0);
  if (bound[2] !== c) return (bound[2] >>> 0) - (c >>> 0);
  return (bound[3] >>> 0) - (d >>> 0);
}
