/** A dated change of the timeline, told to both planes. */
import type { PlaneChange } from "./judge.js";
import type { Plane } from "../dataplane.js";

/** @param atNs since the planes' epoch */
export function applyChange(change: PlaneChange, planes: readonly [Plane, Plane], atNs: number): void {
  planes.forEach((plane, side) => {
    if (change.only !== undefined && change.only !== side) return;
    if (change.kind === "cluster") plane.change(change.cluster, atNs);
    else if (change.kind === "names") plane.learn(change.names[side], atNs);
    else plane.deleteConntrack(change.entry, atNs);
  });
}
