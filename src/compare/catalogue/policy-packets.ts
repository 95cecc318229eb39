/** Differences on the way through policy that are no rule's: protocols, sources, hairpins, and what only objects can show. */
import type { Cluster } from "../../cluster/cluster.js";
import { matchesSelector } from "../../cluster/selector.js";
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { endOf, isPolicyDrop, isUnknownL4 } from "./ends.js";
import { enforced, isEngineDrop } from "./policy-reading.js";

export const POLICY_PACKETS: readonly Difference[] = [
  {
    id: "POL-UNKNOWN-L4",
    title: "Cilium drops upper-layer protocols it does not know; the kernel forwards them",
    matches: (s) => s.protocol.startsWith("protocol ") && s.facets === Facet.Reached && s.current.outcome.arrived
      && s.target.outcome.end === End.Dropped && isUnknownL4(s.target) && s.target.options["enable-extended-ip-protocols"] !== true,
    page: {
      shownBy: "packets",
      kubeProxy: "GRE, ESP, IGMP and other protocols are forwarded; policy rules without ports match them. Calico drops IPIP from pods.",
      cilium: "Dropped with CT_UNKNOWN_L4_PROTOCOL in every version, unless enable-extended-ip-protocols is set (1.19 and later); an"
        + " allow without ports changes nothing before that.",
      bitten: ["cilium#42476", "cilium#42897"],
      advice: "Move such traffic off pods, or set enable-extended-ip-protocols.",
      sources: [{ what: "Cilium's programs of five versions: GRE and IGMP from a pod", known: "executed" }],
    },
  },
  {
    id: "POL-SOURCE-IP",
    title: "A source address that is not the pod's own: Cilium drops it (enable-source-ip-verification), the kernel forwards it",
    // A known pod's address as source cannot be told from a mistake of ours here: it stays unexplained.
    matches: (s) => s.target.outcome.end === End.Dropped && s.target.reason === "INVALID_SOURCE_IP"
      && s.names.pod(s.source) === null,
    page: {
      shownBy: "packets",
      kubeProxy: "The kernel forwards a packet from a pod whatever its source address is, unless rp_filter stops it.",
      cilium: "Dropped with INVALID_SOURCE_IP while enable-source-ip-verification is on, its default (an option from 1.17 on).",
      bitten: [],
      advice: "Pods that route for others (VPN, NAT) need enable-source-ip-verification=false.",
      sources: [{ what: "Cilium bpf/bpf_lxc.c, is_valid_lxc_src_ip", known: "read in source" }],
    },
  },
  {
    id: "POL-HAIRPIN",
    title: "A pod reaches itself through its own service: masqueraded by the node, or from Cilium's loopback address",
    matches: (s) => s.packet.kind === "request" && s.frontend !== null && (isSeenAsLoopback(s) || isJudgedHairpin(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "Masqueraded by the mark: the pod sees its node's address. Azure NPM does not judge it, because KUBE-FORWARD accepts the"
        + " mark first; Calico does, and an ingress policy that does not allow the pod itself drops it.",
      cilium: "The pod sees the loopback address 169.254.42.1 (ipv4-service-loopback-address; IPv6: fe80::1), and no policy is asked. The"
        + " API leaves policy on such flows undefined.",
      bitten: ["cilium#22107", "cilium#11593", "cilium#27709", "cilium#23911", "cilium#19406",
        "kubernetes-sigs/network-policy-api#343", "kubernetes-sigs/network-policy-api#390"],
      advice: "Nothing where the pod does not look at the address of who calls it.",
      sources: [{ what: "Cilium's programs on recorded frames (bpf/lib/lb.h); kube-proxy's, Azure NPM's and Calico's rules on a kernel",
        known: "executed" }],
    },
  },
  {
    id: "POL-CALICO-ENCAP",
    title: "A pod's own tunnel packets: Calico drops VXLAN (UDP 4789) from pods, Cilium only those to its own tunnel's port",
    matches: (s) => s.current.profile === "kube-proxy+calico" && s.facets === Facet.Reached && s.target.outcome.arrived
      && s.protocol === "UDP" && s.port === 4789 && s.names.pod(s.source) !== null && s.current.outcome.end === End.Dropped
      && s.current.reason.startsWith("filter/cali-fw-"),
    page: {
      shownBy: "packets",
      kubeProxy: "Calico drops UDP 4789 and IPIP from pods whatever policies say (AllowVXLANPacketsFromWorkloads,"
        + " AllowIPIPPacketsFromWorkloads), because they would pass by its policies. Azure NPM forwards them.",
      cilium: "Forwarded, as any UDP. In tunnel mode UDP to the tunnel's own port (8472, or 6081 for Geneve) is dropped with"
        + " ENCAPSULATION_TRAFFIC_IS_PROHIBITED; IPIP with CT_UNKNOWN_L4_PROTOCOL.",
      bitten: [],
      advice: "Nothing, where pods build no tunnels; else they work behind Cilium without a switch.",
      sources: [{ what: "projectcalico/calico felix/rules/endpoints.go, v3.30.3, and its rules on a kernel", known: "executed" }],
    },
  },
  {
    id: "POL-MIDSTREAM",
    title: "Connections that began before the node saw them, where nf_conntrack_tcp_loose is 0",
    matches: (s) => s.protocol === "TCP" && (s.facets === Facet.Reached || s.facets === Facet.Refusal) && !s.seenBefore
      && (s.packet.view.tcpFlags & SYN) === 0 && isOnStrictNode(s) && s.current.outcome.end === End.Dropped
      && (s.current.reason === "filter/KUBE-FORWARD" || s.current.reason.startsWith("filter/cali-")),
    appliesTo: ({ cluster }) => cluster.nodes.filter(({ facts }) => facts.sysctls["net.netfilter.nf_conntrack_tcp_loose"] === "0")
      .map(({ name }) => `node ${name}: net.netfilter.nf_conntrack_tcp_loose is 0`),
    page: {
      shownBy: "state or option",
      kubeProxy: "With nf_conntrack_tcp_loose at 1, the kernel's default, a segment with ACK alone begins a connection that is judged as"
        + " new; SYN-ACK and RST are INVALID and dropped (PROTO-INVALID). At 0 every segment without SYN is.",
      cilium: "Any segment makes an entry, and policy judges it as new.",
      bitten: ["k8s#74840"],
      advice: "Nothing at the default: both sides judge an ACK alike, which was tried with rules of Azure NPM and Calico. At 0 restart"
        + " connections after the switch.",
      sources: [{ what: "Linux net/netfilter/nf_conntrack_proto_tcp.c; rules on a kernel", known: "executed" }],
    },
  },
  {
    id: "POL-ENDPORT",
    title: "endPort in a policy and a Cilium before 1.16",
    appliesTo: ({ cluster, target }) => (target.version === "" || target.version >= "1.16" ? [] : cluster.networkPolicies
      .filter(({ ingress, egress }) => [...ingress, ...egress].some(({ ports }) => (ports ?? []).some(({ endPort }) => endPort !== null)))
      .map(({ namespace, name }) => `NetworkPolicy ${namespace}/${name} has an endPort`)),
    page: {
      shownBy: "hazard",
      kubeProxy: "Azure NPM and Calico honour endPort.",
      cilium: "Honoured in every version that is modelled (1.16 to 1.20-dev): ranges become blocks of ports. Cilium before that took only"
        + " the first port; the AKS guide asks for 1.17.",
      bitten: ["cilium#16622"],
      advice: "Nothing from 1.16 on.",
      sources: [
        { what: "Cilium pkg/k8s/network_policy.go, pkg/policy of five versions", known: "read in source" },
        { what: "AKS guide for the move from Azure NPM to Cilium", known: "documented" },
      ],
    },
  },
  {
    id: "POL-HOSTNET",
    title: "A policy whose selectors mean host-network pods: no side applies it to them",
    appliesTo: ({ cluster }) => hostNetworkPolicies(cluster),
    page: {
      shownBy: "hazard",
      kubeProxy: "Azure NPM and Calico skip host-network pods, as subjects and as peers; as peers an ipBlock over their node's address"
        + " allows them.",
      cilium: "They are host or remote-node: never selected by labels, never by CIDR (POL-IPBLOCK-NODE is what packets show). Host"
        + " policies of CiliumClusterwideNetworkPolicy select their node.",
      bitten: ["cilium#10405", "inspektor-gadget/inspektor-gadget#5799"],
      advice: "Name host and remote-node in a CiliumNetworkPolicy.",
      sources: [{ what: "Azure NPM's and Calico's sets; Cilium pkg/k8s/watchers; AKS limitations", known: "documented" }],
    },
  },
  {
    id: "POL-UNDEF-ORDER",
    title: "Policies of nodes where kube-proxy stays: they see a service's address, not its backend's",
    appliesTo: ({ cluster, target }) => (target.options["kube-proxy-replacement"] !== false ? [] : cluster.ciliumPolicies
      .filter(({ rules }) => rules.some(({ nodeSelector }) => nodeSelector !== null))
      .map(({ kind, name }) => `${kind} ${name} selects nodes, and kube-proxy-replacement is off`)),
    page: {
      shownBy: "hazard",
      kubeProxy: "The API does not define whether policy comes before or after translation; Azure NPM and Calico judge after it.",
      cilium: "After translation, at the endpoint. With kube-proxy-replacement off, policies of nodes see service addresses, because"
        + " kube-proxy translates behind them.",
      bitten: ["cilium#12545", "cilium#12277"],
      advice: "Switch kube-proxy-replacement on before policies of nodes that name peers behind services.",
      sources: [{ what: "Cilium Documentation/security/host-firewall.rst, security/policy/language.rst", known: "documented" }],
    },
  },
];

const SYN = 0x02;
/** ipv4-service-loopback-address, and its IPv6 counterpart. */
const LOOPBACK_SOURCES: ReadonlySet<string> = new Set(["169.254.42.1", "fe80::1"]);

/** Where it was dropped, or where it was sent. */
function isOnStrictNode({ names, current, source }: Situation): boolean {
  return [current.node, names.pod(source)?.nodeName ?? "", names.node(source) ?? ""].some((node) => names.strictNodes.has(node));
}

function isSeenAsLoopback(s: Situation): boolean {
  return s.facets === Facet.Source && s.current.destination === s.source && s.target.destination === s.source
    && s.names.node(s.current.sourceSeen) !== null && LOOPBACK_SOURCES.has(s.target.sourceSeen);
}

/** One side let the pod reach itself; the other's engine judged it, or that side's choice fell on another backend. */
function isJudgedHairpin(s: Situation): boolean {
  if (!s.currentHasPolicy || s.facets !== Facet.Reached || s.names.pod(s.source) === null) return false;
  const isDenied = (backend: string): boolean => s.policyDeniesBetween(s.source, ...endOf(backend));
  if (s.target.destination === s.source) {
    // By the API's words a pod is never denied itself; Calico knows no such exception.
    const isAlone = s.current.profile === "kube-proxy+calico" && enforced(s, s.target).length > 0;
    const backends = s.current.journey.eligibleBackends ?? [];
    return LOOPBACK_SOURCES.has(s.target.sourceSeen) && isEngineDrop(s.current) && (isAlone || backends.some(isDenied));
  }
  const { backend } = s.target.journey;
  return s.current.destination === s.source && s.names.node(s.current.sourceSeen) !== null && isPolicyDrop(s.target)
    && backend !== undefined && endOf(backend)[0] !== s.source && isDenied(backend);
}

function hostNetworkPolicies({ networkPolicies, pods }: Cluster): string[] {
  const hosts = pods.filter((pod) => pod.hostNetwork);
  return networkPolicies.flatMap((policy) => {
    const own = hosts.filter((pod) => pod.namespace === policy.namespace);
    const subject = own.find((pod) => matchesSelector(policy.podSelector, pod.labels));
    const name = `NetworkPolicy ${policy.namespace}/${policy.name}`;
    if (subject !== undefined) return [`${name} selects host-network pod ${subject.namespace}/${subject.name}`];
    const peer = own.find((pod) => [...policy.ingress, ...policy.egress].some(({ peers }) => (peers ?? [])
      .some(({ podSelector, namespaceSelector }) => podSelector !== null && namespaceSelector === null
        && matchesSelector(podSelector, pod.labels))));
    return peer === undefined ? [] : [`${name} names host-network pod ${peer.namespace}/${peer.name} as peer`];
  });
}
