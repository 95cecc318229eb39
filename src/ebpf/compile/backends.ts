/**
 * EndpointSlices -> the backends of a Service's port, with the state that the agent gives each (pkg/k8s/endpoints.go,
 * convertEndpoints of pkg/loadbalancer/reflectors).
 *
 *     up to 1.18   not ready and not serving: none; terminating and serving: terminating; else active
 *     from 1.19    ready: active; terminating: terminating, or if it does not serve terminating-not-serving; else in
 *                  maintenance. `serving` that is absent is true.
 */
import type { Address } from "../../cluster/address.js";
import type { Endpoint, EndpointSlice, ServicePort } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import { byAddress } from "./identity.js";
import { IP_PROTOCOL } from "./policy/entry.js";
import { release, sliceWeight } from "./service-annotations.js";

/** In the order of slots. Terminating-not-serving ones keep what they have; those in maintenance have no slot. */
export type CandidateState = "active" | "terminating" | "not-serving" | "maintenance";

/** A backend as one service sees it. */
export interface Candidate {
  readonly key: string;
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
  /** Empty: not known, and local to every node. */
  readonly nodeName: string;
  readonly state: CandidateState;
  readonly weight: number;
  /** Zones that the slice's hints give it to. */
  readonly hintZones: readonly string[];
  readonly because: Because;
}

/** Backends of one family for one port of a service, in the order of address and port. */
export function candidatesFor(
  slices: readonly EndpointSlice[],
  port: ServicePort,
  family: 4 | 6,
  options: CiliumOptions,
): Candidate[] {
  const found = new Map<string, Candidate>();
  for (const slice of slices) {
    if (slice.addressType !== (family === 4 ? "IPv4" : "IPv6")) continue;
    const weight = sliceWeight(slice, options);
    for (const { name, protocol, port: number } of slice.ports) {
      if (name !== port.name || protocol !== port.protocol || number === 0) continue;
      for (const endpoint of slice.endpoints) {
        const state = weight === 0 ? "maintenance" : stateOf(endpoint, options);
        if (state === null) continue;
        for (const address of endpoint.addresses) {
          const place = { address, port: number, protocol: IP_PROTOCOL[protocol] };
          const candidate = {
            key: backendKey(place),
            ...place,
            nodeName: endpoint.nodeName,
            state,
            weight,
            hintZones: endpoint.hintZones,
            because: { where: slice.where, object: `${slice.namespace}/${slice.name}`, rule: address.text },
          };
          const before = found.get(candidate.key);
          if (before === undefined || rank(state) < rank(before.state)) found.set(candidate.key, candidate);
        }
      }
    }
  }
  return [...found.values()].sort(byBackend);
}

/** Null: no backend. */
function stateOf({ ready, serving, servingAbsent, terminating }: Endpoint, options: CiliumOptions): CandidateState | null {
  if (release(options) <= 18) {
    if (ready) return "active";
    // enable-k8s-terminating-endpoint decides up to 1.17 whether an endpoint that is not ready is looked at.
    if (!serving || (release(options) <= 17 && !options["enable-k8s-terminating-endpoint"])) return null;
    return terminating ? "terminating" : "active";
  }
  if (ready) return "active";
  if (!terminating) return "maintenance";
  return serving || servingAbsent === true ? "terminating" : "not-serving";
}

const ORDER: readonly CandidateState[] = ["active", "terminating", "not-serving", "maintenance"];

export function rank(state: CandidateState): number {
  return ORDER.indexOf(state);
}

export interface Placed {
  readonly address: Address;
  readonly port: number;
  readonly protocol: number;
}

export function backendKey({ address, port, protocol }: Placed): string {
  return `${address.text} ${port} ${protocol}`;
}

export function byBackend(a: Placed, b: Placed): number {
  return byAddress(a.address, b.address) || a.port - b.port || a.protocol - b.protocol;
}
