/**
 * Every policy object as the statements it makes of a pod and a direction: an allow or a deny of flows that match. What
 * makes none of a pod leaves it open; what makes one, even one that matches nothing, closes it unless it says otherwise
 * (enableDefaultDeny).
 *
 * NetworkPolicy is read as Cilium reads it: its rules count whatever policyTypes says, its ipBlocks are CIDRs.
 *
 * Source: Cilium's documentation, "Policy Enforcement Modes", "Deny Policies", "Kubernetes Network Policy".
 */
import type { CiliumDirectionRule, CiliumFQDN, CiliumPolicy, CiliumPortRule, CiliumRequirement, CiliumRule }
  from "../../cluster/cilium/types.js";
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule } from "../../cluster/cluster.js";
import type { LabelPair } from "../../cluster/label-index.js";
import type { Because } from "../../dataplane.js";
import type { CiliumSpecOptions } from "./options.js";
import { type Match, namesPeer, type PeerContext } from "./peers.js";
import { matchingPorts, type PortContext, type Traffic } from "./ports.js";
import { appliesToInit, matches, peerRequirements, subjectRequirements } from "./selector.js";
import { CLUSTER, type Label, NAMESPACE_LABELS, POD_NAMESPACE, type Subject } from "./subject.js";

export interface Answer {
  readonly match: Match;
  /** Every matching item hands the packet to a proxy; `some`: others do not. */
  readonly proxied: "all" | "some" | "none";
  readonly authenticated: boolean;
  /** Names that the DNS proxy lets through, where it gets the packet. */
  readonly queries: readonly CiliumFQDN[];
}

export interface Statement {
  readonly verdict: "allow" | "deny";
  readonly defaultDeny: boolean;
  readonly because: Because;
  asked(peer: Subject, traffic: Traffic): Answer;
}

export type DirectionName = "ingress" | "egress";

const NO: Answer = { match: false, proxied: "none", authenticated: false, queries: [] };
const YES: Answer = { ...NO, match: true };

/** Whether this Cilium takes the object at all. */
export function isTaken({ conditions }: Pick<CiliumPolicy, "conditions">, { version, on }: CiliumSpecOptions): boolean {
  return conditions.every(({ since, until, option }) => version >= (since ?? 0) && version <= (until ?? 99)
    && (option === undefined || on.has(option)));
}

/** The rules of a policy that apply to a pod with these labels. */
export function rulesFor(policy: CiliumPolicy, pod: readonly Label[]): CiliumRule[] {
  return policy.rules.filter(({ endpointSelector }) => endpointSelector !== null
    && matches(subjectRequirements(endpointSelector, policy.namespace), pod));
}

/** The rules of a policy that apply to a node with these labels: its host policies. */
export function hostRulesFor(policy: CiliumPolicy, node: readonly Label[]): CiliumRule[] {
  return policy.rules.filter(({ nodeSelector }) => nodeSelector !== null && matches(nodeSelector.requirements, node));
}

/** What fromRequires and toRequires of a policy's rules ask of the peers of all policies that select the pod. */
export function requiredBy(policy: CiliumPolicy, rule: CiliumRule, direction: DirectionName, deny: boolean): CiliumRequirement[] {
  const ofInit = appliesToInit(rule.endpointSelector);
  return sectionOf(rule, direction, deny).flatMap(({ requires }) => requires ?? [])
    .flatMap((one) => peerRequirements(one, policy.namespace, ofInit, true));
}

/** @param required of the allowing and of the denying rules that select the pod */
export function ciliumStatements(policy: CiliumPolicy, rule: CiliumRule, direction: DirectionName, context: PortContext
  & Omit<PeerContext, "namespace" | "ofInit" | "required" | "deny">, required: Readonly<Record<"allow" | "deny",
    readonly CiliumRequirement[]>>)
  : Statement[] {
  const shared = { ...context, namespace: policy.namespace, ofInit: appliesToInit(rule.endpointSelector) };
  const name = policy.namespace === "" ? policy.name : `${policy.namespace}/${policy.name}`;
  return (["deny", "allow"] as const).flatMap((verdict) => sectionOf(rule, direction, verdict === "deny").map((one): Statement => ({
    verdict,
    defaultDeny: rule.enableDefaultDeny[direction] ?? true,
    because: { where: one.where, object: `${policy.kind} ${name}`, rule: one.path },
    asked: (peer, traffic) => answer(one, peer, traffic, { ...shared, required: required[verdict], deny: verdict === "deny" }),
  })));
}

function sectionOf(rule: CiliumRule, direction: DirectionName, deny: boolean): readonly CiliumDirectionRule[] {
  if (direction === "ingress") return deny ? rule.ingressDeny : rule.ingress;
  return deny ? rule.egressDeny : rule.egress;
}

/** L3 and L4 together; a rule without either matches nothing. */
function answer(rule: CiliumDirectionRule, peer: Subject, traffic: Traffic, context: PeerContext & PortContext): Answer {
  const named = namesPeer(rule, peer, context);
  const ports = matchingPorts(rule, traffic, context);
  if (named === false || (named === null && ports === null)) return NO;
  if (ports !== null && ports !== "icmp" && ports.length === 0) return NO;
  const items = ports === null || ports === "icmp" ? [] : ports;
  const proxied = items.filter(isProxied).length;
  return { match: named ?? true, authenticated: rule.authentication !== null && rule.authentication !== "disabled",
    proxied: proxied === 0 ? "none" : proxied === items.length ? "all" : "some", queries: items.flatMap(({ rules }) => rules?.dns ?? []) };
}

