/**
 * Random clusters: the compiled maps under the reference lookup against the NetworkPolicy API read word by
 * word.
 *
 * Three differences are Cilium's and known by name. They are taken out by rewriting the question for the
 * evaluator; after that every flow must agree, and the flows that the rewriting changed are counted under its
 * name.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../../test/seed.js";
import { parseAddress, prefixContains, prefixOf } from "../../../cluster/address.js";
import type { Address } from "../../../cluster/address.js";
import type { Cluster, NetworkPolicy, NetworkPolicyRule } from "../../../cluster/cluster.js";
import { readManifests } from "../../../cluster/manifests.js";
import { buildCluster } from "../../../cluster/timeline.js";
import { evaluateAddresses } from "../../../spec/evaluate.js";
import { PolicyIndex } from "../../../spec/policy-index.js";
import { ciliumOptions } from "../../options.js";
import { nodeAddresses } from "../identity.js";
import { freshNumbers } from "../numbers.js";
import { compilePolicies } from "../policies.js";
import type { CompiledPolicies } from "../policies.js";
import { allowed } from "./naive-lookup.fixture.js";

const seed = testSeed("policy against the spec");
const OUTSIDE = ["8.8.8.8", "198.51.100.7", "198.51.100.130"];

const labels = fc
  .record({ app: fc.constantFrom("a", "b"), tier: fc.constantFrom("x", "y", undefined) })
  .map((found) => Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined)));
const expression = fc.oneof(
  fc.record({
    key: fc.constantFrom("app", "tier"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.uniqueArray(fc.constantFrom("a", "b", "x", "y"), { minLength: 1 }),
  }),
  fc.record({ key: fc.constantFrom("app", "tier"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
const selector = fc.oneof(
  fc.constant({}),
  fc.record({ matchLabels: labels }),
  fc.record({ matchExpressions: fc.array(expression, { maxLength: 2 }) }),
);
const block = fc.constantFrom<object>(
  { cidr: "0.0.0.0/0" },
  { cidr: "198.51.100.0/24" },
  { cidr: "10.244.0.0/16" },
  { cidr: "198.51.100.0/24", except: ["198.51.100.128/25"] },
  { cidr: "192.168.50.0/24" },
  { cidr: "0.0.0.0/0", except: ["8.8.0.0/16", "10.244.1.0/24"] },
);
const peer = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }),
  fc.record({ podSelector: selector, namespaceSelector: selector }),
  fc.record({ ipBlock: block }),
);
const port = fc.oneof(
  fc.constant({}),
  fc.record({ protocol: fc.constantFrom("TCP", "UDP") }),
  fc.record({
    protocol: fc.constantFrom("TCP", "UDP"),
    port: fc.constantFrom<number | string>(80, 8080, "http", "alt"),
  }),
  fc.constant({ port: 79, endPort: 90 }),
);
const rule = (member: string) =>
  fc.record({ [member]: fc.array(peer, { maxLength: 2 }), ports: fc.array(port, { maxLength: 2 }) });
const policy = fc.record({
  namespace: fc.constantFrom("n1", "n2"),
  podSelector: selector,
  policyTypes: fc.option(fc.subarray(["Ingress", "Egress"], { minLength: 1 }), { nil: undefined }),
  ingress: fc.option(fc.array(rule("from"), { maxLength: 2 }), { nil: undefined }),
  egress: fc.option(fc.array(rule("to"), { maxLength: 2 }), { nil: undefined }),
});
const pod = fc.record({
  namespace: fc.constantFrom("n1", "n2"),
  labels,
  node: fc.constantFrom(1, 2),
  ports: fc.subarray([
    { name: "http", containerPort: 80 },
    { name: "alt", containerPort: 8080 },
    { name: "dns", containerPort: 53, protocol: "UDP" },
  ]),
  swap: fc.boolean(),
});

type Pod = typeof pod extends fc.Arbitrary<infer T> ? T : never;
type Policy = typeof policy extends fc.Arbitrary<infer T> ? T : never;

function clusterOf(
  pods: readonly Pod[],
  policies: readonly Policy[],
  namespaces: readonly object[],
): Cluster {
  const objects: object[] = [1, 2].map((n) => ({
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: `node-${n}` },
    status: { addresses: [{ type: "InternalIP", address: `192.168.50.1${n}` }] },
  }));
  namespaces.forEach((found, index) =>
    objects.push({ apiVersion: "v1", kind: "Namespace", metadata: { name: `n${index + 1}`, labels: found } }),
  );
  pods.forEach(({ namespace, labels: own, node, ports, swap }, index) =>
    objects.push({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: `p${index}`, namespace, labels: own },
      spec: {
        nodeName: `node-${node}`,
        containers: [
          {
            name: "c",
            image: "i",
            ports: ports.map((one) => (swap && one.name === "http" ? { ...one, containerPort: 8080 } : one)),
          },
        ],
      },
      status: { phase: "Running", podIPs: [{ ip: `10.244.${node}.${index + 10}` }] },
    }),
  );
  policies.forEach(({ namespace, ...spec }, index) =>
    objects.push({
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: `q${index}`, namespace },
      spec,
    }),
  );
  const text = objects.map((object) => JSON.stringify(object)).join("\n---\n");
  return buildCluster(readManifests([{ name: "random.yaml", text }]).objects);
}

/** POL-TYPES: Cilium installs and enforces the rules of a direction that policyTypes leaves out. */
function withTypesOfRules(cluster: Cluster): Cluster {
  return {
    ...cluster,
    networkPolicies: cluster.networkPolicies.map(
      (one): NetworkPolicy => ({
        ...one,
        policyTypes: [
          ...new Set([
            ...one.policyTypes,
            ...(one.ingress.length > 0 ? ["Ingress" as const] : []),
            ...(one.egress.length > 0 ? ["Egress" as const] : []),
          ]),
        ],
      }),
    ),
  };
}

