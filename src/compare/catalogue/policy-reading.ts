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
import { endOf, isPolicyDrop } from "./ends.js";
import { balancesElsewhere, engineSenders, isFirst, isToOtherNodesPort, type Judgement, targetJudgements } from "./judgements.js";

export interface Selection {
  readonly policy: NetworkPolicy;
  readonly direction: "Ingress" | "Egress";
  /** The pod that it selects. */
  readonly subject: Pod;
  /** The other end's address, as it is there. */
  readonly peer: string;
  /** Of the receiving end, in host order. */
  readonly port: number;
  /** The end whose port is meant; null where it is no pod. */
  readonly receiver: Pod | null;
}

/** Arrives where a policy engine lets it, and Cilium's default deny drops it. */
export function newlyDenied(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived && !isMasqueradedWithin(s)
    && s.target.outcome.end === End.Dropped && s.target.reason === "POLICY_DENIED" && isDeniedInTarget(s);
}

/** NetworkPolicy by its words, and nothing of Cilium's own kinds, denies it where an engine would judge it, whatever it saw there. */
export function wordsDeny(s: Situation): boolean {
  const { names, source, current } = s;
  const receiver = names.pod(current.destination);
  return (names.pod(source) !== null && s.engineReads(source, ...receiverOf(s, current), "egress") !== "allow")
    || (receiver !== null && engineSenders(s, receiver.nodeName)
      .every((sender) => s.engineReads(sender, current.destination, arrivedPort(current), "ingress") !== "allow"));
}

/** From pod to pod without a service, under another address: nobody does that, and no policy's peer is behind it. */
function isMasqueradedWithin({ frontend, names, source, current }: Situation): boolean {
  return frontend === null && names.pod(source) !== null && names.pod(current.destination) !== null && current.sourceSeen !== source;
}

/** A policy engine's own chain drops it, as the policies' words say, and it arrives behind Cilium, as Cilium reads them. */
export function newlyAllowed(s: Situation): boolean {
  if (!passesEngine(s)) return false;
  const reached: [string, number] = [s.target.destination, arrivedPort(s.target)];
  const backends = [...s.current.journey.eligibleBackends?.map(endOf) ?? [reached],
    ...(isToOtherNodesPort(s) ? [[s.destination, s.port] as const] : [])];
  return s.targetReads(s.target.sourceSeen, ...reached) !== "deny"
    && (deniesOwnNode(s) || sendersOf(s).some((sender) => backends.some((backend) => s.policyDeniesBetween(sender, ...backend))));
}

/** Calico judges what a pod sends to its own node; the API's words except that from every policy. */
export function deniesOwnNode(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  const isOwn = pod !== null && s.names.node(receiverOf(s, s.target)[0]) === pod.nodeName
    && s.current.profile === "kube-proxy+calico";
  const egress = isOwn ? enforced(s, s.target).filter(({ direction }) => direction === "Egress") : [];
  return egress.length > 0 && !egress.some((one) => admits(s, one, "all"));
}

/**
 * Calico delivers to the pod itself or to its own node what its policies let nobody send there: it does not do that. The API's words
 * except both from every policy, so that they do not tell.
 */
export function calicoDeliversDenied(s: Situation): boolean {
  const { current, names, source, protocol } = s;
  const pod = names.pod(source);
  if (current.profile !== "kube-proxy+calico" || pod === null || !WITH_PORTS.has(protocol) || !isFirst(s) || !current.outcome.arrived
    || current.outcome.withoutPorts || (names.pod(current.destination) !== pod && names.node(current.destination) !== pod.nodeName)) {
    return false;
  }
  const judging = enforced(s);
  return (["Egress", "Ingress"] as const).some((way) => {
    const those = judging.filter(({ direction }) => direction === way);
    return those.length > 0 && !those.some((one) => admits(s, one, "all"));
  });
}

/** Protocols of which policies name ports. */
const WITH_PORTS: ReadonlySet<string> = new Set(["TCP", "UDP", "SCTP"]);

/** A policy engine's own chain drops it, and it arrives behind Cilium. */
export function passesEngine(s: Situation): boolean {
  return s.currentHasPolicy && s.facets === Facet.Reached && s.target.outcome.arrived && isEngineDrop(s.current);
}

/** A drop of the target that the policies say too, taken as Cilium takes them, for a backend and a sender that it may have judged. */
export function isDeniedInTarget(s: Situation): boolean {
  return judgementsOfDrop(s).some(({ way, sender, receiver, port }) => s.targetReads(sender, receiver, port, way) !== "allow");
}

