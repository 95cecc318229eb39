/**
 * Calico's iptables dataplane for one node and one family: Felix's chains in raw, mangle, filter and nat, and its IP
 * sets. Enforces Kubernetes NetworkPolicy; what Calico's own kinds would add is undecided (unmodelled.ts).
 *
 * Guarantees: the text is a function of the cluster at that instant, the node and the configuration. Chains that
 * nothing leads to are not written, as Felix does not write them either. IPv6 is on where some pod has it.
 *
 * Source: projectcalico/calico v3.30.3, felix/. Not here: eBPF and nftables dataplanes, IPVS, WireGuard, OpenStack.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { Jump, Rule, RulePart } from "../ruleset.js";
import type { CalicoConfig } from "./config.js";
import { endpointChains } from "./endpointChains.js";
import { devicePatterns, localEndpoints } from "./endpoints.js";
import { FelixCluster } from "./felixCluster.js";
import { ruleHashes } from "./names.js";
import { blockedCidrs, poolProblems, poolsOf } from "./pools.js";
import { type FelixChain, type FelixRule, ruleText, targetOf } from "./rule.js";
import { staticChains, staticJumps, type StaticJump } from "./staticChains.js";
import { unmodelled, unmodelledProblems } from "./unmodelled.js";

const NOTHING: RulePart = { jumps: [], chains: [], rules: [] };

/** What Felix writes on a node, as one of a node's programs. */
export function calicoProgram(config: CalicoConfig): (cluster: Cluster, node: Node, family: Family) => RulePart {
  // A cluster never changes; only the last one is asked again.
  let felix: FelixCluster | null = null;
  return (cluster, node, family) => {
    if (felix?.cluster !== cluster) felix = new FelixCluster(cluster);
    return generateCalico(cluster, node, family, config, felix);
  };
}

/** @param felix the cluster's, made with this configuration alone */
export function generateCalico(cluster: Cluster, node: Node, family: Family, config: CalicoConfig, felix = new FelixCluster(cluster))
  : RulePart {
  if (family === 6 && !felix.hasIPv6) return NOTHING;
  const sets = felix.sets(family);
  const unknown = unmodelled(cluster, node.name);
  const chains = [
    ...staticChains({ family, sets, devices: devicePatterns(node.facts), pools: poolsOf(cluster, config),
      blocked: blockedCidrs(cluster, family), unmodelled: unknown }),
    ...endpointChains({ endpoints: localEndpoints(felix.endpointsOf(node.name), node), felix, family, sets, unmodelled: unknown }),
  ];
  const jumps = staticJumps();
  const used = reachable(jumps, chains);
  return {
    jumps: builtinRules(jumps),
    chains: used.map(({ table, name }) => ({ table, chain: name })),
    rules: used.flatMap((chain) => felix.written(chain, linesOf)),
    sets: sets.lines(),
  };
}

/** What a user should know about the objects the rules are made from. */
export function calicoProblems(cluster: Cluster, config: CalicoConfig): Problem[] {
  return [...poolProblems(cluster, config), ...unmodelledProblems(cluster)];
}

/** Chains that a jump leads to, in the order of their making. */
function reachable(jumps: readonly StaticJump[], chains: readonly FelixChain[]): FelixChain[] {
  const byName = new Map(chains.map((chain) => [`${chain.table} ${chain.name}`, chain]));
  const seen = new Set<FelixChain>();
  const visit = (table: string, rules: readonly FelixRule[]): void => {
    for (const one of rules) {
      const target = targetOf(one);
      if (target === null) continue;
      const chain = byName.get(`${table} ${target}`);
      if (chain === undefined) throw new Error(`no chain ${target} in ${table}`);
      if (seen.has(chain)) continue;
      seen.add(chain);
      visit(table, chain.rules);
    }
  };
  for (const one of jumps) visit(one.table, [one.rule]);
  return chains.filter((chain) => seen.has(chain));
}

/** Rules of one built-in chain are hashed together, those at its end under a name of their own. */
function builtinRules(jumps: readonly StaticJump[]): Jump[] {
  const groups = new Map<string, StaticJump[]>();
  for (const one of jumps) {
    const key = `${one.table} ${one.chain} ${one.place}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return [...groups.values()].flatMap((group) => {
    const { table, chain, place } = group[0];
    const texts = written(group.map((one) => one.rule), place === "head" ? chain : `${chain}*appends*`);
    return group.map((one, index): Jump => ({ table, chain, text: texts[index], ...origin(one.rule),
      ...(place === "head" ? { place } : {}) }));
  });
}

function linesOf({ table, name, rules }: FelixChain): Rule[] {
  return written(rules, name).map((text, index) => ({ table, chain: name, text, ...origin(rules[index]) }));
}

/** With the comment by which Felix knows its rules again. */
function written(rules: readonly FelixRule[], hashedAs: string): string[] {
  const texts = rules.map(ruleText);
  return ruleHashes(hashedAs, texts).map((hash, index) => `-m comment --comment "cali:${hash}" ${texts[index]}`.trimEnd());
}

function origin({ becauses, undecided }: FelixRule): Pick<Rule, "becauses" | "undecided"> {
  return undecided === null ? { becauses } : { becauses, undecided };
}
