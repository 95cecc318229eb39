/** What the ring once found, each as small as it got: the words and the plane must say the same, and this. */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../src/cluster/address.js";
import type { Plain } from "./clusters.js";
import type { RingProbe } from "./probes.js";
import { askSpec, verdictOf, worldOf } from "./ring.js";

const node = (name: string, index: number): Plain => ({ apiVersion: "v1", kind: "Node", metadata: { name },
  spec: { podCIDRs: [`10.244.${index}.0/24`] }, status: { addresses: [{ type: "InternalIP", address: `192.168.50.1${index}` }] } });
const pod = (namespace: string, name: string, at: number): Plain => ({ apiVersion: "v1", kind: "Pod", metadata: { namespace, name },
  spec: { nodeName: `n${at}`, containers: [{ name: "c" }] }, status: { phase: "Running", podIPs: [{ ip: `10.244.${at}.20` }] } });
const BASE = { v6: false, items: [node("n1", 1), node("n2", 2), pod("red", "a", 1), pod("blue", "b", 2)] };

const from = (source: string): RingProbe => ({ source, destination: "10.244.2.20", protocol: "TCP", port: 80,
  node: source.startsWith("10.244.1") || source.endsWith(".11") ? "n1" : "n2", device: source.startsWith("10.244.1") ? deviceOfPod : source.startsWith("203.") ? uplink : 0 });
const [n1, n2] = worldOf(BASE, [], { version: "1.20", options: {} }, 0).cluster.nodes;
const deviceOfPod = n1.facts.devices.find((one) => one.pod === "red/a")!.index;
const uplink = n2.facts.devices.find(({ kind }) => kind === "uplink")!.index;

const policy = (kind: string, spec: Plain, apiVersion = "cilium.io/v2", namespace = kind === "CiliumNetworkPolicy" ? "blue"
  : undefined): Plain => ({
  apiVersion, kind, metadata: { name: "p", namespace }, spec });
const REMOTE = { matchLabels: { "reserved:remote-node": "" } };
const RED = { fromEndpoints: [{ matchLabels: { "k8s:io.kubernetes.pod.namespace": "red" } }] };
const PASS = policy("ClusterNetworkPolicy", { tier: "Admin", priority: 0, subject: { namespaces: {} },
  ingress: [{ action: "Pass", from: [{ namespaces: {} }] }] }, "policy.networking.k8s.io/v1alpha2");
const TIERS = { "enable-k8s-cluster-network-policy": true };

describe("found by the ring", () => {
  it.each<[string, string, Plain, readonly Plain[], string, string]>([
    ["what a later tier allows of what was passed, whichever object was read first", "1.20", TIERS,
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "1", endPort: 9090 }] }] }] }), PASS],
      "10.244.1.20", "allowed"],
    ["the own node comes before the deny that stands for no rule", "1.20", TIERS,
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{}] }), PASS], "192.168.50.12", "allowed"],
    ["fromRequires narrows a NetworkPolicy's rule for everybody", "1.18", {},
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ fromRequires: [{}] }] }),
        policy("NetworkPolicy", { podSelector: {}, ingress: [{}] }, "networking.k8s.io/v1", "blue")], "10.244.1.20", "denied"],
    ["it narrows fromEndpoints of everybody, which a rule about reserved:init has", "1.18", {},
      [policy("CiliumClusterwideNetworkPolicy", { endpointSelector: { matchExpressions: [{ key: "reserved:init", operator: "DoesNotExist" }] },
        ingress: [{ fromRequires: [{ matchLabels: { app: "a" } }] }, { fromEndpoints: [{}] }] })], "203.0.113.9", "denied"],
    ["of a reserved label it means a namespace as well, which no node has", "1.16", {},
      [policy("CiliumClusterwideNetworkPolicy", { endpointSelector: {}, ingress: [{ fromRequires: [REMOTE], fromEndpoints: [REMOTE] }] })],
      "192.168.50.11", "denied"],
    ["it does not narrow fromNodes", "1.18", { "enable-node-selector-labels": true },
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ fromRequires: [{}] }, { fromNodes: [{}] }] })],
      "192.168.50.11", "allowed"],
    ["a port's name is the pod's own, whatever pods of the same labels call so", "1.17", {},
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ toPorts: [{ ports: [{ port: "web" }] }] }] }),
        { ...pod("blue", "c", 1), spec: { nodeName: "n1", containers: [{ name: "c", ports: [{ name: "web", containerPort: 80 }] }] },
          status: { phase: "Running", podIPs: [{ ip: "10.244.1.21" }] } }], "192.168.50.11", "denied"],
    ["a deny that is certain stands beside one that is not known", "1.20", {},
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingressDeny: [{ fromGroups: [{ aws: {} }] }, { fromCIDR: ["203.0.113.0/24"] }] }),
        policy("CiliumClusterwideNetworkPolicy", { endpointSelector: {}, ingress: [{ fromEntities: ["all"] }] })], "203.0.113.9", "denied"],
    ["entity cluster has the other nodes", "1.20", {},
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ fromEntities: ["cluster"] }] })], "192.168.50.11", "allowed"],
    ["so does an allow, in 1.16 too", "1.16", {},
      [policy("CiliumNetworkPolicy", { endpointSelector: {}, ingress: [{ fromGroups: [{ aws: {} }] }, { fromCIDR: ["203.0.113.0/24"] }] })],
      "203.0.113.9", "allowed"],
    ["a deny of all ports stops an allow of one that comes after it, in 1.16's longest prefix too", "1.16", {}, [true, false].map((deny) => ({
      ...policy("CiliumNetworkPolicy", deny ? { endpointSelector: {}, ingressDeny: [RED] }
        : { endpointSelector: {}, ingress: [{ ...RED, toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] }] }),
      metadata: { name: deny ? "a" : "b", namespace: "blue" } })), "10.244.1.20", "denied"],
    ["without it the same rule allows", "1.18", {},
      [policy("NetworkPolicy", { podSelector: {}, ingress: [{}] }, "networking.k8s.io/v1", "blue")], "10.244.1.20", "allowed"],
  ])("%s", (_, version, options, policies, source, wanted) => {
    const world = worldOf(BASE, policies, { version, options }, 0);
    const probe = from(source);
    expect([verdictOf(world.sender.send(probe)), askSpec(world.spec, probe).allowed]).toEqual([wanted, wanted === "allowed"]);
  });

  // pkg/fqdn/matchpattern: a star is within one label; two at the start are any number of them, from 1.19 on.
  it.each([
    ["1.18", "*.example.com", "a.example.com", "allowed"], ["1.18", "*.example.com", "a.b.example.com", "denied"],
    ["1.20", "*.example.com", "a.b.example.com", "denied"], ["1.18", "**.example.com", "a.b.example.com", "denied"],
    ["1.20", "**.example.com", "a.b.example.com", "allowed"], ["1.20", "*.example.com", "example.com", "denied"],
  ] as const)("names: in %s %s and %s: %s", (version, matchPattern, name, wanted) => {
    const named = "198.51.100.7";
    const policies = [policy("CiliumNetworkPolicy", { endpointSelector: {}, egress: [{ toFQDNs: [{ matchPattern }] }] }, "cilium.io/v2", "red")];
    const names = { complete: true, addresses: new Map([[name, [parseAddress(named)!]]]) };
    const world = worldOf(BASE, policies, { version, options: {}, names }, 0);
    const probe = { ...from("10.244.1.20"), destination: named };
    expect([verdictOf(world.sender.send(probe)), askSpec(world.spec, probe).allowed]).toEqual([wanted, wanted === "allowed"]);
  });
});
