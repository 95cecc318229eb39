/**
 * `-f`: an IPv4 fragment other than the first. It stands among the addresses in iptables' text. Connection tracking puts
 * fragments together before any chain sees them, so it does not hold where a node tracks connections.
 */
import { type Extension, stateless, yes } from "../extension.js";

export function fragmentMatch(invert: boolean): Extension {
  return stateless(invert ? "! -f" : "-f", true, ({ packet }) => yes(packet.laterFragment !== invert));
}
