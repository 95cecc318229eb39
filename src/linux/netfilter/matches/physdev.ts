/**
 * `-m physdev`: the bridge ports a packet crossed (net/netfilter/xt_physdev.c). Node facts know no bridge ports. Where the
 * node does not hand bridged packets to iptables, a packet here never crossed one: each option fails, and holds where it is
 * inverted. Where it does (net.bridge.bridge-nf-call-iptables, as kubenet has it), nobody knows.
 */
import type { Extension } from "../extension.js";
import { stateless, unknown, yes } from "../extension.js";
import { bang, flag, gather, type Option, word1 } from "./options.js";

const names = ["--physdev-is-in", "--physdev-in", "--physdev-is-out", "--physdev-out", "--physdev-is-bridged"] as const;

export function readPhysdev(options: readonly Option[]): Extension | string | null {
  const shapes = Object.fromEntries(names.map((name) => [name, name.includes("-is-") ? flag : word1]));
  const found = gather(options, shapes);
  if (found === null || typeof found === "string") return found;
  if (found.size === 0) return "the physdev match needs an option";
  let text = "-m physdev";
  for (const name of names) {
    const option = found.get(name);
    if (option === undefined) continue;
    const device = option.values[0];
    if (device !== undefined && (device === "" || device.length > 15)) return `${name} ${device} is not a device name`;
    text += ` ${bang(option)}${name}${device === undefined ? "" : ` ${device}`}`;
  }
  const held = [...found.values()].every(({ invert }) => invert);
  return stateless(text, false, (context) => {
    const { skb, services } = context;
    const sysctl = `net.bridge.bridge-nf-call-ip${skb.family === 6 ? "6" : ""}tables`;
    return services.sysctls[sysctl] === "1" ? unknown(context, "which bridge ports a packet crossed is not known") : yes(held);
  });
}
