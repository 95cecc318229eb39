/** `-m tos` and `-m dscp`: IPv4's type of service and IPv6's traffic class (net/netfilter/xt_dscp.c). */
import type { Family } from "../../../cluster/address.js";
import type { Skb } from "../../skb.js";
import type { Extension } from "../extension.js";
import { stateless, yes } from "../extension.js";
import { parseNumber } from "../names.js";
import { bang, byteHex, gather, type Option, word1 } from "./options.js";

/** Names of iptables; they mean the byte without the two bits of ECN. */
const tosNames: Readonly<Record<string, number>> = {
  "minimize-delay": 0x10,
  "maximize-throughput": 8,
  "maximize-reliability": 4,
  "minimize-cost": 2,
  "normal-service": 0,
};

export function readTos(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--tos": word1 });
  if (found === null || typeof found === "string") return found;
  const option = found.get("--tos");
  if (option === undefined) return "the tos match needs --tos";
  const tos = parseTos(option.values[0], 0xff);
  if (tos === null) return `--tos ${option.values[0]} is not a type of service`;
  const { value, mask } = tos;
  const text = `-m tos ${bang(option)}--tos ${byteHex(value)}/${byteHex(mask)}`;
  return stateless(text, true, ({ skb }) => yes((tosOf(skb) & mask) === value !== option.invert));
}

export function readDscp(options: readonly Option[], _family: Family): Extension | string | null {
  const found = gather(options, { "--dscp": word1, "--dscp-class": word1 });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return "the dscp match needs one of --dscp and --dscp-class";
  const [name, option] = [...found][0];
  const value = name === "--dscp" ? parseNumber(option.values[0], 63) : parseDscpClass(option.values[0]);
  if (value === null) return `${name} ${option.values[0]} is not a DSCP`;
  const text = `-m dscp ${bang(option)}--dscp ${byteHex(value)}`;
  return stateless(text, true, ({ skb }) => yes((tosOf(skb) >> 2 === value) !== option.invert));
}

/** `value`, `value/mask` or a name; null where it is none. `mask` is that of a number without one. */
export function parseTos(text: string, mask: number): { value: number; mask: number } | null {
  const named = tosNames[text.toLowerCase()];
  if (named !== undefined) return { value: named, mask: 0x3f };
  const [valueText, maskText, more] = text.split("/");
  const value = parseNumber(valueText, 255);
  const given = maskText === undefined ? mask : parseNumber(maskText, 255);
  return value === null || given === null || more !== undefined ? null : { value, mask: given };
}

/** CS0 to CS7, AF11 to AF43, EF, BE. */
export function parseDscpClass(text: string): number | null {
  const name = text.toUpperCase();
  if (name === "EF") return 0x2e;
  if (name === "BE") return 0;
  const selector = /^CS([0-7])$/.exec(name);
  if (selector !== null) return Number(selector[1]) << 3;
  const assured = /^AF([1-4])([1-3])$/.exec(name);
  return assured === null ? null : (Number(assured[1]) << 3) | (Number(assured[2]) << 1);
}

export function tosOf({ bytes, family }: Skb): number {
  return family === 4 ? bytes[1] : ((bytes[0] & 15) << 4) | (bytes[1] >> 4);
}
