/** Differences in which frontends of services there are, and who is answered there. */
import { End } from "../../dataplane.js";
import { Facet } from "../facets.js";
import type { Difference, Situation } from "./difference.js";
import { isEndpoint, isNoBackend } from "./ends.js";
import { SERVICE_CLIENTS } from "./service-clients.js";
import { SERVICE_POLICIES } from "./service-policies.js";
import { SERVICE_REFUSALS } from "./service-refusals.js";

export const SERVICES: readonly Difference[] = [
  ...SERVICE_CLIENTS, ...SERVICE_REFUSALS, ...SERVICE_POLICIES,
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
