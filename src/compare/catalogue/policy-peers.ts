/** Differences in policy by who the peer is: pods, nodes and services behind addresses, and the sender that policy sees. */
import { parseAddress, type Prefix, prefixContains } from "../../cluster/address.js";
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { endOf, isPolicyDrop } from "./ends.js";
import { balancesElsewhere, isMasqueradedElsewhere, isToOtherNodesPort } from "./judgements.js";
import { allowedByBlockAlone, arrivedPort, enforced, hasBlock, isDeniedInTarget, isNegative, isOnMasqueradingNode, judgementsOfDrop,
  newlyAllowed, newlyDenied, passesEngine, rulesFor, selectsOutside, sendsToNodeByBlock } from "./policy-reading.js";

/** A row that packets show. */
export type Shown = Difference & Required<Pick<Difference, "matches">>;

export const POLICY_PEERS: readonly Shown[] = [
  {
    id: "POL-LOCALDNS",
    title: "DNS to the node's own cache at its link-local address, under an egress policy that does not name it",
    matches: (s) => newlyDenied(s) && LOCAL_DNS.has(s.destination) && s.port === 53 && s.names.pod(s.source) !== null
      && enforced(s).some(({ direction }) => direction === "Egress"),
    page: {
      shownBy: "packets",
      kubeProxy: "The address is on the node itself: Azure NPM does not see the packet, which is INPUT. Calico judges it, by ipBlock.",
      cilium: "An egress policy must allow it: with LocalDNS 169.254.10.10 and 169.254.10.11, as host or by CIDR; with a"
        + " CiliumLocalRedirectPolicy the pods of node-local-dns behind the redirect.",
      bitten: [],
      advice: "Allow port 53 to the entity host and to 169.254.10.10/32 and 169.254.10.11/32, or to the labels of node-local-dns.",
      sources: [{ what: "AKS FAQ and local redirect policy", known: "documented" }],
    },
  },
  {
    id: "POL-LOCALNODE-EGRESS",
    title: "A pod to its own node under an egress policy: Azure NPM does not judge it, Cilium allows it only where the host is named",
    matches: (s) => {
      const source = s.names.pod(s.source);
      return newlyDenied(s) && s.current.profile !== "kube-proxy+calico" && source !== null
        && s.names.node(s.current.destination) === source.nodeName
        && enforced(s).some(({ direction }) => direction === "Egress")
        && !enforced(s).some((one) => one.direction === "Egress" && rulesFor(s, one).some(({ peers }) => peers === null));
    },
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM hooks into FORWARD alone, and a packet to the pod's own node is INPUT: no egress policy sees it. Calico does"
        + " judge it (cali-wl-to-host behind the pod's own chain), so with Calico there is no difference.",
      cilium: "The node is the identity host. An egress policy that does not name the entity host denies it, whatever its CIDRs say,"
        + " unless policy-cidr-match-mode has nodes.",
      bitten: ["Azure/azure-container-networking#2786", "kubernetes-sigs/kube-network-policies#283"],
      advice: "Add a CiliumNetworkPolicy with toEntities: [host] for pods that need their node.",
      sources: [
        { what: "Azure/azure-container-networking npm/, Calico's rules: both run on a kernel", known: "executed" },
        { what: "AKS guide for the move from Azure NPM to Cilium", known: "documented" },
      ],
    },
  },
  {
    id: "POL-EXTIP-RECLASS",
    title: "An ipBlock over an outside address that is a service's externalIP as well: behind Cilium the backend is judged as a pod",
    matches: (s) => newlyDenied(s) && s.frontend?.kind === "ExternalIP" && s.names.pod(s.current.destination) !== null
      && coversBoth(s) && allowedByBlockAlone(s, (address) => s.names.pod(address) !== null),
    page: {
      shownBy: "packets",
      kubeProxy: "The address is translated first: Azure NPM and Calico judge the backend's address, which a wide ipBlock covers too.",
      cilium: "The pod's packet goes to a backend, and the backend is a pod: no CIDR selects it, not even the one that was written for"
        + " the outside address. Without the service the address is world, and the same rule allows it.",
      bitten: ["cilium#27151", "cilium#10402"],
      advice: "Do not give outside addresses to services as externalIPs, or allow the backends by their labels.",
      sources: [
        { what: "Programs of both sides; a wide block that covers pods is what makes the difference", known: "executed" },
        { what: "scrapyard-docs.coffee-anon.com, externalips-ipblock-trap", known: "thread" },
      ],
    },
  },
  {
    id: "POL-LB-INGRESS",
    title: "Node port or load balancer, backend on the node that masquerades: kube-proxy's mark passes before Azure NPM, Cilium judges",
    // IPv6 never comes to Azure NPM (DUAL-STACK).
    matches: (s) => newlyDenied(s) && s.current.profile === "kube-proxy+npm" && !s.destination.includes(":") && s.frontend !== null
      && s.frontend.kind !== "ClusterIP"
      && s.frontend.service.externalTrafficPolicy === "Cluster" && (isMarkedAtBackend(s) || isMarkedAtSender(s))
      && (s.policyDeniesSender() || isDeniedOnTheWay(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "KUBE-FORWARD accepts what carries the masquerade mark 0x4000, and Azure NPM's chain stands behind it: ingress policy"
        + " is not enforced where the backend is on the receiving node. On another node the mark is gone, and NPM judges. Calico's"
        + " chains come first and judge the client.",
      cilium: "Ingress policy is enforced at the endpoint for all traffic.",
      bitten: ["Azure/azure-container-networking#940", "Azure/azure-container-networking#1086", "Azure/azure-container-networking#1088"],
      advice: "Allow the clients in the pods' ingress policy before the switch: by ipBlock, or world in a CiliumNetworkPolicy.",
      sources: [
        { what: "Azure/azure-container-networking npm/: PlaceAzureChainFirst false; the rules on a kernel", known: "executed" },
        { what: "AKS guide for the move from Azure NPM to Cilium, Ingress policy behavior changes", known: "documented" },
      ],
    },
  },
  {
    id: "POL-NODEPORT-SRC-ID",
    title: "Which sender policy sees behind a node port or load balancer: the balancing node, or the client",
    matches: (s) => (isFromOutside(s) && ((newlyDenied(s) && s.names.node(s.current.sourceSeen) !== null
      && allowedByBlockAlone(s, (address) => s.names.node(address) !== null)) || isAllowedAsClient(s)))
      || isAllowedAsPod(s),
    page: {
      shownBy: "packets",
      kubeProxy: "The client is masqueraded: on another node Azure NPM and Calico see the balancing node's address, and an ipBlock over"
        + " the nodes allows every client. On the balancing node Calico sees the client, and Azure NPM does not judge.",
      cilium: "The client itself where the backend is on the balancing node, or with DSR. Otherwise the balancing node, which is"
        + " remote-node and no CIDR's (policy-cidr-match-mode=nodes changes that); in tunnel mode world. 0.0.0.0/0 allows world,"
        + " not nodes.",
      bitten: ["cilium#19010", "cilium#23603", "cilium#25650", "cilium#17144", "cilium#26498", "cilium#34204", "cilium#27360",
        "cilium#34528", "cilium#4297", "aws/eks-anywhere#4406"],
      advice: "Use externalTrafficPolicy: Local and ipBlocks of clients, or name world and remote-node in a CiliumNetworkPolicy.",
      sources: [{ what: "Programs of both sides on recorded frames; Cilium bpf/lib/nodeport.h", known: "executed" }],
    },
  },
  {
    id: "POL-NODEPORT-DST-ID",
    title: "A pod to another node's port: which receiver egress policy sees: that node, or with Cilium 1.20 and later the backend",
    matches: (s) => isToOtherNodesPort(s) && !balancesElsewhere(s) && (isDeniedAsBackend(s) || isAllowedAsBackend(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "The node that is asked translates. On the pod's own node the packet is to a node and its port: Azure NPM and Calico"
        + " judge what the pod may send by those, and an ipBlock over the nodes or a rule for the node port allows it.",
      cilium: "From 1.20 on another node's port is balanced at the pod, and egress policy judges the backend: its labels and its own"
        + " port. An ipBlock over nodes says nothing of that. Before, and on every engine, the pod's node judges the node that is asked.",
      bitten: [],
      advice: "Allow the backends by their labels and ports beside the nodes.",
      sources: [
        { what: "Cilium bpf/lib/lb.h, lb4_lookup_wildcard_service; recorded runs of 1.16 to 1.20", known: "executed" },
        { what: "kube-proxy's, Azure NPM's and Calico's rules on a kernel", known: "executed" },
      ],
    },
  },
  {
    id: "POL-IPBLOCK-POD",
    title: "An ipBlock that covers a pod's address: it matches the pod in iptables engines, never in Cilium",
    matches: (s) => newlyDenied(s) && (s.policyDenies() || s.policyDeniesSender())
      && allowedByBlockAlone(s, (address) => s.names.pod(address) !== null),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM and Calico match addresses: pods in the CIDR are allowed.",
      cilium: "A CIDR never selects endpoints of the cluster: the identity wins. policy-cidr-match-mode has no value for pods in any"
        + " version that is modelled (1.16 to 1.20-dev).",
      bitten: ["cilium#9209", "cilium#9998", "cilium#14497", "cilium#19601", "cilium#23376", "cilium#35212", "cilium#47227",
        "AliyunContainerService/terway#904"],
      advice: "Add podSelector or namespaceSelector peers beside the ipBlock. Mind CAP-POLICYMAP: a selector of all pods adds an entry"
        + " for each identity.",
      sources: [
        { what: "Cilium Documentation/network/kubernetes/policy.rst, known missing features", known: "documented" },
        { what: "Cilium pkg/option/config.go (policy-cidr-match-mode), 1.16 to 1.20-dev", known: "read in source" },
      ],
    },
  },
  {
    id: "POL-IPBLOCK-NODE",
    title: "An ipBlock that covers a node's address: it matches the node in iptables engines, not in Cilium",
    matches: (s) => newlyDenied(s) && s.target.options["policy-cidr-match-mode"] !== "nodes"
      && ((allowedByBlockAlone(s, (address) => s.names.node(address) !== null) && !isMasqueradedElsewhere(s)) || sendsToNodeByBlock(s)),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM and Calico match addresses: nodes in the CIDR are allowed, and with them their host-network pods.",
      cilium: "Nodes are the identities host, remote-node and kube-apiserver, which a CIDR does not select unless"
        + " policy-cidr-match-mode has nodes (1.16 to 1.20-dev have it). Before 1.20 a pod's packet to another node's port is judged as"
        + " one to that node.",
      bitten: ["cilium#12277", "cilium#20550", "cilium#27464", "cilium#47828", "kubermatic/kubeone#4005", "aws/eks-anywhere#8681"],
      advice: "Name the entities host, remote-node or kube-apiserver in a CiliumNetworkPolicy, or set policy-cidr-match-mode=nodes.",
      sources: [{ what: "Cilium Documentation/security/policy/layer3.rst; pkg/option/config.go, 1.16 to 1.20-dev",
        known: "read in source" }],
    },
  },
  {
    id: "POL-HOST-PROBE",
    title: "A node to its own pod, as kubelet's probes: Cilium judges it where allow-localhost=policy",
    matches: (s) => s.currentHasPolicy && s.facets === Facet.Reached && s.current.outcome.arrived && isPolicyDrop(s.target)
      && isDeniedInTarget(s) && s.target.options["allow-localhost"] === "policy"
      && s.packet.flow !== null && s.packet.flow.entryDevice[0] === 0
      && s.names.node(s.source) !== null && s.names.pod(s.current.destination)?.nodeName === s.names.node(s.source),
    page: {
      shownBy: "state or option",
      kubeProxy: "A node reaches its own pods whatever their policies say: the packet is OUTPUT, which neither Azure NPM nor Calico hooks"
        + " for pods.",
      cilium: "allow-localhost=auto is always under Kubernetes: an allow of host is added wherever a policy applies. With policy it is"
        + " not, and probes need the entity host. A deny rule that names host wins over the added allow. Other nodes are remote-node"
        + " and judged.",
      bitten: ["cilium#48444", "cilium#21965", "kubernetes-sigs/kube-network-policies#65"],
      advice: "Leave allow-localhost at auto.",
      sources: [
        { what: "Rules of Azure NPM and Calico on a kernel", known: "executed" },
        { what: "Cilium daemon/cmd/daemon.go, pkg/policy/repository.go", known: "read in source" },
      ],
    },
  },
  {
    id: "POL-NS-NOTIN",
    title: "A namespaceSelector of NotIn or DoesNotExist alone: it selects addresses that are no pods in Azure NPM and in Cilium to 1.18",
    matches: (s) => (newlyAllowed(s) && selectsOutside(s.target) && hasNegativePeer(s, "target"))
      || (newlyDenied(s) && s.current.profile === "kube-proxy+npm" && !selectsOutside(s.target)
        && hasNegativePeer(s, "current")),
    page: {
      shownBy: "packets",
      kubeProxy: "Azure NPM: every address that is not in the set of the namespaces named, so nodes and the outside too. Calico, and"
        + " the API's words: pods alone.",
      cilium: "To 1.17, and in 1.18 unless policy-default-local-cluster is set: every identity without the label, so world, host and"
        + " remote-node too. From 1.19 on the selector asks for the label of the cluster first, which only pods have.",
      bitten: [],
      advice: "Select namespaces by labels that they have, or add matchLabels: {} with an Exists on kubernetes.io/metadata.name.",
      sources: [
        { what: "Cilium pkg/k8s/network_policy.go of five versions; pkg/clustermesh/types/option.go", known: "read in source" },
        { what: "Azure NPM's and Calico's rules and sets on a kernel", known: "executed" },
      ],
    },
  },
];

