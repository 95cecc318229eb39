/**
 * Which frontends a Service has on which nodes, as Cilium's agent programs them (convertService of
 * pkg/loadbalancer/reflectors from 1.18, datapathSVCs of pkg/k8s/watchers before).
 *
 *   ClusterIP      not routable, unless bpf-lb-external-clusterip
 *   NodePort       0.0.0.0 (or ::) not routable, and one routable frontend for each node port address of each node
 *   LoadBalancer   routable, for every ingress address with ipMode VIP, in 1.16 for every one
 *   externalIPs    routable
 *   hostPort       as NodePort, only on the pod's node and only for that pod
 *   wildcard       from 1.19: port 0 and protocol 0 of a cluster IP or a load balancer address that Cilium manages
 *
 * Headless and ExternalName services have none. Annotations may leave some out (service-annotations.ts).
 */
import type { Address } from "../../cluster/address.js";
import { parseAddress, prefixContains } from "../../cluster/address.js";
import type { Cluster, Node, Pod, Service, ServicePort } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import { isEndpoint } from "./identity.js";
import { nodePortAddresses } from "./node-port-addresses.js";
import { IP_PROTOCOL } from "./policy/entry.js";
import { delegates, exposedNodes, exposes, isHeadless, isServed, release } from "./service-annotations.js";

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
  /** Host ports of a loopback address; services that delegate to a proxy (SVC_FLAG_LOOPBACK). */
  readonly loopback: boolean;
  readonly service: Service | null;
  readonly servicePort: ServicePort | null;
  /** Host port frontends: the pod. */
  readonly pod: Pod | null;
  readonly because: Because;
}

/** Load balancer classes that Cilium answers for (BGPLoadBalancerClass, L2AnnounceLoadBalancerClass). */
const OWN_CLASSES: readonly string[] = ["io.cilium/bgp-control-plane", "io.cilium/l2-announcer"];
const UNSPECIFIED: Readonly<Record<4 | 6, Address>> = { 4: parseAddress("0.0.0.0")!, 6: parseAddress("::")! };

interface NodeAddresses {
  readonly node: Node;
  readonly addresses: readonly Address[];
}

export function planFrontends(cluster: Cluster, options: CiliumOptions): FrontendPlan[] {
  const plans: FrontendPlan[] = [];
  const nodes = cluster.nodes.map((node) => ({ node, addresses: nodePortAddresses(node, options) }));
  for (const service of cluster.services) {
    if (service.type === "ExternalName" || isHeadless(service) || !isServed(service, options)) continue;
    const only = exposedNodes(service, cluster.nodes, options);
    if (only === null) planService(plans, service, null, nodes, options);
    else for (const node of only) planService(plans, service, node.name, nodes.filter((one) => one.node === node), options);
  }
  if (options["kube-proxy-replacement"]) for (const pod of cluster.pods) hostPorts(plans, pod, nodes, options);
  return plans;
}

/** A service's frontends on one node, or with `only` null on every node. */
function planService(
  plans: FrontendPlan[],
  service: Service,
  only: string | null,
  nodes: readonly NodeAddresses[],
  options: CiliumOptions,
): void {
  const add = planner(plans, service, options);
  const wild = (address: Address, type: FrontendType): void => {
    if (!hasWildcard(service, address, options)) return;
    const owners = type === "LoadBalancer" && release(options) >= 20 ? nodes.filter(({ node }) => hasAddress(node, address)) : [];
    if (owners.length === 0) plans.push(wildcard(address, type, service, only));
    else for (const one of nodes) if (!owners.includes(one)) plans.push(wildcard(address, type, service, one.node.name));
  };
  if (exposes(service, "ClusterIP", options)) {
    for (const address of service.clusterIPs) {
      add(only, "ClusterIP", address, null, options["bpf-lb-external-clusterip"]);
      wild(address, "ClusterIP");
    }
  }
  const replaces = options["kube-proxy-replacement"];
  // Up to 1.18 the agent programs cluster IPs only, unless it replaces kube-proxy; later all but node ports.
  if (!replaces && release(options) <= 18) return;
  for (const address of service.externalIPs) add(only, "ExternalIPs", address, null, true);
  if (service.type === "LoadBalancer" && exposes(service, "LoadBalancer", options)) {
    for (const { ip, ipMode } of service.loadBalancerIngress) {
      if (ipMode !== "VIP" && release(options) >= 17) continue;
      add(only, "LoadBalancer", ip, null, true);
      wild(ip, "LoadBalancer");
    }
  }
  if (!replaces || service.type === "ClusterIP" || !exposes(service, "NodePort", options)) return;
  const families = new Set(service.ipFamilies.map((family) => (family === "IPv4" ? 4 : 6)));
  for (const family of families) add(only, "NodePort", UNSPECIFIED[family], "nodePort", false);
  for (const { node, addresses } of nodes) {
    for (const address of addresses) {
      if (families.has(address.family)) add(node.name, "NodePort", address, "nodePort", true);
    }
  }
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
      // Without enable-sctp the agent skips SCTP ports; a port 0 is one that nobody allocated.
      if (port === 0 || (servicePort.protocol === "SCTP" && !options["enable-sctp"])) return;
      plans.push({
        node,
        type,
        address,
        port,
        protocol: IP_PROTOCOL[servicePort.protocol],
        routable,
        loopback: delegates(service, options),
        service,
        servicePort,
        pod: null,
        because: becauseOf(service, `ports[${index}]`),
      });
    });
  };
}

