/** Differences in how long and how many connections are remembered, and in which family policy is enforced. */
import { Facet } from "../facets.js";
import type { Difference } from "./difference.js";
import { isEndpoint, isPolicyDrop } from "./ends.js";
import { isDeniedInTarget } from "./policy-reading.js";

export const CONNTRACK: readonly Difference[] = [
  {
    id: "CT-TIMEOUT",
    title: "A TCP connection that was silent for hours: kube-proxy's conntrack still knows it, Cilium has forgotten it and chooses anew",
    matches: (s) => s.protocol === "TCP" && s.packet.kind === "request" && (s.packet.view.tcpFlags & SYN) === 0
      && s.facets === Facet.Destination && s.frontend !== null
      && isEndpoint(s, s.frontend, s.current) && isEndpoint(s, s.frontend, s.target)
      && s.idleNs > seconds(s.target.options["bpf-ct-timeout-service-tcp"]) && s.packet.flow?.planes[1][0].moved === true
      && s.packet.flow.planes[0][0].moved === false,
    page: {
      shownBy: "state or option",
      kubeProxy: "kube-proxy sets 24 h for established connections and 1 h for CLOSE_WAIT on the node, whatever the kernel's default (5"
        + " days, 60 s). With data that was not acknowledged it is 300 s. Then a segment opens the entry anew (nf_conntrack_tcp_loose).",
      cilium: "2 h 13 m 20 s (8,000 s) for connections and for services since 1.15; 6 h up to 1.14. An entry past its time goes at the"
        + " agent's next collection, some seconds to 12 h later: in between it is revived by a packet. Then a service's connection gets"
        + " another endpoint, which resets it, and an answer is judged by policy as if it were new.",
      bitten: ["projectcalico/calico#9372"],
      advice: "Send TCP keepalives at least every two hours, or raise bpf-ct-timeout-regular-tcp and bpf-ct-timeout-service-tcp.",
      sources: [
        { what: "Cilium commit 6f242b94df of 2023-08-25 (1.15.0-dev); cmdref of 1.14 to 1.20", known: "read in source" },
        { what: "kube-proxy's configuration defaults (tcpEstablishedTimeout, tcpCloseWaitTimeout)", known: "read in source" },
        { what: "Linux 6.18: 432000 s and 60 s before kube-proxy", known: "executed" },
      ],
    },
  },
  {
    id: "CT-SIZE",
    title: "Room for connections: conntrack's table by cores, Cilium's maps by memory, and their own LRU",
    appliesTo: ({ cluster, target }) => (target.version === "" ? [] : cluster.nodes.flatMap(({ name, facts }) => {
      const most = Number(facts.sysctls["net.netfilter.nf_conntrack_max"] ?? 0);
      return most > TCP_ENTRIES ? [`Node ${name} has nf_conntrack_max ${most}, more than ${TCP_ENTRIES}`] : [];
    })),
    page: {
      shownBy: "hazard",
      kubeProxy: "32,768 a core, at least 131,072 (conntrack.maxPerCore and min). A full table drops new connections; the kernel logs it.",
      cilium: "524,288 TCP and 262,144 other entries, or by bpf-map-dynamic-size-ratio of the node's memory. A full map evicts the least"
        + " recently used: living connections lose their state, without a log line.",
      bitten: [],
      advice: "Compare nf_conntrack_count of busy nodes with bpf-ct-global-tcp-max and bpf-ct-global-any-max.",
      sources: [
        { what: "Cilium Documentation/network/ebpf/maps.rst", known: "documented" },
        { what: "kube-proxy's configuration defaults", known: "read in source" },
      ],
    },
  },
  {
    id: "DUAL-STACK",
    title: "IPv6 in a cluster with Azure NPM: it enforces policy on IPv4 alone, Cilium on both families",
    matches: (s) => s.current.profile === "kube-proxy+npm" && s.destination.includes(":") && s.facets === Facet.Reached
      && s.current.outcome.arrived && isPolicyDrop(s.target) && s.policyDeniesSender() && isDeniedInTarget(s),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM writes IPv4 rules and sets only: IPv6 passes whatever policy says. kube-proxy serves both families.",
      cilium: "One policy for both families. eBPF masquerading of IPv6 is beta; AKS's IPv6 load balancers want"
        + " externalTrafficPolicy: Local on Azure Linux.",
      bitten: ["AKS#5120"],
      advice: "Read policies of dual-stack pods again: for IPv6 they start to be enforced.",
      sources: [
        { what: "Azure/azure-container-networking npm/", known: "read in source" },
        { what: "Cilium Documentation/network/concepts/masquerading.rst", known: "documented" },
      ],
    },
  },
];

const SYN = 0x02;
/** bpf-ct-global-tcp-max by default. */
const TCP_ENTRIES = 524_288;

/** ns of an option in seconds; one that is not there is never over. */
function seconds(option: unknown): number {
  return typeof option === "number" ? option * 1e9 : Number.POSITIVE_INFINITY;
}