/** Asked after every other row on policy: what another choice alone explains. */
export const BACKEND_PICK: Shown = {
  id: "POL-BACKEND-PICK",
  title: "Each side's random choice fell on another backend of the same set, and policy does not treat all of them alike",
  matches: (s) => s.currentHasPolicy && s.facets === Facet.Reached && s.frontend !== null
    && ((s.current.outcome.arrived && isPolicyDrop(s.target) && isDeniedInTarget(s)) || newlyAllowed(s))
    && hasMixedBackends(s),
  page: {
    shownBy: "packets",
    kubeProxy: "A random endpoint, as likely as each other; policy is judged for the one that was chosen.",
    cilium: "A random backend, or Maglev's (bpf-lb-algorithm); policy is judged for the one that was chosen.",
    bitten: [],
    advice: "Give --follow-capture: both sides then take the backend that the capture shows. Some clients reach only some backends of"
      + " this service on either side.",
    sources: [{ what: "kube-proxy pkg/proxy/iptables; Cilium bpf/lib/lb.h, lb4_select_backend_id", known: "read in source" }],
  },
};

/** Of an outcome's flags: it took the backend that was named to it. */
const PIN_TAKEN = 1;

/** Node-local caches: AKS LocalDNS, and the address that Kubernetes' node-local-dns has by default. */
const LOCAL_DNS: ReadonlySet<string> = new Set(["169.254.10.10", "169.254.10.11", "169.254.20.10"]);

