/**
 * portmap's chains of pods on both sides. A chain is named by a hash of the container's id, which objects do not say;
 * what it holds tells which pod it is of.
 */
import type { Family } from "../../cluster/address.js";
import { printRule } from "../../linux/netfilter/print.js";
import type { Chain } from "../../linux/netfilter/rule.js";

const CONTAINER_CHAIN = /^CNI-DN-/;

/** The dump's names -> the generated names of chains with the same rules. */
export function chainsOfContainers(dump: ReadonlyMap<string, Chain> | undefined, made: ReadonlyMap<string, Chain> | undefined,
  family: Family): Map<string, string> {
  const free = new Map<string, string[]>();
  for (const chain of containerChains(made)) {
    const rules = rulesOf(chain, family);
    free.set(rules, [...free.get(rules) ?? [], chain.name]);
  }
  const twins = new Map<string, string>();
  for (const chain of containerChains(dump)) {
    const twin = free.get(rulesOf(chain, family))?.shift();
    if (twin !== undefined && twin !== chain.name) twins.set(chain.name, twin);
  }
  return twins;
}

function containerChains(chains: ReadonlyMap<string, Chain> | undefined): Chain[] {
  return [...chains?.values() ?? []].filter((chain) => CONTAINER_CHAIN.test(chain.name));
}

function rulesOf(chain: Chain, family: Family): string {
  return chain.rules.map((rule) => printRule(rule, family)).join("\n");
}
