/**
 * Verification of dumps: what the real iptables prints of generated rules is reproduced to the last line, and of a
 * dump in which one line was removed, added, changed or moved exactly that line is listed.
 */
import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { testSeed } from "../test/seed.js";
import type { Family } from "./cluster/address.js";
import type { Cluster } from "./cluster/cluster.js";
import { randomCluster } from "./iptables/kubeproxy/random.fixture.js";
import { deviceOf, nodeNamed, prefix } from "./iptables/manifests.fixture.js";
import { generatedRules } from "./iptables/planeNode.js";
import { parseRuleSet } from "./linux/netfilter/rule-set.js";
import { iptablesConfig, type Network } from "./planes.js";
import { differences, verifyVerdict, type VerifiedDump, type VerifiedLine } from "./report/verify.js";
import { verifyDumps } from "./verification.js";

const seed = testSeed("src/verification");
const NETWORK: Network = {
  clusterCidrs: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
  nonMasqueradeCidrs: [prefix("192.168.0.0/24"), prefix("fd00::/64")],
};
const NODE = nodeNamed("here", ["192.168.0.2", "fd00::2"], { "topology.kubernetes.io/zone": "a" },
  [deviceOf(2, "eth0", "uplink", ["192.168.0.2/24", "fd00::2/64"])]);

const clusters = randomCluster().map((cluster): Cluster => ({ ...cluster, nodes: [NODE] }));
const families = fc.constantFrom<Family>(4, 6);

function generated(cluster: Cluster, family: Family): string {
  return generatedRules(cluster, NODE, family, iptablesConfig(NETWORK)).text;
}

/** As iptables-save would print it. */
function saved(cluster: Cluster, family: Family): string[] {
  return parseRuleSet(generated(cluster, family), "generated", family).rules.save(false).split("\n");
}

function verified(cluster: Cluster, family: Family, text: string): VerifiedDump {
  const dump = { file: "here.txt", text };
  const dumps = new Map([["here", { v4: family === 4 ? dump : null, v6: family === 6 ? dump : null, sets: null }]]);
  const found = verifyDumps(cluster, NETWORK, {}, dumps);
  expect(found).toHaveLength(1);
  return found[0];
}

function texts(lines: readonly VerifiedLine[]): string[] {
  return lines.map((line) => line.text);
}

const isRule = (line: string): boolean => line.startsWith("-A ");
const chainOf = (line: string): string => line.split(" ")[1];
const SHARED = ["KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL"];

/** A cluster, a family, and the numbers of lines that hold a rule, one of them drawn. */
const cases = fc.tuple(clusters, families, fc.nat()).map(([cluster, family, draw]) => {
  const lines = saved(cluster, family);
  const rules = lines.flatMap((line, index) => (isRule(line) ? [index] : []));
  return { cluster, family, lines, rules, draw, at: rules[draw % rules.length] };
});

function check(property: (one: (typeof cases extends fc.Arbitrary<infer T> ? T : never)) => void, numRuns = 60): void {
  fc.assert(fc.property(cases, property), { seed, numRuns });
}

