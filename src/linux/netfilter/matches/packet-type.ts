/**
 * `-m pkttype`: how the frame was addressed on the link. What the node sends itself counts as unicast
 * (net/netfilter/xt_pkttype.c; PACKET_HOST is 0).
 */
import { PacketType } from "../../../dataplane.js";
import type { Extension } from "../extension.js";
import { stateless, yes } from "../extension.js";
import { bang, gather, type Option, word1 } from "./options.js";

const types: Readonly<Record<string, { readonly type: number; readonly text: string }>> = {
  unicast: { type: PacketType.Host, text: "unicast" },
  host: { type: PacketType.Host, text: "unicast" },
  broadcast: { type: PacketType.Broadcast, text: "broadcast" },
  multicast: { type: PacketType.Multicast, text: "multicast" },
};

export function readPacketType(options: readonly Option[]): Extension | string | null {
  const found = gather(options, { "--pkt-type": word1 });
  if (found === null || typeof found === "string") return found;
  const option = found.get("--pkt-type");
  if (option === undefined) return "the pkttype match needs --pkt-type";
  const name = option.values[0].toLowerCase();
  if (!Object.hasOwn(types, name)) return `--pkt-type ${option.values[0]} is not unicast, broadcast or multicast`;
  const { type, text } = types[name];
  return stateless(`-m pkttype ${bang(option)}--pkt-type ${text}`, true,
    ({ skb }) => yes((skb.packetType === type) !== option.invert));
}
