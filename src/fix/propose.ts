/**
 * Patches for the differences that a manifest can cure: told of every packet, it gathers who must be let through or kept out,
 * and writes the narrowest policy that says so. Policies that add are objects of their own that select what the policy behind
 * the drop selects; where the policy itself is wrong, the patch stands in its place.
 *
 *     before the switch, NetworkPolicy
 *       POL-IPBLOCK-POD      the pods that the block covered, by namespace and labels
 *       POL-EXTIP-RECLASS    the pods behind the external address
 *       POL-LB-INGRESS       the clients that came, or the service's source ranges
 *       POL-NAMEDPORT        the ports by number, for the pods that call them so
 *       POL-LABEL-FILTER     the peers by their other labels
 *       POL-TYPES            the policy without the rules that its policyTypes leave out
 *       POL-NS-NOTIN         the policy with peers that are namespaces alone; where Azure NPM let others in, those by address
 *     after it, CiliumNetworkPolicy
 *       POL-IPBLOCK-NODE     entities host or remote-node, on the rule's ports
 *       POL-LOCALNODE-EGRESS entity host, on the ports that were used
 *       POL-LOCALDNS         entity host and the cache's address, on port 53
 *       POL-HOST-PROBE       entity host, on the ports that were used
 *       POL-NODEPORT-SRC-ID  entity remote-node, or the client where its backend is on the balancing node
 *       POL-NPM-REFUSED      the clients that came, by labels or address
 *       SVC-LBSRCRANGES      denies the pods that the ranges left out
 *
 * Whether a patch cures is not decided here.
 */
import { parseAddress, prefixContains } from "../cluster/address.js";
import type { LabelSelector, NetworkPolicy, NetworkPolicyRule, Pod } from "../cluster/cluster.js";
import { lastingLabels } from "../cluster/pod-identity.js";
import type { Judged, JudgedSide } from "../compare/judged.js";
import { directionOf, isDefaultDeny, type PolicyDirection } from "../compare/statements.js";
import type { Because } from "../dataplane.js";
import { type Draft, patchOf, type Peer, PROTOCOLS, type Rewrite, rewriteOf } from "./draft.js";
import type { Patch, When } from "./patch.js";
import { flowKey } from "./trial.js";

/** What is to be said of one flow. */
interface Ask {
  readonly policy: NetworkPolicy;
  /** The rule whose ports are meant; null: the port that was used. */
  readonly rule?: RuleOf;
  readonly peers: readonly Peer[];
}

interface RuleOf {
  readonly index: number;
  readonly said: NetworkPolicyRule;
}

/** A flow that the current side lets through and a policy's default deny stops in the target. */
interface Denied {
  readonly judged: Judged;
  readonly arrived: NonNullable<JudgedSide["arrived"]>;
  readonly direction: PolicyDirection;
  /** The policy that isolates; null: none of NetworkPolicy. */
  readonly denying: NetworkPolicy | null;
}

interface Opening {
  readonly when: When;
  readonly ask: (seen: Denied) => readonly Ask[];
}

const OPENINGS: Readonly<Record<string, Opening>> = {
  "POL-IPBLOCK-POD": { when: "before", ask: (seen) => blockAsks(seen, ({ judged: { names } }, address) => podPeers(names.pod(address))) },
  "POL-IPBLOCK-NODE": { when: "after", ask: (seen) => blockAsks(seen, ({ judged: { names } }, address, own) =>
    entityPeers(names.node(address), own)) },
  "POL-EXTIP-RECLASS": { when: "before", ask: (seen) => denyingAsks(seen, podPeers(seen.judged.names.pod(seen.arrived.destination))) },
  "POL-LB-INGRESS": { when: "before", ask: (seen) => denyingAsks(seen, clientPeers(seen.judged, true)) },
  "POL-NAMEDPORT": { when: "before", ask: (seen) => denyingAsks(seen, farPeers(seen)) },
  "POL-LABEL-FILTER": { when: "before", ask: (seen) => denyingAsks(seen, farPeers(seen)) },
  "POL-NS-NOTIN": { when: "before", ask: (seen) => denyingAsks(seen, farPeers(seen)) },
  "POL-NPM-REFUSED": { when: "after", ask: (seen) => denyingAsks(seen, farPeers(seen)) },
  "POL-LOCALNODE-EGRESS": { when: "after", ask: (seen) => denyingAsks(seen, [{ entity: "host" }]) },
  "POL-LOCALDNS": { when: "after", ask: (seen) => denyingAsks(seen, [{ entity: "host" }, ...cidrPeers(seen.arrived.destination)]) },
  "POL-HOST-PROBE": { when: "after", ask: (seen) => denyingAsks(seen, [{ entity: "host" }]) },
  "POL-NODEPORT-SRC-ID": { when: "after", ask: (seen) => denyingAsks(seen, balancedPeers(seen)) },
};