describe("a dump of generated rules", () => {
  it("is reproduced to the last line", () => {
    check(({ cluster, family, lines, rules }) => {
      const found = verified(cluster, family, lines.join("\n"));
      expect([found.lines, found.reproduced, differences(found), found.variants]).toEqual([rules.length, rules.length, 0, []]);
      expect(verifyVerdict([found], 0).exitCode).toBe(0);
    });
  });

  it("with services in another order is reproduced too", () => {
    check(({ cluster, family, lines, rules, draw }) => {
      const isLast = (index: number): boolean => lines[index].includes("must be the last");
      const shared = rules.filter((index) => SHARED.includes(chainOf(lines[index])) && !isLast(index));
      const twins = shared.filter((index) => shared.some((other) => other > index
        && chainOf(lines[other]) === chainOf(lines[index]) && serviceOf(lines[other]) !== serviceOf(lines[index])));
      if (twins.length === 0) return;
      const first = twins[draw % twins.length];
      // All lines of the service go behind all others of the chain but the last rule.
      const chain = rules.filter((index) => chainOf(lines[index]) === chainOf(lines[first])
        && tableOf(lines, index) === tableOf(lines, first));
      const moved = chain.filter((index) => serviceOf(lines[index]) === serviceOf(lines[first]) && !isLast(index));
      const last = chain.filter(isLast);
      const order = [...chain.filter((index) => !moved.includes(index) && !last.includes(index)), ...moved, ...last];
      const text = lines.map((line, index) => (chain.includes(index) ? lines[order[chain.indexOf(index)]] : line)).join("\n");
      const found = verified(cluster, family, text);
      expect([found.reproduced, differences(found)]).toEqual([rules.length, 0]);
    });
  });

  it("without one line says that line", () => {
    check(({ cluster, family, lines, rules, at }) => {
      const found = verified(cluster, family, lines.filter((_, index) => index !== at).join("\n"));
      expect(texts(found.notInDump)).toEqual([lines[at]]);
      expect(found.notInDump[0].becauses.length).toBeGreaterThan(0);
      expect([found.reproduced, differences(found)]).toEqual([rules.length - 1, 1]);
      expect(verifyVerdict([found], 0).exitCode).toBe(1);
    });
  });

  it("with one line more says that line", () => {
    check(({ cluster, family, lines, rules, at }) => {
      const more = `-A ${chainOf(lines[at])} -m mark --mark 0x77 -j RETURN`;
      const found = verified(cluster, family, lines.toSpliced(at, 0, more).join("\n"));
      expect(found.notGenerated.map((line) => [line.line, line.text])).toEqual([[at + 1, more]]);
      expect([found.lines, found.reproduced, differences(found)]).toEqual([rules.length + 1, rules.length, 1]);
    });
  });

  it("with a line twice says the second", () => {
    check(({ cluster, family, lines, at }) => {
      const found = verified(cluster, family, lines.toSpliced(at, 0, lines[at]).join("\n"));
      expect(found.notGenerated.map((line) => [line.text, line.note])).toEqual([[lines[at], "stands there once too often"]]);
      expect(differences(found)).toBe(1);
    });
  });

  it("with one line changed says both", () => {
    check(({ cluster, family, lines, rules, at }) => {
      const changed = lines[at].replace(/ -j /, " -m mark ! --mark 0x77 -j ");
      if (changed === lines[at]) return;
      const found = verified(cluster, family, lines.with(at, changed).join("\n"));
      expect(texts(found.notGenerated)).toEqual([changed]);
      expect(texts(found.notInDump)).toEqual([lines[at]]);
      expect([found.reproduced, differences(found)]).toEqual([rules.length - 1, 2]);
    });
  });

  it("with two neighbours swapped inside a chain of one owner says one of them", () => {
    check(({ cluster, family, lines, rules, draw }) => {
      const pairs = rules.filter((index) => isRule(lines[index + 1]) && chainOf(lines[index]) === chainOf(lines[index + 1])
        && !SHARED.includes(chainOf(lines[index])) && lines[index] !== lines[index + 1]);
      const at = pairs[draw % pairs.length];
      const found = verified(cluster, family, lines.with(at, lines[at + 1]).with(at + 1, lines[at]).join("\n"));
      expect(found.outOfOrder).toHaveLength(1);
      expect([lines[at], lines[at + 1]]).toContain(found.outOfOrder[0].text);
      expect([found.reproduced, differences(found)]).toEqual([rules.length - 1, 1]);
    });
  });

  it("with the jump to node ports before a service says the jump", () => {
    check(({ cluster, family, lines, rules }) => {
      const last = lines.findIndex((line) => line.includes("must be the last"));
      if (chainOf(lines[last - 1] ?? "") !== "KUBE-SERVICES") return;
      const found = verified(cluster, family, lines.with(last, lines[last - 1]).with(last - 1, lines[last]).join("\n"));
      expect(texts(found.outOfOrder)).toEqual([lines[last]]);
      expect([found.reproduced, differences(found)]).toEqual([rules.length - 1, 1]);
    });
  });

  it("with another policy says the chain", () => {
    check(({ cluster, family, lines }) => {
      const found = verified(cluster, family, lines.join("\n").replace(":FORWARD ACCEPT", ":FORWARD DROP"));
      expect(texts(found.policies)).toEqual([":FORWARD DROP"]);
      expect(differences(found)).toBe(1);
    }, 5);
  });
});

