/** Profiles and what follows from the network: a cluster's own options stand, the rest is assumed. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readInputs } from "../src/cli/inputs.js";
import { readWasm } from "../src/cli/wasm.js";
import type { Cluster } from "../src/cluster/cluster.js";
import { buildTimeline } from "../src/cluster/timeline.js";
import { readManifests, mergeObjects } from "../src/cluster/manifests.js";
import type { Problem } from "../src/cluster/problem.js";
import type { EbpfPlane } from "../src/ebpf/plane.js";
import { assumedNetwork, buildPlane, parseProfile, policyDenial, type Profile, rulesProblems } from "../src/planes.js";

const CLUSTER = join(import.meta.dirname, "..", "traces", "lab", "cluster.yaml");

function target(config: Readonly<Record<string, string>> | null): EbpfPlane {
  const inputs = readInputs([CLUSTER], []);
  const data = Object.entries(config ?? {}).map(([name, value]) => `  ${name}: "${value}"`).join("\n");
  const text = `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cilium-config, namespace: kube-system}\ndata:\n${data}\n`;
  const added = readManifests(config === null ? [] : [{ name: "config.yaml", text }]);
  const cluster = buildTimeline({ initial: mergeObjects(inputs.objects, added.objects) }).initial;
  return buildPlane("target", parseProfile("cilium@1.20") as Profile, {
    cluster, epochNs: 0n, wasm: readWasm(), network: assumedNetwork(cluster, {}, []), seed: 1, traced: false, udpCleanup: true,
  }) as EbpfPlane;
}

describe("the target's options", () => {
  it("are assumed from the cluster where nothing says them", () => {
    const { options } = target(null);
    expect(options["enable-ipv6"]).toBe(true);
    expect([options["bpf-lb-sock"], options["bpf-lb-sock-hostns-only"]]).toEqual([true, true]);
    expect(options["ipv4-native-routing-cidr"]).toBe("10.244.0.0/22");
  });

  it("are the cluster's own where its cilium-config says them", () => {
    const { options } = target({ "kube-proxy-replacement": "false", "bpf-lb-sock": "false", "ipv4-native-routing-cidr": "10.0.0.0/8", "enable-ipv6": "false" });
    expect(options["bpf-lb-sock"]).toBe(false);
    expect(options["ipv4-native-routing-cidr"]).toBe("10.0.0.0/8");
    expect(options["enable-ipv6"]).toBe(false);
  });
});

describe("profiles", () => {
  it.each(["kube-proxy", "kube-proxy+spec", "kube-proxy+calico", "kube-proxy+npm", "cilium@1.16", "cilium@1.20"])("%s is one", (text) => {
    expect(parseProfile(text)).toMatchObject({ text });
  });

  it.each(["cilium", "cilium@1.99", "cilium@2", "kube-proxy+felix", "",
    "KUBE-PROXY"])("'%s' is none, and the answer names those there are", (text) => {
    expect(parseProfile(text)).toContain("cilium@1.20");
  });
});

it("a guessed network is said to be guessed", () => {
  const problems: Problem[] = [];
  const inputs = readInputs([CLUSTER], []);
  const { initial } = buildTimeline({ initial: inputs.objects });
  const network = assumedNetwork(initial, {}, problems);
  expect(network.clusterCidrs.map((one) => one.text)).toEqual(["10.244.0.0/22", "fd00:10:244::/62"]);
  expect(problems.map((one) => one.severity)).toEqual(["warning", "warning"]);
  expect(assumedNetwork(initial, network, [])).toEqual(network);
});

it("policyDenial asks the policies as the API's words say", () => {
  const inputs = readInputs([CLUSTER], []);
  const policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: shut, namespace: default}\nspec: {podSelector: {matchLabels: {app: web}}}\n";
  const added = readManifests([{ name: "policy.yaml", text: policy }]);
  const cluster = buildTimeline({ initial: mergeObjects(inputs.objects, added.objects) }).initial;
  const denies = policyDenial(cluster, parseProfile("cilium@1.20") as Profile);
  expect(denies(Uint8Array.of(10, 244, 1, 20), Uint8Array.of(10, 244, 2, 10), 6, 8080)).toBe(true);
  expect(denies(Uint8Array.of(10, 244, 2, 10), Uint8Array.of(10, 244, 1, 20), 6, 8080)).toBe(false);
});

describe("policies of other kinds", () => {
  const ADMIN = "apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: shut}\n"
    + "spec: {priority: 1, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {}}]}]}\n";
  const CILIUM = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: own, namespace: default}\n"
    + "spec: {endpointSelector: {}, ingress: [{}]}\n";
  const clusterOf = (...policies: string[]): Cluster => buildTimeline({ initial: mergeObjects(readInputs([CLUSTER], []).objects,
    readManifests([{ name: "policy.yaml", text: policies.join("---\n") }]).objects) }).initial;
  const profile = (text: string): Profile => parseProfile(text) as Profile;

  it.each([["kube-proxy+spec", ["CiliumNetworkPolicy default/own"]], ["kube-proxy+calico", ["CiliumNetworkPolicy default/own"]],
    ["kube-proxy+npm", ["AdminNetworkPolicy shut", "CiliumNetworkPolicy default/own"]]])("%s says what it does not read", (text, unread) => {
    const cluster = clusterOf(ADMIN, CILIUM);
    const said = rulesProblems(cluster, assumedNetwork(cluster, {}, []), profile(text).engine).map((one) => one.what)
      .filter((what) => what.includes("is not read by"));
    expect(said).toEqual(unread.map((one) => `${one} is not read by ${text}, which enforces nothing of it`));
  });

  it.each([["kube-proxy+spec", ADMIN, true], ["cilium@1.20", ADMIN, false], ["kube-proxy+spec", CILIUM, false],
    ["cilium@1.20", CILIUM, true]])("%s: what it reads denies by its words", (text, policy, denied) => {
    const denies = policyDenial(clusterOf(policy), profile(text));
    expect(denies(Uint8Array.of(10, 244, 1, 20), Uint8Array.of(10, 244, 2, 10), 6, 8080)).toBe(denied);
  });
});
