/**
 * Objects of kinds that are kept as they were read, without what must never be kept: the data of Secrets, the
 * environment of containers, copies of objects in annotations, and the API server's bookkeeping. Of an application's
 * ConfigMap the names of its files are kept and a digest of each, which tells that one changed: passwords stand in such files,
 * and they can be most of a dump.
 */
import { createHash } from "node:crypto";
import type { ObjectMeta, OtherObject } from "./cluster.js";

const DROPPED = new Set(["env", "envFrom", "managedFields",
  "kubectl.kubernetes.io/last-applied-configuration"]);
/** Of these, and of what another object keeps, nothing but the name is of use here; of clusters they are the bulk. */
const NAMES_ONLY = new Set(["Secret", "Event", "Lease", "ControllerRevision", "PodMetrics", "NodeMetrics"]);
/** ConfigMaps by which programs on nodes are configured, outside kube-system too. */
const CONFIGURES = /cilium|masq|npm|kube-proxy|calico/;
/** Deeper than any real object; what lies deeper is dropped. */
const MAX_DEPTH = 100;

export function readOther(value: unknown, meta: ObjectMeta, apiVersion: string): OtherObject {
  const { kind, name, namespace } = meta;
  if (NAMES_ONLY.has(kind) || (kind === "ReplicaSet" && isKept(value))) {
    return namesOnly(meta, apiVersion);
  }
  const kept = kind === "ConfigMap" && namespace !== "kube-system" && !CONFIGURES.test(name) ? withDigests(value) : value;
  return { ...meta, apiVersion, object: stripped(kept, 0) as Record<string, unknown> };
}

function withDigests(map: unknown): Record<string, unknown> {
  const whole = map as Record<string, unknown>;
  const digests = (files: object): Record<string, string> => Object.fromEntries(Object.entries(files)
    .map(([name, text]) => [name, digestOf(typeof text === "string" ? text : JSON.stringify(text))]));
  const files = ["data", "binaryData"].filter((field) => isMapping(whole[field]))
    .map((field) => [field, digests(whole[field] as object)] as const);
  return { ...whole, ...Object.fromEntries(files) };
}

function digestOf(text: string): string {
  return `sha256:${createHash("sha256").update(text).digest("hex")}`;
}

function isMapping(value: unknown): boolean {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function namesOnly({ kind, namespace, name, labels, where }: ObjectMeta, apiVersion: string): OtherObject {
  return { kind, namespace, name, labels, where, annotations: {}, apiVersion, object: { kind, apiVersion, metadata: { name, namespace } } };
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