describe("other spellings", () => {
  it("are reproduced, and each is named and counted", () => {
    check(({ cluster, family, lines, rules }) => {
      const old = lines.map((line) => line.replace(/ --random-fully$/, "").replace(/(--probability \d\.\d{5})\d*/, "$1"));
      const found = verified(cluster, family, old.join("\n"));
      expect([found.reproduced, differences(found)]).toEqual([rules.length, 0]);
      expect(found.variants.find(([name]) => name.startsWith("no --random-fully"))?.[1]).toBe(1);
      const thirds = lines.filter((line) => /--probability 0\.(?!50000|25000|20000)/.test(line) && /-A KUBE-SV/.test(line)).length;
      expect(found.variants.find(([name]) => name.startsWith("probability"))?.[1] ?? 0).toBe(thirds);
    });
  });

  it("of a large cluster are those of chains with endpoints alone", () => {
    check(({ cluster, family, lines, rules }) => {
      const comment = / -m comment --comment ("[^"]*"|\S+)/;
      const bare = lines.map((line) => (/^-A KUBE-(SVC|SVL|SEP)-/.test(line) ? line.replace(comment, "") : line));
      const found = verified(cluster, family, bare.join("\n"));
      expect([found.reproduced, differences(found)]).toEqual([rules.length, 0]);
      const at = lines.findIndex((line) => line.startsWith("-A KUBE-SERVICES ") && line.includes(" -m comment "));
      if (at < 0) return;
      const other = lines.with(at, lines[at].replace(comment, ""));
      expect(verified(cluster, family, other.join("\n")).notInDump).toHaveLength(1);
    });
  });

  it("a probability that is not 1/n is another rule", () => {
    check(({ cluster, family, lines }) => {
      const at = lines.findIndex((line) => /--probability 0\.5/.test(line));
      if (at < 0) return;
      const other = lines.with(at, lines[at].replace(/--probability \S+/, "--probability 0.50010000000"));
      const found = verified(cluster, family, other.join("\n"));
      expect(found.notGenerated).toHaveLength(1);
    });
  });
});

describe("options", () => {
  it("that the dump states are read from it and named", () => {
    check(({ cluster, family, lines, rules }) => {
      const masked = lines.filter((line) => /^-A KUBE-SV[CL]-.*! -s /.test(line)).length;
      if (masked < 2) return;
      const mark = lines.map((line) => line.replaceAll("0x4000", "0x2").replace(/^(-A KUBE-SV[CL]-\S+) ! -s \S+/, "$1 ! -i cbr0")
        .replace(/^(-A KUBE-EXT-\S+) -s \S+/, "$1 -i cbr0")
        .replace(/^(-A KUBE-SV[CL]-\S+) ! -i cbr0( -d \S+)/, "$1$2 ! -i cbr0"));
      const found = verified(cluster, family, mark.join("\n"));
      expect([found.reproduced, texts([...found.notGenerated, ...found.notInDump])]).toEqual([rules.length, []]);
      expect(found.options.map(([name]) => name).sort()).toEqual(["detectLocal", "detectLocalMode", "masqueradeBit"]);
    });
  });
});

function tableOf(lines: readonly string[], index: number): string {
  return lines.slice(0, index).findLast((line) => line.startsWith("*")) ?? "";
}

function serviceOf(line: string): string {
  return /--comment "?([^ "]*)/.exec(line)?.[1] ?? "";
}

const present = process.getuid?.() === 0 && ["ip", "iptables-legacy-save", "iptables-nft-save"]
  .every((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status === 0) && spawnSync("ip", ["netns", "list"]).status === 0;
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but iptables cannot be run here");
}

describe.skipIf(!present)("what the real iptables prints of generated rules (needs root, iptables legacy and nft)", () => {
  const backs = [["legacy", 4], ["legacy", 6], ["nft", 4], ["nft", 6]] as const;
  it.each(backs)("%s, IPv%s is reproduced to the last line", (back, family) => {
    let lines = 0;
    for (const cluster of fc.sample(clusters, { seed, numRuns: 4 })) {
      const text = throughIptables(back, family, generated(cluster, family));
      const found = verified(cluster, family, text);
      expect(texts([...found.notGenerated, ...found.notInDump, ...found.outOfOrder, ...found.policies])).toEqual([]);
      expect([found.reproduced, found.variants, found.problems]).toEqual([found.lines, [], []]);
      lines += found.lines;
    }
    expect(lines).toBeGreaterThan(100);
  });
});

/** Loads rules in a network namespace of their own and saves them again, with counters. */
function throughIptables(back: "legacy" | "nft", family: Family, text: string): string {
  const space = `tw-verify-${process.pid}`;
  const tool = `ip${family === 6 ? "6" : ""}tables-${back}`;
  const run = (args: readonly string[], input = ""): string => {
    const done = spawnSync("ip", args, { encoding: "utf8", input, maxBuffer: 1 << 26 });
    if (done.status !== 0) throw new Error(`ip ${args.join(" ")}: ${done.stderr}`);
    return done.stdout;
  };
  run(["netns", "add", space]);
  try {
    run(["netns", "exec", space, `${tool}-restore`], text);
    return run(["netns", "exec", space, `${tool}-save`, "-c"]);
  } finally {
    run(["netns", "del", space]);
  }
}
