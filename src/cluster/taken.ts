/** When a snapshot of a cluster was taken, as a user says it. */
import { timeNsOf } from "./time.js";

/** From when until when a snapshot is known to hold, ns since the Unix epoch; equal where it is of one moment. */
export interface TakenTime {
  readonly fromNs: bigint;
  readonly toNs: bigint;
}

/** `TIME` or `FROM/TO` (RFC 3339, or seconds since 1970); null where the text is neither, or ends before it begins. */
export function takenTimeOf(text: string): TakenTime | null {
  const parts = text.split("/");
  const fromNs = timeNsOf(parts[0]);
  const toNs = timeNsOf(parts.at(-1) ?? "");
  return parts.length > 2 || fromNs === null || toNs === null || toNs < fromNs ? null : { fromNs, toNs };
}