/** What the target may have asked policies about a packet that it dropped. */
export function judgementsOfDrop(s: Situation): Judgement[] {
  const { backend, eligibleBackends } = s.target.journey;
  const ends = backend !== undefined ? [endOf(backend)] : eligibleBackends?.map(endOf)
    ?? [s.current.outcome.arrived ? [s.current.destination, arrivedPort(s.current)] as const : [s.destination, s.port] as const];
  return ends.flatMap((end) => targetJudgements(s, end));
}

/** Behind a service's outer address the sender may be the client or the node that balances. */
function sendersOf({ frontend, source, names }: Situation): string[] {
  return frontend === null || frontend.kind === "ClusterIP" ? [source] : [source, ...names.nodeAddresses().keys()];
}

/** Dropped by Azure NPM, Calico, or the words of the API. */
export function isEngineDrop({ outcome, reason }: Side): boolean {
  return outcome.end === End.Dropped && /^filter\/(AZURE-NPM|cali-)|^networkpolicy\//.test(reason);
}

/** IP protocol numbers. */
const ICMP = 1;
const ICMPV6 = 58;

/**
 * A service without endpoints that the current side refuses; Cilium's answer to the pod that asked is dropped by a policy
 * for that pod's own ingress.
 */
export function isAnswerDenied(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  return s.facets === Facet.Refusal && s.current.outcome.end === End.Rejected && isPolicyDrop(s.target)
    && s.frontend?.endpoints === 0 && pod !== null
    && (s.names.ciliumPolicies.length > 0 || s.names.policies.some((policy) => policy.namespace === pod.namespace
      && matchesSelector(policy.podSelector, pod.labels) && (policy.policyTypes.includes("Ingress") || policy.ingress.length > 0))
      || isAnswerDropped(s));
}

/**
 * Cilium's own answer for want of a backend is dropped by what the asking pod may receive, as Cilium reads it: from the address
 * that it has, or from the world, whose it is to the pod's program (a service's own address stands for that).
 */
export function isAnswerDropped(s: Situation): boolean {
  const { frontend, destination, source, target } = s;
  if (frontend === null || !isPolicyDrop(target) || s.names.pod(source) === null || (target.journey.eligibleBackends ?? []).length > 0) {
    return false;
  }
  const isV6 = destination.includes(":");
  return [destination, ...frontend.service.clusterIPs.map(({ text }) => text)].some((address) => address.includes(":") === isV6
    && s.targetReads(address, source, 0, "ingress", isV6 ? ICMPV6 : ICMP) === "deny");
}

/** The backend's own node put its address in place of the sender's. */
export function isOnMasqueradingNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && s.current.sourceSeen !== s.source && s.names.pod(s.current.destination)?.nodeName === node;
}

/**
 * Policies that select the sending pod for egress or the receiving pod for ingress, with the peer that is judged on one side.
 *
 * @param of the policies that select a pod; absent: by all of its labels
 */
export function selecting(s: Situation, side: Side = s.current, of = (pod: Pod): readonly NetworkPolicy[] => s.names.policiesOf(pod))
  : Selection[] {
  const found: Selection[] = [];
  const select = (subject: Pod | null, direction: Selection["direction"], peers: readonly string[], port: number, receiver: Pod | null)
    : void => {
    if (subject === null) return;
    for (const policy of of(subject)) for (const peer of peers) found.push({ policy, direction, subject, peer, port, receiver });
  };
  const [to, port] = receiverOf(s, side);
  const receiver = s.names.pod(side.destination);
  select(s.names.pod(s.source), "Egress", [to], port, s.names.pod(to));
  select(receiver, "Ingress", receiver !== null && side === s.current ? engineSenders(s, receiver.nodeName) : [side.sourceSeen],
    arrivedPort(side), receiver);
  return found;
}

/** By what address and port a side judges what the sending pod may send. */
function receiverOf(s: Situation, side: Side): [address: string, port: number] {
  return isToOtherNodesPort(s) && (side === s.current || balancesElsewhere(s)) ? [s.destination, s.port]
    : side.outcome.arrived ? [side.destination, arrivedPort(side)] : [s.destination, s.port];
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
    .flatMap(({ policy }) => policy.egress.filter((rule) => permitsPort(rule, s.protocol, s.port, [], false)));
  return s.targetReads(s.source, s.destination, s.port) !== "allow" && rules.some((rule) => hasBlock(rule, address))
    && !rules.some(({ peers }) => peers === null);
}

