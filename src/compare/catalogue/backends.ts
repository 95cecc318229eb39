/** Differences in which endpoint a service's traffic goes to, and for how long. */
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import { Facet } from "../facets.js";
import { endText } from "../memory.js";
import type { Frontend } from "../names.js";
import type { Difference, Side, Situation } from "./difference.js";
import { isEndpoint, isNoBackend, refuses } from "./ends.js";

export const BACKENDS: readonly Difference[] = [
  {
    id: "SVC-UDP-STALE",
    title: "UDP after its endpoint left the service: kube-proxy deletes the conntrack entry, Cilium keeps the backend",
    matches: (s) => s.protocol === "UDP" && s.facets === Facet.Destination && s.frontend !== null
      && isEndpoint(s, s.frontend, s.current) && !isEndpoint(s, s.frontend, s.target)
      && s.names.wasEndpoint(s.frontend, s.target.destination, Tuple.destinationPort(s.target.outcome.image)),
    page: {
      shownBy: "state or option",
      kubeProxy: "kube-proxy deletes the conntrack entries of UDP endpoints that are gone; the next datagram goes to another one. Releases"
        + " differ in what they find; entries that stay send datagrams into the void for as long as the client goes on.",
      cilium: "The service's conntrack entry names a backend. A backend that no service has any more is chosen anew at the next datagram;"
        + " one that serves another service too keeps getting them until the entry expires. A UDP socket that was connected at the"
        + " socket stays with its backend until the agent terminates it, which it may miss when the reverse map is full.",
      bitten: ["k8s#139628", "k8s#139629", "k8s#141371", "k8s#126130", "k8s#126934", "cilium#42649", "cilium#28820", "cilium#12859"],
      advice: "Have UDP clients open a new socket when answers stay away.",
      sources: [
        { what: "Cilium bpf/lib/lb.h, lb4_local", known: "read in source" },
        { what: "kube-proxy pkg/proxy/conntrack/cleanup.go; its effect on a kernel", known: "executed" },
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Known issues", known: "documented" },
      ],
    },
  },
  {
    id: "SVC-BACKEND-GONE",
    title: "A TCP connection whose endpoint left the service while its pod goes on: conntrack keeps it, Cilium sends it to another",
    matches: (s) => s.protocol === "TCP" && !isSyn(s) && s.frontend !== null && s.frontend.port !== null
      && hasLeft(s, s.frontend, s.current)
      && (s.facets === Facet.Destination ? isEndpoint(s, s.frontend, s.target)
        : s.facets === Facet.Reached && (refuses(s.target.outcome) || isNoBackend(s.target))),
    page: {
      shownBy: "state or option",
      kubeProxy: "conntrack goes on translating to the old endpoint; kube-proxy never deletes TCP entries.",
      cilium: "A backend that no service has any more is gone from the maps: the next packet is sent to another endpoint, which resets it,"
        + " or refused where none is left. A terminating backend stays for its connections. Connections that were balanced at the socket"
        + " go on, unless lb-sock-terminate-all-protos (1.20) ends them.",
      bitten: ["cilium#23761"],
      advice: "Take pods out of service by readiness only when their connections may break; let them drain while terminating.",
      sources: [
        { what: "Cilium bpf/lib/lb.h, lb4_local", known: "read in source" },
        { what: "Both in a story on recorded programs and a kernel's rules", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-AFFINITY-KEY",
    title: "Session affinity by two ways to one service: kube-proxy remembers a client for the service port, Cilium for each frontend",
    matches: (s) => s.facets === Facet.Destination && s.frontend !== null && s.affinity !== null && s.affinity.here === null
      && s.affinity.elsewhere !== null && s.affinity.elsewhere.current === endText(s.current.outcome.image)
      && isEndpoint(s, s.frontend, s.current) && isEndpoint(s, s.frontend, s.target),
    page: {
      shownBy: "packets",
      kubeProxy: "The key is the client's address and the service port: ClusterIP, node port and load balancer lead to the same endpoint."
        + " Three hours by default, from the last new connection. A list has room for 100 clients of an endpoint (xt_recent).",
      cilium: "The key is the client and the frontend: each address of the service chooses for itself. The client is its address in"
        + " packets, its network namespace where the socket is balanced at connect(). The time runs from the last packet.",
      bitten: ["cilium#25568", "cilium#35254", "k8s#103000", "cilium#26709"],
      advice: "Have a client use one of the service's addresses; keep state outside endpoints.",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Session Affinity; bpf/lib/lb.h", known: "documented" },
        { what: "kube-proxy's rules and xt_recent on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-TOPOLOGY",
    title: "Endpoints with topology hints: kube-proxy keeps to the zone, Cilium only with enable-service-topology",
    matches: (s) => s.facets === Facet.Destination && s.frontend !== null && s.target.options["enable-service-topology"] !== true
      && isHinted(s, s.frontend, s.current) && !isHinted(s, s.frontend, s.target)
      && isEndpoint(s, s.frontend, s.current) && isEndpoint(s, s.frontend, s.target),
    page: {
      shownBy: "packets",
      kubeProxy: "Hints of the EndpointSlices count by themselves: same node, else same zone, unless an endpoint has none.",
      cilium: "Hints are ignored unless enable-service-topology is set; then, from 1.18 on, only for services that ask for it by"
        + " trafficDistribution or annotation.",
      bitten: ["cilium#40883", "cilium#23837", "cilium#25283"],
      advice: "Set loadBalancer.serviceTopology where costs or latency between zones matter.",
      sources: [
        { what: "Cilium pkg/loadbalancer/writer, DefaultSelectBackends; cmdref of 1.16 to 1.20", known: "read in source" },
        { what: "kube-proxy pkg/proxy/topology.go; its rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-MULTIVIP-COLLIDE",
    title: "One client port by two services to one endpoint: conntrack takes another source port, Cilium answers from the latter service",
    matches: (s) => isAnswerOfOtherService(s),
    page: {
      shownBy: "packets",
      kubeProxy: "The second connection's reply would collide, so conntrack gives it another source port: both live.",
      cilium: "Both connections have one entry after translation. The latter one's service takes it over: answers of the former come from"
        + " the wrong address, and its client resets them. Services that are balanced at the socket do not meet it.",
      bitten: ["cilium#11810", "cilium#18632"],
      advice: "Do not put one pod behind several services that the same clients use.",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Connection Collisions", known: "documented" },
        { what: "Both in a story on recorded programs and a kernel's conntrack", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-BACKEND-PICK",
    title: "Which of a service's endpoints a connection gets is chance on both sides, and no difference",
    page: {
      shownBy: "no difference",
      kubeProxy: "Random for each connection.",
      cilium: "Random, or by hash with bpf-lb-algorithm=maglev for traffic from outside; pods' own traffic is random always.",
      bitten: [],
      advice: "Nothing: sets of endpoints are compared, not the one that was chosen.",
      sources: [{ what: "Cilium bpf/bpf_lxc.c; kube-proxy's rules on a kernel", known: "executed" }],
    },
  },
  {
    id: "SVC-TERM-FALLBACK",
    title: "All endpoints are terminating: both sides use those that still serve",
    page: {
      shownBy: "no difference",
      kubeProxy: "With no ready endpoint, those that are terminating and serving.",
      cilium: "The same: active ones, else terminating ones that serve; in 1.16 and 1.17 behind enable-k8s-terminating-endpoint, on by"
        + " default. Between an endpoint's removal and the agent's update connections may fail on either side.",
      bitten: ["cilium#32815", "cilium#21062"],
      advice: "Let pods serve on while terminating, with a preStop delay.",
      sources: [
        { what: "Cilium pkg/loadbalancer/reconciler/bpf_reconciler.go (1.20), pkg/service (1.16)", known: "read in source" },
        { what: "kube-proxy pkg/proxy/topology.go; its rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-ETPLOCAL-TERM",
    title: "A Local service whose only local endpoint is terminating: both sides use it",
    page: {
      shownBy: "no difference",
      kubeProxy: "A node without a ready local endpoint serves the terminating and serving ones.",
      cilium: "The same from 1.16 on. What fails in the Kubernetes test of it (cilium#37613) is another pod's connection to a node without"
        + " endpoints, which the test wants to fail: see SVC-ETPLOCAL-INTERNAL.",
      bitten: ["cilium#37613", "cilium#19810", "cilium#23744", "cilium#32815"],
      advice: "Nothing for traffic from outside; let clients in the cluster use the ClusterIP.",
      sources: [
        { what: "Cilium pkg/loadbalancer/writer and reconciler", known: "read in source" },
        { what: "cilium#37613; Cilium's CI skips the test", known: "thread" },
      ],
    },
  },
];

const SYN = 0x02;

function isSyn({ packet: { view } }: Situation): boolean {
  return (view.tcpFlags & SYN) !== 0;
}

/** It arrived at what was an endpoint of the frontend and is none now. */
function hasLeft({ names }: Situation, frontend: Frontend, side: Side): boolean {
  const port = Tuple.destinationPort(side.outcome.image);
  return side.outcome.arrived && names.wasEndpoint(frontend, side.destination, port) && !names.isEndpoint(frontend, side.destination, port);
}

/** The endpoint that it arrived at is hinted to the node of the pod that asked. */
function isHinted({ names, source }: Situation, frontend: Frontend, side: Side): boolean {
  const node = names.pod(source)?.nodeName ?? names.node(source);
  return node !== null && names.isHintedTo(node, frontend, side.destination, Tuple.destinationPort(side.outcome.image));
}

/** An endpoint's packet comes from two of its services' addresses; the current side's is the flow's own where that is known. */
function isAnswerOfOtherService(s: Situation): boolean {
  const { names, packet, protocol, current, target } = s;
  const isReply = packet.kind === "reply";
  if (s.facets !== (isReply ? Facet.Reply : Facet.Source)) return false;
  if (current.outcome.end !== End.Delivered || target.outcome.end !== End.Delivered) return false;
  if (current.sourceSeen === target.sourceSeen || current.destination !== target.destination) return false;
  // What the endpoint sent: an answer is the target's image of the request turned round.
  const request = packet.flow?.planes[1][0].image ?? s.tuple;
  const endpoint = isReply ? endText(request).split(" ") : [s.source, String(Tuple.sourcePort(s.tuple))];
  return [current, target].every((side) => {
    const frontend = names.frontend(side.sourceSeen, protocol, Tuple.sourcePort(side.outcome.image));
    return frontend !== null && frontend.port !== null && names.isEndpoint(frontend, endpoint[0], Number(endpoint[1]));
  });
}
