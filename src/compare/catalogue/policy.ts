/**
 * Differences in what policy allows. Each names the rule that is read in two ways, on the pod and in the direction that
 * the packet was dropped; a drop that no such rule explains stays unexplained.
 */
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isPolicyDrop, isUnknownL4 } from "./ends.js";
import { allowsByBlock, newlyDenied, rulesOf, selecting } from "./policy-reading.js";

/** Rules that both sides enforce and read differently. */
const READ_DIFFERENTLY: readonly (Difference & Required<Pick<Difference, "matches">>)[] = [
  {
    id: "POL-LOCALNODE-EGRESS",
    title: "A pod to its own node under an egress policy: NetworkPolicy always allows it, Cilium only where the host is named",
    matches: (s) => {
      const source = s.names.pod(s.source);
      return newlyDenied(s) && source !== null && s.names.node(s.destination) === source.nodeName;
    },
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM hooks into FORWARD alone, and a packet to the pod's own node is INPUT: no egress policy sees it.",
      cilium: "The node is the identity host. An egress policy that does not name the entity host denies it.",
      bitten: ["Azure/azure-container-networking#2786", "kubernetes-sigs/kube-network-policies#283"],
      advice: "Add a CiliumNetworkPolicy with toEntities: [host] for pods that need their node.",
      sources: [
        { what: "Azure/azure-container-networking npm/: jump in FORWARD only", known: "read in source" },
        { what: "AKS guide for the move from Azure NPM to Cilium", known: "documented" },
      ],
    },
  },
  {
    id: "POL-LB-INGRESS",
    title: "Node port or load balancer, backend on the node that masquerades: kube-proxy's mark passes before Azure NPM, Cilium judges",
    matches: (s) => newlyDenied(s) && s.current.profile === "kube-proxy+npm" && s.frontend !== null && s.frontend.kind !== "ClusterIP"
      && s.frontend.service.externalTrafficPolicy === "Cluster" && isOnMasqueradingNode(s) && s.policyDeniesSender(),
    page: {
      shownBy: "packets",
      kubeProxy: "KUBE-FORWARD accepts what carries the masquerade mark 0x4000, and Azure NPM's chain stands behind it: ingress policy"
        + " is not enforced where the backend is on the receiving node. On another node the mark is gone, and NPM judges.",
      cilium: "Ingress policy is enforced at the endpoint for all traffic.",
      bitten: ["Azure/azure-container-networking#940", "Azure/azure-container-networking#1088"],
      advice: "Allow the clients in the pods' ingress policy before the switch: by ipBlock, or world in a CiliumNetworkPolicy.",
      sources: [
        { what: "Azure/azure-container-networking npm/: PlaceAzureChainFirst false", known: "read in source" },
        { what: "AKS guide for the move from Azure NPM to Cilium, Ingress policy behavior changes", known: "documented" },
      ],
    },
  },
  {
    id: "POL-IPBLOCK-POD",
    title: "An ipBlock that covers a pod's address: it matches the pod in iptables engines, never in Cilium",
    matches: (s) => newlyDenied(s) && allowsByBlock(s, (address) => s.names.pod(address) !== null),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM and Calico match addresses: pods in the CIDR are allowed.",
      cilium: "A CIDR never selects endpoints of the cluster: the identity wins.",
      bitten: ["cilium#9209", "cilium#9998", "cilium#14497", "cilium#19601", "cilium#23376", "cilium#35212"],
      advice: "Add podSelector or namespaceSelector peers beside the ipBlock. Mind CAP-POLICYMAP: a selector of all pods adds an entry"
        + " for each identity.",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/policy.rst, known missing features", known: "documented" },
      ],
    },
  },
  {
    id: "POL-IPBLOCK-NODE",
    title: "An ipBlock that covers a node's address: it matches the node in iptables engines, not in Cilium",
    matches: (s) => newlyDenied(s) && allowsByBlock(s, (address) => s.names.node(address) !== null),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM and Calico match addresses: nodes in the CIDR are allowed.",
      cilium: "Nodes are the identities host, remote-node and kube-apiserver, which a CIDR does not select unless"
        + " policy-cidr-match-mode has nodes.",
      bitten: ["cilium#12277", "cilium#20550", "kubermatic/kubeone#4005", "aws/eks-anywhere#8681"],
      advice: "Name the entities host, remote-node or kube-apiserver in a CiliumNetworkPolicy, or set policy-cidr-match-mode=nodes.",
      sources: [
        { what: "Cilium Documentation/security/policy/layer3.rst", known: "documented" },
      ],
    },
  },
  {
    id: "POL-TYPES",
    title: "Rules of a direction that policyTypes leaves out: the API ignores them, Cilium enforces them",
    matches: (s) => newlyDenied(s) && selecting(s).some(({ policy, direction }) => !policy.policyTypes.includes(direction)
      && rulesOf(policy, direction).length > 0),
    page: {
      shownBy: "packets",
      kubeProxy: "Rules of a direction that policyTypes does not list are ignored: the direction stays open.",
      cilium: "The rules are installed whatever policyTypes says, and with them the direction's default deny.",
      bitten: [],
      advice: "Delete the rules that policyTypes leaves out, or list their direction.",
      sources: [
        { what: "Cilium pkg/k8s/network_policy.go", known: "read in source" },
      ],
    },
  },
];

