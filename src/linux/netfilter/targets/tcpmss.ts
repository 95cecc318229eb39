/**
 * TCPMSS: lowers the maximum segment size that a SYN announces, to a number or to what the ways to both ends carry; a SYN
 * without the option and without data gets one (net/netfilter/xt_TCPMSS.c). A segment whose header is not whole is
 * dropped.
 */
import { Csum, type Skb, Verdict } from "../../skb.js";
import { ChecksumDelta } from "../checksum.js";
import { goOn, type TargetExtension, type TestContext } from "../extension.js";
import { gather, type Option, plain1, plainFlag } from "../matches/options.js";
import { parseNumber } from "../names.js";
import { half, type Packet, putHalf } from "../packet.js";

/** Option kinds and the size of this one. */
const nop = 1;
const mssKind = 2;
const mssSize = 4;

export function readTcpMss(options: readonly Option[]): TargetExtension | string | null {
  const found = gather(options, { "--set-mss": plain1, "--clamp-mss-to-pmtu": plainFlag });
  if (found === null || typeof found === "string") return found;
  if (found.size !== 1) return "TCPMSS needs one of --set-mss and --clamp-mss-to-pmtu";
  const given = found.get("--set-mss");
  if (given === undefined) return { text: "TCPMSS --clamp-mss-to-pmtu", act: (context) => clamp(context) };
  const mss = parseNumber(given.values[0], 65515);
  if (mss === null) return `--set-mss ${given.values[0]} is not a number up to 65515`;
  return { text: `TCPMSS --set-mss ${mss}`, act: (context) => lower(context, mss) };
}

function clamp(context: TestContext): Verdict | typeof goOn {
  const { skb, services } = context;
  const mtu = services.pathMtu?.(skb) ?? 0;
  if (mtu === 0) {
    context.doubt = "the MTU of the ways to both ends is not known";
    return Verdict.Undecided;
  }
  const headers = skb.family === 4 ? 40 : 60;
  return mtu <= headers ? Verdict.Drop : lower(context, mtu - headers);
}

/** tcpmss_mangle_packet. */
function lower(context: TestContext, mss: number): Verdict | typeof goOn {
  const { skb, packet } = context;
  if (packet.laterFragment) return goOn;
  const { l4, l4Length } = packet;
  const headerLength = l4Length < 20 ? 0 : (skb.bytes[l4 + 12] >> 4) * 4;
  if (headerLength < 20 || l4Length < headerLength) return Verdict.Drop;
  const { bytes } = skb;
  for (let at = 20; at <= headerLength - mssSize; at += optionSize(bytes, l4 + at)) {
    if (bytes[l4 + at] !== mssKind || bytes[l4 + at + 1] !== mssSize) continue;
    // Never raised.
    if (half(bytes, l4 + at + 2) <= mss) return goOn;
    // The kernel sums it up as if it stood at an even offset, which breaks the checksum. IPv4 has noted before that it was
    // right; IPv6 finds out if it looks again for a TCP reset, which depends on what changed in its header since.
    if ((at & 1) === 1 && skb.family === 6) {
      context.doubt = "TCPMSS changes an option at an odd offset";
      return Verdict.Undecided;
    }
    replaceMss(skb, l4, at + 2, mss);
    return goOn;
  }
  if (l4Length === headerLength && headerLength < 60) addMss(skb, packet, Math.min(mss, skb.family === 4 ? 536 : 1220));
  return goOn;
}

/** A length of 0 moves on by one. */
function optionSize(bytes: Uint8Array, at: number): number {
  return bytes[at] <= nop || bytes[at + 1] === 0 ? 1 : bytes[at + 1];
}

const delta = new ChecksumDelta();

function replaceMss(skb: Skb, l4: number, at: number, mss: number): void {
  const { bytes } = skb;
  delta.clear();
  delta.half(half(bytes, l4 + at), mss);
  // What offload still has to sum needs no change.
  if (skb.csum !== Csum.Partial) delta.apply(bytes, l4 + 16);
  putHalf(bytes, l4 + at, mss);
}

/** The option goes first; the header and the packet grow by it. */
function addMss(skb: Skb, packet: Packet, mss: number): void {
  const { l4, l4Length } = packet;
  skb.insert(l4 + 20, mssSize);
  const { bytes } = skb;
  bytes[l4 + 20] = mssKind;
  bytes[l4 + 21] = mssSize;
  putHalf(bytes, l4 + 22, mss);
  const first = half(bytes, l4 + 12);
  putHalf(bytes, l4 + 12, first + 0x1000);
  delta.clear();
  delta.half(l4Length, l4Length + mssSize);
  if (skb.csum === Csum.Partial) {
    delta.applyPartial(bytes, l4 + 16);
  } else {
    delta.half(0, (mssKind << 8) | mssSize);
    delta.half(0, mss);
    delta.half(first, first + 0x1000);
    delta.apply(bytes, l4 + 16);
  }
  const field = skb.family === 4 ? 2 : 4;
  const length = half(bytes, field);
  if (skb.family === 4) {
    delta.clear();
    delta.half(length, length + mssSize);
    delta.apply(bytes, 10);
  }
  putHalf(bytes, field, length + mssSize);
  packet.l4Length += mssSize;
}
