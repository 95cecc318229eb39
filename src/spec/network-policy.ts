/**
 * NetworkPolicy (networking.k8s.io/v1), word by word.
 *
 * A pod is isolated in a direction if some policy of its namespace selects it and has that direction among
 * its policyTypes; then some rule of the union of those policies must match. There is no order and no deny
 * rule.
 *
 * Where the documentation leaves a point open, this is what is taken, and why:
 *   - ipBlock and pod addresses: an option, since engines divide ("should be cluster-external IPs").
 *   - protocols without ports, such as ICMP: a rule with `ports` cannot match, a rule without matches.
 *   - host-network pods: they are their node; no policy selects them, no label peer matches them.
 * Fixed by the documentation: traffic to and from the node a pod runs on is always allowed.
 */
import type { NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicyRule, Pod }
  from "../cluster/cluster.js";
import { prefixContains } from "../cluster/address.js";
import { matchesSelector } from "../cluster/selector.js";
import type { Because } from "../dataplane.js";
import type { PolicyIndex } from "./policy-index.js";
import type { Party } from "./party.js";
import type { DirectionVerdict, Flow, PolicyDirection } from "./verdict.js";

const OWN_NODE: Because = { where: null, object: "NetworkPolicy API",
  rule: "traffic to and from the node a pod runs on is always allowed" };

/** null where no policy isolates the pod in the direction. */
export function networkPolicyVerdict(flow: Flow, type: PolicyDirection, pod: Pod, peer: Party): DirectionVerdict | null {
  const policies = flow.index.policiesOf(pod, type);
  if (policies.length === 0) return null;
  if (peer.nodes.includes(pod.nodeName)) return { isolated: true, verdict: "allow", by: [OWN_NODE] };
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

function becauseOf(policy: NetworkPolicy, rule: NetworkPolicyRule, type: PolicyDirection, number: number,
  match: RuleMatch): Because {
  const path = `${type === "Ingress" ? "ingress" : "egress"}[${number}]`;
  const peer = match.peer < 0 ? "" : `.${type === "Ingress" ? "from" : "to"}[${match.peer}]`;
  const port = match.port < 0 ? "" : ` ports[${match.port}]`;
  return { where: rule.where, object: nameOf(policy), rule: `${path}${peer}${port}` };
}

function isolationBy(policy: NetworkPolicy, type: PolicyDirection): Because {
  return { where: policy.where, object: nameOf(policy), rule: `policyTypes ${type}, and no rule matches` };
}

function nameOf(policy: NetworkPolicy): string {
  return `${policy.namespace}/${policy.name}`;
}
