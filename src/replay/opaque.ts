/**
 * Packets between nodes that carry others which are not opened: other tunnels than VXLAN and Geneve, and encryption.
 * They are no traffic of the nodes' own, and whom they carry is not judged; saying so beats saying that nothing differs.
 */
import { Tuple } from "./tuple.js";
import type { View } from "./view.js";

/** IANA's protocol numbers. */
const CARRIERS: Readonly<Record<number, string>> = { 4: "IPIP", 41: "6in4", 47: "GRE", 50: "ESP", 51: "AH" };

/** Cilium's WireGuard port (pkg/wireguard/types), and Calico's default `wireguardListeningPort` and the next for IPv6. */
const WIREGUARD_PORTS: ReadonlySet<number> = new Set([51871, 51820, 51821]);

/** Why the packet is not judged; empty where it is. */
export function opaqueTunnel(view: View, points: { isNodeAddress(address: Uint8Array): boolean }): string {
  if (view.tunnelled) return "";
  const carrier = CARRIERS[view.protocol]
    ?? (view.protocol === 17 && WIREGUARD_PORTS.has(Tuple.destinationPort(view.tuple)) ? "WireGuard" : undefined);
  if (carrier === undefined) return "";
  const between = points.isNodeAddress(Tuple.source(view.tuple)) && points.isNodeAddress(Tuple.destination(view.tuple));
  return between ? `what ${carrier} carries between nodes is not judged` : "";
}
