/** What kube-proxy does beside rules: UDP conntrack cleanup, the health check answer, sysctls. */
import { describe, expect, test } from "vitest";
import type { Cluster } from "../../cluster/cluster.js";
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

  test("looks at node ports beside addresses: either table may call an entry stale", () => {
    const two = clusterOf([
      { kind: "Service", metadata: { namespace: "ns", name: "a" }, spec: { clusterIP: "172.30.0.1", externalIPs: ["192.0.2.7"],
        ports: [{ name: "p", protocol: "UDP", port: 30053 }] } },
      { kind: "Service", metadata: { namespace: "ns", name: "b" }, spec: { clusterIP: "172.30.0.2", type: "NodePort",
        ports: [{ name: "p", protocol: "UDP", port: 53, nodePort: 30053 }] } },
      ...["a", "b"].map((name, index) => ({ kind: "EndpointSlice", metadata: { namespace: "ns", name,
        labels: { "kubernetes.io/service-name": name } }, ports: [{ name: "p", protocol: "UDP", port: 8080 }],
      endpoints: [{ addresses: [`10.0.0.${index + 1}`] }] })),
    ]);
    const both = new UdpCleanup(two, 4, CONFIG);
    expect(both.isStale("192.0.2.7", 30053, "10.0.0.1", 8080)).toBe(true);
    expect(both.isStale("172.30.0.2", 53, "10.0.0.2", 8080)).toBe(false);
    expect(both.isStale("192.168.0.2", 30053, "10.0.0.2", 8080)).toBe(false);
  });

  test("takes a VIP as an address, IPv6 ones apart, and an endpoint whose serving is not said for serving", () => {
    const one = clusterOf([
      { kind: "Service", metadata: { namespace: "ns", name: "s" }, spec: { type: "LoadBalancer", clusterIPs: ["172.30.0.1", "fd00::1"],
        ipFamilies: ["IPv4", "IPv6"], ports: [{ name: "p", protocol: "UDP", port: 53 }] },
      status: { loadBalancer: { ingress: [{ ip: "198.51.100.1" }] } } },
      ...(["IPv4", "IPv6"] as const).map((addressType) => ({ kind: "EndpointSlice", addressType, metadata: { namespace: "ns",
        name: addressType, labels: { "kubernetes.io/service-name": "s" } }, ports: [{ name: "p", protocol: "UDP", port: 8080 }],
      endpoints: [{ addresses: [addressType === "IPv4" ? "10.0.0.1" : "fd00:5::1"], conditions: { ready: false } }] })),
    ]);
    const [four, six] = ([4, 6] as const).map((family) => new UdpCleanup(one, family, CONFIG));
    expect(four.isStale("198.51.100.1", 53, "10.0.0.9", 8080)).toBe(true);
    expect(four.isStale("198.51.100.1", 53, "10.0.0.1", 8080)).toBe(false);
    expect(four.isStale("fd00::1", 53, "fd00:5::9", 8080)).toBe(false);
    expect(six.isStale("fd00::1", 53, "fd00:5::9", 8080)).toBe(true);
    expect(six.isStale("fd00::1", 53, "fd00:5::1", 8080)).toBe(false);
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
    expect(udpSlicesChanged(cluster([], udp), cluster(["10.0.0.2"], udp), 4, CONFIG)).toBe(true);
    expect(udpSlicesChanged(cluster(["10.0.0.1"], udp), cluster([], udp), 4, CONFIG)).toBe(true);
    expect(udpSlicesChanged(cluster(["10.0.0.1"], udp), cluster(["10.0.0.2"], udp), 6, CONFIG)).toBe(false);
    expect(udpSlicesChanged(cluster([], udp), cluster([], tcp), 4, CONFIG)).toBe(false);
    // The slices' protocol counts: a UDP port of the Service alone changes nothing.
    const noService = (of: Cluster): Cluster => ({ ...of, services: [] });
    expect(udpSlicesChanged(noService(cluster(["10.0.0.1"], udp)), noService(cluster(["10.0.0.2"], udp)), 4, CONFIG)).toBe(true);
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

  test("counts addresses, not ports, and says so in JSON; a service without one has no answer", () => {
    const two = cluster(["10.0.0.1", "10.0.0.2"], { protocol: "TCP", port: 80 });
    const doubled = { ...two, endpointSlices: two.endpointSlices.flatMap((slice) => [slice, { ...slice, name: "s-2",
      ports: slice.ports.map((port) => ({ ...port, port: 9090 })) }]) };
    expect(healthAnswer(doubled, doubled.services[0], "here", 4, CONFIG)).toEqual({ status: 200, weight: 2,
      body: '{"service":{"namespace":"ns","name":"s"},"localEndpoints":2,"serviceProxyHealthy":true}' });
    const plain = { ...doubled.services[0], externalTrafficPolicy: "Cluster" as const };
    expect(healthAnswer(doubled, plain, "here", 4, CONFIG)).toBeNull();
  });
});

test("conntrack settings become sysctls", () => {
  const sysctls = kubeProxySysctls(CONFIG, NODE, 8);
  expect(sysctls["net.netfilter.nf_conntrack_max"]).toBe("262144");
  expect(kubeProxySysctls(CONFIG, NODE, 2)["net.netfilter.nf_conntrack_max"]).toBe("131072");
  expect(sysctls["net.netfilter.nf_conntrack_tcp_timeout_established"]).toBe("86400");
  expect(sysctls["net.ipv4.conf.all.route_localnet"]).toBe("1");
  expect(sysctls["net.netfilter.nf_conntrack_udp_timeout"]).toBeUndefined();
  expect(kubeProxySysctls(CONFIG, NODE, 128)["net.netfilter.nf_conntrack_max"]).toBe("1048576");
  const off = { ...CONFIG, conntrack: { ...CONFIG.conntrack, maxPerCore: 0, tcpEstablishedTimeoutSeconds: 0, udpStreamTimeoutSeconds: 9 } };
  expect(kubeProxySysctls(off, NODE, 8)).toEqual({ "net.netfilter.nf_conntrack_tcp_timeout_close_wait": "3600",
    "net.netfilter.nf_conntrack_udp_timeout_stream": "9", "net.ipv4.conf.all.route_localnet": "1" });
  expect(kubeProxySysctls({ ...off, tcpBeLiberal: true }, NODE, 8)["net.netfilter.nf_conntrack_tcp_be_liberal"]).toBe("1");
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
