/** What is gathered for one patch while packets are told of, and the manifest that says it. */
import type { LabelSelector, NetworkPolicy, NetworkPolicyRule } from "../cluster/cluster.js";
import type { PolicyDirection } from "../compare/statements.js";
import { type Patch, policyManifest, portsOf, selectorOf, type When, yamlOf } from "./patch.js";

export type Peer = { readonly pod: { readonly namespace: string; readonly labels: Readonly<Record<string, string>> } }
  | { readonly cidr: string } | { readonly entity: string };

/** Protocol number, and port (of ICMP its type). */
export type Used = readonly [protocol: number, port: number];

export interface Draft {
  readonly id: string;
  readonly when: When;
  readonly namespace: string;
  readonly name: string;
  /** Lines at the head of the manifest. */
  readonly comments: readonly string[];
  readonly subject: LabelSelector;
  readonly direction: PolicyDirection;
  /** The rule whose ports are meant; null: the ports that were used. */
  readonly rule: NetworkPolicyRule | null;
  readonly denies: boolean;
  /** By port as JSON, or the empty text for the rule's, peers as JSON: each is there once. */
  readonly peers: Map<string, Set<string>>;
  readonly flows: Set<string>;
}

/** A policy in the place of the user's own. */
export interface Rewrite {
  readonly id: string;
  readonly policy: NetworkPolicy;
  readonly comments: readonly string[];
  readonly flows: Set<string>;
}

export const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };
const ICMP: Readonly<Record<number, string>> = { 1: "IPv4", 58: "IPv6" };

/** null where its kind cannot say any of it. */
export function patchOf(draft: Draft): Patch | null {
  const rules = draft.when === "before" ? networkPolicyRules(draft) : ciliumRules(draft);
  if (rules.length === 0) return null;
  const { id, when, namespace, name, comments, direction, denies, flows } = draft;
  const metadata = { name, namespace };
  if (when === "before") {
    const policyTypes = [direction === "ingress" ? "Ingress" : "Egress"];
    const spec = { podSelector: selectorOf(draft.subject), policyTypes, [direction]: rules };
    return { id, when, kind: "NetworkPolicy", namespace, name, flows: [...flows],
      yaml: yamlOf({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec }, comments) };
  }
  // A deny would isolate what it selects.
  const spec = { endpointSelector: selectorOf(draft.subject), ...(denies ? { enableDefaultDeny: { [direction]: false } } : {}),
    [denies ? `${direction}Deny` : direction]: rules };
  return { id, when, kind: "CiliumNetworkPolicy", namespace, name, flows: [...flows],
    yaml: yamlOf({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec }, comments) };
}

export function rewriteOf({ id, policy, comments, flows }: Rewrite): Patch {
  const { namespace, name } = policy;
  return { id, when: "before", kind: "NetworkPolicy", namespace, name, replaces: true, flows: [...flows],
    yaml: yamlOf(policyManifest(policy), comments) };
}

/** Ports that have the same peers, with them. */
function* grouped({ peers }: Draft): Generator<{ ports: Used[]; peers: Peer[] }> {
  const groups = new Map<string, string[]>();
  for (const [port, list] of [...peers].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const key = JSON.stringify([...list].sort());
    groups.set(key, [...groups.get(key) ?? [], port]);
  }
  for (const [key, ports] of groups) {
    yield { peers: (JSON.parse(key) as string[]).map((one) => JSON.parse(one) as Peer),
      ports: ports.filter((one) => one !== "").map((one) => JSON.parse(one) as Used) };
  }
}

function networkPolicyRules(draft: Draft): object[] {
  const side = draft.direction === "ingress" ? "from" : "to";
  return [...grouped(draft)].flatMap(({ ports, peers }) => {
    const named = peers.flatMap((peer): object[] => ("entity" in peer ? [] : [podOrBlock(peer)]));
    const used = ports.filter(([protocol]) => PROTOCOLS[protocol] !== undefined)
      .map(([protocol, port]) => ({ protocol: PROTOCOLS[protocol], port }));
    // NetworkPolicy has no word for ICMP.
    if (named.length === 0 || (draft.rule === null && used.length === 0)) return [];
    return [{ [side]: named, ...(draft.rule === null ? { ports: used } : portsOf(draft.rule.ports)) }];
  });
}

function podOrBlock(peer: Exclude<Peer, { entity: string }>): object {
  if ("cidr" in peer) return { ipBlock: { cidr: peer.cidr } };
  return { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": peer.pod.namespace } },
    podSelector: { matchLabels: peer.pod.labels } };
}

function ciliumRules(draft: Draft): object[] {
  const side = draft.direction === "ingress" ? "from" : "to";
  return [...grouped(draft)].flatMap(({ ports, peers }) => {
    const entities = peers.flatMap((peer) => ("entity" in peer ? [peer.entity] : []));
    const cidrs = peers.flatMap((peer) => ("cidr" in peer ? [peer.cidr] : []));
    const pods = peers.flatMap((peer) => ("pod" in peer
      ? [{ matchLabels: { ...peer.pod.labels, "k8s:io.kubernetes.pod.namespace": peer.pod.namespace } }] : []));
    const members = [...(entities.length === 0 ? [] : [{ [`${side}Entities`]: entities }]),
      ...(cidrs.length === 0 ? [] : [{ [`${side}CIDR`]: cidrs }]), ...(pods.length === 0 ? [] : [{ [`${side}Endpoints`]: pods }])];
    return members.flatMap((member) => portLists(draft.rule, ports).map((list) => ({ ...member, ...list })));
  });
}

/** Members of a rule that name its ports, ICMP by type; none of them: no port that a rule could name. */
function portLists(rule: NetworkPolicyRule | null, used: readonly Used[]): object[] {
  if (rule !== null) {
    const ports = (rule.ports ?? []).map(({ protocol, port, endPort }) =>
      ({ protocol, port: String(port ?? 0), ...(endPort === null ? {} : { endPort }) }));
    return [ports.length === 0 ? {} : { toPorts: [{ ports }] }];
  }
  const ports = used.filter(([protocol]) => PROTOCOLS[protocol] !== undefined)
    .map(([protocol, port]) => ({ protocol: PROTOCOLS[protocol], port: String(port) }));
  const fields = used.filter(([protocol]) => ICMP[protocol] !== undefined).map(([protocol, type]) => ({ family: ICMP[protocol], type }));
  return [...(ports.length === 0 ? [] : [{ toPorts: [{ ports }] }]), ...(fields.length === 0 ? [] : [{ icmps: [{ fields }] }])];
}
