/**
 * The two ways to ask the spec: by names, for tests and explanations, and by addresses, for every new flow of
 * a replay. Neither translates services: the destination is the endpoint chosen.
 */
import type { Address } from "../cluster/address.js";
import type { Cluster, Protocol } from "../cluster/cluster.js";
import type { Party } from "./party.js";
import { PolicyIndex } from "./policy-index.js";
import { evaluateParties } from "./tiers.js";
import type { Evaluation, SpecOptions } from "./verdict.js";

export type FlowEnd =
  | { readonly pod: { readonly namespace: string; readonly name: string } }
  | { readonly node: string }
  | { readonly ip: Address };

export interface FlowQuestion {
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  /** Destination port, host order; 0 for protocols without ports. */
  readonly port: number;
  /** A name, or an IP protocol number. */
  readonly protocol: Protocol | number;
}

const PROTOCOL_NUMBERS: Readonly<Record<Protocol, number>> = { TCP: 6, UDP: 17, SCTP: 132 };

/**
 * What the documentation says of a flow; null where the cluster has no such pod or node, or it has no
 * address. Whether the ends have addresses of one family, and could talk at all, is not asked.
 */
export function evaluate(cluster: Cluster, flow: FlowQuestion, options: SpecOptions): Evaluation | null {
  return evaluateFlow(new PolicyIndex(cluster, options), flow);
}

/** As `evaluate`, with an index that serves many questions. */
export function evaluateFlow(index: PolicyIndex, flow: FlowQuestion): Evaluation | null {
  const sources = partiesOf(index, flow.source);
  const destinations = partiesOf(index, flow.destination);
  if (sources.length === 0 || destinations.length === 0) return null;
  const [source, destination] = sameFamily(sources, destinations);
  const protocol = typeof flow.protocol === "number" ? flow.protocol : PROTOCOL_NUMBERS[flow.protocol];
  return evaluateParties(index, source, destination, protocol, flow.port);
}

/**
 * @param protocol IP protocol number
 * @param port destination port, host order; 0 for protocols without ports
 */
export function evaluateAddresses(index: PolicyIndex, source: Address, destination: Address, protocol: number,
  port: number): Evaluation {
  return evaluateParties(index, index.party(source), index.party(destination), protocol, port);
}

/** One party for each address of the end. A named pod is known, whoever else claims its address. */
function partiesOf(index: PolicyIndex, end: FlowEnd): Party[] {
  if ("ip" in end) return [index.party(end.ip)];
  if ("node" in end) return index.nodeAddresses(end.node).map((address) => index.party(address));
  const pod = index.pod(end.pod.namespace, end.pod.name);
  if (pod === null) return [];
  return pod.ips.map((address) => (pod.hostNetwork
    ? index.party(address)
    : { address, pod, nodes: [], claimedTwice: false }));
}

/** The first pair of one family, IPv4 before IPv6; the first of each where there is none. */
function sameFamily(sources: readonly Party[], destinations: readonly Party[]): [Party, Party] {
  for (const family of [4, 6] as const) {
    const source = sources.find((one) => one.address.family === family);
    const destination = destinations.find((one) => one.address.family === family);
    if (source !== undefined && destination !== undefined) return [source, destination];
  }
  return [sources[0], destinations[0]];
}
