/**
 * IP sets of a node that said its rules but not its sets. Azure NPM and Calico name sets by hashes of what they stand
 * for, so the sets that the rules name are made again from the cluster's objects. A name that none of them makes is
 * left out: a packet that comes to ask it is undecided.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { missingSets, setsOf } from "../../linux/netfilter/sets/missing-sets.js";
import { type IpSets, parseIpSets } from "../../linux/netfilter/sets/ipsets.js";
import type { RuleSet } from "../../linux/netfilter/rule-set.js";
import type { NodeOwnRules } from "./ownRules.js";

/** What the programs of a cluster keep in sets on a node, as `ipset restore` takes it. */
export type SetMaker = (cluster: Cluster, node: Node, family: Family, rules: string) => string;

/** Lines of `made` that are of the sets that rules name, and of the sets that these list. */
export function namedSets(rules: RuleSet, made: string): string {
  const wanted = setNames(rules);
  const lines = made.split("\n").filter((line) => line !== "");
  // A list:set names other sets as its members; those come before it.
  for (const line of lines.toReversed()) {
    const [verb, set, member] = line.split(" ");
    if (verb === "add" && wanted.has(set)) wanted.add(member);
  }
  return lines.filter((line) => wanted.has(line.split(" ")[1])).map((line) => `${line}\n`).join("");
}

export function setNames(rules: RuleSet): Set<string> {
  const names = new Set<string>();
  for (const table of rules.tables.values()) {
    for (const chain of table.chains.values()) for (const rule of chain.rules) for (const name of setsOf(rule)) names.add(name);
  }
  return names;
}

/** What a user should know of the sets that a node's rules name. */
export function setProblems(own: NodeOwnRules, cluster: Cluster, node: Node, make: SetMaker | null): Problem[] {
  return [own.v4, own.v6].flatMap((rules, index): Problem[] => {
    if (rules === null) return [];
    const names = setNames(rules.set);
    if (names.size === 0) return [];
    const sets = own.sets ?? rebuilt(rules.set, make?.(cluster, node, index === 0 ? 4 : 6, rules.lines.join("\n")) ?? "");
    const missing = missingSets(rules.set, sets);
    if (own.sets !== null) return missing;
    const known = [...names].filter((name) => sets.has(name)).length;
    return [{ where: { file: rules.file, line: 0 }, severity: "warning",
      what: `the rules of ${node.name} name ${names.size} IP sets and no \`ipset save\` of it was given; ${known} of them are made`
        + " again from the cluster's objects" }, ...missing];
  });
}

function rebuilt(rules: RuleSet, made: string): IpSets {
  return parseIpSets(namedSets(rules, made), "sets made from the cluster's objects").sets;
}
