/** Classes of pairs of pods, each with a packet for every class of traffic: on one node and on two, in both families. */
import type { Pod } from "../cluster/cluster.js";
import { countPairs, type Group, place, podsOf, split } from "./groups.js";
import type { Probe, ProbeList } from "./probe.js";
import type { Traffic, TrafficClasses } from "./traffic.js";

/** @param asks which pairs of groups */
export function addPodPairs(senders: readonly Group[], receivers: readonly Group[], traffic: TrafficClasses, list: ProbeList,
  asks: (from: Group, to: Group) => boolean): void {
  for (const from of senders) {
    for (const to of receivers) {
      if (!asks(from, to)) continue;
      const ports = traffic.between(from.policies, to.policies);
      if (list.full) {
        list.refuse(ports.length, ports.length * podsOf(from.classes) * podsOf(to.classes));
        continue;
      }
      for (const sending of split(from.classes, to.peers).values()) {
        for (const receiving of split(to.classes, from.peers).values()) {
          for (const sameNode of [true, false]) {
            const placed = place(sending, receiving, sameNode);
            if (placed === null) continue;
            const pairs = once(() => countPairs(sending, receiving, sameNode));
            for (const one of ports) for (const probe of podProbes(...placed, one, pairs)) list.add(probe);
          }
        }
      }
    }
  }
}

/** One packet for each family that both have. */
export function podProbes(from: Pod, to: Pod, traffic: Traffic, pairs: () => number): Probe[] {
  return to.ips.flatMap((destination) => {
    const source = from.ips.find(({ family }) => family === destination.family);
    if (source === undefined) return [];
    const own = traffic.protocol === 1 && destination.family === 6 ? { ...traffic, protocol: 58 } : traffic;
    return [{ way: "pod to pod" as const, sender: { kind: "pod" as const, pod: from }, source, destination, traffic: own,
      port: portWithin(own, to), backend: null, service: "", pairs }];
  });
}

/** A container port of the pod where one lies in the interval, else the interval's first. */
export function portWithin({ protocol, first, last }: Traffic, pod: Pod): number {
  const own = pod.ports.filter((port) => (port.protocol === "TCP" ? 6 : port.protocol === "UDP" ? 17 : 132) === protocol)
    .map(({ containerPort }) => containerPort).filter((port) => port >= first && port <= last);
  return own.length === 0 ? first : Math.min(...own);
}

/** The value, worked out when it is first asked for. */
export function once(value: () => number): () => number {
  let known: number | null = null;
  return () => (known ??= value());
}
