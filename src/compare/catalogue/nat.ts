/** Differences in addresses that are put in place of others: who is masqueraded, and how errors are translated back. */
import { addressText } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import { Facet } from "../facets.js";
import type { Difference, Side, Situation } from "./difference.js";
import { balancerOf, balancesElsewhere, isListed } from "./judgements.js";

export const NAT: readonly Difference[] = [
  {
    id: "NAT-ICMP-CLIENT",
    title: "An ICMP error that a client sends to a service address: conntrack takes it to the backend, Cilium leaves it alone",
    matches: (s) => s.packet.kind === "error" && s.frontend !== null && s.facets === Facet.Destination
      && sameBytes(Tuple.destination(s.packet.view.tuple), Tuple.destination(s.target.outcome.image))
      && s.names.describe(s.target.destination).startsWith("service "),
    page: {
      shownBy: "packets",
      kubeProxy: "conntrack relates the error to the connection and translates it to the backend.",
      cilium: "Errors are not service traffic: the packet keeps the service's address.",
      bitten: [],
      advice: "Nothing for TCP; UDP backends do not learn that a client's port is closed.",
      sources: [{ what: "Recorded on a kernel; Cilium bpf/lib/lb.h", known: "executed" }],
    },
  },
  {
    id: "NAT-ICMP-PMTU",
    title: "Fragmentation needed about a service's connection: conntrack translates what it quotes, Cilium's per-packet balancing does not",
    // About a pod's connection the addresses of the error itself are the same on both sides: packets show what comes from outside.
    matches: (s) => s.packet.kind === "error" && isTooBig(s) && s.frontend !== null && s.frontend.kind !== "ClusterIP"
      && s.facets === Facet.Destination && s.names.pod(s.current.destination) !== null && s.names.node(s.target.destination) !== null
      && sameBytes(Tuple.destination(s.packet.view.tuple), Tuple.destination(s.target.outcome.image)),
    appliesTo: ({ cluster, target }) => (target.version === "" || (target.options["bpf-lb-sock"] === true
      && target.options["bpf-lb-sock-hostns-only"] !== true) || !cluster.services.some(({ clusterIPs }) => clusterIPs.length > 0)
      ? [] : ["bpf-lb-sock is off for pods: their connections to services are balanced packet by packet"]),
    page: {
      shownBy: "state or option",
      kubeProxy: "conntrack relates the error to the connection: it comes from the service's address, and quotes the packet as the client"
        + " sent it.",
      cilium: "With per-packet load balancing the error comes from the service's address too, but quotes the packet as it went to the"
        + " backend. The client's kernel finds no socket for that and throws it away: segments that are too big are sent again until"
        + " the connection ends. One about an answer to outside, to a node port, stays with the node. With"
        + " balancing at connect() the client knows the backend's address.",
      bitten: ["cilium#47755", "cilium#34380", "cilium#12968", "cilium#33844", "cilium#21262", "cilium#22783", "cilium#46993"],
      advice: "Keep one MTU on the way between clients and backends, or balance at the socket.",
      sources: [{ what: "cilium#47755, with captures", known: "thread" }],
    },
  },
  {
    id: "NAT-PORT-CLASH",
    title: "A pod's masqueraded source port is a node port: its answers are taken for requests to that service",
    matches: (s) => s.packet.kind === "reply" && s.packet.restored[0] && !s.packet.restored[1] && s.names.pod(s.source) !== null
      && s.target.options["enable-bpf-masquerade"] !== true && returnsToNodePort(s),
    appliesTo: ({ cluster, target }) => (target.options["kube-proxy-replacement"] !== true
      || target.options["enable-bpf-masquerade"] === true
      ? [] : cluster.services.flatMap((service) => service.ports.filter(({ nodePort }) => nodePort !== 0)
        .map(({ nodePort }) => `Service ${service.namespace}/${service.name} has node port ${nodePort}`)).slice(0, 10)),
    page: {
      shownBy: "state or option",
      kubeProxy: "conntrack knows the connection: its answers come back to the pod, whatever the port. Masquerading keeps the pod's port"
        + " where it is free, and takes one of 1024 to 65535 with --random-fully.",
      cilium: "Where iptables masquerade (no enable-bpf-masquerade, as AKS without eBPF host routing) ports are of the same range. Programs"
        + " at the device look up services before the kernel sees the packet: an answer to the node's address and a node port is sent to"
        + " that service's endpoint, and the connection fails. eBPF masquerading keeps clear of node-port-range. The other way round, both"
        + " may give one port to two connections.",
      bitten: ["cilium#23604", "cilium#33723", "cilium#16826"],
      advice: "Let eBPF masquerade, or limit masquerading to ports outside 30000-32767 (--to-ports).",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Limitations; bpf/lib/nodeport.h, nodeport_lb4",
          known: "read in source" },
        { what: "A story on recorded programs and a kernel's NAT", known: "executed" },
      ],
    },
  },
  {
    id: "NAT-EXHAUST",
    title: "No source port is left for one remote port: Cilium gives up after 32 tries of 32,768 ports, Linux after 248 of 64,512",
    matches: (s) => s.facets === Facet.Reached && s.packet.kind === "request" && s.current.outcome.end === End.Left
      && s.target.reason === "NO_MAPPING_FOR_NAT_MASQUERADE" && s.masqueraded() * 2 >= masqueradePorts(s),
    page: {
      shownBy: "state or option",
      kubeProxy: "A connection keeps its port if it is free; else nf_nat tries 128 ports from a random one on, then 64, 32, 16 and 8, out"
        + " of 64,512 for ports from 1024. With 1 % free, 9 % of connections fail; with 10 % free, none did. One that finds none is dropped"
        + " in silence and counted as insert_failed. In newer kernels a SYN may take the port of a TCP connection that is closing.",
      cilium: "32,768 to 65,535: half as many. 32 tries, of which only the first is random and the others climb in steps: a block of used"
        + " ports is not left. Then NO_MAPPING_FOR_NAT_MASQUERADE. The map is an LRU of 524,288 entries and evicts living connections"
        + " when it is full.",
      bitten: ["cilium#33074", "cilium#8740", "cilium#24555", "cilium#29305"],
      advice: "Watch connections of one node to one remote port; from 16,000 on spread them over nodes or addresses.",
      sources: [
        { what: "1,800 UDP flows through Linux 6.18 with 645 of 64,512 ports free: 169 lost, as 248 independent tries predict",
          known: "executed" },
        { what: "Linux net/netfilter/nf_nat_core.c, nf_nat_l4proto_unique_tuple", known: "read in source" },
        { what: "Cilium bpf/lib/nat.h, snat_v4_new_mapping; recorded runs", known: "executed" },
      ],
    },
  },
  {
    id: "NAT-PROTO",
    title: "Protocols that eBPF masquerading does not translate: pods' own addresses leave, or SCTP that needs another port is dropped",
    matches: (s) => s.target.options["enable-bpf-masquerade"] === true && s.current.outcome.end === End.Left
      && s.names.node(s.current.sourceSeen) !== null && s.names.pod(s.source) !== null
      && (isOtherIcmp(s) ? s.target.reason === "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE"
        : s.protocol === "SCTP" ? s.frontend === null && s.target.reason === "ERROR_WHILE_CORRECTING_L4_CHECKSUM" && needsOtherPort(s)
        : s.facets === Facet.Source && s.protocol.startsWith("protocol ") && s.target.sourceSeen === s.source),
    page: {
      shownBy: "packets",
      kubeProxy: "Masqueraded like everything conntrack follows; of protocols without ports the address alone.",
      cilium: "TCP, UDP, ICMP echo and errors; other ICMP is dropped with UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE."
        + " SCTP only while it can keep its port: one below 32,768 or in use is dropped with"
        + " ERROR_WHILE_CORRECTING_L4_CHECKSUM. Protocols without ports leave with the pod's own address where"
        + " enable-extended-ip-protocols (1.19 and later) lets them out at all; else they are dropped (POL-UNKNOWN-L4).",
      bitten: [],
      advice: "Keep masquerading in iptables for nodes whose pods speak GRE, ESP or SCTP to the outside.",
      sources: [
        { what: "Cilium Documentation/network/concepts/masquerading.rst", known: "documented" },
        { what: "Cilium bpf/lib/nat.h, snat_v4_nat", known: "read in source" },
      ],
    },
  },
  {
    id: "NAT-LOCAL-BACKEND",
    title: "externalTrafficPolicy Cluster, backend or client on the balancing node: kube-proxy masquerades, Cilium keeps the client",
    matches: (s) => s.facets === Facet.Source && s.frontend !== null && s.frontend.kind !== "ClusterIP" && s.frontend.port !== null
      && s.frontend.service.externalTrafficPolicy === "Cluster" && s.names.node(s.current.sourceSeen) !== null
      && (s.target.sourceSeen === s.source ? keepsClient(s) : isMasqueradedOnTheWay(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "Always masqueraded: the pod sees the node's address.",
      cilium: "Not translated where the backend is on the balancing node: the pod sees the client. A client pod is balanced at its own node"
        + " and keeps its address always; another node's port from 1.20 on.",
      bitten: ["cilium#33574"],
      advice: "Check lists of addresses in applications and ipBlocks in ingress policies: clients' own addresses appear.",
      sources: [{ what: "Cilium bpf/lib/nodeport.h, nodeport_svc_lb4; recorded runs", known: "executed" }],
    },
  },
  {
    id: "NAT-MASQ-SET",
    title: "Which traffic of pods and nodes is masqueraded, and with which of the node's addresses",
    matches: (s) => s.facets === Facet.Source && (isTunnelsAddress(s) || isToNode(s) || isByList(s) || isOwnSocket(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "ip-masq-agent masquerades all but the CIDRs it lists, with the address of the outgoing device: a tunnel's own, where the"
        + " CNI has tunnels.",
      cilium: "eBPF masquerading leaves out the native routing CIDR and, unless enable-remote-node-masquerade is set (1.19 and later),"
        + " other nodes, their ExternalIPs too. An empty ip-masq-agent configuration means 11 built-in CIDRs, among them 100.64.0.0/10,"
        + " 198.18.0.0/15 and 240.0.0.0/4, and 169.254.0.0/16 unless masqLinkLocal.",
      bitten: ["cilium#35823", "cilium#25437", "cilium#17177"],
      advice: "Compare the list of azure-ip-masq-agent-config with ipv4-native-routing-cidr before the switch; let nodes' firewalls accept"
        + " pods' addresses.",
      sources: [
        { what: "Cilium Documentation/network/concepts/masquerading.rst", known: "documented" },
        { what: "Cilium bpf/lib/nat.h, snat_v4_needs_masquerade; recorded runs", known: "executed" },
      ],
    },
  },
];

/**
 * The node whose address the backend sees now is the one that kube-proxy balances at, and Cilium balances at the client pod, or at
 * that node for a backend of its own.
 */
function keepsClient(s: Situation): boolean {
  const { names, current, target, source, destination } = s;
  const node = names.node(current.sourceSeen);
  const backend = names.pod(target.destination)?.nodeName ?? names.node(target.destination);
  const pod = names.pod(source);
  const keepsToNode = s.frontend?.service.internalTrafficPolicy === "Local" && target.options["enable-internal-traffic-policy"] !== false;
  if (pod !== null && !balancesElsewhere(s) && keepsToNode && backend !== pod.nodeName) return false;
  if (pod !== null && !balancesElsewhere(s)) return node === pod.nodeName || node === names.node(destination);
  return node === backend && (names.node(source) !== null || node === balancerOf(s));
}

/** A pod to another node's port: both masquerade it by iptables where it leaves, kube-proxy once more where the backend is. */
function isMasqueradedOnTheWay({ names, current, target, source, destination }: Situation): boolean {
  const pod = names.pod(source);
  return pod !== null && target.options["enable-bpf-masquerade"] !== true && names.node(target.sourceSeen) === pod.nodeName
    && names.node(destination) !== pod.nodeName && names.node(current.sourceSeen) === names.node(destination)
    && names.pod(target.destination)?.nodeName === names.node(destination);
}

function isTooBig({ packet: { view } }: Situation): boolean {
  return view.protocol === 1 ? view.icmpType === 3 && view.icmpCode === 4 : view.icmpType === 2;
}

/** Its own port is none of those for masquerading, or another connection may have it. */
function needsOtherPort(s: Situation): boolean {
  return Tuple.sourcePort(s.tuple) <= LAST_PORT - masqueradePorts(s) || s.masqueraded() > 0;
}

/** ICMP that is neither echo nor an error. */
function isOtherIcmp({ protocol, packet: { kind, view } }: Situation): boolean {
  if (kind === "error") return false;
  return (protocol === "ICMP" && view.icmpType !== 8 && view.icmpType !== 0)
    || (protocol === "ICMPv6" && view.icmpType !== 128 && view.icmpType !== 129);
}

/** Both sides masquerade with an address of one node, the current one with a tunnel device's. */
function isTunnelsAddress({ names, current, target }: Situation): boolean {
  const node = names.node(current.sourceSeen);
  return node !== null && node === names.node(target.sourceSeen) && names.isOfTunnel(current.sourceSeen);
}

/** A node's own packet to a service: kube-proxy masquerades it anew with the address of the device it leaves by. */
function isOwnSocket({ names, source, frontend, current, target }: Situation): boolean {
  const node = names.node(source);
  return node !== null && frontend !== null && target.sourceSeen === source && names.node(current.sourceSeen) === node;
}

/**
 * From a pod to another node, itself or as what is behind a service: Cilium masquerades with enable-remote-node-masquerade
 * alone, and the agent by its list.
 */
function isToNode({ names, source, destination, frontend, current, target }: Situation): boolean {
  const pod = names.pod(source);
  // What is behind another node's port may be a pod: Cilium balances at the client from 1.20 on.
  const node = names.node(current.destination) ?? names.node(destination);
  if (pod === null || node === null || node === pod.nodeName) return false;
  const [keeps, masquerades] = target.options["enable-remote-node-masquerade"] === true ? [current, target] : [target, current];
  // Under the policy Cluster kube-proxy on the node that was asked masquerades anew what goes on to a pod.
  if (masquerades === current && names.pod(current.destination) !== null
    && frontend?.service.externalTrafficPolicy === "Cluster") return false;
  return keeps.sourceSeen === source && names.node(masquerades.sourceSeen) === pod.nodeName;
}

/** From a pod to what is neither pod nor node: it keeps its address on the side whose list has the destination, and on that alone. */
function isByList({ names, source, current, target }: Situation): boolean {
  const pod = names.pod(source);
  const address = current.destination;
  if (pod === null || names.pod(address) !== null || names.node(address) !== null) return false;
  const isSo = (keeps: Side, masquerades: Side): boolean => keeps.sourceSeen === source && isListed(address, keeps) === true
    && names.node(masquerades.sourceSeen) === pod.nodeName && isListed(address, masquerades) === false;
  return isSo(current, target) || isSo(target, current);
}

/** What the target sent for the request comes back to a node's address and a port that is a node port there. */
function returnsToNodePort({ names, packet, protocol }: Situation): boolean {
  const image = packet.flow?.planes[1][0].image;
  if (image === undefined) return false;
  const frontend = names.frontend(addressText(Tuple.source(image)), protocol, Tuple.sourcePort(image));
  return frontend?.kind === "NodePort";
}

/** The ports that Cilium masquerades to: those above node ports. */
function masqueradePorts({ target }: Situation): number {
  const range = target.options["node-port-range"];
  return LAST_PORT - (Array.isArray(range) ? Number(range[1]) : 32_767);
}

const LAST_PORT = 65_535;

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
