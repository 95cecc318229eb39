/** `--tcp-option` of the tcp match: whether a TCP option stands in the header (net/netfilter/xt_tcpudp.c). */
import { type Extension, Matched, stateless, unknown, yes } from "../extension.js";
import { parseNumber } from "../names.js";
import { bang, type Option } from "./options.js";

/** Null where the number is not one; 0 is not asked for by the kernel. */
export function readTcpOption(option: Option): Extension | null {
  const kind = option.values.length === 1 ? parseNumber(option.values[0], 255) : null;
  if (kind === null || kind === 0) return null;
  return stateless(`${bang(option)}--tcp-option ${kind}`, false, (context) => {
    const { skb, packet } = context;
    const start = packet.l4 + 20;
    const end = packet.l4 + (skb.bytes[packet.l4 + 12] >> 4) * 4;
    if (end < start) return Matched.Drop;
    if (end === start) return yes(option.invert);
    if (end > packet.l4 + packet.l4Length) return Matched.Drop;
    if (!skb.has(end)) return unknown(context, "the capture cut off TCP options");
    for (let at = start; at < end;) {
      if (skb.bytes[at] === kind) return yes(!option.invert);
      // A length of 0 moves on by one.
      at += skb.bytes[at] < 2 ? 1 : skb.bytes[at + 1] || 1;
    }
    return yes(option.invert);
  });
}
