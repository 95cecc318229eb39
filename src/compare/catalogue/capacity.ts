/**
 * Capacity limits of the compiled target: `check` and `compare` print them by these ids with what the cluster takes of
 * them (`src/ebpf/limits.ts`). No packet shows them beforehand.
 */
import type { Difference } from "./difference.js";

export const CAPACITY: readonly Difference[] = [
  {
    id: "CAP-POLICYMAP",
    title: "Policy entries of an endpoint: identities × ports of what its policies allow, at most bpf-policy-map-max",
    limits: ["bpf-policy-map-max", "cilium_policy_v2"],
    page: {
      shownBy: "capacity",
      kubeProxy: "No such limit: IP sets and rules grow with the policies.",
      cilium: "16,384 entries for each endpoint (bpf-policy-map-max, 256 to 65,536). Entries that do not fit are missing: which ones"
        + " depends on the order in which the agent came to them. A new pod may start with an empty map, drop everything, kubelet's"
        + " probes too, and look ready. With enable-endpoint-lockdown-on-policy-overflow (1.17 and later) the endpoint drops everything.",
      bitten: ["AKS#5969", "cilium#45788", "cilium#28337", "cilium#27866", "cilium#8060", "cilium#9117", "cilium#32399", "cilium#18581"],
      advice: "Select peers by few labels, leave churning labels out of identities (the labels option), prefer one rule for all ports"
        + " over many. A peer of all namespaces and all pods, the documented way around POL-IPBLOCK-POD, takes an entry for each"
        + " identity of the cluster.",
      sources: [
        { what: "Cilium Documentation/network/ebpf/maps.rst; pkg/option, pkg/maps/policymap", known: "read in source" },
        { what: "Cilium Documentation/operations/troubleshooting, endpoint lockdown", known: "documented" },
        { what: "AKS#5969 (new pods with an empty map)", known: "thread" },
      ],
    },
  },
  {
    id: "CAP-IDENTITY",
    title: "Identities of the cluster: one for each distinct set of pod and namespace labels, at most 65,280",
    limits: ["identities", "identity"],
    page: {
      shownBy: "capacity",
      kubeProxy: "No such limit.",
      cilium: "Identities of pods are numbered 256 to 65,535. With no number left, pods with new label sets get no identity and do not"
        + " become ready. Jobs with a label of their own each (Spark, scanners) use them up.",
      bitten: ["AKS#4608"],
      advice: "Leave labels of single jobs or pods out of identities by the labels option.",
      sources: [
        { what: "Cilium pkg/identity/numericidentity.go", known: "read in source" },
        { what: "AKS azure-cni-powered-by-cilium, limitations", known: "documented" },
      ],
    },
  },
  {
    id: "CAP-LBMAP",
    title: "Service and backend entries: frontends × backends, at most bpf-lb-map-max in each map",
    limits: ["bpf-lb-map-max", "cilium_lb4_services_v2", "cilium_lb6_services_v2", "cilium_lb4_backends_v3", "cilium_lb6_backends_v3",
      "cilium_lb4_source_range", "cilium_lb6_source_range", "cilium_lb_affinity_match"],
    page: {
      shownBy: "capacity",
      kubeProxy: "No limit: rules grow, and with them the time to load them.",
      cilium: "65,536 entries in each map. A frontend takes one and one for each backend; a service has a frontend for its ClusterIP,"
        + " each external address and the node port on each address of the node. What does not fit is not programmed.",
      bitten: [],
      advice: "Raise bpf-lb-map-max before the switch.",
      sources: [{ what: "Cilium Documentation/network/ebpf/maps.rst", known: "documented" }],
    },
  },
  {
    id: "CAP-IPCACHE",
    title: "Addresses and CIDRs that the ipcache maps to identities, at most 512,000",
    limits: ["cilium_ipcache", "cilium_ipcache_v2"],
    page: {
      shownBy: "capacity",
      kubeProxy: "No counterpart.",
      cilium: "512,000 entries: every pod and node address, and every CIDR that a policy names. What does not fit is taken for world.",
      bitten: [],
      advice: "Count the CIDRs of policies; CiliumCIDRGroups and toFQDNs add theirs at run time.",
      sources: [{ what: "Cilium Documentation/network/ebpf/maps.rst; pkg/maps/ipcache", known: "read in source" }],
    },
  },
  {
    id: "CAP-FRAG",
    title: "Fragmented datagrams in flight, at most bpf-fragments-map-max for a node",
    limits: ["bpf-fragments-map-max", "cilium_ipv4_frag_datagrams", "cilium_ipv6_frag_datagrams"],
    page: {
      shownBy: "capacity",
      kubeProxy: "The kernel keeps fragments by memory: net.ipv4.ipfrag_high_thresh.",
      cilium: "8,192 datagrams in each node's map, the oldest evicted first: later fragments of an evicted datagram are dropped with"
        + " FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND.",
      bitten: [],
      advice: "Keep UDP datagrams below the path's MTU.",
      sources: [{ what: "Cilium Documentation/network/ebpf/maps.rst, network/concepts/fragmentation.rst", known: "documented" }],
    },
  },
  {
    id: "CAP-NPM",
    title: "Azure NPM: 250 nodes or 20,000 pods, beyond which it is not supported",
    limits: ["npm"],
    page: {
      shownBy: "hazard",
      kubeProxy: "Each node's daemon watches every pod, namespace and policy, and runs out of memory in larger clusters. The API refuses"
        + " larger node counts with InvalidNodeCountForNPM.",
      cilium: "No counterpart; CAP-POLICYMAP and CAP-IDENTITY are its own limits.",
      bitten: ["AKS#1280", "AKS#2033", "AKS#2792", "Azure/azure-container-networking#1509", "Azure/azure-container-networking#598"],
      advice: "A reason to switch; until then keep below the limits.",
      sources: [{ what: "AKS use-network-policies", known: "documented" }],
    },
    appliesTo: ({ cluster, current }) => {
      if (current.profile !== "kube-proxy+npm") return [];
      const pods = cluster.pods.filter((pod) => !pod.hostNetwork).length;
      return [
        ...(cluster.nodes.length > 250 ? [`${cluster.nodes.length} nodes, more than 250`] : []),
        ...(pods > 20_000 ? [`${pods} pods, more than 20000`] : []),
      ];
    },
  },
];
