/**
 * `-m addrtype`: what an address is to this node (net/netfilter/xt_addrtype.c).
 *
 * The families differ. IPv4 gives an address one type of the local table, so blackhole, prohibit and the like never hold
 * there unless that table has them. IPv6 looks at the address for UNSPEC, UNICAST and MULTICAST, which all have to hold,
 * and at the route for LOCAL, ANYCAST and UNREACHABLE, of which one has to.
 */
import type { Family } from "../../../cluster/address.js";
import type { Extension, TestContext } from "../extension.js";
import { Matched, stateless, unknown } from "../extension.js";
import { word } from "../packet.js";
import { bang, gather, type Option, plainFlag, word1 } from "./options.js";

/** Bit numbers: RTN_* of linux/rtnetlink.h. */
const types = ["UNSPEC", "UNICAST", "LOCAL", "BROADCAST", "ANYCAST", "MULTICAST", "BLACKHOLE", "UNREACHABLE", "PROHIBIT",
  "THROW", "NAT", "XRESOLVE"] as const;
const Bit = { Unspecified: 1, Unicast: 2, Local: 4, Broadcast: 8, Anycast: 16, Multicast: 32, Blackhole: 64, Unreachable: 128 };

interface Side {
  readonly option: string;
  readonly types: number;
  readonly invert: boolean;
  /** Offset of the address in the IP header. */
  readonly at: number;
}

export function readAddressType(options: readonly Option[], family: Family): Extension | string | null {
  const found = gather(options,
    { "--src-type": word1, "--dst-type": word1, "--limit-iface-in": plainFlag, "--limit-iface-out": plainFlag });
  if (found === null || typeof found === "string") return found;
  const [into, out] = [found.has("--limit-iface-in"), found.has("--limit-iface-out")];
  if (into && out) return "addrtype takes one of --limit-iface-in and --limit-iface-out";
  const sides: Side[] = [];
  for (const [name, at] of [["--src-type", family === 4 ? 12 : 8], ["--dst-type", family === 4 ? 16 : 24]] as const) {
    const option = found.get(name);
    if (option === undefined) continue;
    const bits = parseTypes(option.values[0]);
    if (bits === null) return `${name} ${option.values[0]} is not a list of address types`;
    if (family === 6 && (bits & ~(Bit.Broadcast - 1 | Bit.Anycast | Bit.Multicast | Bit.Unreachable)) !== 0)
      return `${name} ${option.values[0]}: IPv6 knows UNSPEC, UNICAST, LOCAL, ANYCAST, MULTICAST and UNREACHABLE`;
    sides.push({ option: name, types: bits, invert: option.invert, at });
  }
  if (sides.length === 0) return "the addrtype match needs --src-type or --dst-type";
  const text = ["-m addrtype", ...sides.map((side) => `${bang(side)}${side.option} ${typeNames(side.types)}`),
    ...(into ? ["--limit-iface-in"] : []), ...(out ? ["--limit-iface-out"] : [])].join(" ");
  // An IPv6 address limited to a device asks for a route by that device.
  const unsure = family === 6 && (into || out);
  return stateless(text, !unsure, (context) => {
    const device = into ? context.skb.inDevice : out ? context.skb.outDevice : 0;
    for (const side of sides) {
      if (unsure && (side.types & (Bit.Anycast | Bit.Unreachable)) !== 0)
        return unknown(context, "addrtype with a route limited to a device");
      if ((family === 4 ? holds4(side, context, device) : holds6(side, context, device)) === side.invert) return Matched.No;
    }
    return Matched.Yes;
  });
}

function holds4({ types: wanted, at }: Side, { skb, services }: TestContext, device: number): boolean {
  return ((wanted >> types.indexOf(services.addressType(skb.bytes, at, 4, device))) & 1) === 1;
}

/** match_type6. */
function holds6({ types: wanted, at }: Side, { skb, services }: TestContext, device: number): boolean {
  const { bytes } = skb;
  const multicast = bytes[at] === 0xff;
  if ((wanted & Bit.Multicast) !== 0 && !multicast) return false;
  const first = word(bytes, at) | word(bytes, at + 4);
  // __ipv6_addr_type: neither `::` nor an IPv4-mapped address is unicast.
  const mapped = first === 0 && word(bytes, at + 8) === 0xffff;
  const unspecified = first === 0 && word(bytes, at + 8) === 0 && word(bytes, at + 12) === 0;
  if ((wanted & Bit.Unicast) !== 0 && (multicast || mapped || unspecified)) return false;
  if ((wanted & Bit.Unspecified) !== 0 && !unspecified) return false;
  if ((wanted & (Bit.Local | Bit.Anycast | Bit.Unreachable)) === 0) return true;
  const type = services.addressType(bytes, at, 6, device);
  if (type === "LOCAL") return (wanted & Bit.Local) !== 0;
  if (type === "ANYCAST") return (wanted & Bit.Anycast) !== 0;
  return type !== "UNICAST" && type !== "MULTICAST" && (wanted & Bit.Unreachable) !== 0;
}

function parseTypes(text: string): number | null {
  let bits = 0;
  for (const part of text.split(",")) {
    const bit = (types as readonly string[]).indexOf(part.toUpperCase());
    if (bit < 0) return null;
    bits |= 1 << bit;
  }
  return bits;
}

function typeNames(bits: number): string {
  return types.filter((_, bit) => (bits & (1 << bit)) !== 0).join(",");
}
