/** Options of services that single versions have, as packets meet them. */
import { describe, expect, it } from "vitest";
import { A, B, CLIENT, FAR, NODE, nodeStackBench } from "./node-stack.fixture.js";
import type { PacketInput } from "./packets.js";

const NATIVE = { "ipv4-native-routing-cidr": "10.244.0.0/16" };
const service = (name: string, spec: string, status = "", node = "node-1", backend = B): string => `
apiVersion: v1
kind: Service
metadata: {name: ${name}, namespace: default}
spec: ${spec}
${status}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ${name}-1, namespace: default, labels: {kubernetes.io/service-name: ${name}}}
addressType: IPv4
ports: [{port: 8080, protocol: TCP}]
endpoints: [{addresses: [${backend}], nodeName: ${node}, conditions: {ready: true}}]
`;
const tcp = (from: string, to: string, dport = 80, protocol: PacketInput["protocol"] = "TCP"): PacketInput =>
  ({ from, to, protocol, sport: 5000, dport });

describe("enable-internal-traffic-policy", () => {
  const objects = service("near", "{clusterIP: 10.96.0.21, internalTrafficPolicy: Local, ports: [{port: 80, targetPort: 8080}]}");
  const end = (version: string, value: string): string =>
    nodeStackBench(`cilium@${version}`, { ...NATIVE, "enable-internal-traffic-policy": value }, {}, { objects }).send(tcp(FAR, "10.96.0.21")).last;

  it.each([["1.16", false], ["1.17", true], ["1.18", true], ["1.19", false], ["1.20", false]] as const)("Cilium %s has it: %s", (version, has) => {
    expect(end(version, "true")).not.toContain(B);
    expect(end(version, "false").includes(`> ${B}:8080`)).toBe(has);
  });

  // A node port with externalTrafficPolicy Local: 1.18 keeps both scopes, and the inner one has all backends.
  it.each(["1.17", "1.18"])("Cilium %s: node ports from inside too", (version) => {
    const own = service("both", "{type: LoadBalancer, clusterIP: 10.96.0.22, internalTrafficPolicy: Local, "
      + "ports: [{port: 80, targetPort: 8080, nodePort: 30091}]}", "status: {loadBalancer: {ingress: [{ip: 192.0.2.81}]}}");
    const went = (value: string): string => nodeStackBench(`cilium@${version}`, { ...NATIVE, "enable-internal-traffic-policy": value }, {},
      { objects: own }).send(tcp(FAR, "192.0.2.81")).last;
    expect([went("true").includes(B), went("false").includes(`> ${B}:8080`)]).toEqual([false, true]);
  });
});

describe("enable-svc-source-range-check", () => {
  const objects = service("lb", "{type: LoadBalancer, clusterIP: 10.96.0.23, loadBalancerSourceRanges: [198.51.100.0/24], "
    + "ports: [{port: 80, targetPort: 8080, nodePort: 30092}]}", "status: {loadBalancer: {ingress: [{ip: 192.0.2.82}]}}");
  const went = (version: string, value: string): string[] => {
    const { end, reason } = nodeStackBench(`cilium@${version}`, { ...NATIVE, "enable-svc-source-range-check": value }, {}, { objects })
      .send(tcp(CLIENT, "192.0.2.82"), { at: "uplink" });
    return [end, reason];
  };

  it.each([["1.16", true], ["1.17", true], ["1.18", true], ["1.19", false], ["1.20", false]] as const)("Cilium %s has it: %s", (version, has) => {
    expect(went(version, "true")).toEqual(["Dropped", "DENIED_BY_LB_SRC_RANGE_CHECK"]);
    expect(went(version, "false")).toEqual(has ? ["Delivered", ""] : ["Dropped", "DENIED_BY_LB_SRC_RANGE_CHECK"]);
  });
});

describe("bpf-lb-proto-diff", () => {
  const went = (version: string, value: string): boolean[] => (["TCP", "UDP"] as const).map((protocol) =>
    nodeStackBench(`cilium@${version}`, { ...NATIVE, "bpf-lb-proto-diff": value }).send(tcp(CLIENT, NODE, 30080, protocol), { at: "uplink" })
      .last.includes(`> ${B}:8080`));

  it.each([
    ["1.16", [true, true], [true, true]], ["1.17", [true, false], [true, true]],
    // Keys with a protocol are looked for without one.
    ["1.18", [true, false], [false, false]], ["1.19", [true, false], [true, false]], ["1.20", [true, false], [true, false]],
  ] as const)("Cilium %s: TCP and UDP to a port of TCP with it %j, without %j", (version, on, off) => {
    expect([went(version, "true"), went(version, "false")]).toEqual([on, off]);
  });
});

it("pods go on by themselves in all of it", () => {
  expect(nodeStackBench("cilium@1.18", { ...NATIVE, "bpf-lb-proto-diff": "false" }).send(tcp(A, B)).end).toBe("Delivered");
});
