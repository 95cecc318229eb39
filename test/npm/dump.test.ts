/** What `dump rules` shows of Azure NPM: its sets and rules of each node, and what it refuses. */
import { expect, test } from "vitest";
import { dumpRules, rulesProblems } from "../../src/planes.js";
import { inputs } from "./scenes.js";

const NETWORK = { clusterCidrs: [], nonMasqueradeCidrs: [] };
const { cluster } = inputs({ name: "dump", expect: {}, policies: ["{podSelector: {}, policyTypes: [Ingress]}",
  "{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 'fd00::/8'}}]}]}"] });

test("sets come before the rules that name them, under a comment for each node", () => {
  const text = dumpRules(cluster, NETWORK, null, "kube-proxy+npm");
  const headings = text.split("\n").filter((line) => line.startsWith("# "));
  expect(headings).toEqual(["n1", "n2"].flatMap((node) => [`# ${node}, IP sets`, `# ${node}, IPv4`, `# ${node}, IPv6`]));
  const named = [...text.matchAll(/--match-set (\S+)/g)].map(([, name]) => name);
  expect(named.length).toBeGreaterThan(1);
  for (const name of named) expect(text.indexOf(`create ${name} `)).toBeLessThan(text.indexOf(`--match-set ${name}`));
  expect(dumpRules(cluster, NETWORK, "n1", "kube-proxy")).not.toContain("azure-npm");
});

test("a policy that NPM refuses is said, and others are not", () => {
  expect(rulesProblems(cluster, NETWORK, "kube-proxy+npm").map(({ what }) => what))
    .toEqual(["Azure NPM does not enforce NetworkPolicy default/p1: ipBlock fd00::/8 is not IPv4"]);
  expect(rulesProblems(cluster, NETWORK, "kube-proxy")).toEqual([]);
});
