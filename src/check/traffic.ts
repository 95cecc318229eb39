/**
 * Classes of traffic: for each protocol the intervals of destination ports within which no rule of the policies at hand
 * tells ports apart, each with a port that stands for it.
 */
import type { Cluster, NetworkPolicy, Protocol } from "../cluster/cluster.js";
import { rulesIn } from "./requirement.js";

export interface Traffic {
  /** IP protocol number; ICMP is 1 here and 58 for IPv6. */
  readonly protocol: number;
  /** Interval of destination ports, inclusive; 0 to 0 where the protocol has none. */
  readonly first: number;
  readonly last: number;
}

export const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };
const ICMP: Traffic = { protocol: 1, first: 0, last: 0 };
const LAST_PORT = 65535;

/** Boundaries of ports of a cluster's policies. */
export class TrafficClasses {
  /** Numbers that a named port has anywhere: some engines take them all for one name. */
  private readonly named = new Map<string, Set<number>>();
  /** Boundaries that hold for everybody: of policies beside NetworkPolicy. */
  private readonly common: readonly [Protocol, number][];
  readonly protocols: readonly Protocol[];
  private readonly memo = new Map<string, readonly Traffic[]>();

  constructor(cluster: Cluster) {
    for (const pod of cluster.pods) {
      for (const { name, protocol, containerPort } of pod.ports) {
        if (name === "") continue;
        const key = `${protocol} ${name}`;
        const known = this.named.get(key);
        if (known === undefined) this.named.set(key, new Set([containerPort]));
        else known.add(containerPort);
      }
    }
    this.common = otherBoundaries(cluster, this.named);
    this.protocols = namesSctp(cluster) ? ["TCP", "UDP", "SCTP"] : ["TCP", "UDP"];
  }

  /** Classes where these policies have a say: of egress at the sender, of ingress at the receiver. */
  between(egress: readonly NetworkPolicy[], ingress: readonly NetworkPolicy[], more: readonly Traffic[] = []): readonly Traffic[] {
    const cuts = new Map<Protocol, Set<number>>(this.protocols.map((protocol) => [protocol, new Set([1])]));
    const cut = (protocol: Protocol, first: number, last: number): void => {
      cuts.get(protocol)?.add(first);
      if (last < LAST_PORT) cuts.get(protocol)?.add(last + 1);
    };
    for (const [policies, direction] of [[egress, "Egress"], [ingress, "Ingress"]] as const) {
      for (const policy of policies) {
        for (const { ports } of rulesIn(policy, direction)) {
          for (const { protocol, port, endPort } of ports ?? []) {
            if (typeof port === "number") cut(protocol, port, endPort ?? port);
            else if (port !== null) for (const number of this.named.get(`${protocol} ${port}`) ?? []) cut(protocol, number, number);
          }
        }
      }
    }
    for (const [protocol, port] of this.common) cut(protocol, port, port);
    for (const { protocol, first, last } of more) {
      const name = this.protocols.find((one) => PROTOCOL_NUMBERS[one] === protocol);
      if (name !== undefined) cut(name, first, last);
    }
    const key = [...cuts.values()].map((set) => [...set].sort((a, b) => a - b).join()).join(";");
    let found = this.memo.get(key);
    if (found === undefined) {
      found = [...[...cuts].flatMap(([protocol, set]) => intervals(PROTOCOL_NUMBERS[protocol], [...set].sort((a, b) => a - b))), ICMP];
      this.memo.set(key, found);
    }
    return found;
  }
}

/** `TCP 1-79`, `TCP 80`, `ICMP`. */
export function trafficText({ protocol, first, last }: Traffic): string {
  const name = protocol === 6 ? "TCP" : protocol === 17 ? "UDP" : protocol === 132 ? "SCTP" : "ICMP";
  if (first === 0 || first === last) return first === 0 ? name : `${name} ${first}`;
  return first === 1 && last === LAST_PORT ? `${name} any port` : `${name} ${first}-${last}`;
}

function intervals(protocol: number, cuts: readonly number[]): Traffic[] {
  return cuts.map((first, index) => ({ protocol, first, last: index + 1 < cuts.length ? cuts[index + 1] - 1 : LAST_PORT }));
}

function otherBoundaries({ ciliumPolicies, adminPolicies }: Cluster, named: ReadonlyMap<string, ReadonlySet<number>>)
  : [Protocol, number][] {
  const found: [Protocol, number][] = [];
  const add = (protocols: readonly Protocol[], first: number, last: number): void => {
    for (const protocol of protocols) found.push([protocol, first], [protocol, Math.min(LAST_PORT, Math.max(first, last))]);
  };
  const byName = (name: string): void => {
    for (const [key, numbers] of named) {
      const [protocol, own] = key.split(" ");
      if (own === name) for (const number of numbers) add([protocol as Protocol], number, number);
    }
  };
  const all: readonly Protocol[] = ["TCP", "UDP", "SCTP"];
  for (const one of ciliumPolicies.flatMap(({ rules }) => rules)) {
    for (const { toPorts } of [...one.ingress, ...one.ingressDeny, ...one.egress, ...one.egressDeny]) {
      for (const { port, endPort, protocol } of (toPorts ?? []).flatMap(({ ports }) => ports)) {
        if (typeof port === "string") byName(port);
        else if (port > 0) add(all.filter((name) => protocol === "ANY" || protocol === name), port, endPort);
      }
    }
  }
  for (const { ports } of adminPolicies.flatMap(({ ingress, egress }) => [...ingress, ...egress])) {
    for (const port of ports ?? []) {
      if (port.kind === "named") byName(port.name);
      else add([port.protocol], port.first, port.last);
    }
  }
  return found;
}

/** Whether an object of the cluster names SCTP at all. */
function namesSctp({ services, pods, networkPolicies, adminPolicies, ciliumPolicies }: Cluster): boolean {
  return services.some(({ ports }) => ports.some(({ protocol }) => protocol === "SCTP"))
    || pods.some(({ ports }) => ports.some(({ protocol }) => protocol === "SCTP"))
    || networkPolicies.some(({ ingress, egress }) => [...ingress, ...egress]
      .some(({ ports }) => (ports ?? []).some(({ protocol }) => protocol === "SCTP")))
    || adminPolicies.some(({ ingress, egress }) => [...ingress, ...egress]
      .some(({ ports }) => (ports ?? []).some((port) => port.kind === "range" && port.protocol === "SCTP")))
    || ciliumPolicies.some(({ rules }) => rules.some((one) => [...one.ingress, ...one.ingressDeny, ...one.egress, ...one.egressDeny]
      .some(({ toPorts }) => (toPorts ?? []).some(({ ports }) => ports.some(({ protocol }) => protocol === "SCTP")))));
}
