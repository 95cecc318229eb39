/**
 * AdminNetworkPolicy, BaselineAdminNetworkPolicy and ClusterNetworkPolicy, word by word: within a tier the policies that
 * select the pod by ascending priority, in each the rules from the top; the first rule that matches decides. Pass leaves
 * the rest of the tier out. No match decides nothing: such a policy never isolates.
 *
 * `networks` peers match whatever has the address, pods and nodes too; `nodes` peers the addresses in nodes' status.
 * A node is no peer of an ingress rule. A rule with a peer of a newer schema fails closed: one that allows matches
 * nothing, one that denies or passes denies all; so does one that does not allow and has domainNames, which the API
 * does not support.
 *
 * Where the documentation leaves a point open, this is what is taken:
 *   - policies of equal priority in a tier: "the implementation can apply any", so where they decide differently the
 *     flow is undecided. AdminNetworkPolicy and ClusterNetworkPolicy in one cluster share the tier.
 *   - Pass in the Baseline tier: nothing is left to ask, so the flow is allowed.
 *   - domainNames without names from DNS: undecided.
 *   - protocols without ports, such as ICMP: a rule with ports cannot match, a rule without matches.
 */
import { prefixContains } from "../cluster/address.js";
import type { AdminPeer, AdminPolicy, AdminPort, AdminRule, NamespaceChoice, PodsPeer } from "../cluster/admin-policy.js";
import type { Pod } from "../cluster/cluster.js";
import { type Labels, matchesSelector } from "../cluster/selector.js";
import type { Because } from "../dataplane.js";
import type { Party } from "./party.js";
import { type DirectionVerdict, type Flow, OPEN, type PolicyDirection } from "./verdict.js";

type Tier = AdminPolicy["tier"];

/** Groups of policies by ascending priority. */
export type AdminSelection = Readonly<Record<Tier, Readonly<Record<PolicyDirection, readonly (readonly AdminPolicy[])[]>>>>;

/** The policies that select the pod. */
export function adminSelections(policies: readonly AdminPolicy[], pod: Pod, namespace: Labels): AdminSelection {
  const selecting = policies.filter(({ subject }) => podMatches(subject, pod, namespace, namespace));
  const of = (tier: Tier) => ({
    Ingress: byPriority(selecting.filter((one) => one.tier === tier && one.ingress.length > 0)),
    Egress: byPriority(selecting.filter((one) => one.tier === tier && one.egress.length > 0)),
  });
  return { Admin: of("Admin"), Baseline: of("Baseline") };
}

/** null where no rule of the tier matches, or one passes. */
export function adminVerdict(flow: Flow, type: PolicyDirection, tier: Tier, pod: Pod, peer: Party): DirectionVerdict | null {
  for (const group of flow.index.adminOf(pod)[tier][type]) {
    const decisions = group.map((policy) => firstMatch(flow, policy, type, pod, peer)).filter((one) => one !== null);
    if (decisions.length === 0) continue;
    const verdicts = new Set(decisions.map((one) => one.verdict));
    const by = decisions.map((one) => one.because);
    if (verdicts.size > 1) return { isolated: true, verdict: "undecided", by };
    const { verdict } = decisions[0];
    if (verdict !== "pass") return { isolated: true, verdict, by };
    return tier === "Baseline" ? OPEN : null;
  }
  return null;
}

interface Decision {
  readonly verdict: "allow" | "deny" | "pass" | "undecided";
  readonly because: Because;
}

const VERDICTS = { Allow: "allow", Deny: "deny", Pass: "pass" } as const;

