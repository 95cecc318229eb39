/**
 * Rules of a Cilium node's netfilter: the shapes in which programs give them. Types only.
 *
 * Cilium's own are made here (cilium-rules.ts); a masquerade agent's come from outside, because its generator is the
 * agent's, whatever the dataplane. Whoever builds the plane joins them in the order in which they stand on the node.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { RuleLine, TableLines } from "../../linux/netfilter/rule-cache.js";

export interface OwnRule extends RuleLine {
  readonly table: "raw" | "mangle" | "nat" | "filter";
  readonly becauses: readonly Because[];
}

/** A rule of a built-in chain; `head`: before all that stand there, else behind them. */
export interface OwnJump extends OwnRule {
  readonly place?: "head";
}

/** What Cilium adds to a node's tables of one family. */
export interface OwnRules {
  readonly jumps: readonly OwnJump[];
  readonly chains: readonly { readonly table: OwnRule["table"]; readonly chain: string }[];
  readonly rules: readonly OwnRule[];
  /** Lines for `ipset restore`. */
  readonly sets: readonly string[];
}

/** All rules of a node and a family. */
export interface StackRules {
  readonly tables: readonly TableLines[];
  /** What `ipset restore` loads. */
  readonly sets: string;
  /** Where the rule at a position of a chain comes from; positions count from 1. */
  becauseAt(table: string, chain: string, position: number): readonly Because[];
}

/** Joins Cilium's rules with those of the other programs on the node. */
export type RuleGiver = (cluster: Cluster, node: Node, family: Family, own: OwnRules) => StackRules;
