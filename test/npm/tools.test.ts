/**
 * The generated rules and sets of random clusters, given to the real iptables-restore (legacy and nft) and ipset in a
 * network namespace: all is taken, what NPM itself would feed to ipset makes the same sets, and the rules come back
 * from the kernel as the model prints them.
 */
import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NPM_DEFAULTS } from "../../src/iptables/npm/config.js";
import { npmProgram, npmSetRestore, npmSets } from "../../src/iptables/npm/generate.js";
import { KUBE_PROXY_DEFAULTS } from "../../src/iptables/kubeproxy/config.js";
import { generatedRules } from "../../src/iptables/planeNode.js";
import { prefix } from "../../src/iptables/manifests.fixture.js";
import { parseRuleSet } from "../../src/linux/netfilter/rule-set.js";
import { testSeed } from "../seed.js";
import { randomCluster } from "./clusters.js";

const NAMESPACE = `npm-tools-${process.pid}`;
const CLUSTERS = 6;
const seed = testSeed("test/npm/tools");

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const tools = ["ip", "ipset", "iptables-legacy-restore", "iptables-nft-restore"];
  if (tools.some((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0)) return false;
  const made = spawnSync("ip", ["netns", "add", `${NAMESPACE}-try`]).status === 0;
  if (made) spawnSync("ip", ["netns", "del", `${NAMESPACE}-try`]);
  return made;
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but the iptables and ipset tools cannot run here");
}

function run(command: string, input = ""): string {
  const done = spawnSync("ip", ["netns", "exec", NAMESPACE, ...command.split(" ")], { input, encoding: "utf8", maxBuffer: 1 << 26 });
  if (done.status !== 0) throw new Error(`${command}: ${done.stderr}`);
  return done.stdout;
}

describe.skipIf(!present)("real tools (needs root, network namespaces, iptables legacy and nft, ipset)", () => {
  beforeEach(() => { spawnSync("ip", ["netns", "add", NAMESPACE]); });
  afterEach(() => { spawnSync("ip", ["netns", "del", NAMESPACE]); });

  it.each(["legacy", "nft"])("iptables %s takes every text, and gives the rules back as the model prints them", (kind) => {
    let rules = 0;
    for (let number = 0; number < CLUSTERS; number++) {
      const { cluster } = randomCluster(seed + number);
      for (const naming of ["sha256", "fnv32"] as const) {
        const given = { naming, PlaceAzureChainFirst: number % 3 === 0 };
        const clusterCIDR = [prefix("10.244.0.0/16")];
        const config = { kubeProxy: { ...KUBE_PROXY_DEFAULTS, clusterCIDR }, programs: [npmProgram(given)],
          masquerade: { agent: "cni", clusterCIDR, nonMasqueradeCIDRs: [], randomFully: true } } as const;
        const { text, sets } = generatedRules(cluster, cluster.nodes[0], 4, config);
        run("ipset restore", sets);
        run(`iptables-${kind}-restore --test`, text);
        run(`iptables-${kind}-restore`, text);
        const saved = run(`iptables-${kind}-save -t filter`);
        const filter = rulesOf(saved);
        expect(rulesOf(parseRuleSet(text, "generated", 4).rules.save(false)).sort()).toEqual([...filter].sort());
        expect(filter.filter((line) => line.startsWith("-A FORWARD")).map((line) => line.split(" -j ")[1]))
          .toEqual(forwardOrder(given.PlaceAzureChainFirst));
        rules += filter.length;
        run(`iptables-${kind}-restore`, "*filter\nCOMMIT\n*nat\nCOMMIT\n");
        run(`iptables-${kind} -t filter -X`);
        run(`iptables-${kind} -t nat -X`);
        run("ipset flush");
        run("ipset destroy");
      }
    }
    console.log(`iptables ${kind}: ${rules} rules of filter in ${CLUSTERS * 2} texts`);
    expect(rules).toBeGreaterThan(CLUSTERS * 40);
  });

  it("ipset makes of NPM's own lines the sets that are generated", () => {
    let lines = 0;
    for (let number = 0; number < CLUSTERS; number++) {
      const { cluster } = randomCluster(seed + number);
      for (const naming of ["sha256", "fnv32"] as const) {
        run("ipset restore", npmSetRestore(cluster, { naming }));
        const saved = run("ipset save").replace(/ bucketsize \d+ initval \S+/g, "").trim().split("\n");
        const rules = naming === "sha256" ? "" : "-A X -m set --match-set azure-npm-1 src";
        expect(saved.sort()).toEqual(npmSets(cluster, rules).trim().split("\n").sort());
        lines += saved.length;
        run("ipset flush");
        run("ipset destroy");
      }
    }
    console.log(`ipset: ${lines} lines`);
    expect(NPM_DEFAULTS.naming).toBe("sha256");
  });
});

/** As the order of NPM's chain behind or before kube-proxy's is documented; kube-proxy's own is in its tests. */
function forwardOrder(first: boolean): string[] {
  const npm = "AZURE-NPM";
  const kube = ["KUBE-PROXY-FIREWALL", "KUBE-FORWARD", "KUBE-SERVICES"];
  return first ? [npm, ...kube, "KUBE-EXTERNAL-SERVICES"] : [...kube, npm, "KUBE-EXTERNAL-SERVICES"];
}

/** Rules of the filter table. */
function rulesOf(saved: string): string[] {
  const start = saved.indexOf("*filter");
  return saved.slice(start, saved.indexOf("COMMIT", start)).split("\n").filter((line) => line.startsWith("-A"));
}
