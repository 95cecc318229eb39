/**
 * What neither system does, told from configuration alone: each side's policies are asked for the sender and receiver that this side
 * sees at that place, the target's source ranges for the client, and the backend that both were shown. What is let through all
 * the same, or passed over, goes by no known difference.
 */
import { type Address, parseAddress, prefixContains } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import type { Frontend } from "../names.js";
import type { SettingSide, Side, Situation, Way } from "./difference.js";
import { endOf } from "./ends.js";

/** One question to a policy: whose, and between which addresses as they stand there. */
export interface Judgement {
  /** Absent: both ends' policies. */
  readonly way?: Way;
  readonly sender: string;
  readonly receiver: string;
  /** Host order. */
  readonly port: number;
}

/** Address and port of a backend. */
type Backend = readonly [address: string, port: number];

/** The target's questions about a packet for that backend; of several senders at one end it is one, and which is not known. */
export function targetJudgements(s: Situation, [receiver, port]: Backend): Judgement[] {
  const { frontend, source, names } = s;
  if (frontend === null || frontend.kind === "ClusterIP" || !balancesElsewhere(s)) return [{ sender: source, receiver, port }];
  const atBackend = sendersAtBackend(s, receiver);
  if (names.pod(source) === null) return atBackend.map((sender) => ({ sender, receiver, port }));
  return [{ way: "egress", sender: source, receiver: s.destination, port: s.port },
    ...atBackend.map((sender): Judgement => ({ way: "ingress", sender, receiver, port }))];
}

/** Cilium balances a pod's packet at the pod, but for those to another node's port before 1.20. */
export function balancesElsewhere({ names, source, destination, target }: Situation): boolean {
  const pod = names.pod(source);
  const node = names.node(destination);
  return pod === null || (node !== null && node !== pod.nodeName && target.version < "1.20");
}

/** The node that balances what the target does not balance at the client. */
export function balancerOf({ names, source, destination, entered }: Situation): string {
  return (names.pod(source) === null ? null : names.node(destination)) ?? entered;
}

/**
 * Whom the backend sees of a packet that a node balanced: the client where that node has the backend, else the node. With direct
 * server return or a tunnel it is either. Where nodes masquerade by iptables, a pod's own node may have done so before.
 */
function sendersAtBackend(s: Situation, backend: string): string[] {
  const { names, source, target: { options } } = s;
  const of = (node: string): string[] => [...names.nodeAddresses()].flatMap(([address, name]) => (name === node ? [address] : []));
  const pod = names.pod(source);
  const balancer = balancerOf(s);
  const isPlain = options["bpf-lb-mode"] === "snat" && options["bpf-lb-mode-annotation"] !== true && options["routing-mode"] !== "tunnel";
  if (!isPlain || balancer === "" || names.node(source) !== null) return [source, ...names.nodeAddresses().keys()];
  if ((names.pod(backend)?.nodeName ?? names.node(backend)) !== balancer) return of(balancer);
  return [source, ...(pod === null ? [] : of(pod.nodeName))];
}

/** The target delivers a connection's first packet that the policies deny, taken as Cilium takes them: it does not do that. */
export function targetDeliversDenied(s: Situation): boolean {
  const { names, source, target, targetReads } = s;
  if (!isFirst(s) || !target.outcome.arrived || target.outcome.end === End.Redirected || target.outcome.withoutPorts) return false;
  const [receiver, port] = [target.destination, Tuple.destinationPort(target.outcome.image)];
  if (names.pod(source) !== null && receiver !== source && s.frontend !== null && balancesElsewhere(s)) {
    return targetReads(source, s.destination, s.port, "egress") === "deny"
      || targetReads(target.sourceSeen, receiver, port, "ingress") === "deny";
  }
  return targetReads(target.sourceSeen, receiver, port) === "deny"
    || (names.pod(source) !== null && receiver !== source && targetReads(source, receiver, port, "egress") === "deny");
}

