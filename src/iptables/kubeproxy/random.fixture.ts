/**
 * Test support: random Services and EndpointSlices of every kind kube-proxy treats apart, as a fast-check
 * arbitrary.
 */
import fc from "fast-check";
import type { Cluster } from "../../cluster/cluster.js";
import { clusterOf } from "../manifests.fixture.js";

export function randomCluster(): fc.Arbitrary<Cluster> {
  return fc.array(randomService(), { minLength: 1, maxLength: 8 }).map((seeds) => (
    clusterOf(seeds.flatMap((seed, index) => objectsOf(seed, index)))));
}

interface ServiceSeed {
  type: "ClusterIP" | "NodePort" | "LoadBalancer";
  externalLocal: boolean;
  internalLocal: boolean;
  affinity: boolean;
  externalIP: boolean;
  ranges: boolean;
  proxyMode: boolean;
  named: boolean;
  protocol: "TCP" | "UDP" | "SCTP";
  endpoints: { host: number; here: boolean; ready: boolean; terminating: boolean; zone: string; slice: number }[];
}

function randomService(): fc.Arbitrary<ServiceSeed> {
  return fc.record({
    type: fc.constantFrom("ClusterIP" as const, "NodePort" as const, "LoadBalancer" as const),
    externalLocal: fc.boolean(), internalLocal: fc.boolean(), affinity: fc.boolean(), externalIP: fc.boolean(),
    ranges: fc.boolean(), proxyMode: fc.boolean(), named: fc.boolean(),
    protocol: fc.constantFrom("TCP" as const, "UDP" as const, "SCTP" as const),
    endpoints: fc.uniqueArray(fc.record({
      host: fc.integer({ min: 1, max: 200 }), here: fc.boolean(), ready: fc.boolean(), terminating: fc.boolean(),
      zone: fc.constantFrom("", "a", "b"), slice: fc.integer({ min: 0, max: 2 }),
    }), { maxLength: 6, selector: (endpoint) => endpoint.host }),
  });
}

function objectsOf(seed: ServiceSeed, index: number): object[] {
  const metadata = { namespace: "ns", name: `s${index}` };
  const port = { ...(seed.named ? { name: "p" } : {}), protocol: seed.protocol, port: 80 };
  const nodePort = seed.type === "ClusterIP" ? {} : { nodePort: 30000 + index };
  const v4Only = seed.type === "LoadBalancer" || seed.externalIP;
  const service = {
    kind: "Service", metadata,
    spec: {
      type: seed.type, clusterIPs: [`10.96.0.${index + 1}`, ...(v4Only ? [] : [`fd00:10:96::${index + 1}`])],
      ports: [{ ...port, ...nodePort }], externalIPs: seed.externalIP ? [`192.0.2.${index}`] : [],
      externalTrafficPolicy: seed.externalLocal ? "Local" : "Cluster",
      internalTrafficPolicy: seed.internalLocal ? "Local" : "Cluster",
      sessionAffinity: seed.affinity ? "ClientIP" : "None", healthCheckNodePort: 32000 + index,
      loadBalancerSourceRanges: seed.ranges ? ["192.168.0.0/24", "203.0.113.7/32"] : [],
    },
    status: { loadBalancer: { ingress: seed.type !== "LoadBalancer" ? [] :
      [{ ip: `198.51.100.${index}`, ipMode: seed.proxyMode ? "Proxy" : "VIP" }] } },
  };
  const slices = [0, 1, 2].flatMap((number) => ["IPv4", "IPv6"].map((addressType) => ({
    kind: "EndpointSlice", addressType,
    metadata: { namespace: "ns", name: `s${index}-${addressType}-${number}`,
      labels: { "kubernetes.io/service-name": `s${index}` } },
    ports: [{ ...port, port: 8080 }],
    endpoints: seed.endpoints.filter((one) => one.slice === number).map((one) => ({
      addresses: [addressType === "IPv4" ? `10.244.0.${one.host}` : `fd00:10:244::${one.host}`],
      nodeName: one.here ? "here" : "there",
      conditions: { ready: one.ready && !one.terminating, serving: one.ready, terminating: one.terminating },
      hints: one.zone === "" ? {} : { forZones: [{ name: one.zone }] },
    })),
  })));
  return [service, ...slices];
}
