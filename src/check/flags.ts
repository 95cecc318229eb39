/**
 * The five things that Azure's own validator looks for before a move to Cilium, each flagged only where something
 * differs: which object, which line, which pods, under which known difference. Objects that were looked at and are the
 * same on both sides are counted, so that nothing seems unseen.
 *
 * Source of the list: Azure/azure-container-networking tools/azure-npm-to-cilium-validator, which flags an object for
 * having a field at all.
 */
import type { Cluster, ObjectMeta, Pod } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import type { SettingSide } from "../compare/catalogue/index.js";
import { egressFlags } from "./egress-flags.js";
import { endPortFlags, ipBlockFlags, namedPortFlags } from "./policy-flags.js";
import { Selection } from "./selection.js";
import { externalTrafficFlags } from "./service-flags.js";

export type FlagCheck = "endPort" | "ipBlock" | "named port" | "egress" | "external traffic policy";

export interface Flag {
  readonly check: FlagCheck;
  /** Of the catalogue. */
  readonly id: string;
  /** `NetworkPolicy default/web`. */
  readonly object: string;
  readonly where: Where;
  /** What is so, and what follows. */
  readonly what: string;
  /** Pods that it is about: how many, and the first by name. */
  readonly pods: number;
  readonly examples: readonly string[];
}

/** What a check looked at: how many objects have the field, and how many of them are flagged. */
export interface FlagTally {
  readonly check: FlagCheck;
  readonly objects: number;
  readonly flagged: number;
  /** Why the rest is the same on both sides. */
  readonly otherwise: string;
}

export interface FlagSetting {
  readonly cluster: Cluster;
  readonly selection: Selection;
  readonly target: SettingSide;
}

export interface FlagResult {
  readonly flags: readonly Flag[];
  readonly tallies: readonly FlagTally[];
}

export function flagsOf(cluster: Cluster, target: SettingSide, selection = new Selection(cluster)): FlagResult {
  const setting = { cluster, selection, target };
  const found = [endPortFlags, ipBlockFlags, namedPortFlags, egressFlags, externalTrafficFlags].map((check) => check(setting));
  return { flags: found.flatMap(({ flags }) => flags), tallies: found.map(({ tally }) => tally) };
}

export interface OneCheck {
  readonly flags: readonly Flag[];
  readonly tally: FlagTally;
}

/** `NetworkPolicy default/web`. */
export function titleOfObject({ kind, namespace, name }: ObjectMeta): string {
  return `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
}

const EXAMPLES = 3;

/** How many pods, and the first of them by name. */
export function podsOf(pods: Iterable<Pod>): Pick<Flag, "pods" | "examples"> {
  const names = [...new Set([...pods].map((pod) => `${pod.namespace}/${pod.name}`))].sort();
  return { pods: names.length, examples: names.slice(0, EXAMPLES) };
}
