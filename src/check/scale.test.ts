import { describe, expect, it } from "vitest";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import type { Cluster } from "../cluster/cluster.js";
import type { AnyRecord } from "../contract/codec.js";
import type { MapName } from "../contract/maps.js";
import { compileForLimits, compileImage } from "../ebpf/image.js";
import { checkLimits } from "../ebpf/limits.js";
import { ciliumOptions } from "../ebpf/options.js";
import { assumedNetwork, parseProfile, settingOf, usageOf } from "../planes.js";
import { blockersOf } from "./blockers.js";
import { MOST_NODES, scaledCluster } from "./scale.js";

const APPS = 60;
const PORTS = [80, 443, 8080, 9090];

function profile(text: string) {
  const parsed = parseProfile(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

function clusterOf(items: readonly object[]): Cluster {
  const { objects, problems } = readManifests([{ name: "cluster.json", text: JSON.stringify({ apiVersion: "v1", kind: "List", items }) }]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return buildCluster(objects);
}

const NODE = { apiVersion: "v1", kind: "Node", metadata: { name: "n1" },
  status: { addresses: [{ type: "InternalIP", address: "192.168.0.1" }] } };

/** The documented way around ipBlock, as in AKS#5969: a peer of all namespaces and all pods, at several ports. */
const INCIDENT = clusterOf([
  NODE,
  ...Array.from({ length: APPS }, (_, index) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: `p${index}`, namespace: "shop",
    labels: { app: `a${index}` } }, spec: { nodeName: "n1" }, status: { podIP: `10.0.0.${index + 1}` } })),
  { apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", metadata: { name: "around-ipblock", namespace: "shop" },
    spec: { podSelector: {}, policyTypes: ["Egress"], egress: [{ to: [{ namespaceSelector: {}, podSelector: {} }],
      ports: PORTS.map((port) => ({ port, protocol: "TCP" })) }] } },
]);

function usage(cluster: Cluster, target = "cilium@1.18") {
  const found = usageOf(profile(target), cluster, assumedNetwork(cluster, {}, []));
  const of = (id: string) => found.limits.find((row) => row.id === id);
  return { ...found, policy: of("CAP-POLICYMAP")!, identities: of("CAP-IDENTITY")! };
}

describe("a peer of everybody at several ports", () => {
  it("takes an entry for each identity and port, and is blamed", () => {
    const { policy, identities } = usage(INCIDENT);
    expect(identities.used).toBe(APPS);
    expect(policy.used).toBeGreaterThanOrEqual(APPS * PORTS.length);
    expect(policy.because[0]).toMatch(/^shop\/around-ipblock: 24\d entries$/);
    expect(policy.exceeded).toBe(false);
  });

  it("stays with more replicas, and overflows with more tenants", () => {
    const wanted = APPS * 80;
    const replicas = usage(scaledCluster(INCIDENT, wanted, "replicas"));
    expect([replicas.pods, replicas.identities.used, replicas.policy.used, replicas.overflowing])
      .toEqual([wanted, APPS, usage(INCIDENT).policy.used, 0]);
    const labels = usage(scaledCluster(INCIDENT, wanted, "labels"));
    expect([labels.pods, labels.identities.used, labels.overflowing]).toEqual([wanted, wanted, wanted]);
    expect(labels.policy.used).toBeGreaterThanOrEqual(wanted * PORTS.length);
    expect(labels.policy.exceeded).toBe(true);
    expect(labels.policy.because[0]).toMatch(/^shop(-\d+)?\/around-ipblock: \d+ entries$/);
  });

  it.each([["1.16", false], ["1.17", true], ["1.18", true], ["1.19", true], ["1.20", false]])("Cilium %s says what follows",
    (version, looksReady) => {
      expect(usage(INCIDENT, `cilium@${version}`).policy.consequence.includes("look ready")).toBe(looksReady);
    });
});

describe("blockers", () => {
  const found = (items: readonly object[], target = "cilium@1.20"): string[] => {
    const cluster = clusterOf([NODE, ...items]);
    return blockersOf(cluster, settingOf(profile(target), cluster, assumedNetwork(cluster, {}, [])))
      .map(({ id, object }) => `${id} ${object}`);
  };
  const pod = (ports: readonly object[]) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "x" },
    spec: { nodeName: "n1", containers: [{ name: "c", ports }] }, status: { podIP: "10.0.0.9" } });
  it.each<[string, object[], string[]]>([
    ["none", [pod([{ containerPort: 80, hostPort: 8080 }])], []],
    ["a Windows node", [{ ...NODE, metadata: { name: "w", labels: { "kubernetes.io/os": "windows" } } }], [" Node w"]],
    ["a host port among node ports", [pod([{ containerPort: 80, hostPort: 30100 }])], ["SVC-HOSTPORT Pod x/p"]],
    ["a host port at loopback", [pod([{ containerPort: 80, hostPort: 81, hostIP: "127.0.0.1" }])], ["SVC-HOSTPORT Pod x/p"]],
    ["a service of SCTP", [{ apiVersion: "v1", kind: "Service", metadata: { name: "s", namespace: "x" },
      spec: { clusterIP: "10.96.0.1", ports: [{ port: 9, protocol: "SCTP" }] } }], ["PROTO-SCTP Service x/s"]],
    ["a policy of Calico's", [{ apiVersion: "projectcalico.org/v3", kind: "GlobalNetworkPolicy", metadata: { name: "g" }, spec: {} }],
      [" GlobalNetworkPolicy g"]],
  ])("%s", (_, items, expected) => {
    expect(found(items)).toEqual(expected);
  });
});

