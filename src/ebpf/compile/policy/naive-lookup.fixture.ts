/**
 * For tests: the datapath's policy lookup, word by word from the reference (`__policy_can_access` of 1.20),
 * over the entries of one map. Linear and slow on purpose; the programs have their own.
 */
import type { MapEntries } from "./mapstate.js";
import {
  trafficDirection,
  trafficKey,
  trafficLpmLength,
  trafficPort,
  trafficPortPrefixLength,
  trafficProtocol,
} from "./traffic.js";
import { DENY } from "./values.js";

/** Row of the entry that decides, or -1: nothing found, DROP_POLICY. */
export function lookup(
  map: MapEntries,
  identity: number,
  direction: number,
  protocol: number,
  port: number,
): number {
  const first = longest(map, identity, direction, protocol, port);
  if (first >= 0 && map.precedence[first] === 0xffffffff) return first;
  const second = identity === 0 ? -1 : longest(map, 0, direction, protocol, port);
  if (second < 0) return first;
  if (first < 0) return second;
  const difference = map.precedence[second] - map.precedence[first];
  if (difference !== 0) return difference > 0 ? second : first;
  return trafficLpmLength(map.traffic[second]) > trafficLpmLength(map.traffic[first]) ? second : first;
}

export function allowed(
  map: MapEntries,
  identity: number,
  direction: number,
  protocol: number,
  port: number,
): boolean {
  const row = lookup(map, identity, direction, protocol, port);
  return row >= 0 && (map.precedence[row] & 0xff) !== DENY;
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
    if (best < 0 || trafficLpmLength(map.traffic[row]) > trafficLpmLength(map.traffic[best])) best = row;
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
