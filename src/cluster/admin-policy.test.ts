import { describe, expect, test } from "vitest";
import type { AdminPolicy } from "./admin-policy.js";
import { readManifests } from "./manifests.js";

const VERSIONS = { AdminNetworkPolicy: "v1alpha1", BaselineAdminNetworkPolicy: "v1alpha1", ClusterNetworkPolicy: "v1alpha2" };

function read(kind: keyof typeof VERSIONS, spec: object, name = kind.startsWith("Baseline") ? "default" : "p")
  : { policies: readonly AdminPolicy[]; errors: string[]; warnings: string[] } {
  const text = JSON.stringify({ apiVersion: `policy.networking.k8s.io/${VERSIONS[kind]}`, kind, metadata: { name }, spec });
  const { objects, problems } = readManifests([{ name: "p.json", text }]);
  expect(problems.every((one) => one.where?.line === 1)).toBe(true);
  const said = (severity: string): string[] => problems.filter((one) => one.severity === severity).map((one) => one.what);
  return { policies: objects.adminPolicies, errors: said("error"), warnings: said("warning") };
}

const NAMESPACES = [{ namespaces: {} }];
const HEAD = { priority: 5, subject: { namespaces: {} } };
const anp = (rule: object): object => ({ ...HEAD, egress: [{ action: "Allow", to: NAMESPACES, ...rule }] });
const ingress = (rule: object): object => ({ ...HEAD, ingress: [{ action: "Deny", from: NAMESPACES, ...rule }] });
const cluster = (rule: object): object => ({ ...anp({ action: "Accept", ...rule }), tier: "Admin" });

describe("one form of three kinds", () => {
  test("actions, ports, peers and lines", () => {
    const { policies: [policy] } = read("ClusterNetworkPolicy", {
      tier: "Baseline", priority: 7, subject: { pods: { namespaceSelector: {}, podSelector: { matchLabels: { a: "b" } } } },
      egress: [{ name: "r", action: "Accept", to: [{ networks: ["10.0.0.0/8"] }, { nodes: {} }, { domainNames: ["*.Example.COM."] }],
        protocols: [{ tcp: { destinationPort: { number: 80 } } }, { udp: { destinationPort: { range: { start: 1, end: 9 } } } }] }],
    });
    expect(policy).toMatchObject({ kind: "ClusterNetworkPolicy", tier: "Baseline", priority: 7, ingress: [],
      subject: { kind: "pods", namespaces: { by: "selector" }, podSelector: { matchLabels: { a: "b" } } },
      egress: [{ name: "r", action: "Allow", where: { line: 1 },
        peers: [{ kind: "networks", cidrs: [{ text: "10.0.0.0/8" }] }, { kind: "nodes" }, { kind: "domainNames",
          names: ["*.example.com"] }],
        ports: [{ kind: "range", protocol: "TCP", first: 80, last: 80 }, { kind: "range", protocol: "UDP", first: 1, last: 9 }] }] });
  });

  test("v1alpha1's ports; an absent or empty protocol is TCP; no list means every port", () => {
    const ports = [{ portNumber: { port: 80 } }, { portNumber: { port: 81, protocol: "" } },
      { portRange: { start: 1, end: 2, protocol: "UDP" } }, { namedPort: "web" }];
    expect(read("AdminNetworkPolicy", anp({ ports })).policies[0].egress[0].ports).toEqual([
      { kind: "range", protocol: "TCP", first: 80, last: 80 }, { kind: "range", protocol: "TCP", first: 81, last: 81 },
      { kind: "range", protocol: "UDP", first: 1, last: 2 }, { kind: "named", name: "web" }]);
    expect(read("AdminNetworkPolicy", anp({})).policies[0].egress[0].ports).toBeNull();
  });

  test("the shapes of v0.1.1 are read as they were meant, with a warning", () => {
    const { policies, warnings } = read("AdminNetworkPolicy", ingress({ from: [{ namespaces: { sameLabels: ["t"] } },
      { pods: { namespaces: { notSameLabels: ["t"] }, podSelector: {} } },
        { namespaces: { namespaceSelector: { matchLabels: { a: "b" } } } }] }));
    expect(policies[0].ingress[0].peers.map((peer) => (peer.kind === "pods" ? peer.namespaces : null))).toEqual([
      { by: "sameLabels", keys: ["t"] }, { by: "notSameLabels", keys: ["t"] },
      { by: "selector", selector: { matchLabels: { a: "b" }, matchExpressions: [] } }]);
    expect(warnings.length).toBe(3);
  });

  test("a peer of a newer schema is kept as unknown, with a warning", () => {
    const { policies, errors, warnings } = read("ClusterNetworkPolicy", cluster({ to: [{ services: {} }] }));
    expect(policies[0].egress[0].peers).toEqual([{ kind: "unknown", fields: ["services"] }]);
    expect([errors, warnings]).toEqual([[], [expect.stringContaining("fails closed")]]);
    expect(read("AdminNetworkPolicy",
      ingress({ from: [{ networks: ["10.0.0.0/8"] }] })).policies[0].ingress[0].peers[0].kind).toBe("unknown");
    expect(read("BaselineAdminNetworkPolicy", { subject: { namespaces: {} }, egress: [{ action: "Allow",
      to: [{ domainNames: ["a.b"] }] }] })
      .policies[0].egress[0].peers[0].kind).toBe("unknown");
  });
});

