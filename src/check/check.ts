/**
 * `check` from a cluster to its report: what would change with another dataplane, from the objects alone. The only place
 * that knows all of what it looks at. Reads nothing itself.
 */
import { type AcceptedInput, acceptFlags } from "../accepted/report.js";
import type { Cluster } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { hazardsOf } from "../compare/catalogue/index.js";
import { checkTarget, type Network, type Profile, settingOf } from "../planes.js";
import { type CheckReport, checkVerdict } from "../report/check.js";
import { flagsOf } from "./flags.js";

export interface CheckInput {
  readonly version: string;
  readonly cluster: Cluster;
  readonly network: Network;
  readonly current: Profile;
  readonly target: Profile;
  /** What shows the current side; empty where the user named it. */
  readonly detected: string;
  readonly problems: readonly Problem[];
  /** Inputs that could not be read at all. */
  readonly unreadable: number;
  /** Differences that somebody answers for, and the day; null: none were given. */
  readonly accepted: AcceptedInput | null;
  /** Errors among the problems end with exit code 2. */
  readonly strict: boolean;
}

export function runCheck(input: CheckInput): CheckReport {
  const { cluster, network, current, target } = input;
  const sides = [settingOf(current, cluster, network), settingOf(target, cluster, network)] as const;
  const { flags, tallies } = flagsOf(cluster, sides[1]);
  const { problems: ofTarget, ...size } = checkTarget(target, cluster, network);
  const problems = [...input.problems, ...ofTarget];
  const rows = acceptFlags(flags, size.limits, input.accepted);
  const counts = ({ accepted }: { readonly accepted?: unknown }): boolean => accepted === undefined;
  return {
    twinplane: input.version, current: current.text, target: target.text, detected: input.detected,
    flags: rows.flags, checked: tallies, size: { ...size, limits: rows.limits }, hazards: hazardsOf(cluster, ...sides),
    accepted: rows.summary, problems,
    verdict: checkVerdict({ unreadable: input.unreadable, endpoints: size.endpoints, flags: rows.flags.filter(counts).length,
      strictErrors: input.strict ? problems.filter(({ severity }) => severity === "error").length : 0,
      limits: rows.limits.filter((one) => one.exceeded && counts(one)).length }),
  };
}