/** Ids that some patch here is for. */
export const CURABLE: ReadonlySet<string> = new Set([...Object.keys(OPENINGS), "POL-TYPES", "SVC-LBSRCRANGES"]);

export class Proposals {
  private readonly drafts = new Map<string, Draft>();
  private readonly rewrites = new Map<string, Rewrite>();

  take(judged: Judged): void {
    const { finding, sides } = judged;
    if (judged.class !== "different" || judged.kind !== "request" || finding === null || sides === null) return;
    if (!CURABLE.has(finding.id)) return;
    const [now, then] = sides;
    if (now.arrived === null && then.arrived !== null) this.opened(judged, finding.id, then);
    const denial = then.becauses.filter(isDefaultDeny);
    const direction = denial.length === 0 ? null : directionOf(denial[0]);
    if (direction === null || now.arrived === null || then.arrived !== null) return;
    const denying = policyOf(denial, judged.names.policies);
    if (finding.id === "POL-TYPES" && denying !== null) {
      this.rewrite(judged, finding.id, denying, withListedTypes(denying), TYPES_WHY);
    }
    const opening = OPENINGS[finding.id];
    for (const { policy, rule, peers } of opening?.ask({ judged, arrived: now.arrived, direction, denying }) ?? []) {
      if (peers.length === 0) continue;
      const suffix = `${direction}${rule === undefined ? "" : `-${rule.index}`}`;
      const line = rule?.said.where.line ?? policy.where.line;
      this.add(judged, now.arrived, peers, {
        id: finding.id, when: opening.when, namespace: policy.namespace, direction, rule: rule?.said ?? null, denies: false,
        name: nameOf(policy.name, finding.id, suffix), subject: policy.podSelector,
        comments: [SEE(finding.id), `Adds to NetworkPolicy ${policy.namespace}/${policy.name}`
          + ` (${policy.where.file.split("/").at(-1)}:${line}); the policy itself stays as it is.`],
      });
    }
  }

  patches(): Patch[] {
    const byKey = <One>(map: ReadonlyMap<string, One>): One[] => [...map].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
    return [...byKey(this.drafts).flatMap((draft) => patchOf(draft) ?? []), ...byKey(this.rewrites).map(rewriteOf)];
  }

  /** A flow that the current side stops and the target lets through. */
  private opened(judged: Judged, id: string, { becauses, arrived }: JudgedSide): void {
    const { names, tuple } = judged;
    if (id === "POL-NS-NOTIN") {
      for (const because of becauses) {
        const policy = policyOf([because], names.policies);
        if (policy !== null) this.rewrite(judged, id, policy, withNamespacesAlone(policy), NAMESPACES_WHY);
      }
    }
    const server = names.pod(arrived!.destination);
    const service = names.frontend(tuple.destination, PROTOCOLS[tuple.protocol] ?? "", tuple.destinationPort)?.service;
    if (id !== "SVC-LBSRCRANGES" || server === null || service === undefined) return;
    const labels = Object.fromEntries(lastingLabels(server));
    // A deny of host or remote-node would be one of probes too: nodes are not kept out.
    const peers = podPeers(names.pod(tuple.source));
    if (peers.length === 0 || Object.keys(labels).length === 0) return;
    this.add(judged, arrived!, peers, { id, when: "after", namespace: server.namespace, direction: "ingress", rule: null, denies: true,
      name: nameOf(service.name, id, "ingress"), subject: { matchLabels: labels, matchExpressions: [] },
      comments: [SEE(id), `Keeps clients in the cluster, which loadBalancerSourceRanges of Service ${service.namespace}/${service.name}`,
        "leave out, from its endpoints, by whatever address they come."] });
  }

