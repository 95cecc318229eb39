/**
 * The statements of a cluster's policies, as becauses name them: each rule with its peers and ports, and each default
 * deny. What is there to be exercised, and what a change can touch. It reads what was written and decides nothing.
 */
import type { AdminPolicy, AdminPort } from "../cluster/admin-policy.js";
import type { CiliumDirectionRule, CiliumPolicy, CiliumRule } from "../cluster/cilium/types.js";
import type { Cluster, NetworkPolicy, NetworkPolicyPort, ObjectMeta, Pod } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import type { Because } from "../dataplane.js";
import { contentOf } from "./content.js";

export type PolicyDirection = "ingress" | "egress";

export interface Statement {
  /** What `statementKey` makes of a because that names it. */
  readonly key: string;
  /** `Because.object`: `default/web`, `CiliumNetworkPolicy default/web`. */
  readonly object: string;
  readonly direction: PolicyDirection;
  /** `ingress[0]`, `spec.egressDeny[1]`; of a default deny, the direction alone. */
  readonly path: string;
  readonly isDefaultDeny: boolean;
  readonly where: Where;
  /** With the empty path, any peer; none: a list that is given and empty. */
  readonly peers: readonly PeerItem[];
  /** None: any port. */
  readonly ports: readonly PortItem[];
  /** It hands questions for names to the DNS proxy, from whose answers toFQDNs rules get their addresses. */
  readonly asksNames?: true;
}

export interface PeerItem {
  /** `from[1]`, `toEntities[0]`. */
  readonly path: string;
  /** Equal where two of one object and direction say the same of the same subjects and ports, wherever they stand. */
  readonly text: string;
}

export interface PortItem {
  /** `ports[0]`, `toPorts[0].ports[1]`. */
  readonly path: string;
  /** @param protocol an IP protocol number @param port of the endpoint, host order; for ICMP its type */
  matches(protocol: number, port: number): boolean;
}

/** Every statement, sorted by object and place. */
export function statementsOf(cluster: Cluster): Statement[] {
  const found = [
    ...cluster.networkPolicies.flatMap((policy) => networkPolicyStatements(policy, cluster.pods)),
    ...cluster.ciliumPolicies.flatMap((policy) => ciliumStatements(policy, cluster)),
    ...cluster.adminPolicies.flatMap((policy) => adminStatements(policy, cluster.pods)),
  ];
  return found.sort((a, b) => compare(a.object, b.object) || compare(a.direction, b.direction) || compare(a.path, b.path));
}

/**
 * The statement that a because names, as a key; null where it names no policy's rule. Planes write paths with and without
 * `spec.`, and say of a default deny what they are: `ingress`, or `policyTypes Ingress, and no rule matches`.
 */
export function statementKey({ object, rule }: Because): string | null {
  const path = /^(?:spec\.|(specs\[\d+\]\.))?((?:in|e)gress(?:Deny)?\[\d+\])/.exec(rule);
  if (path !== null) return `${object} ${path[1] ?? ""}${path[2]}`;
  const deny = /^(?:policyTypes )?(Ingress|Egress|ingress|egress)\b(?!\[)/.exec(rule);
  return deny === null ? null : `${object} ${deny[1].toLowerCase()}`;
}

/** The peer a because names, as `Statement.peers` has it; empty where it names none. */
export function peerOf({ rule }: Because): string {
  return /\]\.((?:from|to)[A-Za-z]*\[\d+\])/.exec(rule)?.[1] ?? "";
}

/** The port item a because names; empty where its plane does not say which. */
export function portItemOf({ rule }: Because): string {
  return / (ports\[\d+\])/.exec(rule)?.[1] ?? "";
}

/** Whether the because is a default deny's. */
export function isDefaultDeny(because: Because): boolean {
  const key = statementKey(because);
  return key !== null && !key.endsWith("]");
}

export function directionOf(because: Because): PolicyDirection | null {
  const key = statementKey(because);
  if (key === null) return null;
  return /(ingress|egress)(?:Deny)?(?:\[\d+\])?$/.exec(key)![1] as PolicyDirection;
}

