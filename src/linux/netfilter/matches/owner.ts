/**
 * `-m owner`, in OUTPUT and POSTROUTING: the user whose socket sent a packet (net/netfilter/xt_owner.c).
 *
 * A forwarded packet has no socket: each option fails, and holds where it is inverted. Of a packet of the node's own a
 * capture does not say whose it is; only that a socket sent it is sure, and that not for TCP after the first segment,
 * since a closed socket still acknowledges.
 */
import type { Extension, TestContext } from "../extension.js";
import { Matched, stateless, unknown, yes } from "../extension.js";
import { Hook } from "../../skb.js";
import { Proto, TcpFlag } from "../packet.js";
import { bang, flag, gather, numberRange, type Option, type Options, plainFlag, word1 } from "./options.js";

export function readOwner(options: readonly Option[]): Extension | string | null {
  const found = gather(options,
    { "--socket-exists": flag, "--uid-owner": word1, "--gid-owner": word1, "--suppl-groups": plainFlag });
  if (found === null || typeof found === "string") return found;
  if (found.size === 0) return "the owner match needs an option";
  if (found.has("--suppl-groups") && !found.has("--gid-owner")) return "--suppl-groups needs --gid-owner";
  let text = "-m owner";
  const socket = found.get("--socket-exists");
  if (socket !== undefined) text += ` ${bang(socket)}--socket-exists`;
  for (const name of ["--uid-owner", "--gid-owner"]) {
    const option = found.get(name);
    if (option === undefined) continue;
    const range = idRange(option.values[0]);
    // Other names stand in the node's /etc/passwd.
    if (range === null) return null;
    text += ` ${bang(option)}${name} ${range.min === range.max ? range.min : `${range.min}-${range.max}`}`;
  }
  if (found.has("--suppl-groups")) text += " --suppl-groups";
  return stateless(text, false, (context) => owner(found, context));
}

function idRange(text: string): { min: number; max: number } | null {
  return text === "root" ? { min: 0, max: 0 } : numberRange(text, 0xfffffffe, "-");
}

function owner(options: Options, context: TestContext): Matched {
  const { skb, hook, packet } = context;
  if (hook !== Hook.Output && hook !== Hook.Postrouting) return unknown(context, "the kernel refuses owner in this chain");
  if (skb.inDevice !== 0) {
    // --suppl-groups is a bit that only speaks where there is a socket, and no inverted one: xt_owner compares all bits.
    return yes(!options.has("--suppl-groups") && [...options.values()].every(({ invert }) => invert));
  }
  const sure = skb.local
    && (packet.protocol !== Proto.Tcp || (packet.tcpFlags & (TcpFlag.Syn | TcpFlag.Ack | TcpFlag.Rst)) === TcpFlag.Syn);
  const socket = options.get("--socket-exists");
  if (sure && socket !== undefined) {
    if (socket.invert) return Matched.No;
    if (options.size === 1) return Matched.Yes;
  }
  return unknown(context, "the socket that sent the packet is not known");
}
