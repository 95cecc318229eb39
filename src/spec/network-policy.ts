/**
 * NetworkPolicy (networking.k8s.io/v1) evaluated word by word from the API's documentation: a third opinion
 * beside the two dataplanes, with no code of theirs.
 *
 * A verdict is for the first packet of a flow, with the destination after service translation and the source
 * as the destination's node sees it. Replies follow the flow and are not asked for here.
 *
 *   allowed = the source pod's egress allows it AND the destination pod's ingress allows it
 *
 * A pod is isolated in a direction if some policy of its namespace selects it and has that direction among
 * its policyTypes; then some rule of the union of those policies must match. There is no order and no deny
 * rule.
 *
 * Where the documentation leaves a point open, this is what is taken, and why:
 *   - ipBlock and pod addresses: an option, since engines divide ("should be cluster-external IPs").
 *   - protocols without ports, such as ICMP: a rule with `ports` cannot match, a rule without matches.
 *   - host-network pods: they are their node; no policy selects them, no label peer matches them.
 *   - an address that two running pods claim: undecided.
 * Fixed by the documentation: a pod cannot block access to itself, and traffic to and from the node a pod
 * runs on is always allowed.
 */
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule, Pod, Protocol }
  from "../cluster/cluster.js";
import { prefixContains } from "../cluster/address.js";
import { matchesSelector } from "../cluster/selector.js";
import type { Because } from "../dataplane.js";
import type { PolicyIndex } from "./policy-index.js";
import type { Party } from "./party.js";

/** `undecided` is not an allow. */
export type Verdict = "allow" | "deny" | "undecided";

export interface DirectionVerdict {
  /** Whether some policy isolates the pod in this direction; false for what is no pod. */
  readonly isolated: boolean;
  readonly verdict: Verdict;
  /**
   * allow: the rules that match, or the rule of the API that overrides policies; empty where none isolates.
   * deny: the policies that isolate the pod and of which no rule matches.
   */
  readonly by: readonly Because[];
}

export interface Evaluation {
  /** Both directions allow. */
  readonly allowed: boolean;
  readonly egress: DirectionVerdict;
  readonly ingress: DirectionVerdict;
}

export interface SpecOptions {
  /** Whether an ipBlock matches pods by their addresses: with iptables and ipsets it does, in Cilium not. */
  readonly ipBlockMatchesPods: boolean;
}

const OPEN: DirectionVerdict = { isolated: false, verdict: "allow", by: [] };

/**
 * @param protocol IP protocol number
 * @param port destination port in host order; ignored for protocols other than TCP, UDP and SCTP
 */
export function evaluateParties(index: PolicyIndex, source: Party, destination: Party, protocol: number,
  port: number): Evaluation {
  const flow: Flow = { index, source, destination, protocol: PROTOCOL_NAMES.get(protocol) ?? null, port };
  const exception = exceptionFor(source, destination);
  const egress = source.claimedTwice ? undecided(source) : direction(flow, "Egress", exception);
  const ingress = destination.claimedTwice ? undecided(destination) : direction(flow, "Ingress", exception);
  return { allowed: egress.verdict === "allow" && ingress.verdict === "allow", egress, ingress };
}

interface Flow {
  readonly index: PolicyIndex;
  readonly source: Party;
  readonly destination: Party;
  /** null: a protocol that NetworkPolicy has no word for. */
  readonly protocol: Protocol | null;
  readonly port: number;
}

const PROTOCOL_NAMES: ReadonlyMap<number, Protocol> = new Map([[6, "TCP"], [17, "UDP"], [132, "SCTP"]]);

/** What the documentation allows whatever the policies say, or null. */
function exceptionFor(source: Party, destination: Party): Because | null {
  if (source.pod !== null && source.pod === destination.pod) {
    return { where: null, object: "NetworkPolicy API", rule: "a pod cannot block access to itself" };
  }
  const ownNode = (pod: Pod | null, other: Party): boolean =>
    pod !== null && other.nodes.includes(pod.nodeName);
  if (!ownNode(destination.pod, source) && !ownNode(source.pod, destination)) return null;
  return { where: null, object: "NetworkPolicy API",
    rule: "traffic to and from the node a pod runs on is always allowed" };
}