function isProxied(item: CiliumPortRule): boolean {
  return item.rules !== null || item.listener !== null || item.terminatingTLS || item.originatingTLS || item.serverNames.length > 0;
}

export function networkPolicyStatements(policy: NetworkPolicy, direction: DirectionName, pod: readonly Label[], context: PortContext
  & Pick<PeerContext, "options">, required: readonly CiliumRequirement[]): Statement[] {
  if (!matches(subjectsOf(policy), pod)) return [];
  const rules = direction === "ingress" ? policy.ingress : policy.egress;
  const type = direction === "ingress" ? "Ingress" : "Egress";
  const statement = (because: Because, asked: Statement["asked"]): Statement => ({ verdict: "allow", defaultDeny: true, because, asked });
  const object = `${policy.namespace}/${policy.name}`;
  if (rules.length === 0) {
    if (!policy.policyTypes.includes(type)) return [];
    return [statement({ where: policy.where, object, rule: `policyTypes ${type}, and no rule` }, () => NO)];
  }
  return rules.map((rule, number) => {
    const allows = allowing(policy, rule, context, required);
    return statement({ where: rule.where, object, rule: `${direction}[${number}]` },
      (peer, traffic) => (allows(peer, traffic) ? YES : NO));
  });
}

/** What a policy asks of those it is for, made once: every set of labels is held against every policy. */
const requirements = new WeakMap<NetworkPolicy, readonly CiliumRequirement[]>();

/** Labels without which it is for nobody. */
export function subjectLabels(policy: NetworkPolicy): LabelPair[] {
  return subjectsOf(policy).flatMap(({ key, operator, values }): LabelPair[] => (operator === "In" && values.length === 1
    ? [[key, values[0]]] : []));
}

function subjectsOf(policy: NetworkPolicy): readonly CiliumRequirement[] {
  let found = requirements.get(policy);
  if (found === undefined) requirements.set(policy, found = [namespaceIs(policy.namespace), ...plain(policy.podSelector)]);
  return found;
}

/** Whether a rule names the peer and the port; what it asks of them is worked out once. */
function allowing(policy: NetworkPolicy, { peers, ports }: NetworkPolicyRule, context: PortContext & Pick<PeerContext, "options">,
  required: readonly CiliumRequirement[]): (peer: Subject, traffic: Traffic) => boolean {
  const tests = peers?.map((one) => peerTest(policy, one, context.options, required));
  const items = (ports ?? []).map(({ port, endPort, protocol }) => ({ port: port ?? 0, endPort: endPort ?? 0, protocol }));
  const rule = { toPorts: [{ ports: items }], icmps: null } as unknown as CiliumDirectionRule;
  return (peer, traffic) => {
    const named = tests === undefined ? matches(required, peer.labels) : tests.some((test) => test(peer));
    if (!named || ports === null) return named;
    const found = matchingPorts(rule, traffic, context);
    return found !== null && found.length > 0;
  };
}

function peerTest(policy: NetworkPolicy, { ipBlock, podSelector, namespaceSelector }: NetworkPolicyPeer, options: CiliumSpecOptions,
  required: readonly CiliumRequirement[]): (peer: Subject) => boolean {
  if (ipBlock !== null) {
    const rule = { cidrSet: [{ ...ipBlock, cidrGroupRef: null, cidrGroupSelector: null }] } as unknown as CiliumDirectionRule;
    return (peer) => namesPeer(rule, peer, { options } as PeerContext) === true;
  }
  const inNamespace = namespaceSelector === null ? [namespaceIs(policy.namespace)] : ofNamespaces(namespaceSelector);
  const here = options.localCluster ? [{ source: "k8s", key: CLUSTER, operator: "In" as const, values: [options.clusterName] }] : [];
  const all = [...inNamespace, ...(podSelector === null ? [] : plain(podSelector)), ...here, ...required];
  return (peer) => matches(all, peer.labels);
}

/**
 * An empty selector asks for a namespace. One that only says what labels there must not be asks for none: what is no pod has no
 * namespace's labels, and it means nodes and the world too, but for the label of the cluster (pkg/k8s/network_policy.go).
 */
function ofNamespaces(selector: LabelSelector): CiliumRequirement[] {
  const asked = plain(selector).map((one) => ({ ...one, key: `${NAMESPACE_LABELS}${one.key}` }));
  return asked.length > 0 ? asked : [{ source: "k8s", key: POD_NAMESPACE, operator: "Exists", values: [] }];
}

function plain({ matchLabels, matchExpressions }: LabelSelector): CiliumRequirement[] {
  const equal = Object.entries(matchLabels).map(([key, value]) => ({ source: "k8s", key, operator: "In" as const, values: [value] }));
  return [...equal, ...matchExpressions.map((one) => ({ source: "k8s", ...one }))];
}

function namespaceIs(namespace: string): CiliumRequirement {
  return { source: "k8s", key: POD_NAMESPACE, operator: "In", values: [namespace] };
}
