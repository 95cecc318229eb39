/**
 * Which UDP conntrack entries kube-proxy deletes after a sync (pkg/proxy/conntrack/cleanup.go, the newest rule: the
 * endpoint's port counts too).
 *
 * For each UDP service port with at least one serving endpoint: entries sent to one of its addresses (cluster
 * IP, VIP or external IP with the port, or any address with the node port) and answered by something that is
 * no serving endpoint. Readiness, policy and topology do not matter here. TCP and SCTP entries are never
 * deleted. A service port without serving endpoints keeps its entries.
 *
 * Releases up to about 1.32 compared the endpoint's address only, and deleted the entries of services without
 * endpoints as well; that rule is not here.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, EndpointSlice } from "../../cluster/cluster.js";
import type { KubeProxyConfig } from "./config.js";
import { endpointsOf, isServing, slicesByService } from "./endpoints.js";
import { servicePorts } from "./servicePorts.js";

/** The cluster's UDP services of a family as a cleanup sees them. Keys are `ip:port`, `[ip]:port`. */
export class UdpCleanup {
  /** Serving endpoints by what clients address. */
  private readonly byAddress = new Map<string, ReadonlySet<string>>();
  private readonly byNodePort = new Map<number, ReadonlySet<string>>();

  constructor(cluster: Cluster, readonly family: Family, config: KubeProxyConfig) {
    const slices = slicesByService(cluster.endpointSlices, family, config);
    for (const info of servicePorts(cluster.services, family, config)) {
      if (info.protocol !== "UDP") continue;
      const all = endpointsOf(info, slices.get(`${info.service.namespace}/${info.service.name}`) ?? [], "");
      const endpoints = new Set(all.filter((one) => isServing(one.endpoint)).map((one) => one.text));
      if (endpoints.size === 0) continue;
      for (const address of [info.clusterIP, ...info.externalIPs, ...info.loadBalancerVIPs]) {
        this.byAddress.set(endpointText(address.text, info.port), endpoints);
      }
      if (info.nodePort !== 0) this.byNodePort.set(info.nodePort, endpoints);
    }
  }

  /**
   * Whether an entry is stale: original destination and reply source as address text and host-order port. Each of
   * the two tables decides by itself, so an entry to an external IP that serves is deleted where its port is another
   * service's node port.
   */
  isStale(destination: string, destinationPort: number, replySource: string, replySourcePort: number): boolean {
    const from = endpointText(replySource, replySourcePort);
    const lacks = (serving: ReadonlySet<string> | undefined): boolean => serving !== undefined && !serving.has(from);
    return lacks(this.byAddress.get(endpointText(destination, destinationPort))) || lacks(this.byNodePort.get(destinationPort));
  }
}

/**
 * kube-proxy cleans up only when slices of a service changed that have, or had, an endpoint with a UDP port
 * (endpointschangetracker.go). The slices' ports count, not the Service's.
 */
export function udpSlicesChanged(before: Cluster, after: Cluster, family: Family, config: KubeProxyConfig): boolean {
  const [old, now] = [before, after].map((cluster) => slicesByService(cluster.endpointSlices, family, config));
  return [...new Set([...old.keys(), ...now.keys()])].some((service) => {
    const slices = [old.get(service) ?? [], now.get(service) ?? []];
    return slices.some((list) => list.some(hasUdp)) && slicesText(slices[0]) !== slicesText(slices[1]);
  });
}

function hasUdp(slice: EndpointSlice): boolean {
  return slice.ports.some((port) => port.protocol === "UDP" && port.port !== 0)
    && slice.endpoints.some((one) => one.addresses.length > 0);
}

/** What kube-proxy compares of slices: ports and endpoints, not where they stood in a file. */
function slicesText(slices: readonly EndpointSlice[]): string {
  return JSON.stringify(slices.map((slice) => [slice.name, slice.ports, slice.endpoints.map((one) => [
    one.addresses.map((address) => address.text), one.nodeName, one.zone, one.ready, isServing(one), one.terminating,
    one.hintZones, one.hintNodes])]));
}

function endpointText(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