export const POLICY: readonly Difference[] = [
  {
    id: "POL-NOENGINE",
    title: "A policy drops it in the target; the current side has no policy engine, so nothing enforces the policy there",
    matches: (s) => !s.currentHasPolicy && isPolicyDrop(s.target) && (isDelivered(s) || isRefused(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "kube-proxy by itself never enforces NetworkPolicy: without Azure NPM, Calico or another engine everything passes.",
      cilium: "NetworkPolicy is enforced. A service without endpoints behind a denied flow is dropped by policy before it is refused.",
      bitten: [],
      advice: "Review each policy as if it were new: nothing has tested it so far.",
      sources: [
        { what: "kube-proxy has no code for NetworkPolicy", known: "read in source" },
      ],
    },
  },
  ...READ_DIFFERENTLY,
  {
    id: "POL-UNKNOWN-L4",
    title: "Cilium drops upper-layer protocols it does not know; the kernel forwards them",
    matches: (s) => s.protocol.startsWith("protocol ") && s.target.outcome.end === End.Dropped && isUnknownL4(s.target),
    page: {
      shownBy: "packets",
      kubeProxy: "GRE, ESP, IGMP and other protocols are forwarded; policy rules without ports match them.",
      cilium: "Dropped with CT_UNKNOWN_L4_PROTOCOL unless enable-extended-ip-protocols is set (1.19 and later).",
      bitten: ["cilium#42476", "cilium#42897"],
      advice: "Move such traffic off pods, or set enable-extended-ip-protocols.",
      sources: [
        { what: "Cilium bpf/lib/conntrack.h", known: "read in source" },
      ],
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
      cilium: "Dropped with INVALID_SOURCE_IP while enable-source-ip-verification is on, its default.",
      bitten: [],
      advice: "Pods that route for others (VPN, NAT) need enable-source-ip-verification=false.",
      sources: [
        { what: "Cilium bpf/bpf_lxc.c, is_valid_lxc_src_ip", known: "read in source" },
      ],
    },
  },
  {
    id: "POL-HAIRPIN",
    title: "A pod reaches itself through its own service: masqueraded by the node, or from Cilium's loopback address",
    matches: (s) => s.packet.kind === "request" && s.frontend !== null && s.facets === Facet.Source
      && s.current.destination === s.source && s.target.destination === s.source && LOOPBACK_SOURCES.has(s.target.sourceSeen),
    page: {
      shownBy: "packets",
      kubeProxy: "Masqueraded by the mark: the pod sees its node's address, and Azure NPM does not judge it.",
      cilium: "The pod sees the loopback address 169.254.42.1 (IPv6: fe80::1). The API leaves policy on such flows undefined.",
      bitten: ["cilium#22107", "cilium#11593", "cilium#27709", "cilium#23911", "cilium#19406"],
      advice: "Nothing where the pod does not look at the address of who calls it.",
      sources: [
        { what: "Cilium bpf/lib/lb.h, ipv4-service-loopback-address", known: "read in source" },
      ],
    },
  },
];

/**
 * It arrives now, and a policy by its words, or as Cilium reads it, denies it. What a pod sends is judged by its own address,
 * which masquerading may have replaced before it arrived.
 */
function isDelivered(s: Situation): boolean {
  return s.facets === Facet.Reached && s.current.outcome.arrived
    && (s.policyDenies() || (s.names.pod(s.source) !== null && s.policyDeniesSender())
      || READ_DIFFERENTLY.some((one) => one.matches({ ...s, currentHasPolicy: true })));
}

/** A policy drops it before the service is found to have no endpoints. */
function isRefused(s: Situation): boolean {
  return s.facets === Facet.Refusal && s.current.outcome.end === End.Rejected;
}

/** The backend's own node put its address in place of the sender's. */
function isOnMasqueradingNode(s: Situation): boolean {
  const node = s.names.node(s.current.sourceSeen);
  return node !== null && s.current.sourceSeen !== s.source && s.names.pod(s.current.destination)?.nodeName === node;
}

/** ipv4-service-loopback-address, and its IPv6 counterpart. */
const LOOPBACK_SOURCES: ReadonlySet<string> = new Set(["169.254.42.1", "fe80::1"]);