  private add(judged: Judged, { protocol, destinationPort }: NonNullable<JudgedSide["arrived"]>, peers: readonly Peer[],
    given: Omit<Draft, "peers" | "flows">): void {
    const key = `${given.id} ${given.namespace}/${given.name} ${JSON.stringify(given.subject)}`;
    const draft = this.drafts.get(key) ?? { ...given, peers: new Map(), flows: new Set() };
    this.drafts.set(key, draft);
    const port = protocol === 1 || protocol === 58 ? judged.icmpType : destinationPort;
    const used = given.rule === null ? JSON.stringify([protocol, port]) : "";
    const list = draft.peers.get(used) ?? new Set();
    draft.peers.set(used, list);
    for (const peer of peers) list.add(JSON.stringify(peer));
    draft.flows.add(flowKey(judged));
  }

  private rewrite(judged: Judged, id: string, own: NetworkPolicy, policy: NetworkPolicy, why: string): void {
    const key = `${id} ${own.namespace}/${own.name}`;
    const rewrite = this.rewrites.get(key) ?? { id, policy, flows: new Set(), comments: [SEE(id),
      `Stands in the place of NetworkPolicy ${own.namespace}/${own.name} (${own.where.file.split("/").at(-1)}:${own.where.line}): ${why}`,
      "Annotations are left out: keep your own."] };
    this.rewrites.set(key, rewrite);
    rewrite.flows.add(flowKey(judged));
  }
}

const SEE = (id: string): string => `${id}: see twinplane explain ${id}`;
const TYPES_WHY = "without the rules of a direction that policyTypes leaves out.";
const NAMESPACES_WHY = "its peers ask for a label that every namespace has, and nothing else.";

/** The rule that lets it through now names a block; whoever is behind the address is named in its stead. */
function blockAsks(seen: Denied, peersOf: (seen: Denied, address: string, own: Pod) => readonly Peer[]): Ask[] {
  const { judged: { names, sides, tuple }, arrived, direction } = seen;
  const address = direction === "egress" ? arrived.destination : names.pod(tuple.source) === null ? arrived.source : tuple.source;
  const own = names.pod(direction === "egress" ? tuple.source : arrived.destination);
  const target = parseAddress(address);
  if (own === null || target === null) return [];
  return sides![0].becauses.flatMap((because): Ask[] => {
    const found = ruleOf(because, names.policies, direction);
    if (found === null) return [];
    const covers = (found.said.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, target)
      && !ipBlock.except.some((hole) => prefixContains(hole, target)));
    return covers ? [{ policy: found.policy, rule: found, peers: peersOf(seen, address, own) }] : [];
  });
}

function denyingAsks({ denying }: Denied, peers: readonly Peer[]): Ask[] {
  return denying === null ? [] : [{ policy: denying, peers }];
}

/** Who is at the other end, seen from the pod that is isolated. */
function farPeers({ judged, arrived, direction }: Denied): readonly Peer[] {
  if (direction === "ingress") return clientPeers(judged, false);
  const pod = judged.names.pod(arrived.destination);
  return pod === null ? cidrPeers(arrived.destination) : podPeers(pod);
}

