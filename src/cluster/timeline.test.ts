import { describe, expect, test } from "vitest";
import type { NodeFacts } from "./cluster.js";
import { type ManifestObjects, readManifests } from "./manifests.js";
import { buildCluster, buildTimeline } from "./timeline.js";

const NODES = ["n1 10.0.1.0/24 192.168.0.1", "n2 10.0.2.0/24 192.168.0.2"].map((line) => {
  const [name, podCIDR, address] = line.split(" ");
  return { apiVersion: "v1", kind: "Node", metadata: { name }, spec: { podCIDR }, status: { addresses: [
    { type: "Hostname", address: name }, { type: "InternalIP", address }] } };
});

function pod(name: string, nodeName: string, podIP: string, more: object = {}): object {
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop" }, spec: { nodeName, ...more },
    status: { podIP } };
}

function objects(...items: object[]): ManifestObjects {
  const { objects: read,
    problems } = readManifests([{ name: "c", text: JSON.stringify({ kind: "List", items }) }]);
  expect(problems).toEqual([]);
  return read;
}

describe("buildTimeline", () => {
  test("namespaces of objects exist, and every namespace has its name label", () => {
    const cluster = buildCluster(objects(pod("a", "n1", "10.0.1.1"),
      { apiVersion: "v1", kind: "Namespace",
        metadata: { name: "given", labels: { team: "x", "kubernetes.io/metadata.name": "lie" } } }));
    expect([...cluster.namespaces.values()].map((one) => [one.name, one.labels])).toEqual([
      ["given", { team: "x", "kubernetes.io/metadata.name": "given" }],
        ["shop", { "kubernetes.io/metadata.name": "shop" }]]);
  });

  test("a host-network pod without status has its node's addresses", () => {
    const cluster = buildCluster(objects(...NODES, pod("agent", "n2", "", { hostNetwork: true })));
    expect(cluster.pods[0].ips.map((ip) => ip.text)).toEqual(["192.168.0.2"]);
  });

  test("a CiliumNode gives its node the pod ranges and cilium_host's address that the Node does not say", () => {
    const cilium = (name: string): object => ({ apiVersion: "cilium.io/v2", kind: "CiliumNode", metadata: { name }, spec: {
      ipam: { podCIDRs: ["10.9.0.0/24"] },
      addresses: [{ type: "InternalIP", ip: "1.2.3.4" }, { type: "CiliumInternalIP", ip: "10.9.0.7" }] } });
    const bare = { ...NODES[0], metadata: { name: "n3" }, spec: {} };
    const { nodes } = buildCluster(objects(NODES[0], bare, cilium("n1"), cilium("n3")));
    expect(nodes.map((one) => [one.name, one.podCIDRs.map(({ text }) => text), one.addresses.map(({ address }) => address.text)]))
      .toEqual([["n1", ["10.0.1.0/24"], ["192.168.0.1", "10.9.0.7"]], ["n3", ["10.9.0.0/24"], ["192.168.0.1", "10.9.0.7"]]]);
  });

  test("assumed facts: uplink, a device and a host route for each pod, the other node's pods behind it",
    () => {
    const cluster = buildCluster(objects(...NODES, pod("b", "n1", "10.0.1.2"), pod("a", "n1", "10.0.1.1"),
      pod("agent", "n1", "192.168.0.1", { hostNetwork: true })));
    const { facts } = cluster.nodes[0];
    expect(facts.source).toBe("assumed");
    expect(facts.devices.map((device) => [device.index, device.kind, device.pod])).toEqual([
      [1, "loopback", null], [2, "uplink", null], [3, "pod", "shop/a"], [4, "pod", "shop/b"]]);
    expect(facts.routes.filter((route) => route.table === "main")
      .map((route) => `${route.destination.text} ${route.via?.text ?? "direct"} ${route.device}`)).toEqual([
      "10.0.1.1/32 direct 3", "10.0.1.2/32 direct 4", "10.0.2.0/24 192.168.0.2 2", "0.0.0.0/0 direct 2"]);
    expect(facts.routes.filter((route) => route.type === "local").map((route) => route.destination.text))
      .toEqual(["127.0.0.0/8", "::1/128", "192.168.0.1/32"]);
  });

  test("facts that were given are used; those of an unknown node are a Problem", () => {
    const given: NodeFacts = { devices: [], routes: [], neighbours: [], sysctls: {}, source: "read" };
    const timeline = buildTimeline({ initial: objects(...NODES),
      facts: new Map([["n1", given], ["gone", given]]) });
    expect(timeline.initial.nodes.map((node) => node.facts.source)).toEqual(["read", "assumed"]);
    expect(timeline.problems)
      .toMatchObject([{ severity: "error", what: expect.stringMatching(/^node facts were given for gone/) }]);
  });

  test("a pod on a node that is not there is a Problem, once for the node", () => {
    const { problems } = buildTimeline({ initial: objects(NODES[0], pod("a", "n9", "10.0.9.1"),
      pod("b", "n9", "10.0.9.2")) });
    expect(problems)
      .toMatchObject([{ where: { file: "c" }, what: expect.stringMatching(/^Pod shop\/a runs on node n9/) }]);
  });

  test("changes come oldest first, those of one instant as given, and a device keeps its index", () => {
    const first = objects(...NODES, pod("c", "n1", "10.0.1.3"));
    const second = objects(...NODES, pod("a", "n1", "10.0.1.1"), pod("c", "n1", "10.0.1.3"));
    const entry = { node: "n1", family: 4, protocol: 17, originalSource: null, originalDestination: null,
      originalSourcePort: null, originalDestinationPort: null, replySource: null } as const;
    const timeline = buildTimeline({ initial: first, changes: [
      { atNs: 9n, kind: "objects", objects: first }, { atNs: 5n, kind: "conntrack-delete", entry },
      { atNs: 5n, kind: "objects", objects: second }] });
    expect(timeline.changes.map((change) => [change.atNs, change.kind]))
      .toEqual([[5n, "conntrack-delete"], [5n, "cluster"], [9n, "cluster"]]);
    const clusters = [timeline.initial, ...timeline.changes
      .flatMap((one) => (one.kind === "cluster" ? [one.cluster] : []))];
    const indexes = clusters
      .map((one) => one.nodes[0].facts.devices.find((device) => device.pod === "shop/c"))
      .map((device) => `${device?.index} ${device?.name}`);
    expect(new Set(indexes).size).toBe(1);
    expect(clusters.map((one) => one.nodes[0].facts.devices.filter((device) => device.kind === "pod").length))
      .toEqual([1, 2, 1]);
  });
});