/**
 * Rules of the selection's direction that name the packet's port, or none.
 *
 * @param by Cilium before 1.20 takes a port's name in an egress rule for the one number that the cluster's pods give to it
 */
export function rulesFor({ protocol, names, target }: Situation, { policy, direction, port, receiver }: Selection, by: Reading = "all")
  : NetworkPolicyRule[] {
  const everywhere = by === "kept" && direction === "Egress" && target.version < "1.20";
  const known = everywhere ? names.allPods.flatMap(({ ports }) => ports) : receiver?.ports ?? [];
  return rulesOf(policy, direction).filter((rule) => permitsPort(rule, protocol, port, known, everywhere));
}

/** A policy by all labels of pods, as an engine takes it, or as Cilium does: by those that it keeps, blocks for what is outside alone. */
export type Reading = "all" | "kept";

/** Some rule of the selection names the port and the peer, by all labels or as Cilium reads it. */
export function admits(s: Situation, one: Selection, by: Reading): boolean {
  const pod = s.names.pod(one.peer);
  const address = parseAddress(one.peer);
  const isNamed = (peer: NetworkPolicyPeer): boolean => {
    if (peer.ipBlock !== null) return (pod === null || by === "all") && address !== null && hasBlock({ peers: [peer] }, address);
    if (pod === null) return by === "kept" && selectsOutside(s.target) && isNegative(peer);
    const inNamespace = peer.namespaceSelector === null ? pod.namespace === one.policy.namespace
      : matchesSelector(peer.namespaceSelector, s.names.namespaceLabels(pod.namespace));
    return inNamespace && (peer.podSelector === null || readings(peer.podSelector, pod.labels, s.target)[by === "all" ? 0 : 1]);
  };
  return rulesFor(s, one, by).some(({ peers }) => peers === null || peers.some(isNamed));
}

/** How a selector takes a pod by all of its labels, and by those that Cilium keeps. */
export function readings(selector: LabelSelector, labels: Pod["labels"], target: Situation["target"])
  : readonly [all: boolean, kept: boolean] {
  const kept = Object.fromEntries(Object.entries(labels).filter(([key]) => target.keepsLabel?.(key) !== false));
  return [matchesSelector(selector, labels), matchesSelector(selector, kept)];
}

export function rulesOf(policy: NetworkPolicy, direction: Selection["direction"]): readonly NetworkPolicyRule[] {
  return direction === "Ingress" ? policy.ingress : policy.egress;
}

/** Port of the packet where it arrived, in host order. */
export function arrivedPort({ outcome }: Side): number {
  return Tuple.destinationPort(outcome.image);
}

export function hasBlock(rule: Pick<NetworkPolicyRule, "peers">, address: Address): boolean {
  return (rule.peers ?? []).some(({ ipBlock }) => ipBlock !== null && prefixContains(ipBlock.cidr, address)
    && !ipBlock.except.some((hole) => prefixContains(hole, address)));
}

/** A peer that every pod but some namespaces' is: Cilium before 1.19, and Azure NPM, find it in addresses that are no pods too. */
export function isNegative({ namespaceSelector, podSelector }: NetworkPolicyPeer): boolean {
  return namespaceSelector !== null && namespaceSelector.matchExpressions.length > 0 && hasOnlyNegative(namespaceSelector)
    && (podSelector === null || hasOnlyNegative(podSelector));
}

/** Cilium without the cluster's label in the selectors of NetworkPolicy. */
export function selectsOutside({ version, options }: Side): boolean {
  return version !== "" && (version < "1.18" || (version === "1.18" && options["policy-default-local-cluster"] !== true));
}

function hasOnlyNegative({ matchLabels, matchExpressions }: LabelSelector): boolean {
  return Object.keys(matchLabels).length === 0
    && matchExpressions.every(({ operator }) => operator === "NotIn" || operator === "DoesNotExist");
}

function permitsPort({ ports }: NetworkPolicyRule, protocol: string, port: number, known: Pod["ports"], alone: boolean): boolean {
  return ports === null || ports.some((one) => {
    if (one.protocol !== protocol) return false;
    if (one.port === null) return true;
    if (typeof one.port === "number") return port >= one.port && port <= (one.endPort ?? one.port);
    const numbers = new Set(known.flatMap((own) => (own.name === one.port && own.protocol === protocol ? [own.containerPort] : [])));
    return numbers.has(port) && (!alone || numbers.size === 1);
  });
}