/** Both chose from one set of more than one: policy's words allow the one that was reached, and deny another that the drop was of. */
function hasMixedBackends(s: Situation): boolean {
  const backends = s.current.journey.eligibleBackends;
  if ((s.current.outcome.flags & s.target.outcome.flags & PIN_TAKEN) !== 0) return false;
  if (backends === null || backends.length < 2 || backends.join() !== s.target.journey.eligibleBackends?.join()) return false;
  // Behind a node port the sender may be the client or the node that balances.
  const senders = s.frontend?.kind === "ClusterIP" ? [s.source] : [s.source, ...s.names.nodeAddresses().keys()];
  const isDenied = (backend: string, denied: boolean): boolean => senders.some((sender) =>
    s.policyDeniesBetween(sender, ...endOf(backend)) === denied);
  const [arrived, dropped] = s.current.outcome.arrived ? [s.current, s.target] : [s.target, s.current];
  const chosen = backends.find((backend) => endOf(backend)[0] === arrived.destination);
  const others = dropped.journey.backend === undefined ? backends : [dropped.journey.backend];
  return chosen !== undefined && isDenied(chosen, false) && others.some((backend) => backend !== chosen && isDenied(backend, true));
}

/** Cilium sees a node that masqueraded on the way, and so would an engine that judged it there: policies deny that node. */
function isDeniedOnTheWay(s: Situation): boolean {
  return judgementsOfDrop(s).some(({ way, sender, receiver, port }) => sender !== s.source && way !== undefined
    && s.targetReads(sender, receiver, port, way) === "deny" && s.engineReads(sender, receiver, port, way) === "deny");
}

