/**
 * Every text is one that the real programs load: `ipset restore`, then `iptables-restore` in both its forms, in a
 * network namespace of its own; and what they save is read back as the same rules and sets.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { parsePrefix } from "../../cluster/address.js";
import { parseRuleSet } from "../../linux/netfilter/rule-set.js";
import { parseIpSets } from "../../linux/netfilter/sets/ipsets.js";
import { verifyRules } from "../dump/verify.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { generatedRules } from "../planeNode.js";
import { calicoProgram } from "./generate.js";
import { Chance, randomCluster } from "./random.fixture.js";

const seed = testSeed("src/iptables/calico/restore");
const CLUSTERS = 15;

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const tools = ["iptables-legacy", "iptables-nft", "ip6tables-nft"].map((name) => `${name}-restore --version`);
  const script = ["ipset list -n", ...tools].join(" && ");
  return spawnSync("unshare", ["-n", "sh", "-c", script]).status === 0;
}

const present = able();
if (!present && process.env.TWINPLANE_REQUIRE_KERNEL === "1") {
  throw new Error("TWINPLANE_REQUIRE_KERNEL=1, but iptables-restore and ipset cannot be asked here");
}

describe.skipIf(!present)("the programs themselves (needs root, ipset, iptables legacy and nft)", () => {
  it("load the rules and sets of random clusters", () => {
    const folder = mkdtempSync(join(tmpdir(), "twinplane-calico-"));
    let rules = 0;
    let sets = 0;
    const texts = new Map<string, { family: 4 | 6; text: string; sets: string }>();
    try {
      const script: string[] = ["set -e"];
      for (let run = 0; run < CLUSTERS; run++) {
        const cluster = randomCluster(new Chance(seed * 1000 + run));
        const node = cluster.nodes[run % cluster.nodes.length];
        for (const family of [4, 6] as const) {
          const made = generatedRules(cluster, node, family, {
            kubeProxy: KUBE_PROXY_DEFAULTS, masquerade: { agent: "none" },
            programs: [calicoProgram({ assumedPools: [{ cidr: parsePrefix("10.244.0.0/16")!, natOutgoing: true }] })],
          });
          const name = `${folder}/${run}.v${family}`;
          writeFileSync(`${name}.rules`, made.text);
          writeFileSync(`${name}.sets`, made.sets);
          rules += made.text.split("\n").filter((line) => line.startsWith("-A cali")).length;
          sets += made.sets.split("\n").filter((line) => line.startsWith("create")).length;
          texts.set(name, { family, text: made.text, sets: made.sets });
          const tool = family === 4 ? "iptables" : "ip6tables";
          script.push(`ipset restore -file ${name}.sets`, `ipset save > ${name}.saved-sets`);
          for (const variant of ["legacy", "nft"]) {
            script.push(`${tool}-${variant}-restore ${name}.rules`, `${tool}-${variant}-save > ${name}.${variant}`);
            for (const table of ["raw", "mangle", "filter", "nat"]) {
              script.push(`${tool}-${variant} -t ${table} -F`, `${tool}-${variant} -t ${table} -X`);
            }
          }
          script.push("ipset destroy");
        }
      }
      writeFileSync(`${folder}/all.sh`, script.join("\n"));
      const done = spawnSync("unshare", ["-n", "sh", "-x", `${folder}/all.sh`], { encoding: "utf8" });
      expect(done.status, done.stderr.slice(-2000)).toBe(0);
      for (const [name, { family, text, sets: made }] of texts) {
        const generated = parseRuleSet(text, "generated", family);
        expect(generated.problems).toEqual([]);
        for (const variant of ["legacy", "nft"]) {
          const saved = parseRuleSet(readFileSync(`${name}.${variant}`, "utf8"), variant, family);
          expect(saved.problems).toEqual([]);
          const found = verifyRules(saved.rules, { set: generated.rules, because: () => [] }, family);
          expect([found.notGenerated, found.notInDump, found.outOfOrder], `${name}.${variant}`).toEqual([[], [], []]);
          expect(found.reproduced).toBe(found.lines);
        }
        const members = (lines: string): string => parseIpSets(lines, "sets").sets.save()
          .replace(/ bucketsize \d+ initval 0x[0-9a-f]+/g, "").split("\n").sort().join("\n");
        expect(members(readFileSync(`${name}.saved-sets`, "utf8"))).toBe(members(made));
      }
      console.log(`${rules} rules and ${sets} sets of ${CLUSTERS} nodes, each loaded and saved by both`);
      expect(rules).toBeGreaterThan(1500);
      expect(sets).toBeGreaterThan(30);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }, 120_000);
});
