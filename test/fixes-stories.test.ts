/**
 * Fixes on the stories of differences: each difference that a manifest can cure is shown without the patch, is gone with it, and
 * nothing else is opened or closed by it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import { readDocuments } from "../src/cluster/documents.js";
import { CATALOGUE } from "../src/compare/catalogue/index.js";
import { type FixReport, tryFixes } from "../src/fix/fixes.js";
import type { Patch } from "../src/fix/patch.js";
import { CURABLE, Proposals } from "../src/fix/propose.js";
import { Trial } from "../src/fix/trial.js";
import { runScenario } from "../src/scenario/run.js";
import { readScenarios, type Scenario } from "../src/scenario/scenario.js";
import type { JudgedListener } from "../src/compare/judged.js";
import { root } from "./cli.js";

const folder = join(root, "traces/differences");
const wasm = readWasm();

function story(id: string, index = 0): Scenario {
  const name = join(folder, id, "scenario.yaml");
  return readScenarios({ name, text: readFileSync(name, "utf8") }).scenarios[index];
}

function written(text: string): Scenario {
  const { scenarios, problems } = readScenarios({ name: join(folder, "X", "scenario.yaml"), text });
  expect(problems).toEqual([]);
  return scenarios[0];
}

/** The story with the patches among its objects; a policy of Cilium's kind is nothing to the current side. */
function run(scenario: Scenario, patches: readonly Patch[], onJudged: JudgedListener): readonly string[] {
  const items = patches.flatMap(({ name, yaml }) => readDocuments({ name: `${name}.yaml`, text: yaml }).items);
  const load = (paths: readonly string[]) => readInputs(paths.map((path) => join(folder, "X", path)), []);
  const { probes, problems } = runScenario({ ...scenario, cluster: [...scenario.cluster, ...items] },
    { load, wasm, programs: new Map(), onJudged });
  expect(problems.filter(({ severity }) => severity === "error")).toEqual([]);
  return probes.flatMap(({ differences }) => differences);
}

