/** What an object says, as text: equal where two say the same, whatever file and order of fields they have. */

/** Places in files, and what the API server and controllers write. */
const LEFT_OUT = new Set(["where", "lines", "facts", "managedFields", "resourceVersion", "uid", "generation", "creationTimestamp",
  "lifetime", "hostIPs", "status", "conditions"]);
/** Fields whose keys are the user's own words. */
const FREE_KEYS = new Set(["labels", "annotations", "matchLabels", "selector", "data", "sysctls"]);

export function contentOf(value: unknown): string {
  return JSON.stringify(canonical(value, LEFT_OUT));
}

function canonical(value: unknown, leftOut: ReadonlySet<string>): unknown {
  if (value === null || typeof value !== "object") return value;
  if (Array.isArray(value) || value instanceof Uint8Array) return [...value].map((one) => canonical(one, leftOut) ?? null);
  return Object.fromEntries(Object.entries(value).filter(([key]) => !leftOut.has(key)).sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, one]) => [key, canonical(one, FREE_KEYS.has(key) ? NONE : leftOut)]));
}

const NONE: ReadonlySet<string> = new Set();