/**
 * The target answers a pod for a service that nobody serves, although the pod may not send to the node that would answer; or, with
 * endpoint routes, where the answer comes to the pod's device like any packet, its own policies drop what comes from there.
 */
export function answersDenied(s: Situation): boolean {
  const { names, source, destination, target: { outcome, options } } = s;
  const { end, answerProtocol } = outcome;
  if (names.pod(source) === null || end !== End.Rejected || (answerProtocol !== ICMP && answerProtocol !== ICMPV6)) return false;
  // What another node answers is related to the connection that the packet opened at the pod.
  if (balancesElsewhere(s)) return s.targetReads(source, destination, s.port, "egress") === "deny";
  return options["enable-endpoint-routes"] === true && selectsByName(s, source)
    && s.targetReads(destination, source, 0, "ingress", answerProtocol) === "deny";
}

/** The current side's engine delivers a connection's first packet that it judges, and that the policies' words deny. */
export function engineDeliversDenied(s: Situation): boolean {
  const { current, names, source, engineReads } = s;
  if (!s.currentHasPolicy || !isFirst(s) || !current.outcome.arrived || current.outcome.withoutPorts) return false;
  const [to, port] = [current.destination, Tuple.destinationPort(current.outcome.image)];
  const [sender, receiver] = [names.pod(source), names.pod(to)];
  if (sender !== null && judgesEgress(s)) {
    const judged = isToOtherNodesPort(s) ? [s.destination, s.port] as const : [to, port] as const;
    if (engineReads(source, ...judged, "egress") === "deny") return true;
  }
  return receiver !== null && judgesIngress(s)
    && engineSenders(s, receiver.nodeName).every((one) => engineReads(one, to, port, "ingress") === "deny");
}

/** A pod's packet to another node's port: what it may send there is judged by that node's address, where that node balances. */
export function isToOtherNodesPort({ names, source, destination, frontend }: Situation): boolean {
  const pod = names.pod(source);
  return pod !== null && frontend?.kind === "NodePort" && names.node(destination) !== pod.nodeName;
}

/** Whom the engine on the backend's node may have seen: its own masquerading comes after its judgement. */
export function engineSenders({ names, source, current: { sourceSeen }, entered }: Situation, node: string): string[] {
  if (sourceSeen === source || names.node(sourceSeen) !== node) return [sourceSeen];
  const before = new Set([names.pod(source)?.nodeName ?? "", entered]);
  return [source, ...[...names.nodeAddresses()].flatMap(([address, name]) => (name !== node && before.has(name) ? [address] : []))];
}

/** Calico judges on the way to the pod's own node too; an engine in FORWARD does not see that, nor Azure NPM what carries the mark. */
function judgesEgress(s: Situation): boolean {
  const { names, source, current, frontend } = s;
  const node = names.pod(source)?.nodeName;
  if (current.profile === "kube-proxy+calico") return true;
  if (names.node(current.destination) === node || names.node(s.destination) === node) return false;
  const isMarked = frontend !== null && current.sourceSeen !== source && names.node(current.sourceSeen) === node;
  return current.profile !== "kube-proxy+npm" || (!isMarked && isReadByNpm(s, source));
}

function judgesIngress(s: Situation): boolean {
  const { names, source, current } = s;
  if (current.profile !== "kube-proxy+npm") return true;
  const isMarked = current.sourceSeen !== source && names.node(current.sourceSeen) === names.pod(current.destination)?.nodeName;
  return !isMarked && isReadByNpm(s, current.destination);
}

/** Azure NPM knows IPv4 alone, refuses policies with an IPv6 block, and takes some namespaceSelectors otherwise than their words. */
function isReadByNpm(s: Situation, address: string): boolean {
  const { names } = s;
  const pod = names.pod(address);
  return pod !== null && !address.includes(":") && selectsByName(s, address) && names.policiesOf(pod).every(({ ingress, egress }) =>
    [...ingress, ...egress].every(({ peers }) => (peers ?? []).every(({ ipBlock }) => ipBlock?.cidr.address.family !== 6)));
}