function firstMatch(flow: Flow, policy: AdminPolicy, type: PolicyDirection, pod: Pod, peer: Party): Decision | null {
  const rules = type === "Ingress" ? policy.ingress : policy.egress;
  for (const [number, rule] of rules.entries()) {
    const because: Because = { where: rule.where, object: `${policy.kind} ${policy.name}`,
      rule: `${type.toLowerCase()}[${number}]${rule.name === "" ? "" : ` ${rule.name}`}` };
    if (failsClosed(rule)) {
      if (rule.action === "Allow") continue;
      return { verdict: "deny", because };
    }
    const matches = ruleMatches(flow, rule, pod, peer);
    if (matches === "maybe") return { verdict: "undecided", because };
    if (matches) return { verdict: VERDICTS[rule.action], because };
  }
  return null;
}

function failsClosed({ action, peers }: AdminRule): boolean {
  return peers.some(({ kind }) => kind === "unknown" || (kind === "domainNames" && action !== "Allow"));
}

type Match = boolean | "maybe";

function ruleMatches(flow: Flow, rule: AdminRule, pod: Pod, peer: Party): Match {
  if (rule.ports !== null && !rule.ports.some((port) => portMatches(flow, port))) return false;
  const peers = rule.peers.map((one) => peerMatches(flow, one, pod, peer));
  if (peers.includes(true)) return true;
  return peers.includes("maybe") ? "maybe" : false;
}

function peerMatches(flow: Flow, rule: AdminPeer, subject: Pod, peer: Party): Match {
  switch (rule.kind) {
    case "pods": {
      if (peer.pod === null) return false;
      const { index } = flow;
      return podMatches(rule, peer.pod, index.namespaceLabels(peer.pod.namespace), index.namespaceLabels(subject.namespace));
    }
    case "nodes": return flow.index.nodesOf(peer.address).some((labels) => matchesSelector(rule.selector, labels));
    case "networks": return rule.cidrs.some((cidr) => prefixContains(cidr, peer.address));
    case "domainNames": return nameMatches(flow.index.options.domainNames, rule.names, peer);
    // Such a rule failed closed before its peers were asked.
    case "unknown": return false;
  }
}

/** @param ofSubject labels of the namespace of the pod that the policy applies to */
function podMatches(peer: PodsPeer, pod: Pod, ofPod: Labels, ofSubject: Labels): boolean {
  return namespaceMatches(peer.namespaces, ofPod, ofSubject) && matchesSelector(peer.podSelector, pod.labels);
}

/** A namespace must have all the labels; with sameLabels all have the subject's values, with notSameLabels not all. */
function namespaceMatches(choice: NamespaceChoice, labels: Labels, ofSubject: Labels): boolean {
  if (choice.by === "selector") return matchesSelector(choice.selector, labels);
  const { keys } = choice;
  if (keys.length === 0 || !keys.every((key) => Object.hasOwn(labels, key))) return false;
  const same = keys.every((key) => labels[key] === ofSubject[key]);
  return same === (choice.by === "sameLabels");
}

function nameMatches(known: ReadonlyMap<string, readonly string[]> | undefined, patterns: readonly string[], peer: Party): Match {
  if (known === undefined) return "maybe";
  return (known.get(peer.address.text) ?? []).some((name) => patterns.some((pattern) => isNamed(pattern, name)));
}

function isNamed(pattern: string, name: string): boolean {
  const plain = name.toLowerCase().replace(/\.$/, "");
  return pattern.startsWith("*.") ? plain.endsWith(pattern.slice(1)) && plain.length > pattern.length - 1 : plain === pattern;
}

function portMatches(flow: Flow, port: AdminPort): boolean {
  if (flow.protocol === null) return false;
  if (port.kind === "range") return port.protocol === flow.protocol && flow.port >= port.first && flow.port <= port.last;
  return (flow.destination.pod?.ports ?? [])
    .some((one) => one.name === port.name && one.protocol === flow.protocol && one.containerPort === flow.port);
}

function byPriority(policies: readonly AdminPolicy[]): AdminPolicy[][] {
  const groups = new Map<number, AdminPolicy[]>();
  for (const policy of policies) {
    const group = groups.get(policy.priority);
    if (group === undefined) groups.set(policy.priority, [policy]);
    else group.push(policy);
  }
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}
