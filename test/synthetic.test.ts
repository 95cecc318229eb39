/** Manifests that were never in a cluster: what a cluster would make of them is made up, and said. */
import { describe, expect, it } from "vitest";
import { readManifests } from "../src/cluster/manifests.js";
import { withSynthetic } from "../src/cluster/synthetic.js";
import { buildTimeline } from "../src/cluster/timeline.js";

const template = (app: string, more: object = {}): object => ({ metadata: { labels: { app } },
  spec: { containers: [{ name: "c", ports: [{ name: "http", containerPort: 8080 }], env: [{ name: "TOKEN", value: "hush" }] }], ...more } });
const workload = (kind: string, name: string, spec: object, more: object = {}): object =>
  ({ apiVersion: /Job/.test(kind) ? "batch/v1" : "apps/v1", kind, metadata: { name, namespace: "shop", ...more }, spec });
const service = (name: string, spec: object): object => ({ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "shop" },
  spec: { selector: { app: name }, ports: [{ port: 80, targetPort: "http" }], ...spec } });
const node = (name: string, podCIDR: string | undefined): object => ({ apiVersion: "v1", kind: "Node", metadata: { name }, spec: { podCIDR },
  status: { addresses: [{ type: "InternalIP", address: `192.168.0.${name.slice(-1)}` }] } });
const pod = (name: string, labels: object, more: object = {}): object => ({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop", labels,
  ...more }, spec: { nodeName: "node1" }, status: { podIP: "10.1.0.5" } });

function made(...items: object[]): ReturnType<typeof withSynthetic> {
  const read = readManifests([{ name: "f", text: JSON.stringify({ kind: "List", items }) }]);
  expect(read.problems).toEqual([]);
  return withSynthetic(read.objects);
}

const SHOP = [
  workload("Deployment", "web", { replicas: 3, template: template("web") }), workload("StatefulSet", "db", { replicas: 2, template: template("db") }),
  workload("DaemonSet", "log", { template: template("log", { hostNetwork: true }) }), workload("Job", "once", { parallelism: 2, template: template("once") }),
  workload("CronJob", "nightly", { jobTemplate: { spec: { template: template("nightly") } } }),
  workload("ReplicaSet", "of-web", { replicas: 3, template: template("web") }, { ownerReferences: [{ controller: true, kind: "Deployment", name: "web" }] }),
  service("web", {}), service("db", { clusterIP: "None" }),
];

