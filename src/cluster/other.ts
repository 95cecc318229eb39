/**
 * Objects of kinds that are kept as they were read, without what must never be kept: the data of Secrets, the
 * environment of containers, copies of objects in annotations, and the API server's bookkeeping.
 */
import type { ObjectMeta, OtherObject } from "./cluster.js";

const DROPPED = new Set(["env", "envFrom", "managedFields",
  "kubectl.kubernetes.io/last-applied-configuration"]);
const SECRET_FIELDS = new Set(["data", "stringData"]);
/** Deeper than any real object; what lies deeper is dropped. */
const MAX_DEPTH = 100;

export function readOther(value: unknown, meta: ObjectMeta, apiVersion: string): OtherObject {
  const copy = stripped(value, 0, meta.kind === "Secret") as Record<string, unknown>;
  return { ...meta, apiVersion, object: copy };
}

function stripped(value: unknown, depth: number, secret: boolean): unknown {
  if (value === null || typeof value !== "object") return value;
  if (depth >= MAX_DEPTH) return null;
  if (Array.isArray(value)) return value.map((item) => stripped(item, depth + 1, false));
  const kept = Object.entries(value)
    .filter(([key]) => !DROPPED.has(key) && !(secret && SECRET_FIELDS.has(key)));
  return Object.fromEntries(kept.map(([key, item]) => [key, stripped(item, depth + 1, false)]));
}