function networkPolicyStatements(policy: NetworkPolicy, pods: readonly Pod[]): Statement[] {
  const object = `${policy.namespace}/${policy.name}`;
  const subject = contentOf([policy.namespace, policy.podSelector]);
  return (["ingress", "egress"] as const).flatMap((direction): Statement[] => {
    const type = direction === "ingress" ? "Ingress" : "Egress";
    const rules = policy[direction];
    const stated = rules.map((rule, index): Statement => ({
      key: `${object} ${direction}[${index}]`, object, direction, path: `${direction}[${index}]`, isDefaultDeny: false,
      where: rule.where,
      // The policy's namespace is what its peers' pod selectors mean too, and it is in the subject.
      peers: peerItems(rule.peers, direction, (peer) => `${subject} ${contentOf([peer, rule.ports])}`),
      ports: (rule.ports ?? []).map((port, at) => ({ path: `ports[${at}]`, matches: portMatcher(port, pods) })),
    }));
    // A direction that policyTypes leaves out is isolated in Cilium by its rules, and in no other engine.
    if (!policy.policyTypes.includes(type) && rules.length === 0) return stated;
    return [defaultDeny(object, direction, subject, policy.where), ...stated];
  });
}

function ciliumStatements(policy: CiliumPolicy, cluster: Cluster): Statement[] {
  const object = `${policy.kind} ${policy.namespace === "" ? policy.name : `${policy.namespace}/${policy.name}`}`;
  const found: Statement[] = [];
  for (const direction of ["ingress", "egress"] as const) {
    const isolating: CiliumRule[] = [];
    for (const rule of policy.rules) {
      const subject = contentOf([policy.namespace, rule.endpointSelector, rule.nodeSelector]);
      const sections = [rule[direction], rule[`${direction}Deny`]];
      for (const item of sections.flat()) found.push(ciliumStatement(object, direction, subject, item, cluster));
      if (sections.flat().length > 0 && rule.enableDefaultDeny[direction] !== false) isolating.push(rule);
    }
    if (isolating.length === 0) continue;
    const subjects = isolating.map((rule) => contentOf([policy.namespace, rule.endpointSelector, rule.nodeSelector]));
    found.push(defaultDeny(object, direction, subjects.sort().join(" "), isolating[0].where));
  }
  return found;
}

function ciliumStatement(object: string, direction: PolicyDirection, subject: string, item: CiliumDirectionRule, cluster: Cluster)
  : Statement {
  const side = direction === "ingress" ? "from" : "to";
  const ports = (item.toPorts ?? []).flatMap((one, index) => one.ports.map((port, at): PortItem => ({
    path: `toPorts[${index}].ports[${at}]`,
    matches: (protocol, number) => (port.protocol === "ANY" ? [6, 17, 132].includes(protocol) : PROTOCOLS[port.protocol] === protocol)
      && (typeof port.port === "string" ? namedPort(cluster.pods, port.port, protocol, number)
        : port.port === 0 || (number >= port.port && number <= Math.max(port.port, port.endPort))),
  })));
  const icmps = (item.icmps ?? []).flatMap((one, index) => one.fields.map((field, at): PortItem => ({
    path: `icmps[${index}].fields[${at}]`,
    matches: (protocol) => protocol === (field.family === "IPv4" ? 1 : 58),
  })));
  const { path, where, toPorts, icmps: types, authentication, requires } = item;
  const rest = `${subject} ${contentOf([/Deny\[/.test(path), toPorts, types, authentication, requires])}`;
  const peers = PEER_FIELDS.flatMap(([field, name]) => (item[field] ?? []).map((peer, index): PeerItem =>
    ({ path: `${side}${name}[${index}]`, text: `${rest} ${field} ${contentOf([peer, mentioned(item, cluster)])}` })));
  const lists = PEER_FIELDS.some(([field]) => item[field] !== null);
  return {
    key: `${object} ${path.replace(/^spec\./, "")}`, object, direction, path, isDefaultDeny: false, where,
    // A list that is given and empty selects nothing.
    peers: lists ? peers : [{ path: "", text: rest }], ports: [...ports, ...icmps],
    ...((toPorts ?? []).some((one) => (one.rules?.dns ?? null) !== null) ? { asksNames: true as const } : {}),
  };
}