describe("a repository of manifests", () => {
  const { objects, problems } = made(...SHOP);

  it("gets two nodes and each workload's pods, as many as it asks for", () => {
    expect(objects.nodes.map((one) => one.name)).toEqual(["synthetic-node-1", "synthetic-node-2"]);
    expect(objects.pods.map((one) => one.name)).toEqual(["db-0", "db-1", "log-synthetic-0", "log-synthetic-1", "nightly-synthetic-0",
      "once-synthetic-0", "once-synthetic-1", "web-synthetic-0", "web-synthetic-1", "web-synthetic-2"]);
    expect(new Set(objects.pods.filter((one) => one.name.startsWith("log")).map((one) => one.nodeName)).size).toBe(2);
    expect(objects.pods.find((one) => one.name === "db-1")).toMatchObject({ owner: "db", ports: [{ containerPort: 8080 }],
      labels: { app: "db", "statefulset.kubernetes.io/pod-name": "db-1" } });
    expect(JSON.stringify(objects)).not.toContain("hush");
  });

  it("gives each pod an address of its own in its node's range, and host-network pods their node's", () => {
    const own = objects.pods.filter((one) => !one.hostNetwork);
    expect(new Set(own.map((one) => one.ips[0].text)).size).toBe(own.length);
    const { initial, problems: none } = buildTimeline({ initial: objects });
    expect(none).toEqual([]);
    for (const one of initial.nodes) {
      const devices = one.facts.devices.filter((device) => device.kind === "pod").map((device) => device.pod);
      expect(devices.sort()).toEqual(own.filter(({ nodeName }) => nodeName === one.name).map(({ name }) => `shop/${name}`).sort());
    }
    expect(objects.pods.find((one) => one.hostNetwork)?.ips[0].text).toMatch(/^192\.168\.50\./);
  });

  it("gives services addresses, and the pods of their selectors by the ports' names", () => {
    expect(objects.services.map((one) => [one.name, one.clusterIPs.length])).toEqual([["db", 0], ["web", 1]]);
    expect(objects.endpointSlices.map((one) => [one.serviceName, one.ports[0].port, one.endpoints.length])).toEqual([["db", 8080, 2], ["web", 8080, 3]]);
  });

  it("says everything that was made up", () => {
    expect(problems.map((one) => [one.severity, one.what])).toEqual([
      /no Node among the objects/, /1 CronJob without pods \(shop\/nightly\)/, /1 DaemonSet without pods/, /1 StatefulSet without pods/,
      /1 Job without pods/, /1 Deployment without pods/, /1 Service without cluster IP \(shop\/web\)/, /2 Services without EndpointSlices/,
    ].map(() => ["warning", expect.any(String)]));
    for (const what of [/no Node/, /CronJob/, /DaemonSet/, /StatefulSet/, /1 Job/, /Deployment/, /cluster IP \(shop\/web\)/, /2 Services without Endp/]) {
      expect(problems.filter((one) => what.test(one.what))).toHaveLength(1);
    }
  });

  it("is the same in another order, and one more workload moves nothing else", () => {
    expect(made(...SHOP.toReversed()).objects.pods.map((one) => [one.name, one.ips[0].text])).toEqual(objects.pods.map((one) => [one.name, one.ips[0].text]));
    const more = made(...SHOP, workload("Deployment", "aaa", { template: template("aaa") })).objects.pods;
    for (const one of objects.pods) expect(more.find(({ name }) => name === one.name)).toMatchObject({ nodeName: one.nodeName, ips: one.ips });
  });
});

describe("what a cluster has already stays", () => {
  const live = { uid: "1" };
  it.each<[string, object[], string[]]>([
    ["a workload with a pod by its owner", [node("node1", "10.1.0.0/24"), pod("x", {}, { ownerReferences: [{ controller: true, name: "web" }] }),
      workload("Deployment", "web", { replicas: 3, template: template("web") })], ["x"]],
    ["a workload with a pod by its labels", [node("node1", "10.1.0.0/24"), pod("x", { app: "web" }),
      workload("Deployment", "web", { template: template("web") })], ["x"]],
    ["a workload of a cluster that has none of its pods", [node("node1", "10.1.0.0/24"), pod("x", {}),
      workload("Deployment", "web", { template: template("web") }, live)], ["x"]],
    ["a workload of no pods", [node("node1", "10.1.0.0/24"), workload("Deployment", "web", { replicas: 0, template: template("web") })], []],
    ["a workload of a cluster whose pods were not asked for", [node("node1", "10.1.0.0/24"),
      workload("Deployment", "web", { template: template("web") }, live)], ["web-synthetic-0"]],
  ])("%s", (_what, items, expected) => {
    expect(made(...items).objects.pods.map((one) => one.name)).toEqual(expected);
  });

  it("nodes' own ranges are used, and addresses that pods have are not given twice", () => {
    const many = workload("DaemonSet", "log", { template: template("log") });
    const { pods } = made(node("node1", "10.1.0.0/29"), node("node2", undefined), pod("x", {}), many).objects;
    const byNode = new Map(pods.map((one) => [one.name, [one.nodeName, one.ips[0].text]]));
    expect(byNode.get("log-synthetic-0")).toEqual(["node1", expect.stringMatching(/^10\.1\.0\./)]);
    expect(byNode.get("log-synthetic-1")).toEqual(["node2", expect.stringMatching(/^10\.244\./)]);
    expect(new Set(pods.map((one) => one.ips[0].text)).size).toBe(3);
  });

  it("a service with slices keeps them", () => {
    const slice = { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", metadata: { name: "s", namespace: "shop",
      labels: { "kubernetes.io/service-name": "web" } }, addressType: "IPv4", ports: [], endpoints: [] };
    expect(made(...SHOP, slice).objects.endpointSlices.filter((one) => one.serviceName === "web")).toHaveLength(1);
  });
});

