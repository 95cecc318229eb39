/**
 * Which frontends a Service has on which nodes, as Cilium's control plane programs them.
 *
 *   ClusterIP      not routable; plus one wildcard frontend (port 0, any protocol) for its address
 *   NodePort       0.0.0.0 (or ::) not routable, and one routable frontend for each address of each node
 *   LoadBalancer   routable, for every ingress address with ipMode VIP
 *   externalIPs    routable
 *   hostPort       as NodePort, only on the pod's node and only for that pod
 *
 * Headless and ExternalName services have none. Wildcard frontends of load balancer addresses exist only for
 * those that Cilium itself manages (LB-IPAM, BGP, L2), which a cluster dump of a cloud does not have.
 */
import type { Address } from "../../cluster/address.js";
import { parseAddress } from "../../cluster/address.js";
import type { Cluster, Node, Pod, Service, ServicePort } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import { isEndpoint, nodeAddresses } from "./identity.js";
import { IP_PROTOCOL } from "./policy/entry.js";

export type FrontendType = "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalIPs" | "HostPort";

/** What one address and port stands for, before backends are chosen. */
export interface FrontendPlan {
  /** Null: the same on every node. */
  readonly node: string | null;
  readonly type: FrontendType;
  readonly address: Address;
  /** 0 in a wildcard frontend. */
  readonly port: number;
  /** IP protocol number; 0 in a wildcard frontend. */
  readonly protocol: number;
  readonly routable: boolean;
  readonly service: Service | null;
  readonly servicePort: ServicePort | null;
  /** Host port frontends: the pod. */
  readonly pod: Pod | null;
  readonly because: Because;
}

export function planFrontends(cluster: Cluster, options: CiliumOptions): FrontendPlan[] {
  const plans: FrontendPlan[] = [];
  const nodePorts = cluster.nodes.map((node) => ({ node, addresses: nodePortAddresses(node) }));
  for (const service of cluster.services) {
    if (service.headless || service.type === "ExternalName") continue;
    const add = planner(plans, service, options);
    for (const address of service.clusterIPs) {
      if (!familyEnabled(address, options)) continue;
      add(null, "ClusterIP", address, null, options["bpf-lb-external-clusterip"]);
      if (hasWildcards(options)) plans.push(wildcard(address, service));
    }
    // Without kube-proxy replacement the agent programs cluster IPs only; kube-proxy does the rest.
    if (!options["kube-proxy-replacement"]) continue;
    for (const address of service.externalIPs) add(null, "ExternalIPs", address, null, true);
    for (const { ip, ipMode } of service.type === "LoadBalancer" ? service.loadBalancerIngress : []) {
      if (ipMode === "VIP") add(null, "LoadBalancer", ip, null, true);
    }
    if (service.type === "ClusterIP") continue;
    const families = new Set(service.clusterIPs.map((address) => address.family));
    for (const family of families) add(null, "NodePort", UNSPECIFIED[family], "nodePort", false);
    for (const { node, addresses } of nodePorts) {
      for (const address of addresses) {
        if (families.has(address.family)) add(node.name, "NodePort", address, "nodePort", true);
      }
    }
  }
  if (options["kube-proxy-replacement"])
    for (const pod of cluster.pods) hostPorts(plans, pod, nodePorts, options);
  return plans;
}

/** The addresses that node ports answer on: every address of the node that is not link-local. */
export function nodePortAddresses(node: Node): Address[] {
  return nodeAddresses(node);
}

const UNSPECIFIED: Readonly<Record<4 | 6, Address>> = { 4: parseAddress("0.0.0.0")!, 6: parseAddress("::")! };

/** Wildcard frontends came with 1.19 (cilium@9f67ad4471). */
function hasWildcards(options: CiliumOptions): boolean {
  return options.version === "1.19" || options.version === "1.20";
}

function planner(plans: FrontendPlan[], service: Service, options: CiliumOptions) {
  return (
    node: string | null,
    type: FrontendType,
    address: Address,
    which: "nodePort" | null,
    routable: boolean,
  ): void => {
    if (!familyEnabled(address, options)) return;
    service.ports.forEach((servicePort, index) => {
      const port = which === "nodePort" ? servicePort.nodePort : servicePort.port;
      // Without enable-sctp the agent skips SCTP ports.
      if (port === 0 || (servicePort.protocol === "SCTP" && !options["enable-sctp"])) return;
      plans.push({
        node,
        type,
        address,
        port,
        protocol: IP_PROTOCOL[servicePort.protocol],
        routable,
        service,
        servicePort,
        pod: null,
        because: becauseOf(service, `ports[${index}]`),
      });
    });
  };
}

function wildcard(address: Address, service: Service): FrontendPlan {
  return {
    node: null,
    type: "ClusterIP",
    address,
    port: 0,
    protocol: 0,
    routable: false,
    service,
    servicePort: null,
    pod: null,
    because: becauseOf(service, "clusterIP"),
  };
}

function hostPorts(
  plans: FrontendPlan[],
  pod: Pod,
  nodes: readonly { node: Node; addresses: readonly Address[] }[],
  options: CiliumOptions,
): void {
  if (!isEndpoint(pod)) return;
  const [first, last] = options["node-port-range"];
  for (const { hostPort, hostIP, protocol, containerPort } of pod.ports) {
    // A hostPort inside the node port range is refused by the agent.
    if (hostPort === 0 || (hostPort >= first && hostPort <= last)) continue;
    if (protocol === "SCTP" && !options["enable-sctp"]) continue;
    const own = nodes.find(({ node }) => node.name === pod.nodeName);
    if (own === undefined) continue;
    const given = hostIP === "" ? null : parseAddress(hostIP);
    const only = given?.bytes.some((byte) => byte !== 0) ? given : null;
    const addresses: (readonly [Address, boolean])[] =
      only !== null
        ? [[only, true]]
        : [
            [UNSPECIFIED[4], false],
            [UNSPECIFIED[6], false],
            ...own.addresses.map((address) => [address, true] as const),
          ];
    for (const [address, routable] of addresses) {
      if (!familyEnabled(address, options) || !pod.ips.some((ip) => ip.family === address.family)) continue;
      plans.push({
        node: pod.nodeName,
        type: "HostPort",
        address,
        port: hostPort,
        protocol: IP_PROTOCOL[protocol],
        routable,
        service: null,
        servicePort: null,
        pod,
        because: {
          where: pod.where,
          object: `${pod.namespace}/${pod.name}`,
          rule: `hostPort ${hostPort} to ${containerPort}`,
        },
      });
    }
  }
}

function familyEnabled(address: Address, options: CiliumOptions): boolean {
  return address.family === 4 ? options["enable-ipv4"] : options["enable-ipv6"];
}

function becauseOf(service: Service, rule: string): Because {
  return { where: service.where, object: `${service.namespace}/${service.name}`, rule };
}
