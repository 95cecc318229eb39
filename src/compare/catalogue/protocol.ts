/** Differences in protocols: SCTP, fragments, what conntrack and the IP stack refuse, lifetimes. */
import { parseAddress, prefixContains } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import type { Flow } from "../../replay/flows.js";
import type { Outcome } from "../../replay/outcome.js";
import { Tuple } from "../../replay/tuple.js";
import type { View } from "../../replay/view.js";
import { checksumState, Csum, Decoded, DecodeStatus, decode, L4Status } from "../../wire/index.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isUnknownL4 } from "./ends.js";
import { balancesElsewhere, isMasqueradedElsewhere, isToOtherNodesPort } from "./judgements.js";
import { isEngineDrop } from "./policy-reading.js";

/** Without options, and with as many as fit; bytes. */
const TCP_HEADER = 20;
const TCP_HEADER_MOST = 60;

export const PROTOCOL: readonly Difference[] = [
  {
    id: "PROTO-SCTP",
    title: "Cilium handles SCTP only where it is switched on; conntrack and iptables translate it",
    matches: (s) => s.protocol === "SCTP" && (s.target.options["enable-sctp"] === true
      ? s.current.outcome.arrived && s.target.outcome.end === End.Dropped && needsOtherPort(s)
      : (s.current.outcome.arrived && s.target.outcome.end === End.Dropped && isUnknownL4(s.target) && !isUnseenByEngine(s))
        || isNoServiceInTarget(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "SCTP services are translated, ports included; node ports work.",
      cilium: "Dropped with CT_UNKNOWN_L4_PROTOCOL unless enable-sctp is set. With it targetPort must equal port, and there are no"
        + " node ports that differ from it: a port that would be rewritten is dropped with ERROR_WHILE_CORRECTING_L4_CHECKSUM, and so"
        + " is a masqueraded one (NAT-PROTO). No multihoming. Without enable-sctp a packet from outside to a service goes on as it came:"
        + " out by its route, or to the node's own sockets.",
      bitten: ["cilium#5719", "cilium#20033", "cilium#32412", "cilium#38540"],
      advice: "Set enable-sctp, and give each SCTP service a targetPort equal to its port.",
      sources: [
        { what: "Cilium Documentation/configuration/sctp.rst", known: "documented" },
        { what: "Cilium bpf/lib/csum.h, l4_modify_port; recorded runs", known: "executed" },
      ],
    },
  },
  {
    id: "PROTO-INVALID",
    title: "KUBE-FORWARD drops packets conntrack calls INVALID; Cilium has no such rule",
    // A packet that the captures saw again after the node was not dropped there: a capture with holes makes a modelled
    // conntrack call good segments INVALID, and that must not pass for a difference between the planes.
    matches: (s) => (s.facets === Facet.Reached || s.facets === Facet.Refusal) && s.current.outcome.end === End.Dropped
      && (s.current.reason === "filter/KUBE-FORWARD" || isInvalidForCalico(s)) && s.packet.views.length === 1 && !isExpected(s),
    page: {
      shownBy: "packets",
      kubeProxy: "KUBE-FORWARD drops what conntrack calls INVALID: segments outside the TCP window, a lone RST, FIN or SYN-ACK, a"
        + " bad checksum. A bare ACK opens an entry (nf_conntrack_tcp_loose). The rule is left out where kube-proxy found"
        + " nf_conntrack_tcp_be_liberal set.",
      cilium: "No counterpart: no window or handshake is checked, and the packet is forwarded. Only through a service a segment without SYN"
        + " or ACK may be refused (CT_MISSING_TCP_ACK_FLAG).",
      bitten: ["k8s#74840"],
      advice: "Nothing: connections that were cut before are not afterwards.",
      sources: [
        { what: "kube-proxy pkg/proxy/iptables/proxier.go; Cilium's CI skips the Kubernetes test of it", known: "read in source" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "PROTO-FRAG",
    title: "Cilium follows fragments through the first one's ports and in that order only; conntrack rebuilds the datagram",
    matches: (s) => s.packet.view.isFragment && s.facets !== Facet.Source && s.facets !== Facet.Destination
      && !(s.target.reason.startsWith("FIRST_LOGICAL_DATAGRAM_FRAGMENT") && s.followsFirst())
      && (isFragmentReason(s.target.reason) || isFragmentReason(s.current.reason) || isShortFirst(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "conntrack puts the datagram together first: the fragments' order does not matter.",
      cilium: "The first fragment must come first; others are dropped with FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND, and the"
        + " datagram is lost. The map has room for 8,192 datagrams. IPv6 fragments are dropped up to 1.17 and followed from 1.18 on;"
        + " fragmented ICMP passes up to 1.17 and is dropped from 1.18 on.",
      bitten: ["cilium#8185", "cilium#22624"],
      advice: "Keep UDP datagrams below the path's MTU.",
      sources: [
        { what: "Cilium Documentation/network/concepts/fragmentation.rst", known: "documented" },
        { what: "Cilium bpf/lib/ipv4.h, ipfrag.h; recorded runs of 1.16 to 1.20", known: "executed" },
      ],
    },
  },
  {
    id: "PROTO-STACKCHECK",
    title: "The node's IP stack refuses it (source route, another host's MAC); Cilium hands it to a local pod's device first",
    matches: (s) => s.facets === Facet.Reached && s.current.outcome.end === End.Dropped && isStackRefusal(s.current.reason)
      && s.target.outcome.end === End.Delivered && s.names.pod(s.target.destination) !== null,
    page: {
      shownBy: "packets",
      kubeProxy: "ip_rcv_core and ip_rcv_finish drop packets with a source route or another host's MAC address.",
      cilium: "A program at the device hands the packet to a local pod before the node's stack looks at it; what the pod's own stack"
        + " makes of it is not shown. A wrong header checksum is refused with either.",
      bitten: [],
      advice: "Nothing: what is damaged is refused a hop later.",
      sources: [{ what: "Linux net/ipv4/ip_input.c; Cilium bpf/lib/l3.h", known: "read in source" }],
    },
  },
  {
    id: "PROTO-HOPS",
    title: "The TTL at the receiver: Cilium takes one off for a pod's own node up to 1.18, and one less than routing through its tunnel",
    matches: (s) => s.facets === Facet.Hops && s.current.outcome.end === End.Delivered && (isPassedToStack(s) || isTunnelled(s)
      || isBalancedAtPod(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "Every node that forwards takes one off: for a pod of another node two. What comes to the node itself is not"
        + " forwarded: its TTL stays.",
      cilium: "Up to 1.18 the pod's program decreases the TTL of what it passes to the stack, unless enable-endpoint-routes is set, and"
        + " drops what came with 1 (TTL_EXCEEDED). From 1.19 on it leaves it alone. With routing-mode tunnel the sending node wraps"
        + " the packet as it is; only the receiving node takes one off."
        + " From 1.20 on a pod's packet to another node's port is balanced at the pod and goes to the endpoint without that node.",
      bitten: [],
      advice: "Nothing, unless a pod sends with a TTL of 1 or its receiver looks at it (BFD, GTSM), or somebody counts hops.",
      sources: [{ what: "Cilium bpf/bpf_lxc.c, pass_to_stack, encap_and_redirect_lxc; bpf/bpf_overlay.c, ipv4_local_delivery; recorded"
        + " runs of 1.16 to 1.20", known: "executed" }],
    },
  },
  {
    id: "PROTO-TTL",
    title: "The TTL ends: the kernel answers time exceeded, Cilium drops it in eBPF without an answer",
    matches: (s) => s.facets === Facet.Refusal && s.current.outcome.end === End.Answered && isTimeExceeded(s.current.outcome)
      && s.current.outcome.answerNode === nodeOfDrop(s)
      && s.target.outcome.end === End.Dropped && s.target.reason === "TTL_EXCEEDED",
    page: {
      shownBy: "packets",
      kubeProxy: "The node answers time exceeded: traceroute shows it.",
      cilium: "Dropped with TTL_EXCEEDED where a program forwards the packet; no answer.",
      bitten: [],
      advice: "Expect gaps in traceroute between pods.",
      sources: [{ what: "Cilium bpf/lib/l3.h, ipv4_l3", known: "executed" }],
    },
  },
];

/** From a pod to its own node, through the stack. */
function isPassedToStack({ source, names, current, target }: Situation): boolean {
  return /^1\.1[678]$/.test(target.version) && target.options["enable-endpoint-routes"] !== true && names.pod(source) !== null
    && names.node(target.destination) === names.pod(source)?.nodeName && current.outcome.ttl === target.outcome.ttl + 1;
}

/** From a pod to one of another node, which Cilium wraps before anybody counts a hop. */
function isTunnelled({ source, names, current, target }: Situation): boolean {
  const ends = [names.pod(source), names.pod(target.destination)];
  return target.options["routing-mode"] === "tunnel" && ends[0] !== null && ends[1] !== null
    && ends[0].nodeName !== ends[1].nodeName && current.outcome.ttl === target.outcome.ttl - 1;
}

/** The policies deny the pod, and it got past the engine only with a node's address that kube-proxy has no reason to give it. */
function isUnseenByEngine(s: Situation): boolean {
  const { current: { destination, podRanges, outcome }, source, currentHasPolicy, engineReads } = s;
  const address = parseAddress(source);
  return currentHasPolicy && isMasqueradedElsewhere(s) && address !== null
    && podRanges?.some((range) => prefixContains(range, address)) === true
    && engineReads(source, destination, Tuple.destinationPort(outcome.image)) === "deny";
}

/**
 * From a pod to another node's port, balanced at the pod: the node that was asked does not forward it. A node counts what it
 * forwards, to a pod of its own too.
 */
function isBalancedAtPod(s: Situation): boolean {
  const { source, names, current, target } = s;
  const [from, asked, to] = [names.pod(source)?.nodeName, names.node(s.destination), names.pod(target.destination)];
  if (!isToOtherNodesPort(s) || balancesElsewhere(s) || target.options["routing-mode"] === "tunnel") return false;
  const at = to?.nodeName ?? names.node(target.destination);
  const atEnd = to === null ? 0 : 1;
  const around = 1 + (at === asked ? 0 : 1) + atEnd;
  const straight = (at === from ? 0 : 1) + atEnd;
  return target.outcome.ttl - current.outcome.ttl === around - straight;
}

/** A service's port is not its endpoint's: its requests are dropped, and there are no answers. */
function needsOtherPort({ frontend, port, current, target, packet }: Situation): boolean {
  return packet.kind === "request" && frontend !== null && frontend.port !== null && target.reason === "ERROR_WHILE_CORRECTING_L4_CHECKSUM"
    && Tuple.destinationPort(current.outcome.image) !== port;
}

/** From outside to a service: served now, or dropped by a policy as what it was translated to; it passes Cilium as it came. */
function isNoServiceInTarget(s: Situation): boolean {
  const { frontend, names, source, destination, current, target } = s;
  return frontend !== null && frontend.port !== null && names.pod(source) === null && target.outcome.arrived
    && target.destination === destination && Tuple.destinationPort(target.outcome.image) === s.port
    && (isEndpoint(s, frontend, current) || isEngineDrop(current));
}

/** Calico's chain of the pod drops INVALID by itself, before policies; a SYN alone is never that. */
function isInvalidForCalico({ current, protocol, packet }: Situation): boolean {
  return protocol === "TCP" && current.profile === "kube-proxy+calico" && /^filter\/cali-[ft]w-/.test(current.reason)
    && packet.view.tcpFlags !== SYN && current.journey.becauses.every(({ object }) => object === "calico felix");
}

/**
 * What conntrack takes: the answer to a SYN that the current side let through; with a good checksum a SYN alone, a datagram, and an
 * error about a connection that it let through just before.
 */
function isExpected({ protocol, packet: { kind, view, flow } }: Situation): boolean {
  if (view.isFragment) return false;
  if (kind === "error") return flow !== null && isRemembered(flow, view) && isWhole(view);
  if (protocol !== "TCP" && protocol !== "UDP") return false;
  const flags = view.tcpFlags & (SYN | ACK | FIN | RST);
  if (protocol === "TCP" && kind === "reply" && (flags & SYN) !== 0 && flow?.planes[0][0].arrived === true) return true;
  return (protocol === "UDP" || flags === SYN) && isWhole(view);
}

/** The error comes to a node that the connection went through, before any entry for it would be over. */
function isRemembered({ planes: [[request]], entryNode, lastNs }: Flow, { node, timeNs }: View): boolean {
  return request.arrived && (node === entryNode[0] || node === request.node) && timeNs - lastNs < LIVES_NS;
}

/** Less than the shortest of conntrack's lifetimes by default, which is a closed TCP connection's. */
const LIVES_NS = 9e9;

/** Readable headers, and a checksum that is right as the packet was sent: of what NAT makes of it conntrack asks nothing. */
function isWhole({ bytes, length, wireLength, etherType }: View): boolean {
  const fields = new Decoded();
  decode(bytes, 0, length, wireLength, etherType, fields);
  const checksum = checksumState(bytes, fields);
  return fields.status === DecodeStatus.Ok && fields.l4Status === L4Status.Ok && checksum !== Csum.Wrong && checksum !== Csum.Unknown;
}

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

/** A TCP header cut into fragments: conntrack waits for the rest, the programs read what the first one holds. */
function isShortFirst({ packet: { view }, target }: Situation): boolean {
  if (target.reason !== "CT_TRUNCATED_OR_INVALID_HEADER" || view.protocol !== 6) return false;
  return view.fragmentOffset === 0 ? view.wireLength - view.l4Offset < TCP_HEADER : view.fragmentOffset < TCP_HEADER_MOST;
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

/** Where the target dropped it: the node it came to last, else the one where it entered. */
function nodeOfDrop({ packet, target }: Situation): number {
  return target.outcome.node >= 0 ? target.outcome.node : packet.view.node;
}
