/** Differences in which clients a service has: from outside, and by its source ranges. */
import { Facet } from "../facets.js";
import type { Frontend } from "../names.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, refuses } from "./ends.js";
import { isOutOfCheckedRange, isOutOfRange, isPodOfAnotherNode } from "./service-ends.js";

export const SERVICE_CLIENTS: readonly Difference[] = [
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
];

/** Where internalTrafficPolicy is Local, the endpoint is on the node that balanced: it masqueraded, or took the sender for a pod. */
function keepsToNode({ names, current, entered }: Situation, { service }: Frontend): boolean {
  return service.internalTrafficPolicy !== "Local"
    || [names.node(current.sourceSeen), entered].includes(names.pod(current.destination)?.nodeName ?? null);
}

/**
 * To a node port or an external IP from outside, or from a pod of another node whose packet that node balances: kube-proxy looks
 * at ranges for the load balancer's address alone.
 */
function isRangeOfOthers(s: Situation): boolean {
  return (s.frontend?.kind === "NodePort" || s.frontend?.kind === "ExternalIP") && isEndpoint(s, s.frontend, s.current)
    && isOutOfCheckedRange(s) && (s.names.pod(s.source) === null || isPodOfAnotherNode(s));
}
