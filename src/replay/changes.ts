/** A dated change of the timeline, told to both planes. */
import type { TimelineChange } from "../cluster/cluster.js";
import type { Plane } from "../dataplane.js";

/** @param atNs since the planes' epoch */
export function applyChange(change: TimelineChange, planes: readonly [Plane, Plane], atNs: number): void {
  planes.forEach((plane, side) => {
    if (change.kind === "cluster") plane.change(change.cluster, atNs);
    else if (change.kind === "names") plane.learn(change.names[side], atNs);
    else plane.deleteConntrack(change.entry, atNs);
  });
}
