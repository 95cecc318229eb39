/**
 * A review: one dataplane with the cluster before a change and after it, on the same traffic. The captures were taken
 * before; what they show is held against that side alone. No known difference applies, for both sides are one dataplane:
 * what differs is made by a changed line, or unexplained.
 */
import type { ManifestObjects } from "../cluster/manifests.js";
import { mergeObjects, withoutObjects } from "../cluster/manifests.js";
import type { ObjectMeta, Timeline } from "../cluster/cluster.js";
import { limitsOf } from "../planes.js";
import { runSession, type Session, type SessionInput } from "../session.js";
import { changesBetween, Statements } from "./changes.js";
import { explain } from "./explain.js";
import type { Readdressed } from "./readdress.js";
import { type Review, type ReviewFailOn, reviewOf } from "./report.js";

export interface ReviewRequest {
  /** Both planes' profile is `current`; the timeline is the cluster before. */
  readonly input: Omit<SessionInput, "target" | "failOn" | "nameOf" | "targetTimeline">;
  readonly after: Timeline;
  /** What the user called the two. */
  readonly names: { readonly before: readonly string[]; readonly after: readonly string[] };
  readonly readdressed: readonly Readdressed[];
  readonly failOn: ReviewFailOn;
}

export async function runReview({ input: { accepted, ...input }, after, names, readdressed, failOn }: ReviewRequest)
  : Promise<{ review: Review; session: Session }> {
  const before = input.timeline.initial;
  const statements: readonly [Statements, Statements] = [new Statements(before), new Statements(after.initial)];
  const changes = changesBetween(before, after.initial, statements);
  const session = await runSession({
    ...input, target: input.current, failOn: "any", targetTimeline: after, planeNames: ["before", "after"],
    nameOf: (situation) => explain(situation, changes, statements),
  });
  const { comparison, planes } = session;
  const coverages = [comparison.coverage.report(before, [planes[0], null]),
    comparison.coverage.report(after.initial, [null, planes[1]])] as const;
  const limitsBefore = limitsOf(planes[0]);
  return { session, review: reviewOf({ session, changes, coverages, limitsBefore, ...names, failOn, accepted: accepted ?? null,
    readdressed }) };
}

/**
 * The objects of the two sides. `shared` is what both have, a dump of the cluster say, which holds the reviewed objects too
 * as they are now: what `before` or `after` has stands in its place, and what only `before` has is gone after.
 */
export function reviewSides(shared: ManifestObjects, before: ManifestObjects, after: ManifestObjects)
  : { before: ManifestObjects; after: ManifestObjects } {
  const kept = keysOf(after);
  const gone = new Set([...keysOf(before)].filter((key) => !kept.has(key)));
  return {
    before: mergeObjects(shared, before),
    after: mergeObjects(withoutObjects(shared, (object) => gone.has(keyOf(object))), after),
  };
}

/** What a change of single objects makes of a cluster: some added or in place of their namesakes, some gone. */
export function changedSides(base: ManifestObjects, changed: ManifestObjects, gone: (object: ObjectMeta) => boolean)
  : { before: ManifestObjects; after: ManifestObjects } {
  return { before: base, after: withoutObjects(mergeObjects(base, changed), gone) };
}

function keysOf(objects: ManifestObjects): Set<string> {
  return new Set(Object.values(objects).flatMap((list: readonly ObjectMeta[]) => list.map(keyOf)));
}

function keyOf({ kind, namespace, name }: ObjectMeta): string {
  return `${kind}\t${namespace}\t${name}`;
}

