/**
 * How a review is told of the change: the manifests before and after, or what is to be applied and deleted. What both sides have
 * (`-f`) holds the reviewed objects too as they are now; the sides' own stand in their place.
 */
import type { Command } from "commander";
import type { NodeFacts, ObjectMeta } from "../cluster/cluster.js";
import type { ManifestObjects } from "../cluster/manifests.js";
import type { Problem } from "../cluster/problem.js";
import { withSynthetic } from "../cluster/synthetic.js";
import { withControllers } from "../review/controllers.js";
import { changedSides, reviewSides } from "../review/review.js";
import { type Inputs, readInputs } from "./inputs.js";
import { UsageError } from "./usage.js";

export interface ChangeOptions {
  readonly file?: readonly string[];
  readonly before?: readonly string[];
  readonly after?: readonly string[];
  readonly change?: readonly string[];
  readonly delete?: readonly string[];
}

export interface Sides {
  readonly before: ManifestObjects;
  readonly after: ManifestObjects;
  readonly factsBefore: ReadonlyMap<string, NodeFacts>;
  readonly factsAfter: ReadonlyMap<string, NodeFacts>;
  /** What the user calls the two. */
  readonly names: { readonly before: readonly string[]; readonly after: readonly string[] };
  readonly problems: readonly Problem[];
  /** Files of the sides that could not be used; those of `-f` are not among them. */
  readonly unreadable: number;
  /** Nodes and pods are in what both have. */
  readonly sharedIsWhole: boolean;
}

export function addChangeOptions(command: Command): Command {
  return command
    .option("--before <path...>", "manifests as they are: files or folders, the policies of a repository say")
    .option("--after <path...>", "the same as they are to be")
    .option("--change <path...>", "instead of both: manifests to apply to what -f has; each is added, or stands in its namesake's place")
    .option("--delete <object...>", "instead of both, or beside --change: objects to delete from what -f has, as in"
      + " NetworkPolicy/default/web (without a namespace: Namespace/shop)");
}

export function checkChange({ before, after, change, delete: gone, file }: ChangeOptions): void {
  const inParts = change !== undefined || gone !== undefined;
  if (inParts && (before !== undefined || after !== undefined)) {
    throw new UsageError("give the change by --before and --after, or by --change and --delete, not both");
  }
  if (!inParts && (before === undefined || after === undefined)) {
    throw new UsageError("give the change: --before and --after with the manifests of each, or --change with those to apply");
  }
  if (inParts && file === undefined) throw new UsageError("--change and --delete change what -f has; give the cluster with -f");
  for (const one of gone ?? []) {
    const parts = one.split("/");
    if (parts.length < 2 || parts.length > 3 || parts.includes("")) {
      throw new UsageError(`--delete is kind/namespace/name or kind/name, not '${one}'`);
    }
  }
}

export function sidesOf(options: ChangeOptions): Sides {
  // Addresses are made up for each whole side, where the cluster does not say them.
  const read = (paths: readonly string[] | undefined): Inputs => readInputs(paths ?? [], [], { synthetic: false });
  const shared = read(options.file);
  const inParts = options.change !== undefined || options.delete !== undefined;
  const first = read(options.before);
  const second = read(inParts ? options.change : options.after);
  const problems = [...first.problems, ...second.problems];
  const gone = new Set(options.delete ?? []);
  refuseUnknown(gone, shared.objects);
  const raw = inParts ? changedSides(shared.objects, second.objects, (object) => gone.has(textOf(object)))
    : reviewSides(shared.objects, first.objects, second.objects);
  // A side's Service that says no address has the cluster's.
  const stated = withControllers(shared.objects, raw.before);
  const before = withSynthetic(stated.objects);
  const controlled = withControllers(shared.objects, raw.after);
  const after = withSynthetic(controlled.objects);
  problems.push(...stated.problems, ...controlled.problems, ...before.problems, ...after.problems);
  return {
    before: before.objects, after: after.objects, factsBefore: first.facts, factsAfter: second.facts, problems,
    unreadable: first.unreadable + second.unreadable, sharedIsWhole: shared.objects.nodes.length > 0 && shared.objects.pods.length > 0,
    names: inParts ? { before: options.file!, after: [...(options.change ?? []).map((one) => `with ${one}`),
      ...[...gone].map((one) => `without ${one}`)] } : { before: options.before!, after: options.after! },
  };
}

/** Deleting what is not there would pass for a change without consequences. */
function refuseUnknown(gone: ReadonlySet<string>, objects: ManifestObjects): void {
  const known = new Set(Object.values(objects).flatMap((list: readonly ObjectMeta[]) => list.map(textOf)));
  for (const one of gone) if (!known.has(one)) throw new UsageError(`--delete ${one}: there is no such object in what -f has`);
}

function textOf({ kind, namespace, name }: ObjectMeta): string {
  return namespace === "" ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
}