interface Tried {
  readonly found: FixReport;
  readonly patches: readonly Patch[];
  /** Ids shown without and with all patches that are offered. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

async function tried(scenario: Scenario): Promise<Tried> {
  const baseline = new Trial();
  const proposals = new Proposals();
  const flows = new Map<string, number>();
  const before = run(scenario, [], (judged) => {
    baseline.take(judged);
    proposals.take(judged);
    if (judged.class === "different") flows.set(judged.finding!.id, (flows.get(judged.finding!.id) ?? 0) + 1);
  });
  const patches = proposals.patches();
  const found = await tryFixes({ patches, baseline, limits: [], findings: [...flows].map(([id, count]) => ({ id, flows: count })),
    run: async (given) => {
      const trial = new Trial();
      run(scenario, given, (judged) => trial.take(judged));
      return { trial, limits: [] };
    } });
  const offered = patches.filter((one) => found.offered.some(({ name }) => name === one.name));
  return { found, patches, before, after: run(scenario, offered, () => {}) };
}

/** By id: when the patch is applied, its kind, what it must say, and the flows cured. */
const CURED: Readonly<Record<string, readonly [when: string, kind: string, says: RegExp, cured: number]>> = {
  "POL-IPBLOCK-POD": ["before", "NetworkPolicy", /from:\n +- namespaceSelector:[\s\S]*app: 'client'/, 9],
  "POL-IPBLOCK-NODE": ["after", "CiliumNetworkPolicy", /fromEntities:\n +- 'remote-node'\n +toPorts:\n[\s\S]*port: '8080'/, 1],
  "POL-EXTIP-RECLASS": ["before", "NetworkPolicy", /egress:\n +- to:[\s\S]*app: 'web'[\s\S]*port: 8080/, 1],
  "POL-LABEL-FILTER": ["before", "NetworkPolicy", /from:[\s\S]*app: 'db'[\s\S]*port: 8080/, 1],
  "POL-LOCALNODE-EGRESS": ["after", "CiliumNetworkPolicy", /toEntities:\n +- 'host'\n +toPorts:\n[\s\S]*port: '10250'/, 1],
  "POL-LOCALDNS": ["after", "CiliumNetworkPolicy", /toEntities:\n +- 'host'[\s\S]*protocol: 'UDP'\n +port: '53'[\s\S]*toCIDR:\n +- '169\.254\.10\.10\/32'/, 1],
  "POL-HOST-PROBE": ["after", "CiliumNetworkPolicy", /fromEntities:\n +- 'host'/, 1],
  "POL-NODEPORT-SRC-ID": ["after", "CiliumNetworkPolicy", /fromEntities:\n +- 'remote-node'/, 1],
  "POL-NPM-REFUSED": ["after", "CiliumNetworkPolicy", /fromEndpoints:\n +- matchLabels:\n +app: 'client'/, 1],
  "POL-TYPES": ["before", "NetworkPolicy", /policyTypes:\n +- 'Ingress'\n +ingress:\n +- \{\}\n$/, 1],
  "POL-NS-NOTIN": ["before", "NetworkPolicy", /operator: 'NotIn'[\s\S]*key: 'kubernetes\.io\/metadata\.name'\n +operator: 'Exists'/, 2],
  "SVC-LBSRCRANGES": ["after", "CiliumNetworkPolicy", /enableDefaultDeny:\n +ingress: false\n +ingressDeny:\n +- fromEndpoints:/, 1],
};

describe("a patch cures its difference and opens nothing else", () => {
  it.each(Object.entries(CURED))("%s", async (id, [when, kind, says, cured]) => {
    const { found, before, after } = await tried(story(id));
    expect(before).toContain(id);
    const own = found.offered.filter((one) => one.id === id);
    expect(own.map((one) => [one.when, one.kind, one.result, one.cured]), JSON.stringify(found.refused)).toEqual([[when, kind, "cured", cured]]);
    expect(own[0].yaml).toMatch(says);
    expect(own[0].yaml).not.toMatch(/Selector: \{\}/);
    expect([found.refused, found.together!.clean]).toEqual([[], true]);
    // What the node itself is let through by is nothing that a policy can close without closing probes.
    expect(after.filter((one) => one === id)).toEqual(id === "SVC-LBSRCRANGES" || id === "POL-LABEL-FILTER" ? [id] : []);
  });

  it("every id that a patch can be for is tried here", () => {
    expect([...CURABLE].sort()).toEqual([...Object.keys(CURED), "POL-LB-INGRESS", "POL-NAMEDPORT"].sort());
    expect([...CURABLE].filter((id) => !CATALOGUE.some((one) => one.id === id))).toEqual([]);
  });
});

it("POL-LB-INGRESS: the client is let through, and then seen by its own address", async () => {
  const { found, after } = await tried(story("POL-LB-INGRESS"));
  expect(found.offered.map(({ id, when, cured, flows, shows }) => [id, when, cured, flows, shows])).toEqual([
    ["POL-LB-INGRESS", "before", 1, 1, ["NAT-LOCAL-BACKEND"]]]);
  expect(found.offered[0].yaml).toContain("cidr: '203.0.113.9/32'");
  expect(after).toEqual(["NAT-LOCAL-BACKEND"]);
});

describe("a patch that would open more is not offered", () => {
  it("POL-NAMEDPORT: by numbers, pods of the same labels get one another's", async () => {
    const scenario = story("POL-NAMEDPORT");
    const { found } = await tried(scenario);
    expect([found.offered, found.refused.map((one) => one.why)]).toEqual([[], ["it opens 1 other flows"]]);
    const one = await tried({ ...scenario, probes: scenario.probes.slice(0, 2) });
    expect(one.found.offered.map(({ id, cured }) => [id, cured])).toEqual([["POL-NAMEDPORT", 2]]);
    expect(one.after).toEqual([]);
  });

  it("SVC-LBSRCRANGES: a pod that uses the service's ClusterIP too", async () => {
    const scenario = story("SVC-LBSRCRANGES");
    const pod = scenario.probes.find(({ name }) => name === "a pod")!;
    const inside = { ...pod, name: "the pod inside", to: { ...pod.to, ip: "10.96.0.23" }, expect: new Map([...pod.expect].map(([name]) =>
      [name, pod.expect.get("target")!])), differences: null } as unknown as typeof pod;
    const { found } = await tried({ ...scenario, probes: [...scenario.probes, inside] });
    expect([found.offered, found.refused.map((one) => one.why)]).toEqual([[], ["1 flows fare worse"]]);
  });
});

it("an egress ipBlock over the API server's node is cured by the entity, on the port that the rule opens", async () => {
  const { found, before, after } = await tried(written(`name: egress to the API server
cluster:
  - ../cluster.yaml
  - apiVersion: v1
    kind: Service
    metadata: {name: kubernetes, namespace: default}
    spec: {clusterIP: 10.96.0.1, ports: [{name: https, port: 443, targetPort: 6443}]}
  - apiVersion: discovery.k8s.io/v1
    kind: EndpointSlice
    metadata: {name: kubernetes, namespace: default, labels: {kubernetes.io/service-name: kubernetes}}
    addressType: IPv4
    ports: [{name: https, protocol: TCP, port: 6443}]
    endpoints: [{addresses: [192.168.50.12], conditions: {ready: true}}]
  - apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: {name: client-api, namespace: default}
    spec: {podSelector: {matchLabels: {app: client}}, policyTypes: [Egress], egress: [{to: [{ipBlock: {cidr: 192.168.50.12/32}}], ports: [{port: 6443}]}]}
planes: {current: {profile: kube-proxy+npm}, target: {profile: cilium@1.20}}
probes:
  - {name: the API server, from: {pod: default/client}, to: {service: default/kubernetes}, port: 443, expect: {current: {outcome: delivered}}}
  - {name: another port of its node, from: {pod: default/client}, to: {node: node-2}, port: 10250, expect: {current: {outcome: dropped}}}
`));
  expect(before).toEqual(["POL-IPBLOCK-NODE"]);
  expect(found.offered.map(({ name, cured }) => [name, cured]), JSON.stringify(found)).toEqual([["client-api-ipblock-node-egress-0", 1]]);
  expect(found.offered[0].yaml).toMatch(/egress:\n +- toEntities:\n +- 'remote-node'\n +toPorts:\n +- ports:\n +- protocol: 'TCP'\n +port: '6443'/);
  expect([found.offered[0].shows, after]).toEqual([["NAT-MASQ-SET"], ["NAT-MASQ-SET"]]);
});

it.each(["POL-CILIUM-KINDS", "POL-UNKNOWN-L4", "POL-L7-FQDN", "SVC-TOPOLOGY", "NAT-MASQ-SET"])(
  "%s: that no manifest cures it is said, with what to do", async (id) => {
    const { found, patches } = await tried(story(id));
    expect(patches).toEqual([]);
    expect(found.without.find((one) => one.id === id)).toMatchObject({ why: "no manifest cures it",
      advice: CATALOGUE.find((one) => one.id === id)!.page.advice });
  });
