/** Differences in how a service without an endpoint, anywhere or on the node, is refused. */
import { parseAddress, prefixContains } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import type { Frontend } from "../names.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isNoBackend, refuses } from "./ends.js";
import { balancesElsewhere } from "./judgements.js";
import { isAnswerDenied, isAnswerDropped } from "./policy-reading.js";
import { isOutOfCheckedRange, isPodToOthersNode, isServiceDrop, isStoppedFirst } from "./service-ends.js";

export const SERVICE_REFUSALS: readonly Difference[] = [
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
];

/** From outside, with an address that kube-proxy takes for a pod's: served by all endpoints, of which the node that it entered has none. */
function isTakenForPod(s: Situation): boolean {
  const { names, source, current, frontend } = s;
  const sender = parseAddress(source);
  return frontend !== null && frontend.kind !== "ClusterIP" && sender !== null && names.pod(source) === null && names.node(source) === null
    && current.podRanges?.some((range) => prefixContains(range, sender)) === true && isEndpoint(s, frontend, current)
    && names.pod(current.destination)?.nodeName !== (names.node(s.destination) ?? s.entered);
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

function isLocal(frontend: Frontend): boolean {
  return frontend.kind === "ClusterIP" ? frontend.service.internalTrafficPolicy === "Local"
    : frontend.service.externalTrafficPolicy === "Local";
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
