/**
 * Patches for the differences that a manifest can cure: told of every packet, it gathers who must be let through, and
 * writes the narrowest policy that says so. Policies only add, so a patch is an object of its own that selects what the
 * policy behind the drop selects; the user's manifests stay as they are.
 *
 *     POL-IPBLOCK-POD       NetworkPolicy before the switch: the pods that the block covered, by namespace and labels
 *     POL-LB-INGRESS        NetworkPolicy before the switch: the clients that came, or the service's source ranges
 *     POL-IPBLOCK-NODE      CiliumNetworkPolicy after it: entities host or remote-node, on the rule's ports
 *     POL-LOCALNODE-EGRESS  CiliumNetworkPolicy after it: entity host, on the ports that were used
 *
 * Whether a patch cures is not decided here.
 */
import { parseAddress, prefixContains } from "../cluster/address.js";
import type { NetworkPolicy, NetworkPolicyRule, Pod } from "../cluster/cluster.js";
import { lastingLabels } from "../cluster/pod-identity.js";
import type { Judged } from "../compare/judged.js";
import { directionOf, isDefaultDeny, type PolicyDirection } from "../compare/statements.js";
import type { Because } from "../dataplane.js";
import { flowKey } from "./trial.js";
import { type Patch, portsOf, selectorOf, yamlOf } from "./patch.js";

/** What is gathered for one patch. */
interface Draft {
  readonly id: string;
  readonly policy: NetworkPolicy;
  readonly direction: PolicyDirection;
  /** The rule whose ports are meant; null: the ports that were used. */
  readonly rule: { readonly index: number; readonly said: NetworkPolicyRule } | null;
  /** As JSON, so that each is there once. */
  readonly peers: Set<string>;
  readonly ports: Set<string>;
  readonly flows: Set<string>;
}

export class Proposals {
  private readonly drafts = new Map<string, Draft>();

  take(judged: Judged): void {
    const { finding, sides } = judged;
    if (judged.class !== "different" || judged.kind !== "request" || finding === null || sides === null || !finding.reachesNow) return;
    const denial = sides[1].becauses.filter(isDefaultDeny);
    const direction = denial.length === 0 ? null : directionOf(denial[0]);
    if (direction === null || sides[0].arrived === null) return;
    if (finding.id === "POL-IPBLOCK-POD" || finding.id === "POL-IPBLOCK-NODE") this.block(judged, finding.id, direction);
    if (finding.id === "POL-LOCALNODE-EGRESS") this.ownNode(judged, denial);
    if (finding.id === "POL-LB-INGRESS") this.clients(judged, denial);
  }

  patches(): Patch[] {
    return [...this.drafts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, draft]) => patchOf(draft));
  }

  /** The rule that lets it through now names a block; the pod or node behind the address is named in its stead. */
  private block(judged: Judged, id: string, direction: PolicyDirection): void {
    const { names, sides, tuple } = judged;
    const arrived = sides![0].arrived!;
    const address = direction === "egress" ? arrived.destination : names.pod(tuple.source) === null ? arrived.source : tuple.source;
    const own = names.pod(direction === "egress" ? tuple.source : arrived.destination);
    for (const because of sides![0].becauses) {
      const found = ruleOf(because, names.policies, direction);
      const target = parseAddress(address);
      if (found === null || own === null || target === null) continue;
      const covers = (found.said.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, target)
        && !ipBlock.except.some((hole) => prefixContains(hole, target)));
      const peer = id === "POL-IPBLOCK-POD" ? podPeer(names.pod(address)) : entityOf(names.node(address), own);
      if (covers && peer !== null) this.add(judged, id, found.policy, direction, { index: found.index, said: found.said }, peer);
    }
  }

  private ownNode(judged: Judged, denial: readonly Because[]): void {
    const policy = policyOf(denial[0], judged.names.policies);
    if (policy !== null) this.add(judged, "POL-LOCALNODE-EGRESS", policy, "egress", null, "host");
  }

  private clients(judged: Judged, denial: readonly Because[]): void {
    const { names, tuple } = judged;
    const policy = policyOf(denial[0], names.policies);
    if (policy === null) return;
    const protocol = PROTOCOLS[tuple.protocol] ?? "";
    const client = parseAddress(tuple.source);
    const pod = names.pod(tuple.source);
    if (client === null) return;
    const ranges = names.frontend(tuple.destination, protocol, tuple.destinationPort)?.service.loadBalancerSourceRanges ?? [];
    const covering = ranges.find((range) => prefixContains(range, client));
    const peer = pod !== null ? podPeer(pod)
      : { ipBlock: { cidr: covering?.text ?? `${client.text}/${client.family === 4 ? 32 : 128}` } };
    if (peer !== null) this.add(judged, "POL-LB-INGRESS", policy, "ingress", null, peer);
  }

  private add(judged: Judged, id: string, policy: NetworkPolicy, direction: PolicyDirection, rule: Draft["rule"],
    peer: object | string): void {
    const key = `${id} ${policy.namespace}/${policy.name} ${direction} ${rule?.index ?? ""}`;
    const draft = this.drafts.get(key) ?? { id, policy, direction, rule, peers: new Set(), ports: new Set(), flows: new Set() };
    this.drafts.set(key, draft);
    draft.peers.add(JSON.stringify(peer));
    const { protocol, destinationPort } = judged.sides![0].arrived!;
    draft.ports.add(JSON.stringify([protocol, protocol === 1 || protocol === 58 ? judged.icmpType : destinationPort]));
    draft.flows.add(flowKey(judged));
  }
}

