/**
 * What a request to a service's health check node port is answered (pkg/proxy/healthcheck/service_health.go):
 * 200 while the node has a ready endpoint of the service, else 503. Terminating endpoints never count, so a
 * node may say 503 and still take traffic. The server listens on every address, or on those of
 * nodePortAddresses.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Service } from "../../cluster/cluster.js";
import type { KubeProxyConfig } from "./config.js";
import { endpointsOf, localReadyCount, slicesByService } from "./endpoints.js";
import { servicePorts } from "./servicePorts.js";

export interface HealthAnswer {
  readonly status: 200 | 503;
  /** Header X-Load-Balancing-Endpoint-Weight. */
  readonly weight: number;
  readonly body: string;
}

/** The answer of a healthy kube-proxy, or null where the service has no health check node port. */
export function healthAnswer(cluster: Cluster, service: Service, nodeName: string, family: Family,
  config: KubeProxyConfig): HealthAnswer | null {
  const infos = servicePorts([service], family, config).filter((info) => info.healthCheckNodePort !== 0);
  if (infos.length === 0) return null;
  const slices = slicesByService(cluster.endpointSlices, family, config).get(`${service.namespace}/${service.name}`) ?? [];
  const localEndpoints = localReadyCount(infos.flatMap((info) => endpointsOf(info, slices, nodeName)));
  const body = { service: { namespace: service.namespace, name: service.name }, localEndpoints,
    serviceProxyHealthy: true };
  return { status: localEndpoints > 0 ? 200 : 503, weight: localEndpoints, body: JSON.stringify(body) };
}
