/**
 * Kubernetes NetworkPolicies as Calico's: one rule for each protocol and peer, ports joined to ranges, names kept
 * apart. All stand in the default tier with one order, so they are sorted by name.
 *
 * Source: libcalico-go conversion.go (K8sNetworkPolicyToCalico, k8sRuleToCalico, SimplifyPorts).
 */
import type { Cluster, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule, Protocol }
  from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import { byteOrder } from "../kubeproxy/servicePorts.js";
import { peerSelector, policySelector, type Selector } from "./selector.js";

export type PolicyDirection = "inbound" | "outbound";

export interface CalicoPolicy {
  /** `namespace/knp.default.name`. */
  readonly name: string;
  readonly selector: Selector;
  /** Directions in which the policy isolates. */
  readonly inbound: readonly CalicoRule[] | null;
  readonly outbound: readonly CalicoRule[] | null;
  readonly source: NetworkPolicy;
}

export interface PortRange {
  readonly first: number;
  readonly last: number;
}

export interface CalicoRule {
  /** `tcp`, `udp`, `sctp`; null: any. */
  readonly protocol: string | null;
  /** A peer's ipBlock and what it excepts. */
  readonly net: string | null;
  readonly notNets: readonly string[];
  /** A peer's pods; null with `net`, or where any peer will do. */
  readonly selector: Selector | null;
  readonly ports: readonly PortRange[];
  readonly namedPorts: readonly string[];
  readonly because: Because;
}

const TIER = "default";

/** In the order in which they are judged. */
export function calicoPolicies(cluster: Cluster): CalicoPolicy[] {
  return cluster.networkPolicies.map(convert).sort((a, b) => byteOrder(a.name, b.name));
}

function convert(policy: NetworkPolicy): CalicoPolicy {
  const rules = (type: "Ingress" | "Egress"): CalicoRule[] | null => {
    if (!policy.policyTypes.includes(type)) return null;
    const list = type === "Ingress" ? policy.ingress : policy.egress;
    return list.flatMap((one, number) => convertRule(policy, one, type, number));
  };
  return {
    name: `${policy.namespace}/knp.${TIER}.${policy.name}`,
    selector: policySelector(policy.namespace, policy.podSelector),
    inbound: rules("Ingress"), outbound: rules("Egress"), source: policy,
  };
}

function convertRule(policy: NetworkPolicy, from: NetworkPolicyRule, type: "Ingress" | "Egress", number: number)
  : CalicoRule[] {
  const path = `${type.toLowerCase()}[${number}]`;
  const list = type === "Ingress" ? "from" : "to";
  return portsByProtocol(from.ports).flatMap(([protocol, ports]) => (from.peers ?? [null]).map((peer, index) => ({
    protocol: protocol?.toLowerCase() ?? null, ...peerFields(policy.namespace, peer), ...ports,
    because: { where: from.where, object: `${policy.namespace}/${policy.name}`,
      rule: path + (peer === null ? "" : `.${list}[${index}]`) + (protocol === null ? "" : ` ${protocol}`) },
  })));
}

function peerFields(namespace: string, peer: NetworkPolicyPeer | null): Pick<CalicoRule, "net" | "notNets" | "selector"> {
  if (peer === null) return { net: null, notNets: [], selector: null };
  const { ipBlock, podSelector, namespaceSelector } = peer;
  if (ipBlock !== null) {
    return { net: ipBlock.cidr.text, notNets: ipBlock.except.map((one) => one.text), selector: null };
  }
  return { net: null, notNets: [], selector: peerSelector(namespace, podSelector, namespaceSelector) };
}

type Ports = Pick<CalicoRule, "ports" | "namedPorts">;

/** Sorted by protocol. An entry without a port is every port of its protocol, whatever the others say. */
function portsByProtocol(ports: readonly NetworkPolicyPort[] | null): (readonly [Protocol | null, Ports])[] {
  if (ports === null) return [[null, { ports: [], namedPorts: [] }]];
  const protocols = [...new Set(ports.map((one) => one.protocol))].sort(byteOrder);
  return protocols.map((protocol) => {
    const own = ports.filter((one) => one.protocol === protocol);
    if (own.some((one) => one.port === null)) return [protocol, { ports: [], namedPorts: [] }] as const;
    const namedPorts = own.flatMap((one) => (typeof one.port === "string" ? [one.port] : []));
    return [protocol, { ports: joined(own), namedPorts }] as const;
  });
}

/** The least set of ranges that covers the numeric ports. */
function joined(ports: readonly NetworkPolicyPort[]): PortRange[] {
  const ranges = ports.flatMap(({ port, endPort }) => (typeof port === "number" ? [{ first: port, last: endPort ?? port }] : []))
    .sort((a, b) => a.first - b.first || a.last - b.last);
  const out: PortRange[] = [];
  for (const range of ranges) {
    const before = out[out.length - 1];
    if (before === undefined || range.first > before.last + 1) out.push(range);
    else if (range.last > before.last) out[out.length - 1] = { first: before.first, last: range.last };
  }
  return out;
}
