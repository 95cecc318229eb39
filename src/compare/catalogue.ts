/**
 * Differences that are known and true of the real systems: an id, what it is, and the situation in which a packet
 * shows it. A predicate names the ends, reasons and objects it needs; what none of them fits stays UNEXPLAINED.
 *
 * Sources of each row: Cilium's documentation and code, kube-proxy's code, the kernel's recorded behaviour. Order
 * matters: the first that matches names the packet.
 */
import { End, type Journey } from "../dataplane.js";
import type { Outcome } from "../replay/outcome.js";
import type { Packet } from "../replay/loop.js";
import { Tuple } from "../replay/tuple.js";
import { Facet } from "./facets.js";
import type { Frontend, Names } from "./names.js";
import { isReadDifferently, POLICY_DIFFERENCES } from "./policy-differences.js";

export const UNEXPLAINED = "UNEXPLAINED";

export interface Side {
  readonly outcome: Outcome;
  readonly journey: Journey;
  readonly reason: string;
  /** The plane's, as the user names it. */
  readonly profile: string;
  /** Node where the image ended. */
  readonly node: string;
  /** Addresses of the image where it arrived; empty where it did not. */
  readonly sourceSeen: string;
  readonly destination: string;
}

export interface Situation {
  readonly facets: number;
  readonly packet: Packet;
  /** The flow's tuple as the sender used it. */
  readonly tuple: Uint8Array;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  /** The service frontend that the flow addresses, if any. */
  readonly frontend: Frontend | null;
  readonly names: Names;
  readonly current: Side;
  readonly target: Side;
  readonly currentHasPolicy: boolean;
  /** NetworkPolicy by the words of its API denies the flow as the current side delivers it. */
  policyDenies(): boolean;
  /** The same for who sent it, whatever address the current side gave the packet on its way. */
  policyDeniesSender(): boolean;
}

export interface Difference {
  readonly id: string;
  readonly title: string;
  matches(situation: Situation): boolean;
}

