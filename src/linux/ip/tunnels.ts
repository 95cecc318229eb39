/** Where the tunnel endpoint behind a next hop is. Static, as flannel keeps its fdb and neighbours. */
import type { Address } from "../../cluster/address.js";
import type { NodeFacts } from "../../cluster/cluster.js";
import { type DeviceEntry, macBytes } from "./devices.js";

/**
 * NodeFacts have no forwarding database, so the caller says which node's address is behind a next hop on a tunnel
 * device. `mac`: of the endpoint's tunnel device; null: taken from the node's neighbours. Null: not known.
 */
export type TunnelResolver = (gateway: Address, device: string) =>
  { readonly remote: Address; readonly mac: string | null } | null;

export interface TunnelEnd {
  readonly remote: Address;
  readonly mac: Uint8Array;
}

export class Tunnels {
  private readonly cache = new Map<Address, TunnelEnd | null>();

  constructor(private readonly facts: NodeFacts, private readonly resolver: TunnelResolver) {}

  /** `gateway` is a route's own object, so the answer is found without making a key. */
  find(gateway: Address, device: DeviceEntry): TunnelEnd | null {
    const known = this.cache.get(gateway);
    if (known !== undefined) return known;
    const found = this.resolver(gateway, device.name);
    const neighbour = this.facts.neighbours.find((entry) =>
      entry.device === device.index && entry.address.text === gateway.text);
    const end = found === null ? null : { remote: found.remote, mac: macBytes(found.mac ?? neighbour?.mac ?? "") };
    this.cache.set(gateway, end);
    return end;
  }
}
