/** A session's traffic once more, with patches applied: `before` ones on both sides, all of them in the target. */
import type { LimitRow } from "../report/report.js";
import { runSession, type SessionInput } from "../session.js";
import { objectsOf, type Patch, patched } from "./patch.js";
import { Trial } from "./trial.js";

/** @param again the session's input, whose captures start anew each time it is asked for */
export function sessionTrials(again: () => SessionInput)
  : (patches: readonly Patch[]) => Promise<{ trial: Trial; limits: readonly LimitRow[] }> {
  return async (patches) => {
    const input = again();
    const trial = new Trial();
    const timeline = patched(input.timeline, objectsOf(patches.filter((one) => one.when === "before")));
    const targetTimeline = patched(input.targetTimeline ?? input.timeline, objectsOf(patches));
    const { report } = await runSession({ ...input, timeline, targetTimeline, onJudged: (judged) => trial.take(judged) });
    return { trial, limits: report.limits };
  };
}
