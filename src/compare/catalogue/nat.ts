/** Differences in addresses that are put in place of others: who is masqueraded, and how errors are translated back. */
import { Tuple } from "../../replay/tuple.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";

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
    title: "Fragmentation needed for a translated flow: conntrack translates it back, Cilium's per-packet load balancing does not",
    matches: (s) => s.packet.kind === "error" && isTooBig(s) && s.frontend !== null
      && (s.facets === Facet.Source || s.facets === Facet.Reached || s.facets === Facet.Destination),
    page: {
      shownBy: "packets",
      kubeProxy: "conntrack translates the error and the header in it back.",
      cilium: "With per-packet load balancing the inner header is not translated back.",
      bitten: ["cilium#47755", "cilium#12968", "cilium#33844", "cilium#21262", "cilium#22783", "cilium#46993"],
      advice: "Keep one MTU on the way between clients and backends.",
      sources: [{ what: "cilium#47755", known: "thread" }],
    },
  },
  {
    id: "NAT-LOCAL-BACKEND",
    title: "externalTrafficPolicy Cluster, backend or client on the balancing node: kube-proxy masquerades, Cilium keeps the client",
    matches: (s) => s.facets === Facet.Source && s.frontend !== null && s.frontend.kind !== "ClusterIP"
      && s.frontend.service.externalTrafficPolicy === "Cluster" && s.target.sourceSeen === s.source
      && s.names.node(s.current.sourceSeen) !== null
      && isOnNode(s, s.names.node(s.current.sourceSeen)),
    page: {
      shownBy: "packets",
      kubeProxy: "Always masqueraded: the pod sees the node's address.",
      cilium: "Not translated where the backend is on the balancing node: the pod sees the client.",
      bitten: ["cilium#33574"],
      advice: "Check lists of addresses in applications and ipBlocks in ingress policies: clients' own addresses appear.",
      sources: [{ what: "Cilium bpf/lib/nodeport.h", known: "read in source" }],
    },
  },
  {
    id: "NAT-MASQ-SET",
    title: "Which traffic of pods and nodes is masqueraded, and with which of the node's addresses",
    matches: (s) => s.facets === Facet.Source && (sameNode(s)
      || (s.names.node(s.destination) !== null && (s.current.sourceSeen === s.source) !== (s.target.sourceSeen === s.source))),
    page: {
      shownBy: "packets",
      kubeProxy: "ip-masq-agent masquerades all but the CIDRs it lists.",
      cilium: "BPF masquerade leaves out the native routing CIDR and, unless enable-remote-node-masquerade is set, other nodes. An"
        + " empty ip-masq-agent configuration means 11 built-in CIDRs.",
      bitten: ["cilium#35823", "cilium#25437", "cilium#17177"],
      advice: "Compare the list of azure-ip-masq-agent-config with ipv4-native-routing-cidr before the switch.",
      sources: [{ what: "Cilium Documentation/network/concepts/masquerading.rst", known: "documented" }],
    },
  },
];

/** The backend, or the pod that is the client, is on this node. */
function isOnNode({ names, target, source }: Situation, node: string | null): boolean {
  return names.pod(target.destination)?.nodeName === node || names.pod(source)?.nodeName === node;
}

function isTooBig({ packet: { view } }: Situation): boolean {
  return view.protocol === 1 ? view.icmpType === 3 && view.icmpCode === 4 : view.icmpType === 2;
}

/** Both sides masquerade with an address of one node. */
function sameNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && node === s.names.node(s.target.sourceSeen);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((value, index) => value === b[index]);
}
