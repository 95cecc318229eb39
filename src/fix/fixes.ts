/**
 * Tries each patch on the same traffic. One that cures no flow, opens or changes another, or takes a limit over its edge
 * is not offered. At last all that are offered are tried together.
 */
import type { LimitRow } from "../report/report.js";
import { runSession, type SessionInput } from "../session.js";
import { objectsOf, type Patch, patched } from "./patch.js";
import { Trial } from "./trial.js";

/** A patch that cures. */
export interface Fix extends Omit<Patch, "flows"> {
  /** `cured`: every flow it is for; `partly`: some. */
  readonly result: "cured" | "partly";
  readonly cured: number;
  readonly flows: number;
  /** Ids that flows show once they arrive: another source seen, say. */
  readonly shows: readonly string[];
}

export interface FixReport {
  readonly offered: readonly Fix[];
  /** Proposals that were tried and are not offered, with why. */
  readonly refused: readonly { readonly id: string; readonly object: string; readonly why: string }[];
  /** All that are offered at once: flows cured of those meant, and whether nothing else changed. */
  readonly together: { readonly cured: number; readonly flows: number; readonly clean: boolean } | null;
}

export interface FixInput {
  /** A session's input, whose captures start anew each time it is asked for. */
  readonly again: () => SessionInput;
  readonly patches: readonly Patch[];
  readonly baseline: Trial;
  readonly limits: readonly LimitRow[];
  readonly onTrial?: (done: number, all: number) => void;
}

export async function tryFixes(input: FixInput): Promise<FixReport> {
  const offered: { patch: Patch; fix: Fix }[] = [];
  const refused: { id: string; object: string; why: string }[] = [];
  for (const [index, patch] of input.patches.entries()) {
    input.onTrial?.(index, input.patches.length);
    const { cured, shows, why } = await attempt(input, [patch]);
    const { flows, ...rest } = patch;
    if (why !== "") refused.push({ id: patch.id, object: `${patch.kind} ${patch.namespace}/${patch.name}`, why });
    else offered.push({ patch, fix: { ...rest, cured, shows, flows: flows.length, result: cured === flows.length ? "cured" : "partly" } });
  }
  if (offered.length === 0) return { offered: [], refused, together: null };
  const patches = offered.map((one) => one.patch);
  const all = await attempt(input, patches);
  const flows = new Set(patches.flatMap((one) => one.flows)).size;
  return { offered: offered.map((one) => one.fix), refused, together: { cured: all.cured, flows, clean: all.why === "" } };
}

interface Attempt {
  readonly cured: number;
  readonly shows: readonly string[];
  readonly why: string;
}

/** Flows cured, what they show instead, and why the patches are not to be offered; empty where they are. */
async function attempt({ again, baseline, limits }: FixInput, patches: readonly Patch[]): Promise<Attempt> {
  const input = again();
  const trial = new Trial();
  const both = objectsOf(patches.filter((one) => one.when === "before"));
  const timeline = patched(input.timeline, both);
  const targetTimeline = patched(input.targetTimeline ?? input.timeline, objectsOf(patches));
  const { report } = await runSession({ ...input, timeline, targetTimeline, onJudged: (judged) => trial.take(judged) });
  const meant = new Set(patches.flatMap((one) => one.flows));
  const curedKeys = [...meant].filter((key) => patches.some((one) => one.flows.includes(key) && trial.isCured(key, one.id)));
  const cured = curedKeys.length;
  const shows = [...new Set(curedKeys.flatMap((key) => trial.shownBy(key)))].sort();
  const { opened, worse } = trial.besides(baseline, meant);
  const over = report.limits.find((one) => one.exceeded
    && !limits.some((was) => was.exceeded && was.id === one.id && was.subject === one.subject));
  const why = cured === 0 ? "it cures no flow" : opened > 0 ? `it opens ${opened} other flows`
    : worse > 0 ? `${worse} flows fare worse` : over !== undefined ? `it exceeds ${over.id} (${over.used} of ${over.max})` : "";
  return { cured, shows, why };
}