/** The sender: a pod by its labels, a node by what Cilium calls it, others by address or the service's range. */
function clientPeers({ names, tuple, sides }: Judged, byRange: boolean): readonly Peer[] {
  const client = parseAddress(tuple.source);
  const pod = names.pod(tuple.source);
  if (pod !== null) return podPeers(pod);
  const node = names.node(tuple.source);
  const server = names.pod(sides![0].arrived!.destination);
  if (node !== null && server !== null) return entityPeers(node, server);
  const ranges = byRange ? names.frontend(tuple.destination, PROTOCOLS[tuple.protocol] ?? "", tuple.destinationPort)?.service
    .loadBalancerSourceRanges ?? [] : [];
  const covering = client === null ? undefined : ranges.find((range) => prefixContains(range, client));
  return covering === undefined ? cidrPeers(tuple.source) : [{ cidr: covering.text }];
}

/** A client behind a node port: with its backend on the node that balances it is itself, else that node. */
function balancedPeers({ judged: { names, sides, tuple }, arrived }: Denied): readonly Peer[] {
  const balancing = names.node(tuple.destination) ?? names.node(arrived.source);
  const server = names.pod(arrived.destination);
  if (balancing === null || server === null) return [];
  return server.nodeName === balancing && sides![1].node === balancing ? cidrPeers(tuple.source) : [{ entity: "remote-node" }];
}

/** Exactly the pods of that namespace with those labels; none where a pod has no labels that last: every pod would be meant. */
function podPeers(pod: Pod | null): readonly Peer[] {
  const labels = pod === null ? [] : lastingLabels(pod);
  return labels.length === 0 ? [] : [{ pod: { namespace: pod!.namespace, labels: Object.fromEntries(labels) } }];
}

function entityPeers(node: string | null, pod: Pod): readonly Peer[] {
  return node === null ? [] : [{ entity: node === pod.nodeName ? "host" : "remote-node" }];
}

function cidrPeers(text: string): readonly Peer[] {
  const address = parseAddress(text);
  return address === null ? [] : [{ cidr: `${address.text}/${address.family === 4 ? 32 : 128}` }];
}

function withListedTypes(policy: NetworkPolicy): NetworkPolicy {
  const lists = (type: "Ingress" | "Egress"): boolean => policy.policyTypes.includes(type);
  return { ...policy, ingress: lists("Ingress") ? policy.ingress : [], egress: lists("Egress") ? policy.egress : [] };
}

/** Negative expressions also ask for the label that the API server puts on every namespace. */
function withNamespacesAlone(policy: NetworkPolicy): NetworkPolicy {
  const asked = { key: "kubernetes.io/metadata.name", operator: "Exists" as const, values: [] };
  const selector = (one: LabelSelector | null): LabelSelector | null => (one === null
    || !one.matchExpressions.some(({ operator }) => operator === "NotIn" || operator === "DoesNotExist")
    ? one : { ...one, matchExpressions: [...one.matchExpressions, asked] });
  const rules = (list: readonly NetworkPolicyRule[]): NetworkPolicyRule[] => list.map((rule) => ({ ...rule,
    peers: rule.peers?.map((peer) => ({ ...peer, namespaceSelector: selector(peer.namespaceSelector) })) ?? null }));
  return { ...policy, ingress: rules(policy.ingress), egress: rules(policy.egress) };
}

function ruleOf({ object, rule }: Because, policies: readonly NetworkPolicy[], direction: PolicyDirection)
  : RuleOf & { readonly policy: NetworkPolicy } | null {
  const path = /^(ingress|egress)\[(\d+)\]/.exec(rule);
  const policy = policies.find((one) => `${one.namespace}/${one.name}` === object);
  if (path === null || path[1] !== direction || policy === undefined) return null;
  const index = Number(path[2]);
  const said = policy[direction][index];
  return said === undefined ? null : { policy, index, said };
}

function policyOf(becauses: readonly Because[], policies: readonly NetworkPolicy[]): NetworkPolicy | null {
  return policies.find((one) => becauses.some(({ object }) => `${one.namespace}/${one.name}` === object)) ?? null;
}

function nameOf(own: string, id: string, suffix: string): string {
  return `${own.slice(0, 200)}-${id.toLowerCase().replace("pol-", "")}-${suffix}`;
}
