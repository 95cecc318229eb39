/**
 * `-m length`: the packet's length in bytes from its IP header, as the header says it: total length in IPv4, payload
 * and 40 in IPv6. A reassembled packet counts whole, link padding does not (net/netfilter/xt_length.c).
 */
import type { Extension } from "../extension.js";
import { stateless, yes } from "../extension.js";
import { bang, gather, numberRange, type Option, word1 } from "./options.js";

export function readLength(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--length": word1 });
  if (found === null || typeof found === "string") return found;
  const option = found.get("--length");
  if (option === undefined) return "the length match needs --length";
  const range = numberRange(option.values[0], 65535);
  if (range === null) return `--length ${option.values[0]} is not a length or a range of lengths up to 65535`;
  const { min, max } = range;
  const text = `-m length ${bang(option)}--length ${min === max ? min : `${min}:${max}`}`;
  return stateless(text, true, ({ skb }) => yes((skb.length >= min && skb.length <= max) !== option.invert));
}