describe("what the API server refuses is not used", () => {
  const many = (count: number, item: unknown): unknown[] => Array.from({ length: count }, () => item);
  test.each<[string, keyof typeof VERSIONS, object, RegExp]>([
    ["no priority", "AdminNetworkPolicy", { subject: { namespaces: {} } }, /priority: found none, expected 0 to 1000/],
    ["priority 1001", "ClusterNetworkPolicy", { ...cluster({}), priority: 1001 }, /found 1001, expected 0 to 1000/],
    ["no tier", "ClusterNetworkPolicy", anp({ action: "Accept" }), /found no tier/],
    ["tier NetworkPolicy", "ClusterNetworkPolicy", { ...cluster({}), tier: "NetworkPolicy" }, /expected Admin or Baseline/],
    ["no subject", "AdminNetworkPolicy", { priority: 1 }, /found 0 of namespaces and pods/],
    ["both subjects", "AdminNetworkPolicy", { priority: 1, subject: { namespaces: {}, pods: {} } }, /found 2 of namespaces and pods/],
    ["Accept in v1alpha1", "AdminNetworkPolicy", anp({ action: "Accept" }), /expected Allow or Deny or Pass/],
    ["Allow in v1alpha2", "ClusterNetworkPolicy", cluster({ action: "Allow" }), /expected Accept or Deny or Pass/],
    ["Pass in the baseline", "BaselineAdminNetworkPolicy", { subject: { namespaces: {} }, ingress: [{ action: "Pass", from: NAMESPACES }] },
      /expected Allow or Deny/],
    ["no action", "AdminNetworkPolicy", { ...anp({}), egress: [{ to: NAMESPACES }] }, /found no action/],
    ["no peers", "AdminNetworkPolicy", anp({ to: [] }), /found 0 peers, expected 1 to 100/],
    ["26 peers", "ClusterNetworkPolicy", cluster({ to: many(26, NAMESPACES[0]) }), /found 26 peers, expected 1 to 25/],
    ["26 rules", "ClusterNetworkPolicy", { ...cluster({}), ingress: many(26, { action: "Deny", from: NAMESPACES }) }, /found 26 rules/],
    ["an empty peer", "AdminNetworkPolicy", anp({ to: [{}] }), /found an empty peer/],
    ["two fields in a peer", "AdminNetworkPolicy", anp({ to: [{ namespaces: {}, nodes: {} }] }), /found namespaces and nodes in one peer/],
    ["no ports in the list", "AdminNetworkPolicy", anp({ ports: [] }), /found 0 items, expected 1 to 100/],
    ["two ports in an item", "AdminNetworkPolicy", anp({ ports: [{ namedPort: "a", portNumber: { port: 1 } }] }),
      /exactly one of portNumber/],
    ["port 0", "AdminNetworkPolicy", anp({ ports: [{ portNumber: { port: 0 } }] }), /expected a port from 1 to 65535/],
    ["a protocol without port", "ClusterNetworkPolicy", cluster({ protocols: [{ tcp: {} }] }), /found no destinationPort/],
    ["a range of one", "ClusterNetworkPolicy", cluster({ protocols: [{ tcp: { destinationPort: { range: { start: 5, end: 5 } } } }] }),
      /expected start below end/],
    ["a named port to networks", "AdminNetworkPolicy", anp({ to: [{ networks: ["10.0.0.0/8"] }], ports: [{ namedPort: "web" }] }),
      /found a named port with a networks peer/],
    ["a named port to nodes", "ClusterNetworkPolicy", cluster({ to: [{ nodes: {} }], protocols: [{ destinationNamedPort: "web" }] }),
      /found a named port with a nodes peer/],
    ["no CIDR", "ClusterNetworkPolicy", cluster({ to: [{ networks: ["10.0.0.0"] }] }), /expected a CIDR/],
    ["a CIDR twice", "ClusterNetworkPolicy", cluster({ to: [{ networks: ["10.0.0.0/8", "10.0.0.0/8"] }] }), /found 10.0.0.0\/8 twice/],
    ["a name of one label", "AdminNetworkPolicy", anp({ to: [{ domainNames: ["localhost"] }] }), /expected a domain name/],
    ["a star inside", "AdminNetworkPolicy", anp({ to: [{ domainNames: ["a.*.example.com"] }] }), /expected a domain name/],
    ["a long name", "AdminNetworkPolicy", anp({ name: "n".repeat(101) }), /found 101 characters/],
  ])("%s", (_, kind, spec, error) => {
    const { policies, errors } = read(kind, spec);
    expect(policies).toEqual([]);
    expect(errors.join("\n")).toMatch(error);
  });

  test("a baseline that is not called default", () => {
    const { policies, errors } = read("BaselineAdminNetworkPolicy", { subject: { namespaces: {} } }, "other");
    expect([policies, errors]).toEqual([[], [expect.stringContaining('found "other", expected default')]]);
  });
});
