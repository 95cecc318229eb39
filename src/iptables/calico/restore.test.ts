/**
 * Every text is one that the real programs load: `ipset restore`, then `iptables-restore --test` in both its forms,
 * in a network namespace of its own.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { testSeed } from "../../../test/seed.js";
import { parsePrefix } from "../../cluster/address.js";
import { KUBE_PROXY_DEFAULTS } from "../kubeproxy/config.js";
import { generatedRules } from "../planeNode.js";
import { calicoProgram } from "./generate.js";
import { Chance, randomCluster } from "./random.fixture.js";

const seed = testSeed("src/iptables/calico/restore");
const CLUSTERS = 25;

function able(): boolean {
  if (process.getuid?.() !== 0 || process.platform !== "linux") return false;
  const script = "ipset list -n && iptables-legacy-restore --version && iptables-nft-restore --version && ip6tables-nft-restore --version";
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
          const restore = family === 4 ? "iptables" : "ip6tables";
          script.push(`ipset restore -file ${name}.sets`, `${restore}-legacy-restore --test ${name}.rules`,
            `${restore}-nft-restore --test ${name}.rules`, "ipset destroy");
        }
      }
      writeFileSync(`${folder}/all.sh`, script.join("\n"));
      const done = spawnSync("unshare", ["-n", "sh", "-x", `${folder}/all.sh`], { encoding: "utf8" });
      expect(done.status, done.stderr.slice(-2000)).toBe(0);
      console.log(`${rules} rules and ${sets} sets of ${CLUSTERS} nodes, each loaded by both`);
      expect(rules).toBeGreaterThan(2000);
      expect(sets).toBeGreaterThan(50);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
