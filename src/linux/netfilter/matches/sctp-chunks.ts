/**
 * `--chunk-types` of the sctp match: which chunks an SCTP packet holds, and with which flags (net/netfilter/xt_sctp.c,
 * iptables' libxt_sctp). A packet whose chunks do not follow one another properly is dropped.
 */
import { type Extension, Matched, stateless, type TestContext, unknown, yes } from "../extension.js";
import { half } from "../packet.js";
import { bang, type Option } from "./options.js";

/** Type, and letters of its flags from bit 7 down to bit 0. */
const kinds: readonly (readonly [string, number, string])[] = [
  ["DATA", 0, "----IUBE"], ["INIT", 1, "--------"], ["INIT_ACK", 2, "--------"], ["SACK", 3, "--------"],
  ["HEARTBEAT", 4, "--------"], ["HEARTBEAT_ACK", 5, "--------"], ["ABORT", 6, "-------T"], ["SHUTDOWN", 7, "--------"],
  ["SHUTDOWN_ACK", 8, "--------"], ["ERROR", 9, "--------"], ["COOKIE_ECHO", 10, "--------"], ["COOKIE_ACK", 11, "--------"],
  ["ECN_ECNE", 12, "--------"], ["ECN_CWR", 13, "--------"], ["SHUTDOWN_COMPLETE", 14, "-------T"],
  ["ASCONF_ACK", 128, "--------"], ["ASCONF", 193, "--------"],
];

interface Chunk {
  readonly type: number;
  readonly mask: number;
  readonly flags: number;
  readonly text: string;
}

type Mode = "all" | "any" | "only";

/** Null: a mode, chunk or flag that is not known. */
export function readChunkTypes(option: Option): Extension | null {
  const [mode, list] = option.values;
  if (option.values.length !== 2 || !/^(all|any|only)$/.test(mode)) return null;
  const chunks = new Map<number, Chunk>();
  for (const part of list.split(",")) {
    const chunk = readChunk(part);
    if (chunk === null || chunks.has(chunk.type)) return null;
    chunks.set(chunk.type, chunk);
  }
  const texts = [...chunks.values()].sort((a, b) => a.type - b.type).map(({ text }) => text);
  return stateless(`${bang(option)}--chunk-types ${mode} ${texts.join(",")}`, false, (context) => {
    const answer = holds(context, mode as Mode, chunks);
    return answer === Matched.Yes || answer === Matched.No ? yes((answer === Matched.Yes) !== option.invert) : answer;
  });
}

function readChunk(text: string): Chunk | null {
  const [name, letters, more] = text.split(":");
  const kind = kinds.find(([known]) => known === name.toUpperCase());
  if (kind === undefined || more !== undefined) return null;
  let mask = 0;
  let flags = 0;
  for (const letter of letters ?? "") {
    const at = kind[2].indexOf(letter.toUpperCase());
    if (at < 0 || letter === "-") return null;
    mask |= 0x80 >> at;
    if (letter === letter.toUpperCase()) flags |= 0x80 >> at;
  }
  const shown = [...kind[2]].map((letter, at) => {
    const bit = 0x80 >> at;
    return (mask & bit) === 0 ? "" : (flags & bit) !== 0 ? letter : letter.toLowerCase();
  });
  return { type: kind[1], mask, flags, text: mask === 0 ? kind[0] : `${kind[0]}:${shown.join("")}` };
}

/** match_packet. */
function holds(context: TestContext, mode: Mode, chunks: ReadonlyMap<number, Chunk>): Matched {
  const { skb, packet } = context;
  const found = new Set<number>();
  let at = packet.l4 + 12;
  do {
    if (at + 4 > skb.length) return Matched.Drop;
    if (!skb.has(at + 4)) return unknown(context, "the capture cut off SCTP chunks");
    const [type, flags, length] = [skb.bytes[at], skb.bytes[at + 1], half(skb.bytes, at + 2)];
    if (length === 0) return Matched.Drop;
    at += (length + 3) & ~3;
    const chunk = chunks.get(type);
    const fits = chunk !== undefined && (flags & chunk.mask) === chunk.flags;
    if (fits && mode === "any") return Matched.Yes;
    if (!fits && mode === "only") return Matched.No;
    if (fits) found.add(type);
  } while (at < skb.length);
  return yes(mode === "only" || (mode === "all" && found.size === chunks.size));
}
