/**
 * What came of a probe in both planes, without the names of its ends: what stands for all pairs of its class.
 */
import type { Because } from "../dataplane.js";
import type { Finding } from "../compare/finding.js";
import type { JudgedClass } from "../compare/judged.js";
import type { Change } from "../report/check.js";

/** What the comparison says of a probe. */
export interface Judgement {
  readonly class: JudgedClass;
  /** null: there is none. */
  readonly finding: Finding | null;
  /** Why the comparison does not judge it, empty where it does or a plane says so. */
  readonly undecided: string;
  /** Pod, node or service of the probe's ends, else the address. */
  readonly sourceName: string;
  readonly destinationName: string;
  /** What each plane says of it, the current one first; `text` may be asked for until the next probe. */
  readonly sides: readonly { readonly reason: string; readonly becauses: readonly Because[]; readonly text: string }[];
}

export interface Heard {
  /** Equal for what fared alike: how it ended in each plane, what differs, why it is not judged. */
  readonly sign: string;
  /** null: no difference. */
  readonly found: Found | null;
  /** Why it is not judged; empty where it is. */
  readonly undecided: string;
}

export interface Found {
  /** Of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly facet: string;
  readonly reachesNow: boolean;
  readonly change: Change;
  /** What decides it: lines of manifests first, then options and programs. */
  readonly becauses: readonly Because[];
  /** The target's options that do, by the difference. */
  readonly settings: readonly Because[];
  readonly current: string;
  readonly target: string;
}

const CHANGES: Readonly<Record<string, Change>> = { destination: "other destination", "source seen": "other source",
  "how refused": "other refusal" };

/** @param fates how the probe ended in both planes, as `Senders.fates` says it */
export function heardOf(judged: Judgement | string | null, fates: string): Heard {
  if (judged === null) return { sign: `${fates} same`, found: null, undecided: "" };
  if (typeof judged === "string") return { sign: `not sent: ${judged}`, found: null, undecided: judged };
  if (judged.finding === null) {
    const undecided = judged.undecided === "" ? sidesReason(judged) : judged.undecided;
    return { sign: `${fates} ${undecided}`, found: null, undecided };
  }
  const { id, facet, reachesNow, settings, current, target } = judged.finding;
  const change = facet === "reached" ? (reachesNow ? "newly denied" : "newly allowed") : CHANGES[facet] ?? "other";
  const all = change === "other source" ? judged.finding.becauses.filter((one) => !settings.includes(one))
    : judged.sides[change === "newly allowed" ? 0 : 1].becauses;
  const becauses = [...all.filter(({ where }) => where !== null), ...all.filter(({ where }) => where === null)];
  return { sign: `${fates} ${id} ${facet} ${reachesNow}`, undecided: "",
    found: { id, facet, reachesNow, change, becauses, settings, current, target } };
}

/** What two results have in common that say the same of a pair, whatever its names. */
export function gistOf({ found, undecided }: Heard): string {
  if (found !== null) return `${found.id} ${found.facet} ${found.reachesNow}`;
  return undecided === "" ? "same" : "undecided";
}

function sidesReason({ sides }: Judgement): string {
  const reasons = sides.map(({ reason }) => reason).filter((reason) => reason.startsWith("undecided"));
  return reasons.length === 0 ? "not judged" : [...new Set(reasons)].join("; ");
}
