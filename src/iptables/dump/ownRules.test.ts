/** Dumps that are not whole: nothing that is missing passes for "no rule". */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { unmodelledPart } from "../../linux/netfilter/rule.js";
import { nodeNamed } from "../manifests.fixture.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { randomCluster } from "../kubeproxy/random.fixture.js";
import { generatedRules } from "../planeNode.js";
import { parseRuleSet, type RuleSet } from "../../linux/netfilter/rule-set.js";
import { readOwnRules } from "./ownRules.js";

const seed = testSeed("src/iptables/dump/ownRules");

const saved = randomCluster().map((cluster) => {
  const config = { kubeProxy: KUBE_PROXY_DEFAULTS, masquerade: { agent: "none" as const } };
  const { text } = generatedRules(cluster, nodeNamed("here", ["192.168.0.2"]), 4, config);
  return parseRuleSet(text, "generated", 4).rules.save();
});

/** `table/chain` -> texts of its rules; an undecided one as `?`. */
function chains(set: RuleSet): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const table of set.tables.values()) {
    for (const chain of table.chains.values()) {
      const rules = chain.rules.map((rule) => (unmodelledPart(rule) !== null ? "?" : String(rule.line)));
      found.set(`${table.name}/${chain.name}`, rules);
    }
  }
  return found;
}

describe("a dump that is cut off anywhere", () => {
  it("has in each chain all its rules, or an undecided end", () => {
    fc.assert(fc.property(saved, fc.nat(), (text, draw) => {
      const whole = chains(readOwnRules({ file: "x", text }, 4).set);
      const at = draw % text.length;
      const own = readOwnRules({ file: "x", text: text.slice(0, at) }, 4);
      // Between two tables nothing shows that a third was to follow.
      const between = /(^|COMMIT\n?)$/.test(text.slice(0, at));
      expect(own.problems.some((problem) => problem.severity === "error")).toBe(!between);
      if (between) return;
      const cut = chains(own.set);
      for (const [chain, rules] of whole) {
        const read = cut.get(chain);
        // A chain that is not named is one that a jump to it is undecided for; built-in ones are always there.
        if (read === undefined || JSON.stringify(read) === JSON.stringify(rules)) continue;
        expect([chain, read.at(-1)]).toEqual([chain, "?"]);
      }
      for (const [chain, read] of cut) if (!read.includes("?")) expect([chain, read]).toEqual([chain, whole.get(chain)]);
    }), { seed, numRuns: 300 });
  });

  it("leaves the tables that may have followed undecided", () => {
    const { set, problems } = readOwnRules({ file: "x", text: "*mangle\n:PREROUTING ACCEPT [0:0]\n" }, 4);
    const found = chains(set);
    expect([found.get("nat/PREROUTING"), found.get("filter/FORWARD"), found.get("raw/OUTPUT"), found.get("mangle/FORWARD")])
      .toEqual([["?"], ["?"], ["?"], ["?"]]);
    expect(problems.map((one) => one.what).join("\n")).toMatch(/cut off in table mangle: .*all that pass table raw, nat, filter/);
  });

  it("does not use the last line where its end is missing", () => {
    const text = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n-A FORWARD -s 10.0.0.0/1";
    expect(chains(readOwnRules({ file: "x", text }, 4).set).get("filter/FORWARD")).toEqual(["?"]);
    const ended = readOwnRules({ file: "x", text: `${text}6 -j DROP\n` }, 4);
    expect(chains(ended.set).get("filter/FORWARD")).toEqual(["4", "?"]);
    expect(chains(ended.set).get("filter/INPUT")).toEqual([]);
  });
});

describe("a damaged line", () => {
  it("leaves its place undecided, and the rest is used", () => {
    fc.assert(fc.property(saved, fc.nat(), fc.constantFrom("cut", "lost dash", "noise"), (text, draw, how) => {
      const lines = text.split("\n");
      const rules = lines.flatMap((line, index) => (line.includes("-A ") ? [index] : []));
      const at = rules[draw % rules.length];
      const line = lines[at];
      const broken = how === "cut" ? line.slice(0, line.indexOf("-A") + 3) : how === "noise" ? "%&/()=" : line.replace("-A ", "A ");
      const own = readOwnRules({ file: "x", text: lines.with(at, broken).join("\n") }, 4);
      expect(own.problems.filter((one) => one.severity === "error" && one.where?.line === at + 1).length).toBeGreaterThan(0);
      const whole = chains(readOwnRules({ file: "x", text }, 4).set);
      const read = chains(own.set);
      expect([...read.values()].flat()).toContain("?");
      const kept = (of: Map<string, string[]>): string[] => [...of.values()].flat().filter((one) => one !== "?");
      expect(kept(read)).toEqual(kept(whole).filter((one) => one !== String(at + 1)));
    }), { seed, numRuns: 200 });
  });
});
