/**
 * `-m mac`: the source address of the Ethernet frame a packet came in (net/netfilter/xt_mac.c). It stays with the packet
 * in INPUT and FORWARD. What came over the loopback device has none, and never matches, inverted or not.
 */
import type { Extension } from "../extension.js";
import { Matched, stateless, unknown, yes } from "../extension.js";
import { Hook } from "../../skb.js";
import { bang, gather, type Option, word1 } from "./options.js";

export function readMac(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--mac-source": word1 });
  if (found === null || typeof found === "string") return found;
  const option = found.get("--mac-source");
  if (option === undefined) return "the mac match needs --mac-source";
  const wanted = parseMac(option.values[0]);
  if (wanted === null) return `--mac-source ${option.values[0]} is not six bytes`;
  const text = `-m mac ${bang(option)}--mac-source ${[...wanted].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
  return stateless(text, false, (context) => {
    const { skb, hook, services } = context;
    if (hook === Hook.Output || hook === Hook.Postrouting) return unknown(context, "the kernel refuses mac in this chain");
    // The kernel names its loopback device so.
    if (services.deviceName(skb.inDevice) === "lo") return Matched.No;
    const { sourceMac } = skb;
    if (sourceMac === null) return unknown(context, "the frame's source MAC is not known");
    return yes(wanted.every((byte, at) => byte === sourceMac[at]) !== option.invert);
  });
}

function parseMac(text: string): Uint8Array | null {
  const parts = text.split(":");
  if (parts.length !== 6 || parts.some((part) => !/^[0-9a-f]{1,2}$/i.test(part))) return null;
  return Uint8Array.from(parts, (part) => Number.parseInt(part, 16));
}
