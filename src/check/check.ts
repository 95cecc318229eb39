/**
 * `check` from a cluster to its report: what would change with another dataplane, from the objects alone. The only place
 * that knows all of what it looks at. Reads nothing itself.
 */
import type { AcceptedInput } from "../accepted/report.js";
import type { Prefix } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { hazardsOf } from "../compare/catalogue/index.js";
import { buildPlane, checkTarget, type Network, type PlaneInputs, policyDenial, type Profile, settingOf,
  unmodelledKubeProxy, usageOf } from "../planes.js";
import { type CheckReport, checkVerdict, type ComparedPairs } from "../report/check.js";
import { unlessIncomplete } from "../report/report.js";
import { acceptCheck } from "./accepted.js";
import { blockersOf, currentBlockers } from "./blockers.js";
import { compareAll, type ExhaustiveInput } from "./exhaustive.js";
import { flagsOf } from "./flags.js";
import { inseparableIn } from "./inseparable.js";
import { type ScaleBy, scaledCluster } from "./scale.js";

export interface CheckInput {
  readonly version: string;
  readonly cluster: Cluster;
  readonly network: Network;
  readonly wasm: PlaneInputs["wasm"];
  readonly seed: number;
  /** Packets of the comparison of both planes; null: as many as a few minutes are thought to take. 0: none. */
  readonly mostProbes: number | null;
  /** Grow the cluster to so many pods for its limits; null: do not. */
  readonly scale: { readonly pods: number; readonly by: ScaleBy } | null;
  /** Nodes' own rules, for the current side. */
  readonly rulesByNode: NonNullable<PlaneInputs["rulesByNode"]>;
  readonly current: Profile;
  readonly target: Profile;
  /** What shows the current side; empty where the user named it. */
  readonly detected: string;
  readonly problems: readonly Problem[];
  /** Inputs that could not be read at all. */
  readonly unreadable: number;
  /** Errors among the problems end with exit code 2. */
  readonly strict: boolean;
  /** Accepted differences; null: none were given. */
  readonly accepted: AcceptedInput | null;
}

export function runCheck(input: CheckInput): CheckReport {
  const { cluster, network, current, target } = input;
  const sides = [settingOf(current, cluster, network), settingOf(target, cluster, network)] as const;
  const { flags, tallies } = flagsOf(cluster, sides[1]);
  const { problems: ofTarget, ...size } = checkTarget(target, cluster, network);
  const problems = [...input.problems, ...ofTarget];
  const unmodelled = current.engine === "cilium" ? null : unmodelledKubeProxy(cluster);
  const blockers = [...unmodelled === null ? [] : currentBlockers(unmodelled), ...blockersOf(cluster, sides[1])];
  const usage = usageOf(target, cluster, network);
  const { scale } = input;
  const scaled = scale === null ? null : { ...usageOf(target, scaledCluster(cluster, scale.pods, scale.by), network), by: scale.by };
  // What an endpoint's full policy map leaves out depends on both directions together.
  const wholes = input.rulesByNode.size > 0 || usage.overflowing > 0 ? () => true
    : inseparableIn(cluster, [current, target], network, new Map([[target, ofTarget]]));
  const found = size.endpoints === 0 || input.mostProbes === 0 || unmodelled !== null ? null : compare(input, sides, wholes, problems);
  const rows = acceptCheck({ changes: found?.groups ?? [], flags, limits: usage.limits, scaled: scaled?.limits ?? [],
    hazards: hazardsOf(cluster, ...sides) }, input.accepted);
  const compared = found === null ? null : { ...found, groups: rows.changes };
  return {
    twinplane: input.version, current: current.text, target: target.text, detected: input.detected,
    blockers, compared, flags: rows.flags, checked: tallies, size, usage: { ...usage, limits: rows.limits },
    scaled: scaled === null ? null : { ...scaled, limits: rows.scaled }, hazards: rows.hazards, accepted: rows.summary, problems,
    verdict: unlessIncomplete(checkVerdict({ unreadable: input.unreadable, endpoints: size.endpoints, flags: rows.flags, compared,
      blockers: blockers.length,
      strictErrors: input.strict ? problems.filter(({ severity }) => severity === "error").length : 0,
      limits: [...rows.limits, ...rows.scaled] }), problems),
  };
}

/** Pods above which those that no packet needs are left out of the planes. */
const REDUCE_ABOVE = 1000;

function compare(input: CheckInput, settings: ExhaustiveInput["settings"], inseparable: ExhaustiveInput["inseparable"],
  problems: Problem[]): ComparedPairs {
  const { cluster, network, current, target, wasm, seed, rulesByNode } = input;
  return compareAll({
    cluster, prefixes: [...network.clusterCidrs, ...network.nonMasqueradeCidrs, ...masqueradePrefixes(network)],
    special: new Set(rulesByNode.keys()), most: input.mostProbes ?? mostProbes(cluster, current), reduceAbove: REDUCE_ABOVE,
    currentHasPolicy: current.policyEngine, settings, inseparable,
    planesOf: (some, half) => {
      const inputs = { cluster: some, epochNs: 0n, wasm, network, seed, traced: false, udpCleanup: true };
      const planes = [buildPlane("current", current, { ...inputs, rulesByNode }), buildPlane("target", target, inputs)] as const;
      for (const plane of half ? [] : planes) {
        for (const one of plane.problems) {
          const what = `${plane.name}: ${one.what}`;
          if (!problems.some((known) => known.what === what || known.what === one.what)) problems.push({ ...one, what });
        }
      }
      return { planes, denies: policyDenial(some, target) };
    },
  });
}

function masqueradePrefixes({ masquerade, kubeProxy }: Network): Prefix[] {
  return [...(masquerade !== undefined && "nonMasqueradeCIDRs" in masquerade
    ? masquerade.nonMasqueradeCIDRs.map((one) => ("range" in one ? one.range : one)) : []), ...kubeProxy?.clusterCIDR ?? []];
}

/** A node's rules are walked policy by policy where an engine of iptables keeps them: a packet costs as many steps. */
const MOST = 200_000;
const STEPS = 120_000_000;

function mostProbes({ networkPolicies }: Cluster, { engine }: Profile): number {
  if (engine === "cilium" || engine === "kube-proxy") return MOST;
  return Math.min(MOST, Math.floor(STEPS / Math.max(1, networkPolicies.length)));
}
