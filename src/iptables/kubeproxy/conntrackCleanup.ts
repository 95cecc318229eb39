/**
 * Which UDP conntrack entries kube-proxy deletes after a sync (pkg/proxy/conntrack/cleanup.go, the newer
 * rule).
 *
 * For each UDP service port with at least one serving endpoint: entries sent to one of its addresses (cluster
 * IP, VIP or external IP with the port, or any address with the node port) and answered by something that is
 * no serving endpoint. Readiness, policy and topology do not matter here. TCP and SCTP entries are never
 * deleted. A service port without serving endpoints keeps its entries.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, EndpointSlice } from "../../cluster/cluster.js";
import type { KubeProxyConfig } from "./config.js";
import { endpointsOf, slicesByService } from "./endpoints.js";
import { servicePorts } from "./servicePorts.js";


/** The cluster's UDP services of a family as a cleanup sees them. Keys are `ip:port`, `[ip]:port`. */
export class UdpCleanup {
  /** Serving endpoints by what clients address. */
  private readonly byAddress = new Map<string, ReadonlySet<string>>();
  private readonly byNodePort = new Map<number, ReadonlySet<string>>();

  constructor(cluster: Cluster, readonly family: Family, config: KubeProxyConfig) {
    const slices = slicesByService(cluster.endpointSlices, family);
    for (const info of servicePorts(cluster.services, family, config)) {
      if (info.protocol !== "UDP") continue;
      const all = endpointsOf(info, slices.get(`${info.service.namespace}/${info.service.name}`) ?? [], "");
      const endpoints = new Set(all.filter((one) => one.endpoint.serving).map((one) => one.text));
      if (endpoints.size === 0) continue;
      for (const address of [info.clusterIP, ...info.externalIPs, ...info.loadBalancerVIPs]) {
        this.byAddress.set(endpointText(address.text, info.port), endpoints);
      }
      if (info.nodePort !== 0) this.byNodePort.set(info.nodePort, endpoints);
    }
  }

  /** Whether an entry is stale: original destination and reply source as address text and host-order port. */
  isStale(destination: string, destinationPort: number, replySource: string, replySourcePort: number): boolean {
    const serving = this.byAddress.get(endpointText(destination, destinationPort))
      ?? this.byNodePort.get(destinationPort);
    return serving !== undefined && !serving.has(endpointText(replySource, replySourcePort));
  }
}

/** kube-proxy cleans up only when a slice changed that belongs, or belonged, to a service with a UDP port. */
export function udpSlicesChanged(before: Cluster, after: Cluster, family: Family): boolean {
  const udp = new Set([...before.services, ...after.services]
    .filter((service) => service.ports.some((port) => port.protocol === "UDP"))
    .map((service) => `${service.namespace}/${service.name}`));
  return sliceTexts(before, family, udp) !== sliceTexts(after, family, udp);
}

function sliceTexts(cluster: Cluster, family: Family, services: ReadonlySet<string>): string {
  return [...slicesByService(cluster.endpointSlices, family)].filter(([service]) => services.has(service))
    .sort(([a], [b]) => (a < b ? -1 : 1)).map(([, slices]) => slices.map(sliceText).join("\n")).join("\n");
}

/** What kube-proxy compares of a slice: ports and endpoints, not where it stood in a file. */
function sliceText(slice: EndpointSlice): string {
  const endpoints = slice.endpoints.map((one) => [one.addresses.map((address) => address.text), one.nodeName, one.zone,
    one.ready, one.serving, one.terminating, one.hintZones, one.hintNodes]);
  return JSON.stringify([slice.namespace, slice.name, slice.ports, endpoints]);
}

function endpointText(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
