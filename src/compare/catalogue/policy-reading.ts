/**
 * How NetworkPolicies that select the ends of a flow stand to its peer and port, in both planes' readings: for predicates
 * on policy. A predicate names the rule that the planes read in two ways; a drop that no such rule explains is none of its.
 */
import { type Address, parseAddress, prefixContains } from "../../cluster/address.js";
import type { LabelSelector, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyRule, Pod } from "../../cluster/cluster.js";
import { matchesSelector } from "../../cluster/selector.js";
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import { Facet } from "../facets.js";
import type { Side, Situation } from "./difference.js";
import { isPolicyDrop } from "./ends.js";

export interface Selection {
  readonly policy: NetworkPolicy;
  readonly direction: "Ingress" | "Egress";
  /** The other end's address. */
  readonly peer: string;
  /** The end whose port is meant; null where it is no pod. */
  readonly receiver: Pod | null;
}

/** Arrives where a policy engine lets it, and Cilium's default deny drops it. */
export function newlyDenied(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived && !isMasqueradedWithin(s)
    && s.target.outcome.end === End.Dropped && s.target.reason === "POLICY_DENIED" && isDeniedInTarget(s);
}

/** The API's words deny it as it arrives now, or for the pod that sent it, whose address masquerading may have replaced. */
export function wordsDeny(s: Situation): boolean {
  return s.policyDenies() || (s.names.pod(s.source) !== null && s.policyDeniesSender());
}

/** From pod to pod without a service, under another address: nobody does that, and no policy's peer is behind it. */
function isMasqueradedWithin({ frontend, names, source, current }: Situation): boolean {
  return frontend === null && names.pod(source) !== null && names.pod(current.destination) !== null && current.sourceSeen !== source;
}

/** A policy engine's own chain drops it, as the policies' words say, and it arrives behind Cilium, as Cilium reads them. */
export function newlyAllowed(s: Situation): boolean {
  if (!passesEngine(s)) return false;
  const reached: [string, number] = [s.target.destination, arrivedPort(s.target)];
  const backends = s.current.journey.eligibleBackends?.map(endOf) ?? [reached];
  return s.targetReads(s.target.sourceSeen, ...reached) !== "deny"
    && sendersOf(s, true).some((sender) => backends.some((backend) => s.policyDeniesBetween(sender, ...backend)));
}

/** A policy engine's own chain drops it, and it arrives behind Cilium. */
export function passesEngine(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.target.outcome.arrived && isEngineDrop(s.current);
}

/** A drop of the target that the policies say too, taken as Cilium takes them, for a backend and a sender that it may have judged. */
export function isDeniedInTarget(s: Situation): boolean {
  const { backend, eligibleBackends } = s.target.journey;
  const ends = backend !== undefined ? [endOf(backend)] : eligibleBackends?.map(endOf)
    ?? [s.current.outcome.arrived ? [s.current.destination, arrivedPort(s.current)] as const : [s.destination, s.port] as const];
  return sendersOf(s, balancesElsewhere(s)).some((sender) => ends.some((end) => s.targetReads(sender, ...end) !== "allow"));
}

/** The target delivers a connection's first packet that the policies deny, taken as Cilium takes them: it does not do that. */
export function deliversDenied({ packet: { kind, view }, seenBefore, target, targetReads }: Situation): boolean {
  return kind === "request" && !seenBefore && (view.protocol !== 6 || (view.tcpFlags & (SYN | ACK)) === SYN)
    && target.outcome.arrived && target.outcome.end !== End.Redirected && !target.outcome.withoutPorts
    && targetReads(target.sourceSeen, target.destination, Tuple.destinationPort(target.outcome.image)) === "deny";
}

const SYN = 0x02;
const ACK = 0x10;

/** Behind a service's outer address the sender may be the client or the node that balances. */
function sendersOf({ frontend, source, names }: Situation, byNode: boolean): string[] {
  return frontend === null || frontend.kind === "ClusterIP" || !byNode ? [source] : [source, ...names.nodeAddresses().keys()];
}

/** Cilium balances a pod's packet at the pod, but for those to another node's port before 1.20. */
function balancesElsewhere({ names, source, destination, target }: Situation): boolean {
  const pod = names.pod(source);
  const node = names.node(destination);
  return pod === null || (node !== null && node !== pod.nodeName && target.version < "1.20");
}

/** Dropped by Azure NPM, Calico, or the words of the API. */
export function isEngineDrop({ outcome, reason }: Side): boolean {
  return outcome.end === End.Dropped && /^filter\/(AZURE-NPM|cali-)|^networkpolicy\//.test(reason);
}

/**
 * A service without endpoints that the current side refuses; Cilium's answer to the pod that asked is dropped by a policy
 * for that pod's own ingress.
 */
export function isAnswerDenied(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  return s.facets === Facet.Refusal && s.current.outcome.end === End.Rejected && isPolicyDrop(s.target)
    && s.frontend?.endpoints === 0 && pod !== null && (s.names.ciliumPolicies.length > 0
      || s.names.policies.some((policy) => policy.namespace === pod.namespace && matchesSelector(policy.podSelector, pod.labels)
        && (policy.policyTypes.includes("Ingress") || policy.ingress.length > 0)));
}

