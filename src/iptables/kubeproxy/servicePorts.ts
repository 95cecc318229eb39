/**
 * The service ports that kube-proxy programs, per IP family, from Services (pkg/proxy/serviceport.go).
 *
 * Guarantees: sorted by `namespace/name`, then port name, then protocol, whatever the order of the objects.
 * kube-proxy itself visits services in Go map order, so the order between services carries no meaning.
 */
import type { Address, Family, Prefix } from "../../cluster/address.js";
import type { ObjectMeta, Protocol, Service } from "../../cluster/cluster.js";
import { serviceChains, type ServiceChains } from "./chains.js";
import type { KubeProxyConfig } from "./config.js";
import { ServiceRuleMemo } from "./serviceRuleMemo.js";

export interface ServicePortInfo {
  readonly service: Service;
  /** Index into service.ports. */
  readonly portIndex: number;
  /** `namespace/name:port`, without the colon where the port has no name. */
  readonly name: string;
  readonly protocol: Protocol;
  readonly clusterIP: Address;
  readonly port: number;
  readonly nodePort: number;
  readonly externalIPs: readonly Address[];
  readonly loadBalancerVIPs: readonly Address[];
  readonly sourceRanges: readonly Prefix[];
  /** 0 where none is used. */
  readonly healthCheckNodePort: number;
  /** Seconds; 0 without affinity. */
  readonly affinitySeconds: number;
  readonly externalPolicyLocal: boolean;
  readonly internalPolicyLocal: boolean;
  /** By this family's rules: it has a node port, a VIP or an external IP. */
  readonly externallyAccessible: boolean;
  readonly usesClusterEndpoints: boolean;
  readonly usesLocalEndpoints: boolean;
  readonly chains: ServiceChains;
}

export function servicePorts(services: readonly Service[], family: Family, config: KubeProxyConfig,
  memo = new ServiceRuleMemo()): ServicePortInfo[] {
  const byKey = new Map<string, ServicePortInfo>();
  for (const service of services) {
    if (service.type === "ExternalName" || service.headless || !isWatched(service, config)) continue;
    const clusterIP = clusterIPOf(service, family);
    if (clusterIP === undefined) continue;
    const infos = memo.infosOf(service, () => service.ports.map((_, index) => servicePort(service, index, clusterIP, config)));
    for (const info of infos) byKey.set(sortKey(info), info);
  }
  return [...byKey.keys()].sort(byteOrder).map((key) => byKey.get(key)!);
}

/**
 * Whether kube-proxy's informers let the object through: by the label that names another service proxy, and not
 * where the label marks a headless service (cmd/kube-proxy/app/server.go). The slices of a Service carry its labels.
 */
export function isWatched(object: ObjectMeta, config: KubeProxyConfig): boolean {
  const { serviceProxyName } = config;
  const named = object.labels["service.kubernetes.io/service-proxy-name"];
  return (serviceProxyName === "" ? named === undefined : named === serviceProxyName)
    && object.labels["service.kubernetes.io/headless"] === undefined;
}

/** The cluster IP at the family's place in ipFamilies (pkg/proxy/util GetClusterIPByFamily). */
function clusterIPOf(service: Service, family: Family): Address | undefined {
  const place = service.ipFamilies.indexOf(`IPv${family}`);
  const found = service.ipFamilies.length === 0 ? service.clusterIPs[0] : place < 0 ? undefined : service.clusterIPs[place];
  return found?.family === family ? found : undefined;
}

/** Order of Go's string comparison for the ASCII that names and addresses are made of. */
export function byteOrder(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function servicePort(service: Service, portIndex: number, clusterIP: Address,
  config: KubeProxyConfig): ServicePortInfo {
  const family = clusterIP.family;
  const port = service.ports[portIndex];
  const name = `${service.namespace}/${service.name}${port.name === "" ? "" : `:${port.name}`}`;
  const externalIPs = service.externalIPs.filter((address) => address.family === family);
  // ipMode Proxy: the cloud's load balancer must see the traffic, so the node does not short-circuit it.
  const loadBalancerVIPs = service.loadBalancerIngress
    .filter((ingress) => ingress.ip.family === family && (ingress.ipMode === "VIP" || !config.loadBalancerIPMode))
    .map((ingress) => ingress.ip);
  // The rules look at the node port's value, not at the service's type.
  const externallyAccessible = port.nodePort !== 0 || loadBalancerVIPs.length > 0 || externalIPs.length > 0;
  const externalPolicyLocal = isExternallyAccessible(service) && service.externalTrafficPolicy === "Local";
  const internalPolicyLocal = service.internalTrafficPolicy === "Local";
  return {
    service, portIndex, name, protocol: port.protocol, clusterIP, port: port.port, nodePort: port.nodePort,
    externalIPs, loadBalancerVIPs,
    sourceRanges: service.loadBalancerSourceRanges.filter((range) => range.address.family === family),
    healthCheckNodePort: service.type === "LoadBalancer" && externalPolicyLocal ? service.healthCheckNodePort : 0,
    affinitySeconds: service.sessionAffinity === "ClientIP" ? service.sessionAffinityTimeoutSeconds : 0,
    externalPolicyLocal, internalPolicyLocal, externallyAccessible,
    usesClusterEndpoints: !internalPolicyLocal || externallyAccessible,
    usesLocalEndpoints: internalPolicyLocal || (externalPolicyLocal && externallyAccessible),
    chains: serviceChains(name, port.protocol),
  };
}

/** api/v1/service/util.go ExternallyAccessible: by type, both families together. */
function isExternallyAccessible(service: Service): boolean {
  return service.type === "LoadBalancer" || service.type === "NodePort" || service.externalIPs.length > 0;
}

/** NUL sorts before every character of a name, so `a/b` stays before `a/b-c`. */
function sortKey(info: ServicePortInfo): string {
  const port = info.service.ports[info.portIndex];
  return `${info.service.namespace}/${info.service.name}\0${port.name}\0${info.protocol}`;
}