describe("nodes that only their pods name", () => {
  const live = (name: string, nodeName: string, status: object): object => ({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "shop" },
    spec: { nodeName }, status: { phase: "Running", ...status } });
  const pods = [live("a", "vmss0", { podIP: "10.244.0.5", hostIP: "10.224.0.4", hostIPs: [{ ip: "10.224.0.4" }, { ip: "fd00::4" }] }),
    live("b", "vmss1", { podIP: "10.244.1.5" }), live("gone", "vmss9", { phase: "Failed", podIP: "10.244.9.5", hostIP: "10.224.0.9" })];

  it("are made with the addresses that the pods say, and the pods are behind them", () => {
    const { objects, problems } = made(...pods);
    expect(objects.nodes.map(({ name, addresses }) => [name, ...addresses.map(({ address }) => address.text)]))
      .toEqual([["vmss0", "10.224.0.4", "fd00::4"], ["vmss1", expect.stringMatching(/^192\.168\.50\./)]]);
    expect(problems.map(({ what }) => what)).toEqual([expect.stringMatching(
      /^2 Nodes that pods run on are not among the objects \(vmss0, vmss1\).*addresses of 1 are synthetic$/)]);
    const { initial, problems: none } = buildTimeline({ initial: objects });
    expect(none).toEqual([]);
    expect(initial.nodes.flatMap((one) => one.facts.devices.flatMap((device) => device.pod ?? []))).toEqual(["shop/a", "shop/b"]);
  });

  it("stand beside those that the dump has", () => {
    const { objects } = made(node("node1", "10.1.0.0/24"), pod("x", {}), ...pods);
    expect(objects.nodes.map(({ name }) => name)).toEqual(["node1", "vmss0", "vmss1"]);
  });
});

describe("a dump with Endpoints and no EndpointSlices", () => {
  const endpoints = (name: string, subsets: object[], labels = {}): object => ({ apiVersion: "v1", kind: "Endpoints",
    metadata: { name, namespace: "shop", labels }, subsets });
  const ready = [{ addresses: [{ ip: "10.1.0.5", nodeName: "node1" }], ports: [{ name: "", port: 8080 }] }];
  const bare = { selector: undefined, clusterIP: "10.0.0.9" };

  it("has the services' endpoints from them, those without a selector too", () => {
    const { objects, problems } = made(node("node1", "10.1.0.0/24"), pod("x", { app: "web" }), service("web", { clusterIP: "10.0.0.8" }),
      endpoints("web", [{ notReadyAddresses: [{ ip: "10.1.0.5" }], ports: [{ port: 8080 }] }]),
      service("outside", bare), endpoints("outside", ready), service("skipped", { ...bare, clusterIP: "10.0.0.10" }),
      endpoints("skipped", ready, { "endpointslice.kubernetes.io/skip-mirror": "true" }));
    expect(objects.endpointSlices.map((one) => [one.serviceName, one.ports.map(({ port }) => port),
      one.endpoints.map((end) => [end.addresses[0].text, end.ready, end.serving])])).toEqual([
      ["outside", [8080], [["10.1.0.5", true, true]]], ["web", [8080], [["10.1.0.5", false, false]]]]);
    expect(problems.map(({ what }) => what)).toEqual([
      "3 Services without EndpointSlices (shop/outside, shop/skipped, shop/web): the Endpoints of the same name are read in their place"]);
  });

  it("a service that Endpoints say has none has none, whatever its selector", () => {
    const { objects } = made(node("node1", "10.1.0.0/24"), pod("x", { app: "web" }), 
      service("web", { clusterIP: "10.0.0.8", ports: [{ port: 80, targetPort: 8080 }] }), endpoints("web", []));
    expect(objects.endpointSlices).toEqual([]);
  });
});