/** No policy of the pod has a peer whose namespaces are told by an expression, which may select addresses that have none (POL-NS-NOTIN). */
function selectsByName({ names }: Situation, address: string): boolean {
  const pod = names.pod(address);
  return pod !== null && names.policiesOf(pod).every(({ ingress, egress }) => [...ingress, ...egress].every(({ peers }) =>
    (peers ?? []).every(({ namespaceSelector }) => (namespaceSelector?.matchExpressions ?? []).length === 0)));
}

/** A connection's first packet, which policy judges as new. */
export function isFirst({ packet: { kind, view }, seenBefore }: Situation): boolean {
  return kind === "request" && !seenBefore && (view.protocol !== 6 || (view.tcpFlags & (SYN | ACK)) === SYN);
}

const SYN = 0x02;
const ACK = 0x10;
/** IP protocol numbers. */
const ICMP = 1;
const ICMPV6 = 58;

/**
 * The current side delivers at an endpoint what came by an outer address under externalTrafficPolicy Cluster, and not from the
 * node that balances: kube-proxy masquerades all of that.
 */
export function keepsOuterSource({ packet, frontend, names, destination, entered, current }: Situation): boolean {
  const node = names.node(destination) ?? entered;
  return packet.kind === "request" && frontend !== null && frontend.port !== null && frontend.kind !== "ClusterIP" && node !== ""
    && frontend.service.externalTrafficPolicy === "Cluster" && current.outcome.arrived && current.destination !== destination
    && names.node(current.sourceSeen) !== node;
}

/** A pod's packet has the address of a node that kube-proxy's and the agent's rules have no reason to give it: that is no node's packet. */
export function isMasqueradedElsewhere({ frontend, names, source, destination, current }: Situation): boolean {
  const [node, entered, pod] = [names.node(current.sourceSeen), names.node(destination), names.pod(source)];
  if (frontend === null || pod === null || node === null || current.sourceSeen === source || current.destination === source
    || current.journey.becauses.some(({ object }) => object === "kube-proxy masqueradeAll")) return false;
  // What is no pod's is outside the masquerade agent's list: the pod's own node gives it its address.
  if (names.pod(current.destination) === null && node === pod.nodeName) return false;
  return frontend.kind === "ClusterIP" || (entered !== null && entered !== node && frontend.service.externalTrafficPolicy === "Cluster");
}

/**
 * A pod to another node's port under the policy Local comes to an endpoint elsewhere, with its own address, as pods do who nobody
 * masquerades on the way; and the list of who masquerades does not have that node.
 */
export function passesLocal({ names, source, destination, frontend, current }: Situation): boolean {
  const [pod, node] = [names.pod(source), names.node(destination)];
  return pod !== null && node !== null && node !== pod.nodeName && frontend?.kind === "NodePort"
    && frontend.service.externalTrafficPolicy === "Local" && current.outcome.arrived && current.sourceSeen === source
    && current.destination !== destination && names.pod(current.destination)?.nodeName !== node && isListed(destination, current) === false;
}

/** Whether a side's list has an address that is no pod's, so that pods' own addresses come there; undefined: no list is known. */
export function isListed(address: string, { unmasqueraded }: SettingSide): boolean | undefined {
  const known = parseAddress(address);
  return known === null ? undefined : unmasqueraded?.some((range) => prefixContains(range, known));
}

/** Of an outcome's flags: it took the backend that was named to it; it chose another. */
const PIN_TAKEN = 1;
const PIN_REFUSED = 2;

