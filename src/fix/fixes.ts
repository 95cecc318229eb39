/**
 * Tries each patch on the same traffic. One that cures no flow, opens or changes another, or takes a limit over its edge
 * is not offered. At last all that are offered are tried together.
 */
import { differenceOf } from "../compare/catalogue/index.js";
import type { LimitRow } from "../report/report.js";
import type { Patch } from "./patch.js";
import { CURABLE } from "./propose.js";
import type { Trial } from "./trial.js";

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
  /** Ids that no patch was proposed for. */
  readonly without: readonly { readonly id: string; readonly flows: number; readonly why: string; readonly advice: string }[];
  /** All that are offered at once: flows cured of those meant, and whether nothing else changed. */
  readonly together: { readonly cured: number; readonly flows: number; readonly clean: boolean } | null;
}

export interface FixInput {
  /** The same traffic with the patches applied. */
  readonly run: (patches: readonly Patch[]) => Promise<{ readonly trial: Trial; readonly limits: readonly LimitRow[] }>;
  readonly patches: readonly Patch[];
  readonly baseline: Trial;
  readonly limits: readonly LimitRow[];
  /** Rows of what was found. */
  readonly findings: readonly { readonly id: string; readonly flows: number }[];
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
  const without = withoutCure(input);
  if (offered.length === 0) return { offered: [], refused, without, together: null };
  const patches = offered.map((one) => one.patch);
  const all = await attempt(input, patches);
  const flows = new Set(patches.flatMap((one) => one.flows)).size;
  return { offered: offered.map((one) => one.fix), refused, without, together: { cured: all.cured, flows, clean: all.why === "" } };
}

/** What differs and has no proposal, each id once, by number of flows. */
function withoutCure({ findings, patches }: FixInput): FixReport["without"] {
  const flows = new Map<string, number>();
  for (const row of findings) flows.set(row.id, (flows.get(row.id) ?? 0) + row.flows);
  for (const { id } of patches) flows.delete(id);
  return [...flows].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([id, count]) => {
    const advice = differenceOf(id)?.page.advice ?? "";
    return { id, flows: count, why: CURABLE.has(id) ? "no policy names these flows alone" : "no manifest cures it", advice };
  });
}

interface Attempt {
  readonly cured: number;
  readonly shows: readonly string[];
  readonly why: string;
}

/** Flows cured, what they show instead, and why the patches are not to be offered; empty where they are. */
async function attempt({ run, baseline, limits }: FixInput, patches: readonly Patch[]): Promise<Attempt> {
  const { trial, limits: now } = await run(patches);
  const meant = new Set(patches.flatMap((one) => one.flows));
  const curedKeys = [...meant].filter((key) => patches.some((one) => one.flows.includes(key) && trial.isCured(key, one.id, baseline)));
  const cured = curedKeys.length;
  const shows = [...new Set(curedKeys.flatMap((key) => trial.shownBy(key)))].sort();
  const { opened, worse } = trial.besides(baseline, meant);
  const over = now.find((one) => one.exceeded
    && !limits.some((was) => was.exceeded && was.id === one.id && was.subject === one.subject));
  // Beyond a limit nothing is judged, so that nothing would be cured either.
  const why = over !== undefined ? `it exceeds ${over.id} (${over.used} of ${over.max})` : cured === 0 ? "it cures no flow"
    : opened > 0 ? `it opens ${opened} other flows` : worse > 0 ? `${worse} flows fare worse` : "";
  return { cured, shows, why };
}
