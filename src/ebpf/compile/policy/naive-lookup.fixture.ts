/**
 * For tests: the datapath's policy lookup, word by word from the reference (`__policy_can_access`; the versions' choice of
 * entry in the table of cilium-versions 3.2), over the entries of one map. Linear and slow on purpose; the programs have
 * their own.
 */
import type { CiliumVersion } from "../../options.js";
import type { MapEntries } from "./mapstate.js";
import {
  trafficDirection,
  trafficKey,
  trafficLpmLength,
  trafficPort,
  trafficPortPrefixLength,
  trafficProtocol,
} from "./traffic.js";
import { DENY, precedenceFor } from "./values.js";

/** Row of the entry that decides, or -1: nothing found, DROP_POLICY. */
export function lookup(
  map: MapEntries,
  identity: number,
  direction: number,
  protocol: number,
  port: number,
  version: CiliumVersion = "1.20",
): number {
  const own = longest(map, identity, direction, protocol, port);
  if (own >= 0 && version === "1.16" && lengthOf(map, own) === 24) return own;
  if (own >= 0 && (version === "1.17" || version === "1.18") && denies(map, own)) return own;
  const any = identity === 0 ? -1 : longest(map, 0, direction, protocol, port);
  if (any < 0) return own;
  if (own < 0) return any;
  const longer = lengthOf(map, any) > lengthOf(map, own);
  if (version === "1.16") return longer ? any : own;
  if ((version === "1.17" || version === "1.18") && denies(map, any)) return any;
  const difference = precedenceFor(map.precedence[any], version) - precedenceFor(map.precedence[own], version);
  if (difference !== 0) return difference > 0 ? any : own;
  return longer ? any : own;
}

export function allowed(
  map: MapEntries,
  identity: number,
  direction: number,
  protocol: number,
  port: number,
  version: CiliumVersion = "1.20",
): boolean {
  const row = lookup(map, identity, direction, protocol, port, version);
  return row >= 0 && !denies(map, row);
}

function denies(map: MapEntries, row: number): boolean {
  return (map.precedence[row] & 0xff) === DENY;
}

function lengthOf(map: MapEntries, row: number): number {
  return trafficLpmLength(map.traffic[row]);
}

function longest(
  map: MapEntries,
  identity: number,
  direction: number,
  protocol: number,
  port: number,
): number {
  let best = -1;
  for (let row = 0; row < map.identity.length; row++) {
    if (map.identity[row] !== identity || !matches(map.traffic[row], direction, protocol, port)) continue;
    if (best < 0 || lengthOf(map, row) > lengthOf(map, best)) best = row;
  }
  return best;
}

function matches(traffic: number, direction: number, protocol: number, port: number): boolean {
  if (trafficDirection(traffic) !== direction) return false;
  if (trafficProtocol(traffic) === 0) return traffic === trafficKey(direction, 0, 0, 0);
  if (trafficProtocol(traffic) !== protocol) return false;
  const length = trafficPortPrefixLength(traffic);
  return length === 0 || trafficPort(traffic) >>> (16 - length) === port >>> (16 - length);
}