/** Both may choose from one set, each by chance, and one took the backend that both were shown: then the other can take it too. */
export function passesOverShown({ current, target, frontend }: Situation): boolean {
  const flags = [current.outcome.flags, target.outcome.flags];
  const backends = current.journey.eligibleBackends;
  if (frontend === null || frontend.service.sessionAffinity !== "None" || target.options["bpf-lb-algorithm"] === "maglev"
    || target.options["bpf-lb-algorithm-annotation"] === true || backends === null) return false;
  return flags.some((one) => (one & PIN_TAKEN) !== 0) && flags.some((one) => (one & PIN_REFUSED) !== 0)
    && backends.join() === target.journey.eligibleBackends?.join();
}

/** The current side chooses from what was never the service's endpoint. */
export function choosesStranger({ packet, frontend, current: { journey }, names }: Situation): boolean {
  return packet.kind === "request" && frontend !== null && frontend.port !== null
    && (journey.eligibleBackends ?? []).some((backend) => !names.wasEndpoint(frontend, ...endOf(backend)));
}

/** The target lets a client past the source ranges that it heeds at this frontend; what the client's own policy stops never came so far. */
export function passesRanges(s: Situation): boolean {
  const { frontend, source, names, target } = s;
  if (!isFirst(s) || frontend === null || frontend.port === null || !heedsRanges(frontend, s.target)) return false;
  const ranges = frontend.service.loadBalancerSourceRanges;
  const isListed = clientsAtBalancer(s).some((client) => ranges.some((range) => prefixContains(range, client)));
  if (ranges.length === 0 || isListed || names.node(source) !== null || !balancesElsewhere(s)) return false;
  const isStopped = names.pod(source) !== null && s.targetReads(source, s.destination, s.port, "egress") !== "allow";
  return !isStopped && (target.outcome.arrived ? target.destination !== s.destination
    // A pod's own node may have masqueraded it before, into a range.
    : PAST_RANGES.has(target.reason) && (target.reason !== "SERVICE_BACKEND_NOT_FOUND" || names.pod(source) === null));
}

/**
 * As whom the target's balancing node may meet the client: a pod's own node masquerades what goes to other nodes by its agent's
 * list, by iptables of Cilium's own never, by eBPF where it is told to. In tunnel mode, and without a list, both are possible.
 */
export function clientsAtBalancer({ names, source, destination, target }: Situation): Address[] {
  const [client, to, pod] = [parseAddress(source), parseAddress(destination), names.pod(source)];
  if (client === null) return [];
  const { options, unmasqueraded } = target;
  if (pod === null || to === null || names.node(destination) === null) return [client];
  const own = [...names.nodeAddresses()].flatMap(([address, node]) => (node === pod.nodeName ? [parseAddress(address)!] : []));
  if (options["routing-mode"] === "tunnel") return [client, ...own];
  if (options["enable-bpf-masquerade"] === true) return options["enable-remote-node-masquerade"] === true ? own : [client];
  if (options["masqueradeAgent"] !== true) return [client];
  if (unmasqueraded === undefined) return [client, ...own];
  return unmasqueraded.some((range) => prefixContains(range, to)) ? [client] : own;
}

/** How the target ends a packet only after it looked at ranges: at the backend's policies, and for want of a backend. */
const PAST_RANGES: ReadonlySet<string> = new Set(["POLICY_DENIED", "POLICY_DENY", "SERVICE_BACKEND_NOT_FOUND"]);

/** Where ranges are checked: for a load balancer's addresses, for more or all of a service's by version and option. */
export function heedsRanges({ kind, service }: Frontend, { version, options }: Side): boolean {
  const isTurned = Object.keys(service.annotations).some((name) => name.endsWith("/src-ranges-policy"));
  if (version === "" || isTurned || options["enable-svc-source-range-check"] === false) return false;
  if (kind === "LoadBalancer" || version === "1.18") return true;
  if (version === "1.16" || options["bpf-lb-source-range-all-types"] !== true) return kind === "ExternalIP" && version >= "1.20";
  return kind === "NodePort" || version >= "1.19";
}