/** The backend's own node did, an ingress policy is what would have judged there, and a client pod's egress lets it come so far. */
function isMarkedAtBackend(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  return isOnMasqueradingNode(s) && enforced(s).some(({ direction }) => direction === "Ingress")
    && (pod === null || pod.nodeName === s.names.node(s.current.sourceSeen)
      || s.engineReads(s.source, s.destination, s.port, "egress") !== "deny");
}

/**
 * The sending pod's own node put its address in place of the pod's, and an egress policy is what would have judged there; where
 * the backend is on another node, its ingress takes that address.
 */
function isMarkedAtSender(s: Situation): boolean {
  const pod = s.names.pod(s.source);
  return pod !== null && s.current.sourceSeen !== s.source && s.names.node(s.current.sourceSeen) === pod.nodeName
    && enforced(s).some(({ direction }) => direction === "Egress")
    && (isOnMasqueradingNode(s)
      || s.engineReads(s.current.sourceSeen, s.current.destination, arrivedPort(s.current), "ingress") !== "deny");
}

/** One egress rule has blocks over the frontend's address and over the backend's. */
function coversBoth(s: Situation): boolean {
  const ends = [parseAddress(s.destination), parseAddress(s.current.destination)];
  return enforced(s).some((one) => one.direction === "Egress"
    && rulesFor(s, one).some((rule) => ends.every((end) => end !== null && hasBlock(rule, end))));
}

