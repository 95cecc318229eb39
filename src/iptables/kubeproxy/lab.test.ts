/**
 * Rules that a real kernel held when traces were recorded, against the generated text. The lab writes them
 * with a generator of its own. The first version of it differed from kube-proxy in known ways; these, and
 * nothing else, are evened out for its recordings.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadAll } from "js-yaml";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../../test/shared.js";
import { clusterOf, type Plain, prefix } from "../manifests.fixture.js";
import { masqueradePart } from "../masquerade/cni.js";
import { joinRules } from "../ruleset.js";
import { KUBE_PROXY_DEFAULTS, type KubeProxyConfig } from "./config.js";
import { generateKubeProxy } from "./generate.js";

const shared = sharedDir();
const STORIES = join(import.meta.dirname, "../../../traces/lab");
const CONFIG: KubeProxyConfig = {
  ...KUBE_PROXY_DEFAULTS, randomFully: false, statisticMode: "nth",
  clusterCIDR: [prefix("10.244.0.0/16"), prefix("fd00:10:244::/48")],
};

describe("rules of the stories (traces/lab), equal but for the order of services", () => {
  for (const nodeName of ["node1", "node2"]) {
    for (const family of [4, 6] as const) {
      test(`${nodeName}.v${family}`, () => compare(STORIES, nodeName, family, null));
    }
  }
});

describe.skipIf(shared === null)("rules of the first lab, with its known differences (needs TWINPLANE_SHARED)", () => {
  for (const run of ["native-nth", "vxlan-nth"]) {
    for (const nodeName of ["node1", "node2"]) {
      for (const family of [4, 6] as const) {
        test(`${run} ${nodeName}.v${family}`, () => (
          compare(join(shared!, "traces/lab", run), nodeName, family, evened)));
      }
    }
  }
});

function compare(folder: string, nodeName: string, family: 4 | 6, even: Evening): void {
  const cluster = clusterOf(loadAll(readFileSync(join(folder, "cluster.yaml"), "utf8")) as Plain[]);
  const node = cluster.nodes.find((one) => one.name === nodeName)!;
  const ours = joinRules([
    generateKubeProxy({ cluster, node, family, config: CONFIG }),
    masqueradePart({ agent: "cni", clusterCIDR: CONFIG.clusterCIDR, randomFully: false,
      nonMasqueradeCIDRs: [prefix("192.168.50.0/24"), prefix("fd00:50::/64")] }, family),
  ]);
  const lab = readFileSync(join(folder, `${nodeName}.v${family}.rules`), "utf8");
  // Keeps an empty comparison from passing; the smallest of the files has 98 rules.
  expect(lab.split("\n").filter((line) => line.startsWith("-A")).length).toBeGreaterThan(75);
  expect(tables(ours.text, even)).toEqual(tables(lab, even));
}

/** How a line of the first lab is brought to kube-proxy's form; null where nothing needs to be. */
type Evening = ((line: string) => string) | null;

/** Chains in which the order between services means nothing. */
const SHARED_CHAINS = ["KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXTERNAL-SERVICES", "KUBE-PROXY-FIREWALL"];

function tables(text: string, even: Evening): Record<string, Record<string, string[]>> {
  const found: Record<string, Record<string, string[]>> = {};
  let table: Record<string, string[]> = {};
  for (const raw of text.split("\n")) {
    const line = even === null ? raw : even(raw);
    if (line.startsWith("*")) found[line.slice(1)] = table = {};
    else if (line.startsWith(":") && (even === null || !line.includes("CANARY"))) table[line.slice(1).split(" ")[0]] ??= [];
    else if (line.startsWith("-A ")) table[line.split(" ")[1]].push(line);
  }
  for (const one of Object.values(found)) {
    for (const chain of SHARED_CHAINS) {
      const rules = one[chain] ?? [];
      const last = rules.findIndex((rule) => rule.includes("NOTE: this must be the last rule"));
      expect(last === -1 || last === rules.length - 1).toBe(true);
      rules.sort();
    }
    // It appended the jump to KUBE-FIREWALL; kube-proxy has it first.
    for (const chain of even === null ? [] : ["INPUT", "OUTPUT"]) {
      const jump = `-A ${chain} -j KUBE-FIREWALL`;
      if (one[chain]?.includes(jump)) one[chain] = [jump, ...one[chain].filter((rule) => rule !== jump)];
    }
  }
  return found;
}

/** It wrote full-length prefixes out and the mark without padding, and forgot IPv6 localhost. */
function evened(line: string): string {
  return line.replace(/(-[sd] \d+(?:\.\d+){3})\/32/g, "$1").replace(/(-[sd] [0-9a-f:]+)\/128/g, "$1")
    .replaceAll("0x00004000", "0x4000").replace(" ! -d ::1/128 ", " ").replace(" ! -d ::1 ", " ");
}