/** isWildcardClass. From 1.20 a node whose own a load balancer's address is has none for it. */
function hasWildcard(service: Service, address: Address, options: CiliumOptions): boolean {
  if (release(options) < 19 || !familyEnabled(address, options)) return false;
  return service.loadBalancerClass === ""
    ? options["default-lb-service-ipam"] === "lbipam" : OWN_CLASSES.includes(service.loadBalancerClass);
}

/** The agent's table of node addresses has those of every device that is no pod's, whether node ports answer on them or not. */
function hasAddress(node: Node, { text }: Address): boolean {
  return node.facts.devices.some(({ kind, addresses }) => (kind === "uplink" || kind === "tunnel" || kind === "other")
    && addresses.some(({ address }) => address.text === text));
}

function wildcard(address: Address, type: FrontendType, service: Service, node: string | null): FrontendPlan {
  return {
    node,
    type,
    address,
    port: 0,
    protocol: 0,
    routable: false,
    loopback: false,
    service,
    servicePort: null,
    pod: null,
    because: becauseOf(service, type === "ClusterIP" ? "clusterIP" : "status.loadBalancer"),
  };
}

/** genServiceMappings, upsertHostPort. */
function hostPorts(plans: FrontendPlan[], pod: Pod, nodes: readonly NodeAddresses[], options: CiliumOptions): void {
  // Most pods have none: their node is not looked for.
  if (!isEndpoint(pod) || !pod.ports.some(({ hostPort }) => hostPort !== 0)) return;
  const own = nodes.find(({ node }) => node.name === pod.nodeName);
  if (own === undefined) return;
  const [first, last] = options["node-port-range"];
  for (const { hostPort, hostIP, protocol, containerPort } of pod.ports) {
    // A hostPort inside the node port range is refused by the agent.
    if (hostPort === 0 || (hostPort >= first && hostPort <= last)) continue;
    if (protocol === "SCTP" && !options["enable-sctp"]) continue;
    for (const { address, routable, loopback } of hostPortAddresses(hostIP, own.addresses, options)) {
      if (!familyEnabled(address, options) || !pod.ips.some((ip) => ip.family === address.family)) continue;
      plans.push({
        node: pod.nodeName,
        type: "HostPort",
        address,
        port: hostPort,
        protocol: IP_PROTOCOL[protocol],
        routable,
        loopback,
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

interface HostPortAddress {
  readonly address: Address;
  readonly routable: boolean;
  readonly loopback: boolean;
}

/**
 * Where a host port answers. A loopback address becomes the unspecified one, marked; from 1.18 on that is spread over
 * the node's addresses like every other, and an explicit 0.0.0.0 is left out altogether.
 */
function hostPortAddresses(hostIP: string, own: readonly Address[], options: CiliumOptions): HostPortAddress[] {
  const given = hostIP === "" ? null : parseAddress(hostIP);
  const spread = (families: readonly (4 | 6)[], loopback: boolean): HostPortAddress[] => [
    ...families.map((family) => ({ address: UNSPECIFIED[family], routable: false, loopback })),
    ...own.filter(({ family }) => families.includes(family)).map((address) => ({ address, routable: true, loopback })),
  ];
  if (given === null) return spread([4, 6], false);
  if (given.bytes.every((byte) => byte === 0)) return release(options) >= 18 ? [] : spread([4, 6], false);
  if (!isLoopback(given)) return [{ address: given, routable: true, loopback: false }];
  if (release(options) >= 18) return spread([given.family], true);
  return [{ address: UNSPECIFIED[given.family], routable: false, loopback: true }];
}

const LOOPBACK4 = { address: parseAddress("127.0.0.0")!, length: 8, text: "127.0.0.0/8" };

function isLoopback(address: Address): boolean {
  return address.text === "::1" || (address.family === 4 && prefixContains(LOOPBACK4, address));
}

function familyEnabled(address: Address, options: CiliumOptions): boolean {
  return address.family === 4 ? options["enable-ipv4"] : options["enable-ipv6"];
}

function becauseOf(service: Service, rule: string): Because {
  return { where: service.where, object: `${service.namespace}/${service.name}`, rule };
}
