/**
 * Objects of kinds that are kept as they were read, without what must never be kept: the data of Secrets, the
 * environment of containers, copies of objects in annotations, and the API server's bookkeeping.
 */
import type { ObjectMeta, OtherObject } from "./cluster.js";

const DROPPED = new Set(["env", "envFrom", "managedFields",
  "kubectl.kubernetes.io/last-applied-configuration"]);
/** Of these, and of what another object keeps, nothing but the name is of use here; of clusters they are the bulk. */
const NAMES_ONLY = new Set(["Secret", "Event", "Lease", "ControllerRevision", "Endpoints", "PodMetrics", "NodeMetrics"]);
/** Deeper than any real object; what lies deeper is dropped. */
const MAX_DEPTH = 100;

export function readOther(value: unknown, meta: ObjectMeta, apiVersion: string): OtherObject {
  const { kind, name, namespace } = meta;
  if (NAMES_ONLY.has(kind) || (kind === "ReplicaSet" && isKept(value))) {
    return { ...meta, annotations: {}, apiVersion, object: { kind, apiVersion, metadata: { name, namespace } } };
  }
  return { ...meta, apiVersion, object: stripped(value, 0) as Record<string, unknown> };
}

/** By its controller, such as a Deployment. */
function isKept(value: unknown): boolean {
  const owners = (value as { metadata?: { ownerReferences?: unknown } } | null)?.metadata?.ownerReferences;
  return Array.isArray(owners) && owners.some((one) => (one as { controller?: unknown } | null)?.controller === true);
}

function stripped(value: unknown, depth: number): unknown {
  if (value === null || typeof value !== "object") return value;
  if (depth >= MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.map((item) => stripped(item, depth + 1));
  const kept = Object.entries(value).filter(([key]) => !DROPPED.has(key));
  return Object.fromEntries(kept.map(([key, item]) => [key, stripped(item, depth + 1)]));
}
