/** What kind of ICMP message a view holds, for replaying. RFC 792, RFC 4443, RFC 4861, RFC 2710. */
import { type View } from "./view.js";

export const IcmpKind = { None: 0, Echo: 1, Error: 2, Other: 3 } as const;

export function icmpKind(view: View): number {
  if (view.fragmentOffset > 0) return IcmpKind.None;
  if (view.protocol === 1) {
    if (view.icmpType === 0 || view.icmpType === 8) return IcmpKind.Echo;
    // Destination unreachable, source quench, redirect, time exceeded, parameter problem quote a packet.
    return view.quoted > 0 ? IcmpKind.Error : IcmpKind.Other;
  }
  if (view.protocol === 58) {
    if (view.icmpType === 128 || view.icmpType === 129) return IcmpKind.Echo;
    return view.icmpType < 128 && view.quoted > 0 ? IcmpKind.Error : IcmpKind.Other;
  }
  return IcmpKind.None;
}

export function isEchoReply({ protocol, icmpType, fragmentOffset }: View): boolean {
  return fragmentOffset === 0 && ((protocol === 1 && icmpType === 0) || (protocol === 58 && icmpType === 129));
}

/** Router and neighbour discovery, redirect, and multicast listener messages: the link's own business. */
export function isNeighbourDiscovery(view: View): boolean {
  if (view.protocol === 2) return true;
  if (view.protocol !== 58) return false;
  return (view.icmpType >= 133 && view.icmpType <= 137) || (view.icmpType >= 130 && view.icmpType <= 132)
    || view.icmpType === 143;
}
