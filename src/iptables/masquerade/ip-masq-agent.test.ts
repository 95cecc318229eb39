/** ip-masq-agent-v2: its rules, where its configuration comes from, and what it does when that is wrong. */
import { describe, expect, test } from "vitest";
import { readManifests } from "../../cluster/manifests.js";
import { formatProblem, type Problem } from "../../cluster/problem.js";
import { buildTimeline } from "../../cluster/timeline.js";
import { assumedNetwork, type GivenNetwork, type Network } from "../../network.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { generateKubeProxy } from "../kubeproxy/generate.js";
import { HERE } from "../kubeproxy/random.fixture.js";
import { clusterOf as plainCluster, prefix } from "../manifests.fixture.js";
import { joinRules } from "../ruleset.js";
import { masqueradePart } from "./cni.js";
import { type IpMasqAgentConfig, ipMasqAgentPart } from "./ip-masq-agent.js";
import { type IpMasqAgentReading, readIpMasqAgent } from "./ip-masq-agent-config.js";

const CONFIG: IpMasqAgentConfig = {
  agent: "ip-masq-agent", chain: "IP-MASQ-AGENT", enableIPv6: true, stopped: false, randomFully: false,
  masqLinkLocal: false, masqLinkLocalIPv6: false,
  nonMasqueradeCIDRs: ["10.244.0.0/16", "fd00:10::/48", "10.0.0.0/16"].map((text) => ({ range: prefix(text), where: null })),
};
const KEPT = '-m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE"';
const LAST = '-m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" -j MASQUERADE';

describe("the rules", () => {
  test("link-local, the ranges of the family, then MASQUERADE", () => {
    expect(ruleTexts(CONFIG, 4)).toEqual([`${KEPT} -d 169.254.0.0/16 -j RETURN`, `${KEPT} -d 10.244.0.0/16 -j RETURN`,
      `${KEPT} -d 10.0.0.0/16 -j RETURN`, LAST]);
    expect(ruleTexts(CONFIG, 6)).toEqual([`${KEPT} -d fe80::/10 -j RETURN`, `${KEPT} -d fd00:10::/48 -j RETURN`, LAST]);
  });

  test("link-local is masqueraded where that is said, each family for itself", () => {
    expect(ruleTexts({ ...CONFIG, masqLinkLocal: true }, 4)[0]).toBe(`${KEPT} -d 10.244.0.0/16 -j RETURN`);
    expect(ruleTexts({ ...CONFIG, masqLinkLocal: true }, 6)[0]).toBe(`${KEPT} -d fe80::/10 -j RETURN`);
    expect(ruleTexts({ ...CONFIG, masqLinkLocalIPv6: true }, 6)[0]).toBe(`${KEPT} -d fd00:10::/48 -j RETURN`);
  });

  test("no IPv6 rules without the flag, none at all where the agent ended", () => {
    expect(ipMasqAgentPart({ ...CONFIG, enableIPv6: false }, 6)).toEqual({ jumps: [], chains: [], rules: [] });
    expect(ipMasqAgentPart({ ...CONFIG, stopped: true }, 4)).toEqual({ jumps: [], chains: [], rules: [] });
  });

  test("the jump stands behind kube-proxy's, for what is not the node's own, with quotes inside its comment", () => {
    const { text } = joinRules([generateKubeProxy({ cluster: plainCluster([]), node: HERE, family: 4, config: KUBE_PROXY_DEFAULTS }),
      masqueradePart({ ...CONFIG, chain: "MASQ" }, 4)]);
    expect(text.match(/^-A POSTROUTING .*$/gm)).toEqual([
      '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
      '-A POSTROUTING -m comment --comment "\\"ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination traffic '
        + 'to our custom MASQ chain\\"" -m addrtype ! --dst-type LOCAL -j MASQ',
    ]);
  });

  test("--random-fully only where it is asked for", () => {
    expect(ruleTexts({ ...CONFIG, randomFully: true }, 4).at(-1)).toBe(`${LAST} --random-fully`);
  });
});

