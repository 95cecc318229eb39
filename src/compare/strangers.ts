/**
 * Pods that two clusters do not have alike. A packet from or to one cannot be put to both as it was captured: its address
 * is another pod's, or nobody's, in one of them.
 */
import { addressText } from "../cluster/address.js";
import type { Cluster, Pod } from "../cluster/cluster.js";
import { hasOwnAddress, isSamePod } from "../cluster/pod-identity.js";
import type { Packet } from "../replay/loop.js";
import { Tuple } from "../replay/tuple.js";

/**
 * Says why a packet cannot be put to both clusters; empty where it can.
 *
 * @param known by address, what the caller knows of why
 */
export function strangers(one: Cluster, other: Cluster, known: ReadonlyMap<string, string> = new Map()): (packet: Packet) => string {
  const reasons = new Map<string, string>();
  const [first, second] = [ownersOf(one), ownersOf(other)];
  for (const address of new Set([...first.keys(), ...second.keys()])) {
    const [a, b] = [first.get(address), second.get(address)];
    if (a !== undefined && b !== undefined && isSamePod(a, b)) continue;
    const who = (a ?? b)!;
    reasons.set(address, known.get(address) ?? `${who.namespace}/${who.name} has ${address} in one of the two clusters only`);
  }
  if (reasons.size === 0) return () => "";
  return ({ view, flow, outcomes }) => {
    const tuples = [flow?.entry[0] ?? view.tuple, ...outcomes.filter((outcome) => outcome.arrived).map((outcome) => outcome.image)];
    for (const tuple of tuples) {
      for (const bytes of [Tuple.source(tuple), Tuple.destination(tuple)]) {
        const reason = reasons.get(addressText(bytes));
        if (reason !== undefined) return reason;
      }
    }
    return "";
  };
}

function ownersOf({ pods }: Cluster): Map<string, Pod> {
  return new Map(pods.filter(hasOwnAddress).flatMap((pod) => pod.ips.map((ip) => [ip.text, pod] as const)));
}
