/** Differences in what traffic policies and their scopes mean for pods that use a service's outer addresses. */
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isNoBackend, isPolicyDrop, refuses } from "./ends.js";
import { balancesElsewhere } from "./judgements.js";
import { isAnswerDropped } from "./policy-reading.js";
import { isPodOfAnotherNode, isPodToOthersNode, isServiceDrop, isStoppedFirst } from "./service-ends.js";

export const SERVICE_POLICIES: readonly Difference[] = [
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
];

/** Such a pod, served by Cilium from that node's endpoints alone. */
function isServedByBoth(s: Situation): boolean {
  const [now, then] = [s.names.pod(s.current.destination), s.names.pod(s.target.destination)];
  return s.facets === Facet.Destination && isPodToOthersNode(s) && now?.nodeName !== s.names.node(s.destination)
    && then?.nodeName === s.names.node(s.destination);
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