export const CATALOGUE: readonly Difference[] = [
  {
    id: "POL-NOENGINE",
    title: "A policy drops it in the target; the current side has no policy engine, so nothing enforces the policy there",
    matches: (s) => !s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived && isPolicyDrop(s.target)
      && (s.policyDenies() || isReadDifferently(s)),
  },
  {
    id: "POL-NOENGINE",
    title: "A policy drops it in the target before the service is found to have no endpoints",
    matches: (s) => !s.currentHasPolicy && s.facets === Facet.Refusal && isPolicyDrop(s.target)
      && s.current.outcome.end === End.Rejected,
  },
  ...POLICY_DIFFERENCES,
  {
    id: "PROTO-SCTP",
    title: "Cilium handles SCTP only where it is switched on; conntrack and iptables translate it",
    matches: (s) => s.protocol === "SCTP" && s.target.outcome.end === End.Dropped && isUnknownL4(s.target),
  },
  {
    id: "POL-UNKNOWN-L4",
    title: "Cilium drops upper-layer protocols it does not know; the kernel forwards them",
    matches: (s) => s.protocol.startsWith("protocol ") && s.target.outcome.end === End.Dropped && isUnknownL4(s.target),
  },
  {
    id: "PROTO-INVALID",
    title: "KUBE-FORWARD drops packets conntrack calls INVALID; Cilium has no such rule",
    // A packet that the captures saw again after the node was not dropped there: a capture with holes makes a modelled
    // conntrack call good segments INVALID, and that must not pass for a difference between the planes.
    matches: (s) => (s.facets === Facet.Reached || s.facets === Facet.Refusal) && s.current.outcome.end === End.Dropped
      && s.current.reason === "filter/KUBE-FORWARD" && s.packet.views.length === 1,
  },
  {
    id: "PROTO-FRAG",
    title: "Cilium follows fragments through the first one's ports and in that order only; conntrack rebuilds the datagram",
    matches: (s) => s.packet.view.isFragment && (isFragmentReason(s.target.reason) || isFragmentReason(s.current.reason)),
  },
  {
    id: "PROTO-STACKCHECK",
    title: "The node's IP stack refuses it (bad header, source route, another host's MAC); Cilium hands it to a local pod first",
    matches: (s) => s.facets === Facet.Reached && s.current.outcome.end === End.Dropped && isStackRefusal(s.current.reason)
      && s.target.outcome.end === End.Delivered && s.names.pod(s.target.destination) !== null,
  },
  {
    id: "NODE-TUNNEL-MTU",
    title: "Too big for a link that the current CNI's tunnel made smaller; Cilium's native routing has no such tunnel",
    matches: (s) => s.facets === Facet.Reached && s.current.outcome.end === End.Answered && s.current.reason === "PKT_TOO_BIG"
      && s.target.outcome.arrived && s.names.hasTunnels,
  },
  {
    id: "PROTO-TTL",
    title: "The TTL ends: the kernel answers time exceeded, Cilium drops it in eBPF without an answer",
    matches: (s) => s.facets === Facet.Refusal && s.current.outcome.end === End.Answered && isTimeExceeded(s.current.outcome)
      && s.current.outcome.answerNode === nodeOfDrop(s)
      && s.target.outcome.end === End.Dropped && s.target.reason === "TTL_EXCEEDED",
  },
  {
    id: "POL-SOURCE-IP",
    title: "A source address that is not the pod's own: Cilium drops it (enable-source-ip-verification), the kernel forwards it",
    // A known pod's address as source cannot be told from a mistake of ours here: it stays unexplained.
    matches: (s) => s.target.outcome.end === End.Dropped && s.target.reason === "INVALID_SOURCE_IP"
      && s.names.pod(s.source) === null,
  },
  {
    id: "SVC-UDP-STALE",
    title: "UDP after its endpoint left the service: kube-proxy deletes the conntrack entry, Cilium keeps the backend",
    matches: (s) => s.protocol === "UDP" && s.facets === Facet.Destination && s.frontend !== null
      && isEndpoint(s, s.frontend, s.current) && !isEndpoint(s, s.frontend, s.target)
      && s.names.wasEndpoint(s.frontend, s.target.destination, Tuple.destinationPort(s.target.outcome.image)),
  },
  {
    id: "SVC-CLUSTERIP-EXT",
    title: "A ClusterIP reached from outside: iptables forwards it, Cilium drops it (IS_A_CLUSTERIP)",
    matches: (s) => s.target.reason === "IS_A_CLUSTERIP" && s.frontend?.kind === "ClusterIP",
  },
  {
    id: "SVC-LBSRCRANGES",
    title: "loadBalancerSourceRanges: kube-proxy applies them to pods too, Cilium only to traffic from outside",
    matches: (s) => s.frontend !== null && s.frontend.service.loadBalancerSourceRanges.length > 0
      && s.current.reason === "filter/KUBE-PROXY-FIREWALL" && s.target.outcome.arrived && s.names.knows(s.source),
  },
  {
    id: "SVC-NOENDPOINT",
    title: "A service without endpoints: both refuse, kube-proxy from the node's address, Cilium from the service's",
    matches: (s) => s.frontend !== null && s.frontend.port !== null && s.frontend.endpoints === 0
      && s.current.outcome.end === End.Rejected && (refuses(s.target.outcome) || isNoBackend(s.target)),
  },
  {
    id: "SVC-ETPLOCAL-NOLOCAL",
    title: "Traffic policy Local without a local endpoint: kube-proxy drops silently, Cilium answers or drops as for no backend",
    matches: (s) => s.frontend !== null && s.frontend.endpoints > 0 && isLocal(s.frontend)
      && s.current.outcome.end === End.Dropped && !s.target.outcome.arrived
      && (refuses(s.target.outcome) || isNoBackend(s.target)),
  },
  {
    id: "SVC-VIP-ICMP",
    title: "A ping to a service address is no service traffic: masqueraded or routed differently on each side",
    matches: (s) => (s.protocol === "ICMP" || s.protocol === "ICMPv6") && s.packet.kind !== "error"
      && s.names.describe(s.destination).startsWith("service ") && !reachesPod(s, s.current) && !reachesPod(s, s.target),
  },
  {
    id: "SVC-UNKNOWN-PORT",
    title: "A service address with a port that is none of its ports",
    matches: (s) => s.frontend !== null && s.frontend.port === null && !reachesPod(s, s.current) && !reachesPod(s, s.target),
  },
  {
    id: "NAT-ICMP-CLIENT",
    title: "An ICMP error that a client sends to a service address: conntrack takes it to the backend, Cilium leaves it alone",
    matches: (s) => s.packet.kind === "error" && s.frontend !== null && s.facets === Facet.Destination
      && sameBytes(Tuple.destination(s.packet.view.tuple), Tuple.destination(s.target.outcome.image))
      && s.names.describe(s.target.destination).startsWith("service "),
  },
  {
    id: "NAT-ICMP-PMTU",
    title: "Fragmentation needed for a translated flow: conntrack translates it back, Cilium's per-packet load balancing does not",
    matches: (s) => s.packet.kind === "error" && isTooBig(s) && s.frontend !== null
      && (s.facets === Facet.Source || s.facets === Facet.Reached || s.facets === Facet.Destination),
  },
  {
    id: "POL-HAIRPIN",
    title: "A pod reaches itself through its own service: masqueraded by the node, or from Cilium's loopback address",
    matches: (s) => s.packet.kind === "request" && s.frontend !== null && s.facets === Facet.Source
      && s.current.destination === s.source && s.target.destination === s.source && LOOPBACK_SOURCES.has(s.target.sourceSeen),
  },
  {
    id: "NAT-LOCAL-BACKEND",
    title: "externalTrafficPolicy Cluster, backend or client on the balancing node: kube-proxy masquerades, Cilium keeps the client",
    matches: (s) => s.facets === Facet.Source && s.frontend !== null && s.frontend.kind !== "ClusterIP"
      && s.frontend.service.externalTrafficPolicy === "Cluster" && s.target.sourceSeen === s.source
      && s.names.node(s.current.sourceSeen) !== null
      && isOnNode(s, s.names.node(s.current.sourceSeen)),
  },
  {
    id: "NAT-MASQ-SET",
    title: "Which traffic of pods and nodes is masqueraded, and with which of the node's addresses",
    matches: (s) => s.facets === Facet.Source && (sameNode(s)
      || (s.names.node(s.destination) !== null && (s.current.sourceSeen === s.source) !== (s.target.sourceSeen === s.source))),
  },
];

