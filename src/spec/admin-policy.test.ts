import { describe, expect, test } from "vitest";
import { parseAddress } from "../cluster/address.js";
import { readManifests } from "../cluster/manifests.js";
import { buildCluster } from "../cluster/timeline.js";
import { evaluate, type FlowEnd } from "./evaluate.js";
import type { Evaluation, SpecOptions } from "./verdict.js";

const node = (name: string, address: string): object => ({ apiVersion: "v1", kind: "Node", metadata: { name, labels: { zone: name } },
  status: { addresses: [{ type: "InternalIP", address }] } });
const pod = (namespace: string, name: string, nodeName: string, ip: string, hostNetwork = false): object => ({
  apiVersion: "v1", kind: "Pod", metadata: { namespace, name, labels: { app: name } },
  spec: { nodeName, hostNetwork, containers: [{ ports: [{ name: "http", containerPort: 8080 }, { name: "http", containerPort: 53,
    protocol: "UDP" }] }] },
  status: { podIP: ip } });
const BASE = [
  node("n1", "192.168.0.1"), node("n2", "192.168.0.2"),
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "a", labels: { team: "red" } } },
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "b", labels: { team: "red" } } },
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "c", labels: { team: "blue" } } },
  { apiVersion: "v1", kind: "Namespace", metadata: { name: "d" } },
  pod("a", "web", "n1", "10.0.1.1"), pod("b", "client", "n2", "10.0.2.1"), pod("c", "client", "n2", "10.0.2.2"),
  pod("d", "client", "n2", "10.0.2.3"), pod("a", "agent", "n1", "192.168.0.1", true),
];

const ALL = { namespaces: {} };
const rule = (action: string, peers: object[], ports?: object[]): object => ({ action, from: peers, to: peers, ports, protocols: ports });

/** `direction` is "ingress" or "egress"; the other one's member of the rules is left out. */
function policy(name: string, priority: number, direction: "ingress" | "egress", rules: object[], more: object = {}): object {
  const [drop, other] = direction === "ingress" ? ["to", "protocols"] : ["from", "protocols"];
  const plain = rules.map((one) => Object.fromEntries(Object.entries(one).filter(([key, value]) => key !== drop && key !== other
    && value !== undefined)));
  return { apiVersion: "policy.networking.k8s.io/v1alpha1", kind: "AdminNetworkPolicy", metadata: { name },
    spec: { priority, subject: { namespaces: { matchLabels: { "kubernetes.io/metadata.name": "a" } } }, [direction]: plain, ...more } };
}

const at = (namespace: string, name = "client"): FlowEnd => ({ pod: { namespace, name } });
const ip = (text: string): FlowEnd => ({ ip: parseAddress(text)! });
const WEB = at("a", "web");

function ask(policies: object[], source: FlowEnd, destination: FlowEnd, port = 8080, protocol = 6,
  options: Partial<SpecOptions> = {}): Evaluation {
  const text = JSON.stringify({ apiVersion: "v1", kind: "List", items: [...BASE, ...policies] });
  const { objects, problems } = readManifests([{ name: "c.json", text }]);
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return evaluate(buildCluster(objects), { source, destination, port, protocol }, { ipBlockMatchesPods: true, ...options })!;
}