/** What a rule refers to outside its object: CIDR groups, and services by name or labels. */
function mentioned(item: CiliumDirectionRule, cluster: Cluster): unknown {
  const groups = (item.cidrSet ?? []).some((one) => one.cidr === null) ? cluster.cidrGroups : [];
  const services = (item.services ?? []).length === 0 ? [] : [cluster.services, cluster.endpointSlices];
  return [groups, services];
}

const PEER_FIELDS = [["endpoints", "Endpoints"], ["cidr", "CIDR"], ["cidrSet", "CIDRSet"], ["entities", "Entities"],
  ["groups", "Groups"], ["nodes", "Nodes"], ["services", "Services"], ["fqdns", "FQDNs"]] as const;

function adminStatements(policy: AdminPolicy, pods: readonly Pod[]): Statement[] {
  const object = `${policy.kind} ${policy.name}`;
  const subject = contentOf([policy.tier, policy.priority, policy.subject]);
  return (["ingress", "egress"] as const).flatMap((direction) => policy[direction].map((rule, index): Statement => ({
    key: `${object} ${direction}[${index}]`, object, direction, path: `spec.${direction}[${index}]`, isDefaultDeny: false,
    where: rule.where,
    // The first rule that matches decides: its place is part of what it says.
    peers: peerItems(rule.peers, direction, (peer) => `${subject} ${index} ${contentOf([rule.action, peer, rule.ports])}`),
    ports: (rule.ports ?? []).map((port, at) => ({ path: `ports[${at}]`, matches: adminPortMatcher(port, pods) })),
  })));
}

function defaultDeny(object: string, direction: PolicyDirection, subject: string, where: Where): Statement {
  return { key: `${object} ${direction}`, object, direction, path: direction, isDefaultDeny: true, where,
    peers: [{ path: "", text: `isolates ${subject}` }], ports: [] };
}

function peerItems<Peer>(peers: readonly Peer[] | null, direction: PolicyDirection, text: (peer: Peer | null) => string): PeerItem[] {
  if (peers === null) return [{ path: "", text: text(null) }];
  return peers.map((peer, index) => ({ path: `${direction === "ingress" ? "from" : "to"}[${index}]`, text: text(peer) }));
}

function portMatcher({ protocol, port, endPort }: NetworkPolicyPort, pods: readonly Pod[]): PortItem["matches"] {
  return (number, seen) => PROTOCOLS[protocol] === number && (port === null
    || (typeof port === "string" ? namedPort(pods, port, number, seen) : seen >= port && seen <= (endPort ?? port)));
}

function adminPortMatcher(port: AdminPort, pods: readonly Pod[]): PortItem["matches"] {
  if (port.kind === "named") return (protocol, seen) => namedPort(pods, port.name, protocol, seen);
  return (protocol, seen) => PROTOCOLS[port.protocol] === protocol && seen >= port.first && seen <= port.last;
}

/** Some pod has that port under the name. */
function namedPort(pods: readonly Pod[], name: string, protocol: number, number: number): boolean {
  return pods.some(({ ports }) => ports.some((one) => one.name.toLowerCase() === name.toLowerCase() && one.containerPort === number
    && PROTOCOLS[one.protocol] === protocol));
}

const PROTOCOLS: Readonly<Record<string, number>> = { TCP: 6, UDP: 17, SCTP: 132, VRRP: 112, IGMP: 2, GRE: 47, IPIP: 4, IPV6: 41,
  ESP: 50, AH: 51 };

/** The object's title, as becauses have it. */
export function titleOf({ kind, namespace, name }: ObjectMeta): string {
  const place = namespace === "" ? name : `${namespace}/${name}`;
  return kind === "NetworkPolicy" || kind === "Service" || kind === "EndpointSlice" ? place : `${kind} ${place}`;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
