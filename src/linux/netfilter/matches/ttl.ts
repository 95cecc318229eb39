/**
 * `-m ttl` and `-m hl`: IPv4's time to live and IPv6's hop limit, as they stand at the hook: before forwarding counts
 * one off in PREROUTING, after it in FORWARD (net/netfilter/xt_hl.c).
 */
import type { Family } from "../../../cluster/address.js";
import type { Extension } from "../extension.js";
import { stateless, yes } from "../extension.js";
import { parseNumber } from "../names.js";
import { bang, gather, type Option, plain1, word1 } from "./options.js";

export function readTtl(options: readonly Option[], family: Family, name: string): Extension | string | null {
  if (name !== (family === 4 ? "ttl" : "hl")) return `the ${name} match is not one of IPv${family}`;
  const found = gather(options, { [`--${name}-eq`]: word1, [`--${name}-lt`]: plain1, [`--${name}-gt`]: plain1 },
    { [`--${name}`]: `--${name}-eq` });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return `the ${name} match needs one of --${name}-eq, --${name}-lt, --${name}-gt`;
  const [kind, option] = [...found][0];
  const value = parseNumber(option.values[0], 255);
  if (value === null) return `${kind} ${option.values[0]} is not a number up to 255`;
  const text = `-m ${name} ${bang(option)}${kind} ${value}`;
  const at = family === 4 ? 8 : 7;
  if (kind.endsWith("-lt")) return stateless(text, true, ({ skb }) => yes(skb.bytes[at] < value));
  if (kind.endsWith("-gt")) return stateless(text, true, ({ skb }) => yes(skb.bytes[at] > value));
  return stateless(text, true, ({ skb }) => yes((skb.bytes[at] === value) !== option.invert));
}
