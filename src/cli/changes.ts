/**
 * `--change TIME=PATH`: the objects of the cluster as they are from a time on, and the conntrack entries that a node's
 * events say were deleted then.
 */
import type { TimelineChange } from "../cluster/cluster.js";
import { changesFromEvents } from "../cluster/observed-changes.js";
import type { Problem } from "../cluster/problem.js";
import { timeNsOf } from "../cluster/time.js";
import { buildCluster, buildTimeline } from "../cluster/timeline.js";
import type { Timeline } from "../cluster/cluster.js";
import { type Inputs, readInputs } from "./inputs.js";
import { UsageError } from "./usage.js";

export interface Change {
  /** ns since the Unix epoch. */
  readonly atNs: bigint;
  readonly path: string;
}

export function changeOf(text: string): Change {
  const equals = text.indexOf("=");
  const atNs = equals < 0 ? null : timeNsOf(text.slice(0, equals));
  if (atNs === null) {
    throw new UsageError("--change takes TIME=PATH with a time such as 2026-03-01T12:00:00.25Z or 1772366400.25,"
      + ` not '${text}'`);
  }
  return { atNs, path: text.slice(equals + 1) };
}

/** The timeline of the inputs and the changes, and the inputs' problems; those of the changes are added to them. */
export function timelineOf(inputs: Inputs, changes: readonly Change[]): { timeline: Timeline; problems: Problem[]; unreadable: number } {
  const problems: Problem[] = [];
  let unreadable = 0;
  const later = [...changes].sort((a, b) => (a.atNs < b.atNs ? -1 : 1)).map((change) => {
    const read = readInputs([change.path], []);
    problems.push(...read.problems);
    unreadable += read.unreadable;
    return { atNs: change.atNs, kind: "objects" as const, objects: read.objects };
  }).filter((change) => change.objects.nodes.length > 0 || change.objects.pods.length > 0);
  const timeline = buildTimeline({ initial: inputs.objects, changes: later, facts: inputs.facts });
  const nodes = [...inputs.conntrack].map(([node, flows]) => ({ node, flows }));
  const deletions: TimelineChange[] = [];
  later.forEach((change, index) => {
    const before = buildCluster(index === 0 ? inputs.objects : later[index - 1].objects, inputs.facts);
    const bracket = { afterNs: change.atNs - 1n, beforeNs: change.atNs + 1n };
    const until = later[index + 1]?.atNs ?? null;
    deletions.push(...changesFromEvents(before, buildCluster(change.objects, inputs.facts), nodes, bracket, null).changes
      .filter((one) => one.kind === "conntrack-delete" && one.atNs >= change.atNs && (until === null || one.atNs < until)));
  });
  const all = [...timeline.changes, ...deletions].sort((a, b) => (a.atNs < b.atNs ? -1 : a.atNs > b.atNs ? 1 : 0));
  return { timeline: { ...timeline, changes: all }, problems, unreadable };
}
