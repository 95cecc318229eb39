/** Hazards of services, nodes and releases: what packets cannot show beforehand, with what in a cluster makes it possible. */
import type { Difference, Setting } from "./difference.js";

const REGRESSIONS: Readonly<Record<string, readonly string[]>> = {
  "1.16": ["cilium#34528"], "1.17": ["cilium#40098"], "1.18": ["cilium#42334", "cilium#40721", "cilium#42046", "cilium#42594"],
  "1.19": ["cilium#45252", "cilium#48110"], "1.20": ["cilium#48444"],
};

export const SERVICE_HAZARDS: readonly Difference[] = [
  {
    id: "SVC-HEALTHNODEPORT",
    title: "healthCheckNodePort is answered by kube-proxy or by Cilium's agent, and they have counted endpoints differently",
    appliesTo: ({ cluster }) => cluster.services.filter(({ healthCheckNodePort }) => healthCheckNodePort !== 0)
      .map((service) => `Service ${service.namespace}/${service.name} has healthCheckNodePort ${service.healthCheckNodePort}`),
    page: {
      shownBy: "hazard",
      kubeProxy: "200 while the node has a ready endpoint and kube-proxy is healthy, else 503. Terminating endpoints do not count, though"
        + " they still serve.",
      cilium: "The agent answers. Releases have counted wrongly; services of Ingress and Gateway API counted no endpoint, and the cloud's"
        + " load balancer took the node out.",
      bitten: ["cilium#11043", "cilium#33547", "cilium#33038"],
      advice: "After the switch ask each port once on a node with an endpoint and on one without.",
      sources: [
        { what: "kube-proxy pkg/proxy/healthcheck/service_health.go; Cilium pkg/loadbalancer/healthserver", known: "read in source" },
        { what: "cilium#33038", known: "thread" },
      ],
    },
  },
  {
    id: "SVC-AFFINITY-AZURE",
    title: "sessionAffinity on a load balancer's service: Azure's load balancer chooses the node before either side chooses the endpoint",
    appliesTo: ({ cluster }) => cluster.services.filter((one) => one.type === "LoadBalancer" && one.sessionAffinity === "ClientIP")
      .map((service) => `Service ${service.namespace}/${service.name} has sessionAffinity ClientIP`),
    page: {
      shownBy: "hazard",
      kubeProxy: "The cloud provider sets the load balancer's rule to SourceIP: a client comes by one node, where affinity holds.",
      cilium: "The same; SVC-AFFINITY-KEY says what a node remembers.",
      bitten: [],
      advice: "Nothing: it is the same on both sides. Connections that are idle for 4 minutes are reset by the load balancer.",
      sources: [{ what: "cloud-provider-azure pkg/provider/azure_loadbalancer.go", known: "read in source" }],
    },
  },
  {
    id: "SVC-NODEPORT-LO",
    title: "127.0.0.1 and a node port: kube-proxy's iptables mode serves it, Cilium only where sockets are balanced at connect()",
    appliesTo: (setting) => (isReplacement(setting) && setting.target.options["bpf-lb-sock"] !== true
      ? some(nodePorts(setting), "node port") : []),
    page: {
      shownBy: "hazard",
      kubeProxy: "Served by route_localnet while localhostNodePorts is on; IPv4 alone. The nftables mode does not serve it.",
      cilium: "Served by the socket's program on loopback and local addresses; without it the connection reaches the node's own sockets.",
      bitten: [],
      advice: "Have agents on nodes use the ClusterIP or the node's address.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, NodePort Devices", known: "documented" }],
    },
  },
  {
    id: "SVC-KPR-SWITCH",
    title: "Taking kube-proxy away breaks the connections through services that are open then",
    appliesTo: (setting) => (isReplacement(setting) && setting.cluster.services.some(({ clusterIPs }) => clusterIPs.length > 0)
      ? [`${setting.cluster.services.filter(({ clusterIPs }) => clusterIPs.length > 0).length} services with an address`] : []),
    page: {
      shownBy: "hazard",
      kubeProxy: "Open connections are in the kernel's conntrack.",
      cilium: "Has its own table, which starts empty: packets of open connections are chosen for anew, or not translated back.",
      bitten: [],
      advice: "Drain each node before it is switched.",
      sources: [{ what: "Cilium Documentation/network/kubernetes/kubeproxy-free.rst, Quick-Start", known: "documented" }],
    },
  },
  {
    id: "NODE-HOSTRULES",
    title: "Users' own iptables rules on nodes: in every packet's way before, passed by with eBPF host routing",
    appliesTo: (setting) => (isReplacement(setting) && setting.target.options["enable-host-legacy-routing"] !== true
      ? ["enable-host-legacy-routing is off: what pods send and get does not come by iptables"] : []),
    page: {
      shownBy: "hazard",
      kubeProxy: "Pods' traffic comes by the node's chains, users' own rules among them.",
      cilium: "With legacy host routing it still does, after services are translated. With eBPF host routing it goes from device to device,"
        + " and FORWARD, PREROUTING and POSTROUTING see none of it; the node's own sockets' traffic they still see. AKS blocks the"
        + " installation of iptables rules with azure-block-iptables where host routing is on.",
      bitten: [],
      advice: "Compare a node's iptables-save with its generated rules (twinplane verify): what is left over is yours.",
      sources: [
        { what: "AKS how-to-enable-ebpf-host-routing", known: "documented" },
        { what: "Cilium Documentation/operations/performance/tuning.rst, eBPF Host-Routing", known: "documented" },
      ],
    },
  },
  {
    id: "HAZ-UPGRADE",
    title: "Regressions that releases of Cilium had, for traffic that the release before let through",
    appliesTo: ({ target }) => (REGRESSIONS[target.version] ?? []).map((issue) => `Cilium ${target.version}: ${issue}`),
    page: {
      shownBy: "hazard",
      kubeProxy: "No counterpart.",
      cilium: "Faults of single releases, which no model of their intended behaviour shows: 1.16 node ports' source identity; 1.17 agent"
        + " state; 1.18 load balancer traffic dropped (1.18.2), host-network pods to localhost host ports, toFQDNs; 1.19 load balancer"
        + " addresses from inside, named ports skipped; 1.20 probes with enforcement always.",
      bitten: Object.values(REGRESSIONS).flat(),
      advice: "Read the release's open issues, and switch one node pool first.",
      sources: [{ what: "The threads named", known: "thread" }],
    },
  },
];

function isReplacement({ target }: Setting): boolean {
  return target.options["kube-proxy-replacement"] === true;
}

function nodePorts({ cluster }: Setting): string[] {
  return cluster.services.filter(({ ports }) => ports.some(({ nodePort }) => nodePort !== 0))
    .map(({ namespace, name }) => `Service ${namespace}/${name}`);
}

/** The first few, and how many there are. */
function some(names: readonly string[], what: string): string[] {
  if (names.length <= 5) return names.map((one) => `${one} has a ${what}`);
  return [`${names.length} services have a ${what}, ${names[0]} the first`];
}
