/** What the makers of Cilium's rules share: a rule with its option as the reason, devices, marks. */
import type { CiliumOptions } from "../options.js";
import type { OwnRule } from "./rules.js";

export const HOST_DEVICE = "cilium_host";
/** pkg/datapath/linux/linux_defaults/mark.go, with their masks. */
export const MARK = { decrypt: "0xd00/0xf00", encrypt: "0xe00/0xf00", overlay: "0x400/0xf00", proxy: "0xa00/0xe00",
  proxyEndpoint: "0x800/0xe00", identity: "0xf00/0xf00", host: "0xc00/0xf00" } as const;

export function ownRule(table: OwnRule["table"], chain: string, text: string, option: string): OwnRule {
  return { table, chain, text, becauses: [{ where: null, object: "cilium", rule: option }] };
}

/** getDeliveryInterface. */
export function deliveryDevice(options: CiliumOptions): string {
  return options["enable-endpoint-routes"] ? "lxc+" : HOST_DEVICE;
}
