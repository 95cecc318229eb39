/** What kube-proxy does beside rules: UDP conntrack cleanup, the health check answer, sysctls. */
import { describe, expect, test } from "vitest";
import { clusterOf, nodeNamed } from "../manifests.fixture.js";
import { KUBE_PROXY_DEFAULTS, kubeProxySysctls } from "./config.js";
import { UdpCleanup, udpSlicesChanged } from "./conntrackCleanup.js";
import { healthAnswer } from "./healthCheck.js";

const CONFIG = KUBE_PROXY_DEFAULTS;
const NODE = nodeNamed("here", ["192.168.0.2"]);

describe("UDP cleanup", () => {
  const cleanup = new UdpCleanup(cluster(["10.0.0.1"], { protocol: "UDP", port: 53, nodePort: 30053 }), 4, CONFIG);

  test("deletes what an endpoint answers that serves no more", () => {
    expect(cleanup.isStale("172.30.0.1", 53, "10.0.0.9", 8080)).toBe(true);
    expect(cleanup.isStale("192.0.2.7", 53, "10.0.0.9", 8080)).toBe(true);
    expect(cleanup.isStale("192.168.0.2", 30053, "10.0.0.1", 9999)).toBe(true);
  });

  test("keeps the rest: serving endpoints, other ports, other addresses", () => {
    expect(cleanup.isStale("172.30.0.1", 53, "10.0.0.1", 8080)).toBe(false);
    expect(cleanup.isStale("172.30.0.1", 54, "10.0.0.9", 8080)).toBe(false);
    expect(cleanup.isStale("8.8.8.8", 53, "8.8.8.8", 53)).toBe(false);
  });

  test("does nothing for TCP, nor for a service without serving endpoints", () => {
    const tcp = new UdpCleanup(cluster(["10.0.0.1"], { protocol: "TCP", port: 53 }), 4, CONFIG);
    expect(tcp.isStale("172.30.0.1", 53, "10.0.0.9", 8080)).toBe(false);
    const empty = new UdpCleanup(cluster([], { protocol: "UDP", port: 53 }), 4, CONFIG);
    expect(empty.isStale("172.30.0.1", 53, "10.0.0.9", 8080)).toBe(false);
  });

  test("a terminating endpoint that serves keeps its entries", () => {
    const draining = cluster(["10.0.0.1"], { protocol: "UDP", port: 53 },
      { ready: false, serving: true, terminating: true });
    expect(new UdpCleanup(draining, 4, CONFIG).isStale("172.30.0.1", 53, "10.0.0.1", 8080)).toBe(false);
  });

  test("runs when a slice of a UDP service changed, and only then", () => {
    const udp = { protocol: "UDP", port: 53 };
    expect(udpSlicesChanged(cluster(["10.0.0.1"], udp), cluster(["10.0.0.2"], udp), 4, CONFIG)).toBe(true);
    expect(udpSlicesChanged(cluster(["10.0.0.1"], udp), cluster(["10.0.0.1"], udp), 4, CONFIG)).toBe(false);
    const tcp = { protocol: "TCP", port: 53 };
    expect(udpSlicesChanged(cluster(["10.0.0.1"], tcp), cluster(["10.0.0.2"], tcp), 4, CONFIG)).toBe(false);
  });
});

describe("health check node port", () => {
  const answer = (conditions: object, nodeName = "here"): unknown => {
    const one = cluster(["10.0.0.1"], { protocol: "TCP", port: 80 }, conditions, nodeName);
    return healthAnswer(one, one.services[0], "here", 4, CONFIG);
  };

  test("is 200 with a local ready endpoint, 503 without", () => {
    expect(answer({})).toMatchObject({ status: 200, weight: 1 });
    expect(answer({}, "there")).toMatchObject({ status: 503, weight: 0 });
    expect(answer({ ready: false, serving: true, terminating: true })).toMatchObject({ status: 503 });
  });
});

test("conntrack settings become sysctls", () => {
  const sysctls = kubeProxySysctls(CONFIG, NODE, 8);
  expect(sysctls["net.netfilter.nf_conntrack_max"]).toBe("262144");
  expect(kubeProxySysctls(CONFIG, NODE, 2)["net.netfilter.nf_conntrack_max"]).toBe("131072");
  expect(sysctls["net.netfilter.nf_conntrack_tcp_timeout_established"]).toBe("86400");
  expect(sysctls["net.ipv4.conf.all.route_localnet"]).toBe("1");
  expect(sysctls["net.netfilter.nf_conntrack_udp_timeout"]).toBeUndefined();
});

function cluster(endpoints: readonly string[], port: object, conditions: object = {}, nodeName = "here"):
ReturnType<typeof clusterOf> {
  return clusterOf([
    { kind: "Service", metadata: { namespace: "ns", name: "s" }, spec: { type: "LoadBalancer",
      clusterIP: "172.30.0.1", externalIPs: ["192.0.2.7"], externalTrafficPolicy: "Local",
      healthCheckNodePort: 32000, ports: [{ name: "p", ...port }] } },
    { kind: "EndpointSlice", metadata: { namespace: "ns", name: "s-1",
      labels: { "kubernetes.io/service-name": "s" } }, ports: [{ name: "p", ...port, port: 8080 }],
    endpoints: endpoints.map((one) => ({ addresses: [one], nodeName, conditions })) },
  ]);
}