describe("the configuration", () => {
  test("every key that begins with ip-masq, ranges united and booleans ORed", () => {
    const found = read(configMap("azure-ip-masq-agent-config", { "ip-masq-agent": "nonMasqueradeCIDRs: [10.1.0.0/16, 10.0.0.0/16]",
      other: "nonMasqueradeCIDRs: [192.168.0.0/16]" }),
    configMap("azure-ip-masq-agent-config-reconciled", { "ip-masq-agent-reconciled":
      "nonMasqueradeCIDRs:\n- 10.0.0.0/16\n- 10.2.0.0/16\nmasqLinkLocal: true\nmasqLinkLocalIPv6: false" }));
    expect(ranges(found)).toEqual(["10.1.0.0/16", "10.0.0.0/16", "10.2.0.0/16"]);
    expect(found.config).toMatchObject({ masqLinkLocal: true, masqLinkLocalIPv6: false, stopped: false, enableIPv6: false });
    expect(found.sources).toEqual(["ConfigMap kube-system/azure-ip-masq-agent-config",
      "ConfigMap kube-system/azure-ip-masq-agent-config-reconciled"]);
    expect(texts(found)).toEqual([]);
  });

  test("each range knows its line", () => {
    const found = read(configMap("ip-masq-agent-config", { "ip-masq-agent": "nonMasqueradeCIDRs:\n- 10.0.0.0/16\n- 10.2.0.0/16" }));
    expect(found.config.nonMasqueradeCIDRs.map(({ where }) => where?.line)).toEqual([7, 8]);
  });

  test("key config of ConfigMap ip-masq-agent is the file ip-masq-agent", () => {
    expect(ranges(read(configMap("ip-masq-agent", { config: "nonMasqueradeCIDRs: [10.0.0.0/8]" })))).toEqual(["10.0.0.0/8"]);
  });

  test("no file is the built-in list, an empty list keeps nothing", () => {
    expect(ranges(read())).toEqual(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
    expect(read().config.masqLinkLocal).toBe(false);
    for (const file of ["nonMasqueradeCIDRs: []", "nonMasqueradeCIDRs: null", "masqLinkLocal: false", "{}"]) {
      const found = read(configMap("ip-masq-agent-config", { "ip-masq-agent": file }));
      expect([ranges(found), found.config.stopped], file).toEqual([[], false]);
    }
    expect(ranges(read(daemonSet(["--nomasq-all-reserved-ranges"])))).toHaveLength(11);
  });

  test("field names match in any case, unknown ones are passed over and said", () => {
    const file = "NONMASQUERADECIDRS: [10.0.0.0/8]\nMasqLinkLocal: true\nresyncInterval: 60s\nx: 1";
    const found = read(configMap("ip-masq-agent-config", { "ip-masq-agent": file }));
    expect([ranges(found), found.config.masqLinkLocal]).toEqual([["10.0.0.0/8"], true]);
    expect(texts(found)).toEqual([expect.stringMatching(/warning: ip-masq-agent: .*x: unknown field, which the agent ignores/)]);
  });

  test.each([
    ["nonMasqueradeCIDRs: [10.0.0.0]", /expected a CIDR/],
    ["nonMasqueradeCIDRs: [10.0.0.0/33]", /expected a CIDR/],
    ["nonMasqueradeCIDRs: [10.0.0.1/8]", /10\.0\.0\.1\/8 is not aligned, expected 10\.0\.0\.0\/8/],
    ["nonMasqueradeCIDRs: [fd00::/8]", /fd00::\/8 is IPv6, expected flag --enable-ipv6/],
    ["nonMasqueradeCIDRs: 10.0.0.0/8", /no list/],
    ["masqLinkLocal: \"true\"", /expected true or false/],
    ["[1]", /found no mapping/],
    ["a: [", /found no YAML/],
    [many(0, 65), /found 65 CIDRs, expected at most 64/],
  ])("%s ends the agent", (file, message) => {
    const found = read(configMap("ip-masq-agent-config", { "ip-masq-agent": file }),
      configMap("ip-masq-agent-config-reconciled", { "ip-masq-agent-reconciled": "nonMasqueradeCIDRs: [10.0.0.0/8]" }));
    expect(found.config.stopped).toBe(true);
    expect(texts(found).join("\n")).toMatch(message);
    expect(texts(found).at(-1)).toMatch(/^a\.yaml:\d+: error: ip-masq-agent: .*the agent ends here/);
  });

  test("64 CIDRs in each of two files are taken", () => {
    const found = read(configMap("ip-masq-agent-config", { "ip-masq-a": many(0, 64), "ip-masq-b": many(64, 64) }));
    expect([ranges(found).length, found.config.stopped]).toEqual([128, false]);
  });

  test("the DaemonSet says its flags and which ConfigMaps it mounts", () => {
    const maps = [configMap("ip-masq-agent-config", { "ip-masq-agent": "nonMasqueradeCIDRs: [10.1.0.0/16]" }),
      configMap("mine", { a: "nonMasqueradeCIDRs: [10.2.0.0/16, fd00::/64]", b: "nonMasqueradeCIDRs: [10.3.0.0/16]" })];
    const mounts: [string, string, string][] = [["mine", "a", "ip-masq-x"], ["mine", "b", "other"]];
    const found = read(...maps, daemonSet(["--enable-ipv6", "--masq-chain=MINE"], mounts));
    expect(ranges(found)).toEqual(["10.2.0.0/16", "fd00::/64"]);
    expect(found.config).toMatchObject({ chain: "MINE", enableIPv6: true, stopped: false });
    expect(found.runs).toBe(true);
    expect(ranges(read(...maps, daemonSet([], [["mine", "", ""]])))).toEqual(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
    expect(ranges(read(...maps, daemonSet([])))).toEqual(["10.1.0.0/16"]);
  });
});

describe("which agent", () => {
  const node = "apiVersion: v1\nkind: Node\nmetadata: {name: one}\nspec: {podCIDRs: [10.244.3.0/24]}\n";
  const map = configMap("azure-ip-masq-agent-config", { "ip-masq-agent": "nonMasqueradeCIDRs: [10.1.0.0/16]" });
  const networkOf = (documents: string[], given: GivenNetwork = {}): { network: Network; problems: string[] } => {
    const problems: Problem[] = [];
    return { network: assumedNetwork(clusterOf(documents), given, problems), problems: problems.map((one) => one.what) };
  };

  test("ip-masq-agent where the objects have it, with a word on what was assumed; else the CNI plugin", () => {
    const found = networkOf([node, map]);
    expect(found.network.masquerade).toMatchObject({ agent: "ip-masq-agent", stopped: false });
    expect(found.problems.join("\n")).toMatch(/ip-masq-agent assumed to run on every node, from ConfigMap kube-system\/azure-ip-masq/);
    expect(found.problems.join("\n")).not.toMatch(/--non-masquerade-cidr not given/);
    expect(networkOf([node]).network.masquerade).toMatchObject({ agent: "cni" });
    expect(networkOf([node]).problems.join("\n")).toMatch(/--non-masquerade-cidr not given/);
    expect(networkOf([node, map, daemonSet([])]).problems.join("\n")).not.toMatch(/assumed to run/);
  });

  test("the command line says otherwise", () => {
    expect(networkOf([node, map], { masqueradeAgent: "none" }).network.masquerade).toEqual({ agent: "none" });
    expect(networkOf([node, map], { masqueradeAgent: "cni" }).network.masquerade).toMatchObject({ agent: "cni" });
    const alone = networkOf([node], { masqueradeAgent: "ip-masq-agent" });
    expect(alone.network.nonMasqueradeCidrs.map((one) => one.text)).toEqual(["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]);
    expect(alone.problems.join("\n")).toMatch(/assumed its built-in ranges 10\.0\.0\.0\/8/);
    const given = networkOf([node, map], { nonMasqueradeCidrs: [prefix("10.9.0.0/16")] }).network.masquerade as IpMasqAgentConfig;
    expect(given.nonMasqueradeCIDRs.map(({ range }) => range.text)).toEqual(["10.9.0.0/16"]);
  });
});

function many(from: number, length: number): string {
  return `nonMasqueradeCIDRs: [${Array.from({ length }, (_, index) => `10.${from + index}.0.0/16`).join(", ")}]`;
}

function ruleTexts(config: IpMasqAgentConfig, family: 4 | 6): string[] {
  const part = ipMasqAgentPart(config, family);
  expect(part.rules.every((rule) => rule.table === "nat" && rule.chain === config.chain && rule.becauses.length > 0)).toBe(true);
  return part.rules.map((rule) => rule.text);
}

function read(...documents: string[]): IpMasqAgentReading {
  return readIpMasqAgent(clusterOf(documents));
}

function clusterOf(documents: readonly string[]): ReturnType<typeof buildTimeline>["initial"] {
  const { objects, problems } = readManifests([{ name: "a.yaml", text: documents.join("---\n") }]);
  expect(problems).toEqual([]);
  return buildTimeline({ initial: objects }).initial;
}

function ranges(found: IpMasqAgentReading): string[] {
  return found.config.nonMasqueradeCIDRs.map(({ range }) => range.text);
}

function texts(found: IpMasqAgentReading): string[] {
  return found.problems.map(formatProblem);
}

function configMap(name: string, data: Record<string, string>): string {
  const files = Object.entries(data).map(([key, file]) => `  ${key}: |-\n${file.split("\n").map((line) => `    ${line}\n`).join("")}`);
  return `apiVersion: v1\nkind: ConfigMap\nmetadata: {namespace: kube-system, name: ${name}}\ndata:\n${files.join("")}`;
}

/** @param mounts ConfigMap, key and file name; an empty key mounts the whole ConfigMap */
function daemonSet(args: readonly string[], mounts: readonly [string, string, string][] = []): string {
  const sources = mounts.map(([name, key, path]) => (
    { configMap: { name, optional: true, ...(key === "" ? {} : { items: [{ key, path }] }) } }));
  const volumes = mounts.length === 0 ? {} : { volumes: [{ name: "v", projected: { sources } }] };
  const metadata = { namespace: "kube-system", name: "azure-ip-masq-agent" };
  return `${JSON.stringify({ apiVersion: "apps/v1", kind: "DaemonSet", metadata,
    spec: { template: { spec: { ...volumes, containers: [{ name: "agent", args: ["--v=2", ...args],
      volumeMounts: mounts.length === 0 ? [] : [{ name: "v", mountPath: "/etc/config" }] }] } } } })}\n`;
}
