/** Limits as text. Prints data; computes nothing but layout. */
import type { LimitRow } from "./report.js";

export interface CheckResult {
  readonly profile: string;
  readonly endpoints: number;
  readonly identities: number;
  /** Most policy-map entries of one endpoint, and what an endpoint may have. */
  readonly mostEntries: number;
  readonly maxEntries: number;
  /** Limits at 80 percent and above. */
  readonly limits: readonly LimitRow[];
}

export function renderCheck(result: CheckResult): string {
  const lines = [
    `${result.profile}: ${result.endpoints} endpoints, ${result.identities} identities;`
      + ` the fullest policy map has ${result.mostEntries} of ${result.maxEntries} entries`,
  ];
  for (const one of result.limits) {
    const word = one.exceeded ? "exceeded" : "near";
    lines.push(`${word}  ${one.id}  ${one.limit} of ${one.subject}: ${one.used} of ${one.max}; ${one.consequence}`);
    for (const object of one.because.slice(0, 3)) lines.push(`    because ${object}`);
  }
  if (result.limits.length === 0) lines.push("no limit is at 80 percent or above");
  return `${lines.join("\n")}\n`;
}
