/** Rules that nodes share, and what is kept through changes: the same as made from nothing and read from their text. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { testSeed } from "../../test/seed.js";
import type { Family } from "../cluster/address.js";
import type { Node } from "../cluster/cluster.js";
import { RuleCache } from "../linux/netfilter/rule-cache.js";
import { parseRuleSet, type RuleSet } from "../linux/netfilter/rule-set.js";
import { KUBE_PROXY_DEFAULTS } from "./kubeproxy/config.js";
import { randomCluster } from "./kubeproxy/random.fixture.js";
import { nodeNamed, prefix } from "./manifests.fixture.js";
import { generatedRules, type IptablesConfig, SharedRules } from "./planeNode.js";
import type { NodeRules } from "./ruleset.js";

const seed = testSeed("src/iptables/sharedRules");
const config: IptablesConfig = {
  kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
    largeClusterEndpointsThreshold: 14 },
  masquerade: { agent: "cni", clusterCIDR: [prefix("10.244.0.0/16")], nonMasqueradeCIDRs: [], randomFully: false },
};
const zone = "topology.kubernetes.io/zone";
const NODES: readonly Node[] = [
  nodeNamed("here", ["192.168.0.5", "fd00::5"], { [zone]: "a" }), nodeNamed("there", ["203.0.113.7"], { [zone]: "a" }),
  nodeNamed("third", ["192.168.9.9"], {}), nodeNamed("here", ["192.168.0.5"], { [zone]: "b" }),
    nodeNamed("there", ["10.9.9.9"], { [zone]: "a" }),
];

describe("rules that nodes share", () => {
  test("through changes and on several nodes they are those made from nothing and read from their text", () => {
    let shared = 0;
    let kept = 0;
    // Chance picks each object of one of two clusters: a change replaces some and leaves the rest.
    const steps = fc.array(fc.record({ node: fc.nat({ max: NODES.length - 1 }), services: fc.nat(), slices: fc.nat() }),
      { minLength: 2, maxLength: 8 });
    fc.assert(fc.property(randomCluster(), randomCluster(), steps, (one, other, changes) => {
      const rules = new SharedRules();
      const before = new Map<Family, RuleSet>();
      for (const { node, services, slices } of changes) {
        const cluster = { ...one, services: mixed(one.services, other.services, services),
          endpointSlices: mixed(one.endpointSlices, other.endpointSlices, slices) };
        for (const family of [4, 6] as const) {
          const { set, lines } = rules.of(cluster, NODES[node], family, config);
          const fresh = generatedRules(cluster, NODES[node], family, config);
          expect(lines.text).toBe(fresh.text);
          expect(becausesOf(lines)).toEqual(becausesOf(fresh));
          const read = parseRuleSet(fresh.text, "text", family);
          // Extensions hold functions; as JSON they are their texts.
          expect(JSON.stringify(plain(set))).toBe(JSON.stringify(plain(read.rules)));
          for (const [name, table] of set.tables) if (before.get(family)?.tables.get(name) === table) shared++;
          kept += chainsInCommon(before.get(family), set);
          before.set(family, set);
        }
      }
    }), { seed, numRuns: 15 });
    expect(shared).toBeGreaterThan(30);
    expect(kept).toBeGreaterThan(500);
  });

  test("where a rule comes from is told by its place in its chain", () => {
    fc.assert(fc.property(randomCluster(), (cluster) => {
      const { set, lines } = new SharedRules().of(cluster, NODES[0], 4, config);
      const inText = lines.text.split("\n");
      for (const { name, chains } of set.tables.values()) {
        for (const chain of chains.values()) {
          const own = inText.filter((line) => line.startsWith(`-A ${chain.name} `));
          for (const position of chain.rules.keys()) {
            const [found] = lines.becauseAt(name, chain.name, position + 1);
            if (found !== undefined) expect(own.flatMap((line) => lines.because(name, line))).toContainEqual(found);
          }
          expect(lines.becauseAt(name, chain.name, 0)).toEqual([]);
          expect(lines.becauseAt(name, chain.name, chain.rules.length + 1)).toEqual([]);
        }
      }
    }), { seed, numRuns: 8 });
  });
});

describe("lines that are read once", () => {
  const build = (cache: RuleCache, chains: string[], rules: [string, string][]): ReturnType<RuleCache["build"]> =>
    cache.build([{ name: "filter", chains, rules: rules.map(([chain, text]) => ({ chain, text })) }], "lines");

  test("a name is a jump only where the table has the chain", () => {
    const cache = new RuleCache(4);
    expect(build(cache, ["X"], [["INPUT", "-j X"]]).problems).toEqual([]);
    expect(build(cache, [], [["INPUT", "-j X"]]).problems.map(({ what }) => what)).toEqual([expect.stringContaining("X")]);
    expect(build(cache, [], [["INPUT",
      "-j ACCEPT"]]).rules.tables.get("filter")?.chains.get("INPUT")?.rules[0].target.kind).toBe("verdict");
    expect(build(cache, ["ACCEPT"], [["INPUT",
      "-j ACCEPT"]]).rules.tables.get("filter")?.chains.get("INPUT")?.rules[0].target.kind).toBe("jump");
  });

  test("a line that is not modelled is undecided, the same line elsewhere not", () => {
    const cache = new RuleCache(4);
    for (let round = 0; round < 2; round++) {
      const rules = [{ chain: "INPUT", text: "-j DROP", undecided: "no reason" }, { chain: "OUTPUT", text: "-j DROP" }];
      const chains = cache.build([{ name: "filter", chains: [], rules }], "lines").rules.tables.get("filter")?.chains;
      expect(chains?.get("INPUT")?.rules[0].matches).toEqual([{ kind: "unmodelled", text: "no reason" }]);
      expect(chains?.get("OUTPUT")?.rules[0].matches).toEqual([]);
    }
  });

  test("what is wrong is said each time", () => {
    const cache = new RuleCache(4);
    for (let round = 0; round < 2; round++) {
      const { problems } = build(cache, ["A"], [["INPUT", "-m nonsense -j DROP"], ["B", "-j DROP"], ["A", "-j A"],
        ["INPUT", '-m comment --comment "']]);
      expect(problems.map(({ what }) => what)).toEqual([expect.stringContaining("nonsense"), "chain B is not in table filter",
        "a double quote is not closed",
        "chain A of table filter can jump back to itself"]);
    }
  });

  test("equal lines are one table, also when others came between; a list of addresses is several rules", () => {
    const cache = new RuleCache(4);
    const first = build(cache, ["A"], [["INPUT", "-s 10.0.0.1,10.0.0.2 -j A"]]).rules.tables.get("filter");
    const other = build(cache, ["A"], [["INPUT", "-s 10.0.0.1,10.0.0.3 -j A"]]).rules.tables.get("filter");
    expect(build(cache, ["A"], [["INPUT", "-s 10.0.0.1,10.0.0.2 -j A"]]).rules.tables.get("filter")).toBe(first);
    expect(other?.chains.get("A")).toBe(first?.chains.get("A"));
    expect(other).not.toBe(first);
    expect(first?.chains.get("INPUT")?.rules.length).toBe(2);
  });
});

function mixed<T extends { readonly name: string; readonly namespace: string }>(one: readonly T[], other: readonly T[],
  choice: number): T[] {
  const key = ({ namespace, name }: T): string => `${namespace}/${name}`;
  const others = new Map(other.map((object) => [key(object), object]));
  return one.map((object, index) => ((choice >> (index % 31)) & 1 ? others.get(key(object)) ?? object : object));
}

/** All but where a rule was read, and its counters. */
function plain(set: RuleSet): unknown {
  return [...set.tables.values()].map(({ name, chains }) => [name, [...chains.values()].map((chain) => [chain.name, chain.policy,
    chain.rules.map(({ file: _file, line: _line, ...rule }) => rule)])]);
}

function becausesOf(lines: NodeRules): unknown {
  return lines.text.split("\n").filter((line) => line.startsWith("-A")).map((line) =>
    [lines.because("nat", line), lines.because("filter", line)]);
}

function chainsInCommon(before: RuleSet | undefined, after: RuleSet): number {
  let count = 0;
  for (const [name, table] of after.tables) {
    for (const [chain, object] of table.chains) if (before?.tables.get(name)?.chains.get(chain) === object) count++;
  }
  return count;
}