function isFromOutside(s: Situation): boolean {
  return s.frontend !== null && s.frontend.kind !== "ClusterIP" && !s.names.knows(s.source);
}

/** The engine saw the balancing node and denied it; Cilium sees the client, and an ipBlock allows the client. */
function isAllowedAsClient(s: Situation): boolean {
  const client = parseAddress(s.source);
  return newlyAllowed(s) && client !== null && s.target.sourceSeen === s.source
    && s.frontend?.service.externalTrafficPolicy === "Cluster"
    && enforced(s, s.target).some((one) => one.direction === "Ingress"
      && rulesFor(s, one).some((rule) => hasBlock(rule, client)))
    && [...s.names.nodeAddresses().keys()].some((node) => s.policyDeniesBetween(node, s.target.destination, targetPort(s)));
}

/** A client pod: the engine saw the node that balanced and denied it; Cilium balances at the pod, and policy allows the pod. */
function isAllowedAsPod(s: Situation): boolean {
  return newlyAllowed(s) && !isByEgress(s) && s.names.pod(s.source) !== null && isSeenAsNode(s)
    && s.target.sourceSeen === s.source && s.frontend !== null
    && s.frontend.kind !== "ClusterIP" && (s.frontend.service.externalTrafficPolicy === "Cluster" || isToOtherNodesPort(s))
    // Out of its ranges a load balancer's address is not translated, and the engine has seen that one.
    && (s.frontend.kind !== "LoadBalancer" || isInRanges(s.source, s.frontend.service.loadBalancerSourceRanges))
    && s.target.destination !== s.source && !s.policyDeniesBetween(s.source, s.target.destination, arrivedPort(s.target))
    && [...s.names.nodeAddresses().keys()].some((node) => s.policyDeniesBetween(node, s.target.destination, arrivedPort(s.target)));
}

function isInRanges(text: string, ranges: readonly Prefix[]): boolean {
  const address = parseAddress(text);
  return ranges.length === 0 || (address !== null && ranges.some((range) => prefixContains(range, address)));
}

/** Masquerading comes after the judgement of the pod's own node: an engine sees a node's address on another, or from another. */
function isSeenAsNode({ names, source, destination, current, target }: Situation): boolean {
  const own = names.pod(source)?.nodeName;
  const backends = current.journey.eligibleBackends?.map((backend) => endOf(backend)[0]) ?? [target.destination];
  return (names.node(destination) ?? own) !== own || backends.some((backend) => names.pod(backend)?.nodeName !== own);
}

/** The engine and NetworkPolicy's words allow the node and its port; Cilium and the same words deny the backend and its own. */
function isDeniedAsBackend(s: Situation): boolean {
  return newlyDenied(s) && s.engineReads(s.source, s.destination, s.port, "egress") === "allow"
    && judgementsOfDrop(s).some(({ receiver, port }) => s.targetReads(s.source, receiver, port, "egress") === "deny"
      && s.engineReads(s.source, receiver, port, "egress") === "deny");
}

/** The other way round: the engine drops what the pod sends. */
function isAllowedAsBackend(s: Situation): boolean {
  const backend = [s.target.destination, arrivedPort(s.target)] as const;
  return passesEngine(s) && !/^filter\/(cali-tw-|AZURE-NPM-INGRESS)/.test(s.current.reason)
    && s.engineReads(s.source, s.destination, s.port, "egress") === "deny"
    && s.targetReads(s.source, ...backend, "egress") === "allow" && s.engineReads(s.source, ...backend, "egress") === "allow";
}

/** The engine dropped it by what the sender may do. */
function isByEgress({ names, current: { reason } }: Situation): boolean {
  return /^filter\/(cali-fw-|AZURE-NPM-EGRESS)/.test(reason) || names.policies.some(({ namespace, name, policyTypes }) =>
    reason === `networkpolicy/${namespace}/${name}` && !policyTypes.includes("Ingress"));
}

function targetPort({ target, frontend }: Situation): number {
  const port = frontend?.port?.targetPort;
  const backends = target.journey.eligibleBackends ?? [];
  return typeof port === "number" ? port : Number(backends[0]?.slice(backends[0].lastIndexOf(":") + 1) ?? 0);
}

/** A rule that lets the port pass has such a peer, and the peer is no pod. */
function hasNegativePeer(s: Situation, which: "current" | "target"): boolean {
  const side = s[which];
  return side.outcome.end !== End.None && enforced(s, side).some((one) => s.names.pod(one.peer) === null
    && rulesFor(s, one, which === "target" ? "kept" : "all").some(({ peers }) => (peers ?? []).some(isNegative)));
}