/** The backend's own node put its address in place of the sender's. */
export function isOnMasqueradingNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && s.current.sourceSeen !== s.source && s.names.pod(s.current.destination)?.nodeName === node;
}

/** Policies that select the sending pod for egress or the receiving pod for ingress, as the packet arrives on one side. */
export function selecting(s: Situation, side: Side = s.current): Selection[] {
  const found: Selection[] = [];
  const receiver = s.names.pod(side.destination);
  const select = (pod: Pod | null, direction: Selection["direction"], peer: string): void => {
    if (pod === null) return;
    for (const policy of s.names.policiesOf(pod)) found.push({ policy, direction, peer, receiver });
  };
  select(s.names.pod(s.source), "Egress", side.destination);
  select(receiver, "Ingress", side.sourceSeen);
  return found;
}

/** Those that count for their direction by the API's words. */
export function enforced(s: Situation, side: Side = s.current): Selection[] {
  return selecting(s, side).filter(({ policy, direction }) => policy.policyTypes.includes(direction));
}

/**
 * A rule that lets the port pass has an ipBlock over the peer, which is of the kind asked for; and no other rule lets
 * every peer pass, which Cilium would take too.
 */
export function allowedByBlockAlone(s: Situation, isKind: (address: string) => boolean): boolean {
  const selections = enforced(s);
  return selections.some((one) => {
    const address = parseAddress(one.peer);
    if (address === null || !isKind(one.peer)) return false;
    const same = selections.filter(({ direction }) => direction === one.direction);
    return rulesFor(s, one).some((rule) => hasBlock(rule, address))
      && !same.some((other) => rulesFor(s, other).some(({ peers }) => peers === null));
  });
}

/**
 * A pod to another node's port, which Cilium before 1.20 balances at that node: both sides judge what the pod may send by that
 * node's address and port. An ipBlock over the address allows it, and no rule lets every peer pass.
 */
export function sendsToNodeByBlock(s: Situation): boolean {
  const [pod, node, address] = [s.names.pod(s.source), s.names.node(s.destination), parseAddress(s.destination)];
  if (pod === null || node === null || address === null || node === pod.nodeName || s.frontend === null || s.target.version >= "1.20") {
    return false;
  }
  const rules = enforced(s).filter(({ direction }) => direction === "Egress")
    .flatMap(({ policy }) => policy.egress.filter((rule) => permitsPort(rule, s.protocol, s.port, null)));
  return s.targetReads(s.source, s.destination, s.port) !== "allow" && rules.some((rule) => hasBlock(rule, address))
    && !rules.some(({ peers }) => peers === null);
}

/** Rules of the selection's direction that name the packet's port, or none. */
export function rulesFor(s: Situation, { policy, direction, receiver }: Selection, side: Side = s.current): NetworkPolicyRule[] {
  return rulesOf(policy, direction).filter((rule) => permitsPort(rule, s.protocol, arrivedPort(side), receiver));
}

export function rulesOf(policy: NetworkPolicy, direction: Selection["direction"]): readonly NetworkPolicyRule[] {
  return direction === "Ingress" ? policy.ingress : policy.egress;
}

/** A backend, `ip:port`, as its address and port. */
export function endOf(backend: string): [address: string, port: number] {
  const at = backend.lastIndexOf(":");
  return [backend.slice(0, at).replace(/[[\]]/g, ""), Number(backend.slice(at + 1))];
}

/** Port of the packet where it arrived, in host order. */
export function arrivedPort({ outcome }: Side): number {
  return Tuple.destinationPort(outcome.image);
}

export function hasBlock(rule: NetworkPolicyRule, address: Address): boolean {
  return (rule.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, address)
    && !ipBlock.except.some((hole) => prefixContains(hole, address)));
}

/** A peer that every pod but some namespaces' is: Cilium before 1.19, and Azure NPM, find it in addresses that are no pods too. */
export function isNegative({ namespaceSelector, podSelector }: NetworkPolicyPeer): boolean {
  return namespaceSelector !== null && namespaceSelector.matchExpressions.length > 0 && hasOnlyNegative(namespaceSelector)
    && (podSelector === null || hasOnlyNegative(podSelector));
}

function hasOnlyNegative({ matchLabels, matchExpressions }: LabelSelector): boolean {
  return Object.keys(matchLabels).length === 0
    && matchExpressions.every(({ operator }) => operator === "NotIn" || operator === "DoesNotExist");
}

function permitsPort({ ports }: NetworkPolicyRule, protocol: string, port: number, receiver: Pod | null): boolean {
  return ports === null || ports.some((one) => {
    if (one.protocol !== protocol) return false;
    if (one.port === null) return true;
    if (typeof one.port === "number") return port >= one.port && port <= (one.endPort ?? one.port);
    return receiver?.ports.some(({ name, containerPort, protocol: own }) =>
      name === one.port && containerPort === port && own === protocol) === true;
  });
}