describe("a service with node ports, affinity, source ranges and Local traffic", () => {
  const second = { ...NODE, metadata: { name: "n2" }, status: { addresses: [{ type: "InternalIP", address: "192.168.0.2" }] } };
  const web = clusterOf([NODE, second,
    ...[1, 2, 3].map((index) => ({ apiVersion: "v1", kind: "Pod", metadata: { name: `p${index}`, namespace: "shop" },
      spec: { nodeName: index === 3 ? "n2" : "n1" }, status: { podIP: `10.0.0.${index}`, phase: index === 3 ? "Running" : "Succeeded" } })),
    ...["Local", "Cluster"].map((externalTrafficPolicy, at) => ({ apiVersion: "v1", kind: "Service",
      metadata: { name: `web-${at}`, namespace: "shop" }, spec: { type: "LoadBalancer", externalTrafficPolicy, sessionAffinity: "ClientIP",
        clusterIP: `10.96.0.${at + 1}`, loadBalancerSourceRanges: ["203.0.113.0/24", "198.51.100.0/24"],
        ports: [{ port: 80, nodePort: 30080 + at }] }, status: { loadBalancer: { ingress: [{ ip: `198.51.100.${at + 1}` }] } } })),
    ...[0, 1].map((at) => ({ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4",
      metadata: { name: `web-${at}`, namespace: "shop", labels: { "kubernetes.io/service-name": `web-${at}` } }, ports: [{ port: 8080 }],
      endpoints: [{ addresses: ["10.0.0.3"], nodeName: "n2" }, { addresses: ["10.0.0.9"], nodeName: "n1" }] }))]);

  it.each(["cilium@1.16", "cilium@1.18", "cilium@1.20"])("is counted on %s as a node's maps have it", (target) => {
    const { options } = ciliumOptions(target, web, {});
    const image = compileImage({ cluster: web, options });
    // Of one node: the rows of every node and its own; what rev_nat_id tells apart by the node whose rows have it.
    const rows = (name: MapName): AnyRecord[] => image.maps.get(name)!.map(([key]) => key);
    const services = rows("cilium_lb4_services_v2");
    const onNode = (node: number): AnyRecord[] => services.filter((key) => key["node"] === 0xffff || key["node"] === node);
    const revNat = (node: number): Set<unknown> => new Set(image.maps.get("cilium_lb4_services_v2")!
      .filter(([key]) => key["node"] === 0xffff || key["node"] === node).map(([, value]) => value["rev_nat_index"]));
    const ofNode = (name: MapName, node: number): number => rows(name).filter((key) => revNat(node).has(key["rev_nat_id"])).length;
    const used = new Map(checkLimits(compileForLimits({ cluster: web, options }), 0).map((one) => [one.limit, one.used]));
    expect(used.get("cilium_lb4_services_v2")).toBe(Math.max(onNode(0).length, onNode(1).length));
    expect(used.get("cilium_lb4_source_range")).toBe(Math.max(ofNode("cilium_lb4_source_range", 0), ofNode("cilium_lb4_source_range", 1)));
    // 1.18 has them for node ports too, of which each node has its own.
    expect(used.get("cilium_lb4_source_range")! < rows("cilium_lb4_source_range").length).toBe(target === "cilium@1.18");
    expect(used.get("cilium_lb4_backends_v3")).toBe(rows("cilium_lb4_backends_v3").length);
    expect(used.get("cilium_ipcache_v2")).toBe(rows("cilium_ipcache_v2").length);
    expect(used.get("cilium_lb_affinity_match")).toBeGreaterThan(0);
    expect(used.get("cilium_lb_affinity_match")).toBeLessThanOrEqual(ofNode("cilium_lb_affinity_match", 1));
  });

  it("grows to the pods asked for, ended ones aside, on at most as many nodes as Kubernetes is made for", () => {
    const grown = usage(scaledCluster(web, 20_000, "replicas"));
    expect([grown.pods, grown.nodes, grown.podsOfFullestNode]).toEqual([20_000, MOST_NODES, 8]);
    const services = grown.limits.find(({ limit }) => limit === "cilium_lb4_services_v2")!;
    expect(services.used).toBeGreaterThan(20_000);
  });
});
