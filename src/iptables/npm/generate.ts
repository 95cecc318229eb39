/**
 * Azure Network Policy Manager v2 on a Linux node: Cluster to filter rules and IP sets.
 *
 * Guarantees: the text is a function of the cluster at that instant and the configuration. Policies come sorted by
 * namespace/name, where NPM has the order in which it heard of them; verdicts do not depend on it. IPv6 gets nothing:
 * NPM writes none. Policies that NPM refuses are left out, as it leaves them out, and are Problems.
 *
 * Not here: NPM v1 and its chains, Windows, leftovers of policies that were changed or refused later on.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { RuleProgram } from "../planeNode.js";
import type { RulePart } from "../ruleset.js";
import { type NpmConfig, npmConfig } from "./config.js";
import { type NpmNaming, namingOf } from "./names.js";
import { chainOf, directionsOf, npmRules, tooLong } from "./rules.js";
import { npmSetsOf, type NpmSet, referenced, restoreLines, setLines } from "./sets.js";
import { type NpmPolicy, translatePolicy } from "./translate.js";

/** What NPM makes of a cluster, the same on every node but for NPM Lite's pods. */
interface NpmState {
  readonly config: NpmConfig;
  readonly policies: readonly NpmPolicy[];
  readonly problems: readonly Problem[];
}

const EMPTY: RulePart = { jumps: [], chains: [], rules: [] };

/** The program that keeps NPM's rules on nodes. `given` comes before what the cluster's ConfigMap says. */
export function npmProgram(given: Partial<NpmConfig> = {}): RuleProgram {
  // A cluster never changes, and neither does what NPM makes of it; only the last one is asked again.
  let last: { cluster: Cluster; part: RulePart; state: NpmState } | null = null;
  return (cluster: Cluster, node: Node, family: Family): RulePart => {
    if (family === 6) return EMPTY;
    if (last?.cluster === cluster && !last.state.config.EnableNPMLite) return last.part;
    const state = npmState(cluster, given);
    if (!state.config.EnableV2NPM) return EMPTY;
    const rules = npmRules(state.policies, state.config);
    const names = new Set(rules.rules.flatMap(({ text }) => [...text.matchAll(/--match-set (\S+)/g)]).map(([, name]) => name));
    const part = { ...rules, sets: setLines(referenced(npmSetsOf(cluster, state.policies, state.config, node.name), names)) };
    last = { cluster, part, state };
    return part;
  };
}

/** Policies that NPM refuses, options that are not modelled. */
export function npmProblems(cluster: Cluster, given: Partial<NpmConfig> = {}): readonly Problem[] {
  return npmState(cluster, given).problems;
}

/**
 * All sets of a node as `ipset save` prints them; also those that no policy names, which a rule may name that is not
 * the cluster's. For a node that said its rules but not its sets: names are hashes of what the sets stand for.
 *
 * @param rules the node's own rules, which say how it names its sets
 * @param node where NPM Lite is on, the node whose pods are known
 */
export function npmSets(cluster: Cluster, rules = "", node = ""): string {
  const naming = namingOf(rules);
  return setLines(allSets(cluster, naming === null ? {} : { naming }, node)).map((line) => `${line}\n`).join("");
}

/** Readable names of the sets, by their names in the kernel. */
export function npmSetNames(cluster: Cluster, given: Partial<NpmConfig> = {}): ReadonlyMap<string, string> {
  return new Map(allSets(cluster, given, "").map(({ hashed, name }) => [hashed, name.text]));
}

/** What NPM feeds to `ipset restore` on a node without its sets. */
export function npmSetRestore(cluster: Cluster, given: Partial<NpmConfig> = {}, node = ""): string {
  return restoreLines(allSets(cluster, given, node)).map((line) => `${line}\n`).join("");
}

function allSets(cluster: Cluster, given: Partial<NpmConfig>, node: string): NpmSet[] {
  const { config, policies } = npmState(cluster, given);
  return npmSetsOf(cluster, policies, config, node);
}

function npmState(cluster: Cluster, given: Partial<NpmConfig>): NpmState {
  const { config, problems } = npmConfig(cluster, given);
  if (!config.EnableV2NPM) {
    problems.push({ where: null, severity: "error",
      what: "Azure NPM runs as v1 (EnableV2NPM is not true in ConfigMap kube-system/azure-npm-config), whose chains are not "
        + "modelled; new connections of pods are undecided" });
  }
  const policies: NpmPolicy[] = [];
  const owners = new Map<string, string>();
  const sorted = [...cluster.networkPolicies].sort((a, b) => byName(a.namespace, b.namespace) || byName(a.name, b.name));
  for (const policy of sorted) {
    const translated = translatePolicy(policy, config);
    const why = typeof translated === "string" ? translated
      : tooLong(translated) ?? takenChain(translated, config.naming, owners);
    if (why === null) policies.push(translated as NpmPolicy);
    else {
      problems.push({ where: policy.where, severity: "warning",
        what: `Azure NPM does not enforce NetworkPolicy ${policy.namespace}/${policy.name}: ${why}` });
    }
  }
  return { config, policies, problems };
}

/** A chain's name is a hash; of two policies with one hash the second is refused. */
function takenChain(policy: NpmPolicy, naming: NpmNaming, owners: Map<string, string>): string | null {
  const chains = directionsOf(policy).map((direction) => chainOf(naming, policy, direction));
  const taken = chains.find((chain) => owners.has(chain));
  if (taken !== undefined) return `its chain ${taken} is that of ${owners.get(taken)}`;
  for (const chain of chains) owners.set(chain, policy.key);
  return null;
}

function byName(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