function direction(flow: Flow, type: "Ingress" | "Egress", exception: Because | null): DirectionVerdict {
  const subject = type === "Ingress" ? flow.destination : flow.source;
  const peer = type === "Ingress" ? flow.source : flow.destination;
  if (subject.pod === null) return OPEN;
  const policies = flow.index.policiesOf(subject.pod, type);
  if (policies.length === 0) return OPEN;
  if (exception !== null) return { isolated: true, verdict: "allow", by: [exception] };
  // Whether a pod or a stranger stands behind the address decides whether the policies match.
  if (peer.claimedTwice) return undecided(peer);
  const by: Because[] = [];
  for (const policy of policies) {
    const rules = type === "Ingress" ? policy.ingress : policy.egress;
    rules.forEach((rule, number) => {
      const match = matchRule(flow, policy, rule, peer);
      if (match !== null) by.push(becauseOf(policy, rule, type, number, match));
    });
  }
  if (by.length > 0) return { isolated: true, verdict: "allow", by };
  return { isolated: true, verdict: "deny", by: policies.map((policy) => isolationBy(policy, type)) };
}

/** Numbers of the peer and the port that match; -1 where the rule names none, which matches any. */
interface RuleMatch {
  readonly peer: number;
  readonly port: number;
}

function matchRule(flow: Flow, policy: NetworkPolicy, rule: NetworkPolicyRule, peer: Party)
  : RuleMatch | null {
  const port = rule.ports === null ? -1 : rule.ports.findIndex((one) => portMatches(flow, one));
  if (rule.ports !== null && port < 0) return null;
  if (rule.peers === null) return { peer: -1, port };
  const index = rule.peers.findIndex((one) => peerMatches(flow.index, policy, one, peer));
  return index < 0 ? null : { peer: index, port };
}

function peerMatches(index: PolicyIndex, policy: NetworkPolicy, rule: NetworkPolicyPeer, peer: Party)
  : boolean {
  if (rule.ipBlock !== null) {
    if (peer.pod !== null && !index.options.ipBlockMatchesPods) return false;
    const { cidr, except } = rule.ipBlock;
    return prefixContains(cidr, peer.address) && !except.some((one) => prefixContains(one, peer.address));
  }
  // Selectors select pods, never nodes or strangers.
  if (peer.pod === null) return false;
  const inNamespace = rule.namespaceSelector === null
    ? peer.pod.namespace === policy.namespace
    : matchesSelector(rule.namespaceSelector, index.namespaceLabels(peer.pod.namespace));
  return inNamespace && (rule.podSelector === null || matchesSelector(rule.podSelector, peer.pod.labels));
}

function portMatches(flow: Flow, rule: NetworkPolicyPort): boolean {
  if (flow.protocol === null || rule.protocol !== flow.protocol) return false;
  if (rule.port === null) return true;
  if (typeof rule.port === "number") {
    return flow.port >= rule.port && flow.port <= (rule.endPort ?? rule.port);
  }
  // A name means the port of that name and protocol of the destination pod, for egress too.
  const named = flow.destination.pod?.ports
    .filter((one) => one.name === rule.port && one.protocol === rule.protocol) ?? [];
  return named.some((one) => one.containerPort === flow.port);
}

function becauseOf(policy: NetworkPolicy, rule: NetworkPolicyRule, type: "Ingress" | "Egress", number: number,
  match: RuleMatch): Because {
  const path = `${type === "Ingress" ? "ingress" : "egress"}[${number}]`;
  const peer = match.peer < 0 ? "" : `.${type === "Ingress" ? "from" : "to"}[${match.peer}]`;
  const port = match.port < 0 ? "" : ` ports[${match.port}]`;
  return { where: rule.where, object: nameOf(policy), rule: `${path}${peer}${port}` };
}

function isolationBy(policy: NetworkPolicy, type: "Ingress" | "Egress"): Because {
  return { where: policy.where, object: nameOf(policy), rule: `policyTypes ${type}, and no rule matches` };
}

function undecided(party: Party): DirectionVerdict {
  return { isolated: false, verdict: "undecided", by: [{ where: null, object: party.address.text,
    rule: "two running pods claim this address" }] };
}

function nameOf(policy: NetworkPolicy): string {
  return `${policy.namespace}/${policy.name}`;
}
