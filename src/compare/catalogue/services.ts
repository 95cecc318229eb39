/** Differences in which frontends of services there are, and who is answered there. */
import { End } from "../../dataplane.js";
import { parseAddress, prefixContains } from "../../cluster/address.js";
import { Facet } from "../facets.js";
import type { Frontend } from "../names.js";
import type { Difference, Side, Situation } from "./difference.js";
import { endOf, isEndpoint, isNoBackend, isPolicyDrop, refuses } from "./ends.js";
import { balancesElsewhere, clientsAtBalancer, heedsRanges } from "./judgements.js";
import { deniesOwnNode, isAnswerDenied, isAnswerDropped, isEngineDrop } from "./policy-reading.js";

export const SERVICES: readonly Difference[] = [
  {
    id: "SVC-CLUSTERIP-EXT",
    title: "A ClusterIP reached from outside: iptables forwards it, Cilium drops it (IS_A_CLUSTERIP)",
    matches: (s) => s.target.reason === "IS_A_CLUSTERIP" && s.frontend?.kind === "ClusterIP" && s.frontend.port !== null
      && s.target.options["bpf-lb-external-clusterip"] !== true
      && (s.facets === Facet.Reached ? isEndpoint(s, s.frontend, s.current) && keepsToNode(s, s.frontend)
        : s.frontend.endpoints === 0 && refuses(s.current.outcome)),
    page: {
      shownBy: "packets",
      kubeProxy: "A packet from outside to a ClusterIP is translated, masqueraded and forwarded.",
      cilium: "Dropped with IS_A_CLUSTERIP, in every version from 1.16 on, unless bpf-lb-external-clusterip is set.",
      bitten: [],
      advice: "Expose the service by a load balancer, or set bpf-lb-external-clusterip.",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst", known: "documented" },
        { what: "Cilium bpf/lib/nodeport.h, nodeport_svc_lb4; recorded runs of 1.16 to 1.20", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-LBSRCRANGES",
    title: "loadBalancerSourceRanges: kube-proxy applies them to pods and nodes too, Cilium to traffic from outside, of 1.18 to node ports",
    matches: (s) => s.frontend !== null && s.frontend.service.loadBalancerSourceRanges.length > 0
      && (s.frontend.kind === "LoadBalancer" ? isOutOfRange(s, s.frontend) && isEndpoint(s, s.frontend, s.target)
        && s.names.knows(s.source) : isRangeOfOthers(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "KUBE-FW and KUBE-PROXY-FIREWALL hold for the load balancer's address whoever asks: pods and nodes are dropped unless"
        + " a range has them. Where a range has the node's own address, what the load balancer's address itself sends passes too. Node"
        + " ports and ClusterIPs are not limited.",
      cilium: "A client in the cluster is balanced at its own node, where ranges are not looked at (a pod's packet to another node's port"
        + " is balanced there before 1.20). From outside they hold for the load"
        + " balancer's address; for node ports too with bpf-lb-source-range-all-types (1.17 and later), and in 1.18 whatever that option"
        + " says. The annotation"
        + " service.cilium.io/src-ranges-policy: deny turns the list round (1.17 and later).",
      bitten: ["cilium#17440", "cilium#30843", "cilium#34903", "cilium#44718", "cilium#42334"],
      advice: "Deny clients in the cluster by NetworkPolicy where the ranges were meant to.",
      sources: [
        { what: "kube-proxy pkg/proxy/iptables/proxier.go; its rules on a kernel", known: "executed" },
        { what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, LoadBalancer Source Ranges Checks", known: "documented" },
        { what: "Cilium pkg/loadbalancer/reconciler/bpf_reconciler.go of 1.18 and 1.19, CheckSourceRange", known: "read in source" },
      ],
    },
  },
  {
    id: "SVC-NOENDPOINT",
    title: "A service without endpoints: kube-proxy refuses from the node's address, Cilium from the service's or at connect()",
    matches: (s) => s.frontend !== null && s.frontend.port !== null && s.frontend.endpoints === 0
      && (isAnswerDenied(s) || ((isRefused(s) || isNoBackend(s.target) || isStifledAnswer(s) || isOutOfCheckedRange(s)
        || isAnswerDropped(s))
        && (refuses(s.current.outcome) || isLeftUnchanged(s) || isAcceptedByNpm(s) || isAcceptedByCalico(s)
          || (isStoppedFirst(s) && isRefused(s))))),
    page: {
      shownBy: "packets",
      kubeProxy: "REJECT in the filter table for new flows: port unreachable from the node's address, for TCP too. What a node itself"
        + " sends to a load balancer's or external address is not rejected and leaves unchanged, since OUTPUT does not come by"
        + " KUBE-EXTERNAL-SERVICES; no more is what Azure NPM accepts before, once there is a policy. Calico's chains come first too:"
        + " its policies drop a packet to the service's own address, and what a pod may send to its node's port reaches the node.",
      cilium: "service-no-backend-response=reject answers port unreachable from the service's address; the default since 1.15, on"
        + " kernels from 5.10 on, silent drop before. The answer may be dropped by the client's own ingress policy. A socket that is"
        + " balanced at connect() gets an error there, whatever the option says.",
      bitten: ["cilium#10002", "cilium#28025", "cilium#33041", "cilium#45184", "projectcalico/calico#3548"],
      advice: "Keep service-no-backend-response at reject where clients rely on a quick error.",
      sources: [
        { what: "Cilium commit 40c58d4517 of 2023-11-23 (1.15.0-dev); pkg/defaults of 1.16 to 1.20", known: "read in source" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
        { what: "Cilium .github/workflows/k8s-kind-network-e2e.yaml still skips `rejected` tests, with a reason from before 1.15",
          known: "read in source" },
      ],
    },
  },
  {
    id: "SVC-ETPLOCAL-NOLOCAL",
    title: "Traffic policy Local without a local endpoint: kube-proxy drops silently, Cilium answers or drops as for no backend",
    matches: (s) => s.frontend !== null && s.frontend.endpoints > 0 && isLocal(s.frontend)
      && (isServiceDrop(s.current) || isStoppedFirst(s) || isAcceptedByNpm(s) || isTakenForPod(s)
        || (isPodToOthersNode(s) && s.names.pod(s.current.destination)?.nodeName !== s.names.node(s.destination)))
      && !s.target.outcome.arrived && (isRefused(s) || isNoBackend(s.target) || isStifledAnswer(s) || isAnswerDropped(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "DROP where an endpoint exists elsewhere, REJECT where none exists at all. With Azure NPM and any policy a packet to a"
        + " load balancer's address leaves the node unchanged instead (SVC-NOENDPOINT); an engine's policies may drop it first. Whoever"
        + " has an address of clusterCIDR counts as a pod, outside too, and pods get all endpoints: by another node's port as well, where"
        + " nobody masquerades them on the way.",
      cilium: "The frontend has no backend on that node: as for a service without endpoints, port unreachable from the service's"
        + " address by default. Where eBPF masquerades the answer of a node port is itself dropped, in 1.16 (UNKNOWN_ICMPV4_CODE) and for"
        + " IPv6 (UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE), so the client hears nothing.",
      bitten: ["k8s#121371"],
      advice: "Nothing: neither side serves it. Load balancers that take an answer for health should probe healthCheckNodePort.",
      sources: [
        { what: "kube-proxy's rules on a kernel", known: "executed" },
        { what: "Cilium pkg/loadbalancer/writer, shouldUseLocalBackends; bpf/lib/lb.h, lb4_local", known: "read in source" },
      ],
    },
  },
  {
    id: "SVC-ETPLOCAL-INTERNAL",
    title: "A pod to another node's port of a Local service: the receiving node decides, or Cilium at the pod among all endpoints",
    matches: (s) => s.frontend?.kind === "NodePort" && s.frontend.service.externalTrafficPolicy === "Local"
      && isPodOfAnotherNode(s) && s.target.outcome.arrived && isEndpoint(s, s.frontend, s.target)
      && (isServedByBoth(s) || s.current.reason === "filter/KUBE-EXTERNAL-SERVICES" || (s.facets === Facet.Destination
        && isEndpoint(s, s.frontend, s.current) && s.names.pod(s.current.destination)?.nodeName === s.names.node(s.destination))),
    page: {
      shownBy: "packets",
      kubeProxy: "The load balancer's address and the node's own port lead a pod to all endpoints (KUBE-EXT sends pods to KUBE-SVC)."
        + " Another node's port is that node's to decide; if the pod was masqueraded on the way, it counts as outside there, and only"
        + " that node's endpoints serve it.",
      cilium: "All endpoints, wherever the pod is, by the service's internal scope. Another node's port is balanced at the pod from"
        + " 1.20 on, before that only where sockets are balanced at connect(); else it is the receiving node's to decide too."
        + " In 1.19 the load balancer's address failed for clients in the cluster (cilium#45252); that is not modelled.",
      bitten: ["cilium#45252", "cilium#42245", "cilium#11724", "cilium#27358", "cilium#37613"],
      advice: "Let clients in the cluster use the ClusterIP.",
      sources: [
        { what: "Cilium bpf/lib/lb.h, lb4_lookup_wildcard_service; recorded runs of 1.16 to 1.20", known: "executed" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
        { what: "cilium#45252 (regression in 1.19)", known: "thread" },
      ],
    },
  },
  {
    id: "SVC-ITPLOCAL-OUTER",
    title: "internalTrafficPolicy Local, and a pod to an outer address: Cilium keeps it to the node, kube-proxy the ClusterIP alone",
    matches: (s) => s.frontend !== null && s.frontend.kind !== "ClusterIP" && s.frontend.service.internalTrafficPolicy === "Local"
      && s.frontend.endpoints > 0 && isBalancedInside(s) && (isWithoutLocal(s) ? !s.target.outcome.arrived
        && (refuses(s.target.outcome) || isNoBackend(s.target) || isAnswerDropped(s))
        && (isEndpoint(s, s.frontend, s.current) || isStoppedFirst(s))
        : s.facets === Facet.Destination && isEndpoint(s, s.frontend, s.current) && isEndpoint(s, s.frontend, s.target)
          && s.names.pod(s.target.destination)?.nodeName === innerNode(s) && s.names.pod(s.current.destination)?.nodeName !== innerNode(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "internalTrafficPolicy is for the ClusterIP. A pod to the service's node port, load balancer or external IP gets any"
        + " endpoint.",
      cilium: "A pod's packet looks a frontend up in the internal scope, whatever kind of address it is: with internalTrafficPolicy Local"
        + " only endpoints of its node are behind it, and with none there the packet is refused as for no backend. Where the two traffic"
        + " policies are alike there is one scope for both.",
      bitten: [],
      advice: "Let pods use the ClusterIP where that policy is meant, and no outer address where it is not.",
      sources: [
        { what: "Cilium pkg/service/service.go of 1.16 and 1.17, filterBackends; pkg/loadbalancer/writer/writer.go of 1.18 to 1.20-dev,"
          + " shouldUseLocalBackends", known: "read in source" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-EXTIP-SCOPES",
    title: "A pod to an external IP of a service whose traffic policies differ: Cilium has no frontend there for pods and routes it on",
    matches: (s) => s.frontend?.kind === "ExternalIP" && s.frontend.port !== null && isBalancedInside(s)
      && (s.frontend.service.internalTrafficPolicy === "Local") !== (s.frontend.service.externalTrafficPolicy === "Local")
      && ((s.target.outcome.end === End.Left && s.target.destination === s.destination) || isDeniedAsIs(s))
      && (isEndpoint(s, s.frontend, s.current) || refuses(s.current.outcome) || isServiceDrop(s.current) || isStoppedFirst(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "The external IP leads a pod to any endpoint.",
      cilium: "A frontend of a service whose internal and external traffic policies differ (one of them Local) says that there is another"
        + " for the internal scope. Node ports and load balancers have one, external IPs do not: a pod's lookup finds nothing, and the"
        + " packet leaves for the address as if it were any other, if its egress policy lets it.",
      bitten: [],
      advice: "Give such a service one policy for both, or let pods use its ClusterIP.",
      sources: [
        { what: "Cilium pkg/k8s/watchers/service.go of 1.16 and 1.17, genCartesianProduct; pkg/loadbalancer/reflectors/"
          + "conversions.go of 1.18 to 1.20-dev (external IPs have ScopeExternal alone); bpf/lib/lb.h, lb4_lookup_service",
          known: "read in source" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-UNKNOWN-PORT",
    title: "A service address with a port that is none of its ports: iptables routes it on, Cilium 1.19 and later drop it from outside",
    matches: (s) => s.frontend !== null && s.frontend.port === null && s.facets === Facet.Reached && s.target.version >= "1.19"
      && s.current.outcome.arrived && s.current.destination === s.destination && isNoBackend(s.target) && s.names.pod(s.source) === null,
    page: {
      shownBy: "packets",
      kubeProxy: "Falls through to routing, and may come back in a loop until its TTL ends. The nftables mode rejects it.",
      cilium: "1.19 and later: from outside dropped with SERVICE_BACKEND_NOT_FOUND where the address is a ClusterIP or a load balancer's"
        + " that Cilium manages (wildcard entries). Before, and for pods always, the packet goes on to routing as if it were to the world.",
      bitten: ["cilium#13329", "cilium#37623"],
      advice: "Nothing: neither side serves it.",
      sources: [
        { what: "Cilium commit 9f67ad4471 of 2025-08-27; pkg/loadbalancer/writer/wild_addr_reconciler.go", known: "read in source" },
        { what: "Recorded runs of 1.16 to 1.20", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-VIP-ICMP",
    title: "A ping to a service address is no service traffic on either side",
    page: {
      shownBy: "no difference",
      kubeProxy: "No rule matches: the packet is routed on, and masqueraded as other traffic. It is answered only where the address is"
        + " on the node's own devices; the IPVS mode puts it there.",
      cilium: "No entry matches ICMP: the packet is routed on, from pods as traffic to world, which policy may deny. An answer by Cilium"
        + " itself was proposed in cilium#47130 and is in no version modelled.",
      bitten: ["cilium#14118", "cilium#28458", "cilium#32411"],
      advice: "Do not probe services by ping.",
      sources: [{ what: "Both on recorded runs and on a kernel", known: "executed" }],
    },
  },
  {
    id: "SVC-LBIP-NODEPORT",
    title: "A node port on a load balancer's address that is also the node's: kube-proxy serves it, Cilium does not",
    matches: (s) => s.frontend?.kind === "NodePort" && s.facets === Facet.Destination && isEndpoint(s, s.frontend, s.current)
      && s.frontend.service.loadBalancerIngress.some(({ ip }) => ip.text === s.destination) && isUntranslated(s)
      && !s.names.isInternal(s.destination),
    page: {
      shownBy: "packets",
      kubeProxy: "Node ports answer on every address of the node (addrtype LOCAL). A load balancer's address is one of them only where"
        + " something put it on a device: the IPVS mode, an appliance's agent, a floating address. Otherwise the packet is routed on.",
      cilium: "Node ports answer on chosen addresses of the node's devices only; the load balancer's address has the service's port.",
      bitten: ["cilium#35518"],
      advice: "Have clients use the service's port on the load balancer's address.",
      sources: [
        { what: "kube-proxy pkg/proxy/iptables/proxier.go; its rules on a kernel", known: "executed" },
        { what: "Cilium pkg/datapath/tables/node_address.go", known: "read in source" },
        { what: "cilium#35518 compares with Calico's eBPF dataplane", known: "thread" },
      ],
    },
  },
  {
    id: "SVC-NODEPORT-ADDRS",
    title: "A node port on a further address of the node: kube-proxy serves every local address, Cilium one of each device",
    matches: (s) => s.frontend?.kind === "NodePort" && s.facets === Facet.Destination && isEndpoint(s, s.frontend, s.current)
      && isUntranslated(s) && !s.names.isInternal(s.destination),
    page: {
      shownBy: "state or option",
      kubeProxy: "Every address that is local to the node, unless nodePortAddresses limits them. The nftables mode serves the primary"
        + " address only.",
      cilium: "One address of each family of each device with a default route or a node address: the InternalIP, else the first private"
        + " one, else the first; all that nodeport-addresses covers where it is set. Other addresses reach the node's own sockets.",
      bitten: ["cilium#14558", "cilium#21471", "cilium#24481", "cilium#12508"],
      advice: "Set nodeport-addresses to the networks from which node ports are used.",
      sources: [
        { what: "Cilium pkg/datapath/tables/node_address.go; Documentation/network/kubernetes/kubeproxy-free.rst",
          known: "read in source" },
        { what: "kube-proxy's rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "SVC-HOSTPORT",
    title: "A host port in the range of node ports: the portmap plugin serves it, Cilium ignores it",
    matches: (s) => s.facets === Facet.Destination && isHostPort(s) && isUntranslated(s)
      && isBetween(s.port, s.target.options["node-port-range"]),
    page: {
      shownBy: "state or option",
      kubeProxy: "The CNI plugin portmap translates every host port, on every address of the node.",
      cilium: "A host port inside node-port-range is ignored with a warning in the agent's log: the packet reaches the node's own"
        + " sockets. In 1.16 one port has one protocol, and 1.18 before 1.18.3 took the later of two for both. hostIP 127.0.0.1 is not"
        + " served.",
      bitten: ["cilium#14287", "cilium#40721"],
      advice: "Move host ports out of 30000-32767 before the switch.",
      sources: [
        { what: "Cilium pkg/loadbalancer/reflectors/k8s.go, upsertHostPort", known: "read in source" },
        { what: "Cilium commit 98854093f8 of 2025-09-15 (two protocols), in the tree of 1.18.3", known: "read in source" },
      ],
    },
  },
  {
    id: "SVC-SOCKETLB-INVISIBLE",
    title: "A ClusterIP that is translated at connect() never appears on the wire",
    appliesTo: ({ cluster, target }) => (target.options["bpf-lb-sock"] !== true || target.options["bpf-lb-sock-hostns-only"] === true ? []
      : cluster.pods.flatMap((pod) => REDIRECTING.filter((label) => Object.hasOwn(pod.labels, label))
        .map((label) => `Pod ${pod.namespace}/${pod.name} has the label ${label}`))),
    page: {
      shownBy: "hazard",
      kubeProxy: "The service's address is on the wire up to the node, which translates it.",
      cilium: "With bpf-lb-sock the socket is connected to the endpoint itself: sidecars that redirect by address, and virtual machines or"
        + " mounts whose traffic has no socket of the pod, do not see or get the translation. Captures from such nodes show endpoints"
        + " instead of services. bpf-lb-sock-hostns-only limits it to the node's own sockets.",
      bitten: ["cilium#16583", "cilium#21541", "istio/istio#27619"],
      advice: "Set bpf-lb-sock-hostns-only where meshes, KubeVirt or Kata run.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Limitations; bpf/bpf_sock.c", known: "documented" }],
    },
  },
  {
    id: "SVC-AZURE-FLOATIP",
    title: "Azure's load balancer leaves its own address in packets (floating IP): both sides serve it alike",
    page: {
      shownBy: "no difference",
      kubeProxy: "The node gets the frontend's address and the service's port, not the node port, and serves them by the status of the"
        + " Service. The node port is used only with azure-disable-load-balancer-floating-ip or an internal IPv6 load balancer.",
      cilium: "The same frontend from the same status.",
      bitten: [],
      advice: "Give the Services with their status: without it such packets match nothing.",
      sources: [{ what: "cloud-provider-azure pkg/provider/azure_loadbalancer.go", known: "read in source" }],
    },
  },
];

/** Labels that Istio, Linkerd and KubeVirt put on pods whose traffic they redirect or bridge. */
const REDIRECTING = ["security.istio.io/tlsMode", "linkerd.io/control-plane-ns", "kubevirt.io"];

/** Where internalTrafficPolicy is Local, the endpoint is on the node that balanced: it masqueraded, or took the sender for a pod. */
function keepsToNode({ names, current, entered }: Situation, { service }: Frontend): boolean {
  return service.internalTrafficPolicy !== "Local"
    || [names.node(current.sourceSeen), entered].includes(names.pod(current.destination)?.nodeName ?? null);
}

/** No range has the sender: kube-proxy leaves the packet as it is and drops it, or Calico has denied that before. */
function isOutOfRange({ source, current }: Situation, { service }: Frontend): boolean {
  const sender = parseAddress(source);
  return (current.reason === "filter/KUBE-PROXY-FIREWALL" || isCalicoDrop(current)) && sender !== null
    && !service.loadBalancerSourceRanges.some((range) => prefixContains(range, sender));
}

/**
 * To a node port or an external IP from outside, or from a pod of another node whose packet that node balances: kube-proxy looks
 * at ranges for the load balancer's address alone.
 */
function isRangeOfOthers(s: Situation): boolean {
  return (s.frontend?.kind === "NodePort" || s.frontend?.kind === "ExternalIP") && isEndpoint(s, s.frontend, s.current)
    && isOutOfCheckedRange(s) && (s.names.pod(s.source) === null || isPodOfAnotherNode(s));
}

/** Cilium checks ranges before it looks for a backend, in silence; they do not have the sender. */
function isOutOfCheckedRange(s: Situation): boolean {
  const { frontend, target } = s;
  return frontend !== null && target.reason === "DENIED_BY_LB_SRC_RANGE_CHECK" && heedsRanges(frontend, target)
    && clientsAtBalancer(s).some((sender) => !frontend.service.loadBalancerSourceRanges.some((range) => prefixContains(range, sender)));
}

/**
 * An engine's chains stand before what kube-proxy refuses: policies drop a packet to the service's own address or to the backend
 * that was chosen. Or the ranges of a load balancer do.
 */
function isStoppedFirst(s: Situation): boolean {
  if (s.frontend?.kind === "LoadBalancer" && s.current.reason === "filter/KUBE-PROXY-FIREWALL") return isOutOfRange(s, s.frontend);
  if (!s.currentHasPolicy || !isEngineDrop(s.current)) return false;
  const senders = [s.source, ...s.names.nodeAddresses().keys()];
  const backends = s.current.journey.eligibleBackends?.map(endOf) ?? (s.frontend === null ? [] : s.names.endpointsOf(s.frontend));
  const ends = [[s.destination, s.port] as const, ...backends];
  return deniesOwnNode(s) || senders.some((sender) => ends.some((end) => s.engineReads(sender, ...end) === "deny"));
}

/** From outside, with an address that kube-proxy takes for a pod's: served by all endpoints, of which the node that it entered has none. */
function isTakenForPod(s: Situation): boolean {
  const { names, source, current, frontend } = s;
  const sender = parseAddress(source);
  return frontend !== null && frontend.kind !== "ClusterIP" && sender !== null && names.pod(source) === null && names.node(source) === null
    && current.podRanges?.some((range) => prefixContains(range, sender)) === true && isEndpoint(s, frontend, current)
    && names.pod(current.destination)?.nodeName !== (names.node(s.destination) ?? s.entered);
}

/** A pod that nobody masquerades on the way to another node's port: that node takes it for a pod, and serves it from all endpoints. */
function isPodToOthersNode(s: Situation): boolean {
  const { source, current, frontend } = s;
  const sender = parseAddress(source);
  return frontend?.kind === "NodePort" && sender !== null && isPodOfAnotherNode(s) && balancesElsewhere(s)
    && current.podRanges?.some((range) => prefixContains(range, sender)) === true && isEndpoint(s, frontend, current)
    && current.sourceSeen === source;
}

/** Such a pod, served by Cilium from that node's endpoints alone. */
function isServedByBoth(s: Situation): boolean {
  const [now, then] = [s.names.pod(s.current.destination), s.names.pod(s.target.destination)];
  return s.facets === Facet.Destination && isPodToOthersNode(s) && now?.nodeName !== s.names.node(s.destination)
    && then?.nodeName === s.names.node(s.destination);
}

/** Before kube-proxy's firewall, Calico's policies see a load balancer's own address. */
function isCalicoDrop({ profile, outcome, reason }: Side): boolean {
  return profile === "kube-proxy+calico" && outcome.end === End.Dropped && reason.startsWith("filter/cali-fw-");
}

/**
 * Azure NPM accepts what it does not drop, ahead of KUBE-EXTERNAL-SERVICES, once there is any policy: a packet to an outer
 * address of a service that would be refused there is forwarded as if there were no service.
 */
function isAcceptedByNpm(s: Situation): boolean {
  return s.current.profile === "kube-proxy+npm" && s.names.policies.length > 0 && s.frontend !== null
    && (s.frontend.kind === "LoadBalancer" || s.frontend.kind === "ExternalIP") && s.current.outcome.end === End.Left
    && s.current.destination === s.destination;
}

/** Calico accepts what a pod may send to its own node, ahead of KUBE-EXTERNAL-SERVICES: a node port that nobody serves reaches the node. */
function isAcceptedByCalico(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  return s.current.profile === "kube-proxy+calico" && s.frontend?.kind === "NodePort" && pod !== null
    && s.names.node(s.destination) === pod.nodeName && s.current.outcome.end === End.Delivered && s.current.destination === s.destination;
}

/** What the pod may send has no rule for the address itself, which no backend was put in place of. */
function isDeniedAsIs({ target, targetReads, source, destination, port }: Situation): boolean {
  return isPolicyDrop(target) && target.journey.backend === undefined && (target.journey.eligibleBackends ?? []).length === 0
    && targetReads(source, destination, port, "egress") === "deny";
}

/** The client pod's node balances it, in the internal scope. */
function isBalancedInside(s: Situation): boolean {
  return s.names.pod(s.source) !== null && !balancesElsewhere(s);
}

function innerNode({ names, source }: Situation): string | undefined {
  return names.pod(source)?.nodeName;
}

/** No endpoint is of the client's node. */
function isWithoutLocal(s: Situation): boolean {
  return s.frontend !== null && s.names.endpointsOf(s.frontend).every(([address]) => s.names.pod(address)?.nodeName !== innerNode(s));
}

function isLocal(frontend: Frontend): boolean {
  return frontend.kind === "ClusterIP" ? frontend.service.internalTrafficPolicy === "Local"
    : frontend.service.externalTrafficPolicy === "Local";
}

/** kube-proxy's own chains of what is not served; with source ranges what is not translated ends in their firewall. */
function isServiceDrop(side: Side): boolean {
  return side.outcome.end === End.Dropped
    && ["KUBE-PROXY-FIREWALL", "KUBE-EXTERNAL-SERVICES", "KUBE-SERVICES"].some((chain) => side.reason === `filter/${chain}`);
}

/** The target refuses it, and the answer gets out: it is none that eBPF masquerading always drops (isStifledAnswer). */
function isRefused(s: Situation): boolean {
  const { target: { outcome, options, version }, names, source, destination, frontend } = s;
  const isV6 = destination.includes(":");
  const isMasqueraded = frontend?.kind === "NodePort" && options["enable-bpf-masquerade"] === true
    && options[`enable-ipv${isV6 ? 6 : 4}-masquerade`] === true && (isV6 || version === "1.16");
  const isFromWire = names.node(source) === null && balancesElsewhere(s)
    && (names.pod(source) === null || options["routing-mode"] !== "tunnel");
  return refuses(outcome) && !(isMasqueraded && isFromWire && names.isOnlyUplink(destination));
}

/** A node port's refusal that is dropped on its own way out, where eBPF masquerades (snat_v4_nat of 1.16, snat_v6_nat of all). */
function isStifledAnswer({ frontend, target, destination }: Situation): boolean {
  return frontend?.kind === "NodePort" && target.options["enable-bpf-masquerade"] === true
    && target.reason === (destination.includes(":") ? "UNSUPPORTED_PROTOCOL_FOR_NAT_MASQUERADE" : "UNKNOWN_ICMPV4_CODE");
}

/** A node's own packet to a service's outer address goes out as if there were no service. */
function isLeftUnchanged(s: Situation): boolean {
  return s.names.node(s.source) !== null && s.frontend !== null && (s.frontend.kind === "LoadBalancer" || s.frontend.kind === "ExternalIP")
    && s.current.outcome.end === End.Left && s.current.destination === s.destination;
}

function isPodOfAnotherNode({ names, source, destination }: Situation): boolean {
  const pod = names.pod(source);
  return pod !== null && names.node(destination) !== null && pod.nodeName !== names.node(destination);
}

/** The target hands it to the node's own sockets, as it came. */
function isUntranslated({ names, target, destination, port }: Situation): boolean {
  return target.outcome.end === End.Delivered && target.destination === destination && names.node(destination) !== null && port !== 0;
}

function isHostPort({ names, destination, protocol, port, current }: Situation): boolean {
  const pod = names.hostPort(destination, protocol, port);
  return pod?.ips.some((ip) => ip.text === current.destination) === true;
}

function isBetween(port: number, range: unknown): boolean {
  return Array.isArray(range) && port >= Number(range[0]) && port <= Number(range[1]);
}
