/** Differences in how services are reached: frontends, backends, who may call them. */
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import { Facet } from "../facets.js";
import type { Frontend } from "../names.js";
import type { Difference, Side, Situation } from "./difference.js";
import { refuses } from "./ends.js";

export const SERVICES: readonly Difference[] = [
  {
    id: "SVC-UDP-STALE",
    title: "UDP after its endpoint left the service: kube-proxy deletes the conntrack entry, Cilium keeps the backend",
    matches: (s) => s.protocol === "UDP" && s.facets === Facet.Destination && s.frontend !== null
      && isEndpoint(s, s.frontend, s.current) && !isEndpoint(s, s.frontend, s.target)
      && s.names.wasEndpoint(s.frontend, s.target.destination, Tuple.destinationPort(s.target.outcome.image)),
    page: {
      shownBy: "state or option",
      kubeProxy: "kube-proxy deletes the conntrack entries of UDP endpoints that are gone; the next datagram goes to another one.",
      cilium: "The service's conntrack entry keeps its backend until it expires.",
      bitten: ["k8s#139628", "k8s#139629", "k8s#126130", "cilium#42649", "cilium#28820", "cilium#12859"],
      advice: "Have UDP clients open a new socket when answers stay away.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Known issues", known: "documented" }],
    },
  },
  {
    id: "SVC-CLUSTERIP-EXT",
    title: "A ClusterIP reached from outside: iptables forwards it, Cilium drops it (IS_A_CLUSTERIP)",
    matches: (s) => s.target.reason === "IS_A_CLUSTERIP" && s.frontend?.kind === "ClusterIP",
    page: {
      shownBy: "packets",
      kubeProxy: "A packet from outside to a ClusterIP is translated and forwarded.",
      cilium: "Dropped with IS_A_CLUSTERIP unless bpf-lb-external-clusterip is set.",
      bitten: [],
      advice: "Expose the service by a load balancer, or set bpf-lb-external-clusterip.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst", known: "documented" }],
    },
  },
  {
    id: "SVC-LBSRCRANGES",
    title: "loadBalancerSourceRanges: kube-proxy applies them to pods too, Cilium only to traffic from outside",
    matches: (s) => s.frontend !== null && s.frontend.service.loadBalancerSourceRanges.length > 0
      && s.current.reason === "filter/KUBE-PROXY-FIREWALL" && s.target.outcome.arrived && s.names.knows(s.source),
    page: {
      shownBy: "packets",
      kubeProxy: "Enforced on the load balancer's address for pods too, unless they are listed.",
      cilium: "Not applied to clients in the cluster; node ports and ClusterIPs only with bpf-lb-source-range-all-types.",
      bitten: ["cilium#17440", "cilium#30843", "cilium#34903", "cilium#44718", "cilium#42334"],
      advice: "Deny clients in the cluster by NetworkPolicy where the ranges were meant to.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst", known: "documented" }],
    },
  },
  {
    id: "SVC-NOENDPOINT",
    title: "A service without endpoints: both refuse, kube-proxy from the node's address, Cilium from the service's",
    matches: (s) => s.frontend !== null && s.frontend.port !== null && s.frontend.endpoints === 0
      && s.current.outcome.end === End.Rejected && (refuses(s.target.outcome) || isNoBackend(s.target)),
    page: {
      shownBy: "packets",
      kubeProxy: "REJECT: port unreachable from the node's address, for new flows.",
      cilium: "service-no-backend-response=reject answers port unreachable from the service's address; drop is silent.",
      bitten: ["cilium#10002", "cilium#28025", "cilium#33041", "cilium#45184", "projectcalico/calico#3548"],
      advice: "Keep service-no-backend-response at reject where clients rely on a quick error.",
      sources: [{ what: "Cilium pkg/defaults, service-no-backend-response", known: "read in source" }],
    },
  },
  {
    id: "SVC-ETPLOCAL-NOLOCAL",
    title: "Traffic policy Local without a local endpoint: kube-proxy drops silently, Cilium answers or drops as for no backend",
    matches: (s) => s.frontend !== null && s.frontend.endpoints > 0 && isLocal(s.frontend)
      && s.current.outcome.end === End.Dropped && !s.target.outcome.arrived
      && (refuses(s.target.outcome) || isNoBackend(s.target)),
    page: {
      shownBy: "packets",
      kubeProxy: "DROP where an endpoint exists elsewhere, REJECT where none exists at all.",
      cilium: "As for a service without backends: service-no-backend-response.",
      bitten: ["k8s#121371"],
      advice: "Nothing: neither side serves it.",
      sources: [{ what: "kube-proxy's rules on a kernel", known: "executed" }],
    },
  },
  {
    id: "SVC-VIP-ICMP",
    title: "A ping to a service address is no service traffic: masqueraded or routed differently on each side",
    matches: (s) => (s.protocol === "ICMP" || s.protocol === "ICMPv6") && s.packet.kind !== "error"
      && s.names.describe(s.destination).startsWith("service ") && !reachesPod(s, s.current) && !reachesPod(s, s.target),
    page: {
      shownBy: "packets",
      kubeProxy: "No answer unless the address is local to the node.",
      cilium: "No answer; the packet is routed on, or dropped as traffic to world by policy.",
      bitten: ["cilium#14118", "cilium#28458", "cilium#32411"],
      advice: "Do not probe services by ping.",
      sources: [{ what: "kube-proxy's rules on a kernel", known: "executed" }],
    },
  },
  {
    id: "SVC-UNKNOWN-PORT",
    title: "A service address with a port that is none of its ports",
    matches: (s) => s.frontend !== null && s.frontend.port === null && !reachesPod(s, s.current) && !reachesPod(s, s.target),
    page: {
      shownBy: "packets",
      kubeProxy: "Falls through to routing; the nftables mode rejects it.",
      cilium: "Forwarded out, looped, or denied as traffic to world.",
      bitten: ["cilium#13329", "cilium#37623"],
      advice: "Nothing: neither side serves it.",
      sources: [{ what: "kube-proxy's rules on a kernel", known: "executed" }],
    },
  },
];

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

/** It came to a pod, as if the service had that port; an error coming back to the flow's own sender is not that. */
function reachesPod({ names, packet, source }: Situation, side: Side): boolean {
  return names.pod(side.destination) !== null && !(packet.kind === "error" && side.destination === source);
}
