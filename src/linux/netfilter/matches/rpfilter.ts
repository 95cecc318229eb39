/**
 * `-m rpfilter`, in PREROUTING of raw and mangle: whether the way back to the source leads out of the device the packet
 * came in on (net/ipv4/netfilter/ipt_rpfilter.c, net/ipv6/netfilter/ip6t_rpfilter.c).
 *
 * --validmark lets the packet's mark choose among routing policies; node facts have none but the built-in ones, which do
 * not look at marks.
 */
import type { Extension, TestContext } from "../extension.js";
import { stateless, unknown, yes } from "../extension.js";
import { Hook } from "../../skb.js";
import type { Packet } from "../packet.js";
import { gather, type Option, plainFlag } from "./options.js";

const names = ["--loose", "--validmark", "--accept-local", "--invert"] as const;

export function readRpfilter(options: readonly Option[]): Extension | string | null {
  const found = gather(options, Object.fromEntries(names.map((name) => [name, plainFlag])));
  if (found === null || typeof found === "string") return found;
  const text = ["-m rpfilter", ...names.filter((name) => found.has(name))].join(" ");
  const loose = found.has("--loose");
  const acceptLocal = found.has("--accept-local");
  const invert = found.has("--invert");
  return stateless(text, false, (context) => {
    const { hook, skb, services } = context;
    if (hook !== Hook.Prerouting) return unknown(context, "the kernel refuses rpfilter in this chain");
    if (services.deviceName(skb.inDevice) === "lo" || isExempt(context)) return yes(!invert);
    if (services.wayBack === undefined) return unknown(context, "the routes are not known");
    const back = services.wayBack(skb);
    const passes = back.type === "local" ? acceptLocal && (loose || skb.family === 6 || back.device === skb.inDevice)
      : back.type === "unicast" && (loose || back.device === skb.inDevice);
    return yes(passes !== invert);
  });
}

/** Sources that have no way back and are let through: DHCP's 0.0.0.0 to a broadcast or link-local group, and `::`. */
function isExempt({ packet }: TestContext): boolean {
  if (packet.family === 6) return isUnspecified6(packet);
  const to = packet.d3 >>> 0;
  return packet.s3 >>> 24 === 0 && (to === 0xffffffff || to >>> 8 === 0xe00000);
}

function isUnspecified6({ s0, s1, s2, s3 }: Packet): boolean {
  return (s0 | s1 | s2 | s3) === 0;
}