/** POL-IPBLOCK-NODE: a node's address is never in an ipBlock. */
function withoutNodesInBlocks(cluster: Cluster): Cluster {
  const nodes = cluster.nodes.flatMap(nodeAddresses);
  const without = (one: NetworkPolicyRule): NetworkPolicyRule => ({
    ...one,
    peers:
      one.peers?.map((found) =>
        found.ipBlock === null
          ? found
          : {
              ...found,
              ipBlock: {
                ...found.ipBlock,
                except: [...found.ipBlock.except, ...nodes.map((address) => prefixOf(address, 32))],
              },
            },
      ) ?? null,
  });
  return {
    ...cluster,
    networkPolicies: cluster.networkPolicies.map((one) => ({
      ...one,
      ingress: one.ingress.map(without),
      egress: one.egress.map(without),
    })),
  };
}

/**
 * POL-LOCALNODE-EGRESS: the API exempts a pod's own node both ways, Cilium only towards the pod. To an egress
 * rule the own node is what any other node is, so the question is asked of the other one.
 */
function notOwnNode(cluster: Cluster, source: Address, destination: Address): Address {
  const pod = cluster.pods.find((one) => one.ips.some((ip) => ip.text === source.text));
  const own = cluster.nodes.find((node) => node.name === pod?.nodeName);
  if (own === undefined || !nodeAddresses(own).some((address) => address.text === destination.text))
    return destination;
  return nodeAddresses(cluster.nodes.find((node) => node !== own)!)[0];
}

describe("compiled policy against the API's text", () => {
  it("agrees on every flow of random clusters, but for what is Cilium's own by name", () => {
    const named = { "POL-TYPES": 0, "POL-IPBLOCK-NODE": 0, "POL-LOCALNODE-EGRESS": 0 };
    let flows = 0;
    let denied = 0;
    fc.assert(
      fc.property(
        fc.array(pod, { minLength: 2, maxLength: 5 }),
        fc.array(policy, { minLength: 1, maxLength: 4 }),
        fc.tuple(labels, labels),
        (pods, policies, namespaces) => {
          const cluster = clusterOf(pods, policies, namespaces);
          const { options } = ciliumOptions("cilium@1.20", cluster);
          const compiled = compilePolicies(cluster, options, [], freshNumbers());
          const spec = (one: Cluster) => new PolicyIndex(one, { ipBlockMatchesPods: false });
          const typed = withTypesOfRules(cluster);
          const [plain, types, cilium] = [spec(cluster), spec(typed), spec(withoutNodesInBlocks(typed))];
          const addresses = [
            ...cluster.pods.flatMap(({ ips }) => ips),
            ...cluster.nodes.flatMap(nodeAddresses),
            ...OUTSIDE.map((text) => parseAddress(text)!),
          ];
          for (const source of addresses) {
            for (const destination of addresses) {
              if (source.text === destination.text) continue;
              for (const [protocol, number] of [
                [6, 80],
                [6, 8080],
                [6, 90],
                [17, 80],
                [17, 53],
                [6, 91],
              ]) {
                const ours = decide(cluster, compiled, source, destination, protocol, number);
                const ask = (index: PolicyIndex, to = destination): boolean =>
                  evaluateAddresses(index, source, to, protocol, number).allowed;
                const wanted = ask(cilium, notOwnNode(cluster, source, destination));
                if (ours !== wanted)
                  expect(`${source.text} > ${destination.text} ${protocol}/${number}: ${ours}`).toBe(
                    `${wanted}`,
                  );
                if (ask(plain) !== ask(types)) named["POL-TYPES"]++;
                if (ask(types) !== ask(cilium)) named["POL-IPBLOCK-NODE"]++;
                if (ask(cilium) !== wanted) named["POL-LOCALNODE-EGRESS"]++;
                flows++;
                if (!ours) denied++;
              }
            }
          }
        },
      ),
      { seed, numRuns: 120 },
    );
    expect(flows).toBeGreaterThan(10_000);
    expect(denied).toBeGreaterThan(1000);
    // All known differences occur, or this test would not see them vanish.
    expect(Object.values(named).every((count) => count > 0)).toBe(true);
  }, 60_000);
});

function decide(
  cluster: Cluster,
  compiled: CompiledPolicies,
  source: Address,
  destination: Address,
  protocol: number,
  port: number,
): boolean {
  const { maps, ofPod } = compiled.endpoints;
  const podOf = (address: Address): number =>
    cluster.pods.findIndex((one) => one.ips.some((ip) => ip.text === address.text));
  const [from, to] = [podOf(source), podOf(destination)];
  if (
    from >= 0 &&
    !allowed(
      maps[ofPod[from]],
      identityOf(compiled, destination, cluster.pods[from].nodeName),
      1,
      protocol,
      port,
    )
  )
    return false;
  return (
    to < 0 ||
    allowed(maps[ofPod[to]], identityOf(compiled, source, cluster.pods[to].nodeName), 0, protocol, port)
  );
}

function identityOf(compiled: CompiledPolicies, address: Address, node: string): number {
  let length = -1;
  let identity = 0;
  for (const entry of compiled.ipcache) {
    if (
      (entry.node !== null && entry.node !== node) ||
      entry.prefix.length < length ||
      !prefixContains(entry.prefix, address)
    )
      continue;
    ({ identity } = entry);
    length = entry.prefix.length;
  }
  return identity;
}
