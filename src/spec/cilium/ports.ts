/**
 * The L4 part of a rule: ports and ICMP types. A rule with either names no other protocol.
 *
 * Ports without a protocol are of TCP, UDP and SCTP. A name is a container port's: on the way in, of the pod that the policy
 * is for. On the way out it is the destination's from 1.20 on, by its labels: where pods of the same labels differ, the
 * name says nothing. Before, it is one number for the cluster, for any destination; where pods differ it says nothing.
 *
 * Source: Cilium's documentation, "Layer 4 Policies"; cilium#30003 and #44429 on names.
 */
import type { CiliumDirectionRule, CiliumPort, CiliumPortRule } from "../../cluster/cilium/types.js";
import type { Cluster, Pod } from "../../cluster/cluster.js";
import type { Subject } from "./subject.js";

export interface Traffic {
  readonly direction: "ingress" | "egress";
  /** IP protocol number. */
  readonly protocol: number;
  /** Destination port, or ICMP type. */
  readonly port: number;
  readonly source: Subject;
  readonly destination: Subject;
}

export interface PortContext {
  readonly cluster: Cluster;
  readonly version: number;
}

const NUMBERS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132, VRRP: 112, IGMP: 2, GRE: 47, IPIP: 4, IPV6: 41,
  ESP: 50, AH: 51 };
const ANY = [6, 17, 132];

/** null: the rule has no L4 part. Else the items that match; none of them: it has one that does not. */
export function matchingPorts(rule: CiliumDirectionRule, traffic: Traffic,
  context: PortContext): readonly CiliumPortRule[] | null | "icmp" {
  const { toPorts, icmps } = rule;
  if ((toPorts ?? []).length === 0 && (icmps ?? []).length === 0) return null;
  if ((icmps ?? []).some(({ fields }) => fields.some(({ family, type }) => traffic.protocol === (family === "IPv4" ? 1 : 58)
    && traffic.port === type))) return "icmp";
  return (toPorts ?? []).filter(({ ports }) => (ports ?? []).some((port) => isPort(port, traffic, context)));
}

function isPort({ port, endPort, protocol }: CiliumPort, traffic: Traffic, context: PortContext): boolean {
  const protocols = protocol === "ANY" ? ANY : [NUMBERS[protocol]];
  if (!protocols.includes(traffic.protocol)) return false;
  if (typeof port === "string") return numbersOf(port, traffic, context).includes(traffic.port);
  if (port === 0) return true;
  return traffic.port >= port && traffic.port <= Math.max(port, endPort);
}

function numbersOf(name: string, { direction, protocol, destination }: Traffic, context: PortContext): number[] {
  const named = (pod: Pod): number[] => pod.ports.filter((one) => one.name.toLowerCase() === name && NUMBERS[one.protocol] === protocol)
    .map((one) => one.containerPort);
  if (direction === "ingress") return destination.pod === null ? [] : named(destination.pod);
  const pods = context.cluster.pods.filter((pod) => !pod.hostNetwork && pod.phase !== "Succeeded" && pod.phase !== "Failed");
  if (context.version >= 20) return destination.pod === null ? [] : named(destination.pod);
  const numbers = [...new Set(pods.flatMap(named))];
  return numbers.length === 1 ? numbers : [];
}