function isPolicyDrop(side: Side): boolean {
  return side.outcome.end === End.Dropped && (side.reason === "POLICY_DENIED" || side.reason === "POLICY_DENY");
}

function isUnknownL4(side: Side): boolean {
  return side.reason === "CT_UNKNOWN_L4_PROTOCOL" || side.reason === "UNKNOWN_L4_PROTOCOL";
}

function isFragmentReason(reason: string): boolean {
  return reason.startsWith("FIRST_LOGICAL_DATAGRAM_FRAGMENT") || reason.startsWith("IP_FRAGMENTATION")
    || reason === "DUP_FRAG" || reason.startsWith("FRAG:");
}

/** Drops of ip_rcv_core and ip_rcv_finish, by the kernel's own names (enum skb_drop_reason). */
function isStackRefusal(reason: string): boolean {
  return reason === "IP_CSUM" || reason.startsWith("IP_INHDR") || reason === "OTHERHOST" || reason.startsWith("INVALID_PROTO");
}

function isTimeExceeded(outcome: Outcome): boolean {
  return (outcome.answerProtocol === 1 && outcome.answerType === 11) || (outcome.answerProtocol === 58 && outcome.answerType === 3);
}

function isEndpoint(situation: Situation, frontend: Frontend, side: Side): boolean {
  return situation.names.isEndpoint(frontend, side.destination, Tuple.destinationPort(side.outcome.image));
}

function isNoBackend(side: Side): boolean {
  return side.outcome.end === End.Dropped && side.reason === "SERVICE_BACKEND_NOT_FOUND";
}

function isLocal(frontend: Frontend): boolean {
  return frontend.kind === "ClusterIP" ? frontend.service.internalTrafficPolicy === "Local"
    : frontend.service.externalTrafficPolicy === "Local";
}

/** Port unreachable, in either family: what both dataplanes refuse a service with. */
function refuses(outcome: Outcome): boolean {
  if (outcome.end !== End.Rejected) return false;
  return (outcome.answerProtocol === 1 && outcome.answerType === 3 && outcome.answerCode === 3)
    || (outcome.answerProtocol === 58 && outcome.answerType === 1 && outcome.answerCode === 4);
}

/** The backend, or the pod that is the client, is on this node. */
function isOnNode({ names, target, source }: Situation, node: string | null): boolean {
  return names.pod(target.destination)?.nodeName === node || names.pod(source)?.nodeName === node;
}

/** ipv4-service-loopback-address, and its IPv6 counterpart. */
const LOOPBACK_SOURCES: ReadonlySet<string> = new Set(["169.254.42.1", "fe80::1"]);

function isTooBig({ packet: { view } }: Situation): boolean {
  return view.protocol === 1 ? view.icmpType === 3 && view.icmpCode === 4 : view.icmpType === 2;
}

/** Both sides masquerade with an address of one node. */
function sameNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && node === s.names.node(s.target.sourceSeen);
}

/** Where the target dropped it: the node it came to last, else the one where it entered. */
function nodeOfDrop({ packet, target }: Situation): number {
  return target.outcome.node >= 0 ? target.outcome.node : packet.view.node;
}

/** It came to a pod, as if the service had that port; an error coming back to the flow's own sender is not that. */
function reachesPod({ names, packet, source }: Situation, side: Side): boolean {
  return names.pod(side.destination) !== null && !(packet.kind === "error" && side.destination === source);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
