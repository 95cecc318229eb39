/**
 * Endpoints of a service port and the sets its chains lead to (pkg/proxy/endpointslicecache.go, topology.go).
 *
 * An endpoint's port is the EndpointSlice's; a Service's targetPort is never consulted. Topology follows the
 * hints on the slices only. Endpoints are sorted by the bytes of `ip:port`, so 10.0.0.10:80 stands before
 * 10.0.0.2:80.
 */
import type { Address, Family } from "../../cluster/address.js";
import type { Endpoint, EndpointSlice } from "../../cluster/cluster.js";
import type { KubeProxyConfig } from "./config.js";
import { byteOrder, isWatched, type ServicePortInfo } from "./servicePorts.js";

export interface EndpointInfo {
  readonly address: Address;
  readonly port: number;
  /** `ip:port`, `[ip]:port` for IPv6. */
  readonly text: string;
  readonly endpoint: Endpoint;
  readonly slice: EndpointSlice;
  /** Index into slice.endpoints. */
  readonly index: number;
  /** On the node the rules are for. */
  readonly local: boolean;
}

export interface CategorizedEndpoints {
  readonly cluster: readonly EndpointInfo[];
  readonly local: readonly EndpointInfo[];
  /** Every endpoint that some chain of this node may pick. */
  readonly reachable: readonly EndpointInfo[];
  /** A usable endpoint exists somewhere in the cluster. */
  readonly hasAny: boolean;
}

/** The node as topology sees it. */
export interface Here {
  readonly nodeName: string;
  /** Label topology.kubernetes.io/zone, empty where absent. */
  readonly zone: string;
}

/** Slices that this kube-proxy watches, by `namespace/service`, of one family, sorted by name. */
export function slicesByService(slices: readonly EndpointSlice[], family: Family,
  config: KubeProxyConfig): Map<string, readonly EndpointSlice[]> {
  const found = new Map<string, EndpointSlice[]>();
  const addressType = `IPv${family}`;
  for (const slice of slices) {
    if (slice.addressType !== addressType || slice.serviceName === "" || !isWatched(slice, config)) continue;
    const key = `${slice.namespace}/${slice.serviceName}`;
    const list = found.get(key);
    if (list === undefined) found.set(key, [slice]);
    else list.push(slice);
  }
  for (const list of found.values()) if (list.length > 1) list.sort((a, b) => byteOrder(a.name, b.name));
  return found;
}

/**
 * All known endpoints of a service port, ready or not. Of two with the same `ip:port` a later one counts only
 * if it is not terminating (the newer rule of endpointslicecache.go). kube-proxy visits slices in Go map
 * order; here they come in the order given.
 */
export function endpointsOf(info: ServicePortInfo, slices: readonly EndpointSlice[],
  nodeName: string): EndpointInfo[] {
  const wanted = info.service.ports[info.portIndex].name;
  const byText = new Map<string, EndpointInfo>();
  for (const slice of slices) {
    for (const port of slice.ports) {
      if (port.name !== wanted || port.protocol !== info.protocol || port.port === 0) continue;
      for (let index = 0; index < slice.endpoints.length; index++) {
        const endpoint = slice.endpoints[index];
        const address = endpoint.addresses[0];
        if (address === undefined) continue;
        const text = address.family === 6 ? `[${address.text}]:${port.port}` : `${address.text}:${port.port}`;
        if (byText.has(text) && endpoint.terminating) continue;
        const local = endpoint.nodeName !== "" && endpoint.nodeName === nodeName;
        byText.set(text, { address, port: port.port, text, endpoint, slice, index, local });
      }
    }
  }
  return [...byText.values()].sort((a, b) => byteOrder(a.text, b.text));
}

/** topology.go CategorizeEndpoints. Cluster and local fall back to terminating endpoints each on its own. */
export function categorizeEndpoints(all: readonly EndpointInfo[], info: ServicePortInfo, here: Here,
  config: KubeProxyConfig): CategorizedEndpoints {
  const fits = topologyFilter(all, here, config);
  let cluster: readonly EndpointInfo[] = [];
  if (info.usesClusterEndpoints) {
    cluster = all.filter((one) => one.endpoint.ready && (fits === null || fits(one.endpoint)));
    if (cluster.length === 0) cluster = all.filter(isServingTerminating);
  }
  if (!info.usesLocalEndpoints) return { cluster, local: [], reachable: cluster, hasAny: cluster.length > 0 };

  // Usable endpoints on other nodes count even where only local ones are used: DROP instead of REJECT.
  const hasAny = cluster.length > 0 || all.some((one) => one.endpoint.ready || isServingTerminating(one));
  let local = all.filter((one) => one.local && one.endpoint.ready);
  if (local.length === 0) local = all.filter((one) => one.local && isServingTerminating(one));
  if (!info.usesClusterEndpoints) return { cluster, local, reachable: local, hasAny };
  // Topology never applies to local endpoints, so they may lie outside `cluster`.
  const union = new Set([...cluster, ...local]);
  return { cluster, local, reachable: all.filter((one) => union.has(one)), hasAny };
}

/** kube-proxy takes a condition that is not there for true, whatever `ready` says (endpointslicecache.go). */
export function isServing(endpoint: Endpoint): boolean {
  return endpoint.serving || endpoint.servingAbsent === true;
}

/**
 * Distinct addresses of local ready endpoints, what the health check node port reports; terminating never
 * count.
 */
export function localReadyCount(infos: readonly EndpointInfo[]): number {
  return new Set(infos.filter((one) => one.local && one.endpoint.ready).map((one) => one.address.text)).size;
}

/** The mode comes from ready endpoints only, and one without a hint switches that kind of hint off. */
function topologyFilter(all: readonly EndpointInfo[], here: Here,
  config: KubeProxyConfig): ((endpoint: Endpoint) => boolean) | null {
  const ready = all.filter((one) => one.endpoint.ready).map((one) => one.endpoint);
  const forNode = (endpoint: Endpoint): boolean => endpoint.hintNodes.includes(here.nodeName);
  const forZone = (endpoint: Endpoint): boolean => endpoint.hintZones.includes(here.zone);
  if (config.preferSameTrafficDistribution && ready.every((endpoint) => endpoint.hintNodes.length > 0)
    && ready.some(forNode)) return forNode;
  if (here.zone !== "" && ready.every((endpoint) => endpoint.hintZones.length > 0) && ready.some(forZone)) {
    return forZone;
  }
  return null;
}

function isServingTerminating(one: EndpointInfo): boolean {
  return isServing(one.endpoint) && one.endpoint.terminating;
}