describe("the Admin tier", () => {
  test("the lower priority comes first; equal ones that differ are undecided, those that agree are not", () => {
    const [allow, deny] = [policy("allow", 9, "ingress", [rule("Allow", [ALL])]), policy("deny", 10, "ingress", [rule("Deny", [ALL])])];
    expect(ask([deny, allow], at("b"), WEB).allowed).toBe(true);
    expect(ask([deny, policy("first", 2, "ingress", [rule("Deny", [ALL])]), allow], at("b"), WEB).ingress)
      .toMatchObject({ verdict: "deny", by: [{ object: "AdminNetworkPolicy first", rule: "ingress[0]" }] });
    const equal = ask([deny, policy("allow", 10, "ingress", [rule("Allow", [ALL])])], at("b"), WEB);
    expect([equal.allowed, equal.ingress.verdict]).toEqual([false, "undecided"]);
    expect(ask([deny, policy("too", 10, "ingress", [rule("Deny", [ALL])])], at("b"), WEB).ingress.verdict).toBe("deny");
  });

  test("nothing that matches isolates nobody; a host-network pod is no subject and no peer", () => {
    const deny = policy("deny", 1, "ingress", [rule("Deny", [ALL])]);
    expect(ask([deny], ip("8.8.8.8"), WEB).allowed).toBe(true);
    expect(ask([deny], at("a", "agent"), WEB).allowed).toBe(true);
    expect(ask([deny], at("b"), at("a", "agent")).allowed).toBe(true);
    expect(ask([deny], WEB, WEB).allowed).toBe(true);
  });

  test("networks match pods and nodes, the own one too; nodes match by their status", () => {
    const networks = policy("deny", 1, "egress", [rule("Deny", [{ networks: ["10.0.2.1/32", "192.168.0.1/32"] }])]);
    expect(["b", "c"].map((one) => ask([networks], WEB, at(one)).allowed)).toEqual([false, true]);
    expect(["n1", "n2"].map((one) => ask([networks], WEB, { node: one }).allowed)).toEqual([false, true]);
    const nodes = policy("deny", 1, "egress", [rule("Deny", [{ nodes: { matchLabels: { zone: "n2" } } }])]);
    expect([ask([nodes], WEB, { node: "n1" }), ask([nodes], WEB, { node: "n2" }), ask([nodes], WEB, at("b"))].map(({ allowed }) => allowed))
      .toEqual([true, false, true]);
  });

  test("a named port is every port of that name of the destination pod, with its protocol", () => {
    const named = policy("deny", 1, "ingress", [rule("Deny", [ALL], [{ namedPort: "http" }])]);
    expect(([[8080, 6], [53, 17], [8080, 17], [53, 6], [0, 1]] as const).map(([port, protocol]) => ask([named], at("b"), WEB, port,
      protocol).allowed))
      .toEqual([false, false, true, true, true]);
    const range = policy("deny", 1, "ingress", [rule("Deny", [ALL], [{ portRange: { start: 10, end: 12 } }])]);
    expect([9, 10, 12, 13].map((port) => ask([range], at("b"), WEB, port).allowed)).toEqual([true, false, false, true]);
  });

  test("sameLabels and notSameLabels are held against the subject's namespace; a namespace without the label is neither", () => {
    const verdicts = (peer: object): boolean[] => {
      const deny = policy("deny", 1, "ingress", [rule("Deny", [peer])]);
      return ["b", "c", "d"].map((one) => ask([deny], at(one), WEB).allowed);
    };
    expect(verdicts({ namespaces: { sameLabels: ["team"] } })).toEqual([false, true, true]);
    expect(verdicts({ namespaces: { notSameLabels: ["team"] } })).toEqual([true, false, true]);
    expect(verdicts({ pods: { namespaces: { sameLabels: [] }, podSelector: {} } })).toEqual([true, true, true]);
  });

  test("a peer of a newer schema fails closed: Allow matches nothing, Deny and Pass deny all", () => {
    const closed = (action: string): boolean => ask([policy("p", 1, "ingress", [rule(action, [{ future: {} }, ALL],
      [{ portNumber: { port: 1 } }]),
      rule("Deny", [{ namespaces: { matchLabels: { team: "red" } } }])])], at("c"), WEB).allowed;
    expect(["Allow", "Deny", "Pass"].map(closed)).toEqual([true, false, false]);
    const names = policy("p", 1, "egress", [rule("Deny", [{ domainNames: ["example.com"] }])]);
    expect(ask([names], WEB, at("b")).allowed).toBe(false);
  });

  test("domainNames: what DNS said decides, and without it the flow is undecided", () => {
    const policies = [policy("names", 1, "egress", [rule("Allow", [{ domainNames: ["*.example.com", "one.org"] }])]),
      policy("deny", 2, "egress", [rule("Deny", [{ networks: ["0.0.0.0/0"] }])])];
    expect(ask(policies, WEB, ip("198.51.100.1")).egress.verdict).toBe("undecided");
    const verdict = (name: string): boolean => ask(policies, WEB, ip("198.51.100.1"), 443, 6,
      { domainNames: new Map([["198.51.100.1", [name]]]) }).allowed;
    expect(["a.example.com", "A.b.Example.com.", "example.com", "xexample.com", "one.org", "two.one.org"].map(verdict))
      .toEqual([true, true, false, false, true, false]);
  });
});

describe("between the tiers", () => {
  const isolate = (rules: object[]): object => ({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy",
    metadata: { namespace: "a", name: "np" }, spec: { podSelector: {}, policyTypes: ["Ingress"], ingress: rules } });
  const baseline = (action: string): object => ({ apiVersion: "policy.networking.k8s.io/v1alpha2", kind: "ClusterNetworkPolicy",
    metadata: { name: "base" }, spec: { tier: "Baseline", priority: 0, subject: { namespaces: {} }, ingress: [{ action, from: [ALL] }] } });
  const deny = policy("late", 20, "ingress", [rule("Deny", [ALL])]);

  test("Pass leaves out the whole tier; NetworkPolicy is final for pods it selects; Baseline decides for the rest", () => {
    const pass = policy("pass", 10, "ingress", [rule("Pass", [ALL])]);
    expect(ask([pass, deny], at("b"), WEB).allowed).toBe(true);
    expect(ask([pass, deny, isolate([])], at("b"), WEB).allowed).toBe(false);
    expect(ask([pass, deny, isolate([{}]), baseline("Deny")], at("b"), WEB).allowed).toBe(true);
    expect(ask([pass, deny, baseline("Deny")], at("b"), WEB).allowed).toBe(false);
    expect(ask([baseline("Pass")], at("b"), WEB).allowed).toBe(true);
  });

  test("Allow overrides NetworkPolicy at its own end only", () => {
    const allow = policy("allow", 10, "ingress", [rule("Allow", [ALL])]);
    expect(ask([allow, isolate([])], at("b"), WEB).allowed).toBe(true);
    const egress = policy("allow", 10, "egress", [rule("Allow", [ALL])]);
    expect(ask([egress, { ...isolate([]), metadata: { namespace: "b", name: "np" } }], WEB, at("b")).allowed).toBe(false);
  });

  test("the own node is exempt from NetworkPolicy, and matches no ingress peer", () => {
    expect(ask([isolate([]), deny], { node: "n1" }, WEB).allowed).toBe(true);
    expect(ask([isolate([]), deny], { node: "n2" }, WEB).allowed).toBe(false);
  });

  test("kinds that are not in force are not asked", () => {
    expect(ask([deny], at("b"), WEB, 80, 6, { adminKinds: ["ClusterNetworkPolicy"] }).allowed).toBe(true);
    expect(ask([baseline("Deny")], at("b"), WEB, 80, 6, { adminKinds: ["ClusterNetworkPolicy"] }).allowed).toBe(false);
  });
});