const PROTOCOLS: Readonly<Record<number, string>> = { 6: "TCP", 17: "UDP", 132: "SCTP" };
function ruleOf({ object, rule }: Because, policies: readonly NetworkPolicy[], direction: PolicyDirection)
  : { policy: NetworkPolicy; index: number; said: NetworkPolicyRule } | null {
  const path = /^(ingress|egress)\[(\d+)\]/.exec(rule);
  const policy = policies.find((one) => `${one.namespace}/${one.name}` === object);
  if (path === null || path[1] !== direction || policy === undefined) return null;
  const index = Number(path[2]);
  const said = policy[direction][index];
  return said === undefined ? null : { policy, index, said };
}

function policyOf({ object }: Because, policies: readonly NetworkPolicy[]): NetworkPolicy | null {
  return policies.find((one) => `${one.namespace}/${one.name}` === object) ?? null;
}

/** Exactly the pods of that namespace with those labels; null where a pod has none that last: every pod would be meant. */
function podPeer(pod: Pod | null): object | null {
  if (pod === null) return null;
  const labels = lastingLabels(pod);
  if (labels.length === 0) return null;
  return { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": pod.namespace } },
    podSelector: { matchLabels: Object.fromEntries(labels) } };
}

function entityOf(node: string | null, pod: Pod): string | null {
  return node === null ? null : node === pod.nodeName ? "host" : "remote-node";
}

function patchOf(draft: Draft): Patch {
  const { id, policy, direction, rule, flows } = draft;
  const peers = [...draft.peers].sort().map((text) => JSON.parse(text) as object | string);
  const ports = [...draft.ports].sort().map((text) => JSON.parse(text) as [protocol: number, port: number]);
  const { namespace } = policy;
  const name = `${policy.name.slice(0, 200)}-${id.toLowerCase().replace("pol-", "")}-${direction}${rule === null ? "" : `-${rule.index}`}`;
  const line = rule?.said.where.line ?? policy.where.line;
  const comments = [`${id}: see twinplane explain ${id}`, `Adds to NetworkPolicy ${namespace}/${policy.name}`
    + ` (${policy.where.file.split("/").at(-1)}:${line}); the policy itself stays as it is.`];
  const metadata = { name, namespace };
  if (id === "POL-IPBLOCK-POD" || id === "POL-LB-INGRESS") {
    const said = rule === null ? { ports: ports.map(([protocol, port]) => ({ protocol: PROTOCOLS[protocol], port })) }
      : portsOf(rule.said.ports);
    const spec = { podSelector: selectorOf(policy.podSelector), policyTypes: [direction === "ingress" ? "Ingress" : "Egress"],
      [direction]: [{ [direction === "ingress" ? "from" : "to"]: peers, ...said }] };
    return { id, when: "before", kind: "NetworkPolicy", namespace, name, flows: [...flows],
      yaml: yamlOf({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata, spec }, comments) };
  }
  const spec = { endpointSelector: selectorOf(policy.podSelector),
    [direction]: ciliumRules(direction === "ingress" ? "fromEntities" : "toEntities", peers, rule?.said ?? null, ports) };
  return { id, when: "after", kind: "CiliumNetworkPolicy", namespace, name, flows: [...flows],
    yaml: yamlOf({ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata, spec }, comments) };
}

/** On the rule's ports; without a rule, on those that were used, ICMP by type. */
function ciliumRules(member: string, peers: readonly (object | string)[], said: NetworkPolicyRule | null,
  used: readonly (readonly [protocol: number, port: number])[]): object[] {
  if (said !== null) {
    const ports = (said.ports ?? []).map(({ protocol, port, endPort }) =>
      ({ protocol, port: String(port ?? 0), ...(endPort === null ? {} : { endPort }) }));
    return [{ [member]: peers, ...(ports.length === 0 ? {} : { toPorts: [{ ports }] }) }];
  }
  const ports = used.filter(([protocol]) => PROTOCOLS[protocol] !== undefined)
    .map(([protocol, port]) => ({ protocol: PROTOCOLS[protocol], port: String(port) }));
  const fields = used.filter(([protocol]) => protocol === 1 || protocol === 58)
    .map(([protocol, type]) => ({ family: protocol === 1 ? "IPv4" : "IPv6", type }));
  return [
    ...(ports.length === 0 ? [] : [{ [member]: peers, toPorts: [{ ports }] }]),
    ...(fields.length === 0 ? [] : [{ [member]: peers, icmps: [{ fields }] }]),
  ];
}
