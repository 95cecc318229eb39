/** What was found of classes of pairs, by difference, change and what decides it; and what was not judged, by reason. */
import type { Because } from "../dataplane.js";
import { titleOf } from "../compare/catalogue/index.js";
import type { Change, ChangeRow, ComparedPairs } from "../report/check.js";
import type { Found } from "./heard.js";
import type { Way } from "./probe.js";

const EXAMPLES = 3;
/** The gravest first. */
const GRAVITY: readonly Change[] = ["newly denied", "newly allowed", "other destination", "other source", "other refusal", "other"];

export type Example = ChangeRow["examples"][number];

interface Growing extends ChangeRow {
  classes: number;
  pairs: number;
  readonly examples: Example[];
}

export class ChangeGroups {
  private readonly groups = new Map<string, Growing>();
  private readonly reasons = new Map<string, { classes: number; pairs: number }>();

  /** @param example made where the group has room for another; null: there is none */
  found(found: Found, way: Way, service: string, pairs: number, example: () => Example | null): void {
    const { id, change } = found;
    const object = objectOf(service, way, change, found.becauses);
    const key = `${id}\0${change}\0${object}`;
    let group = this.groups.get(key);
    if (group === undefined) {
      const becauses = isOfReach(change) ? [...found.becauses, ...found.settings] : [...found.settings, ...found.becauses];
      group = { id, title: titleOf(id), change, object, becauses, classes: 0, pairs: 0, examples: [] };
      this.groups.set(key, group);
    }
    group.classes++;
    group.pairs += pairs;
    if (group.examples.length >= EXAMPLES) return;
    const made = example();
    if (made !== null) group.examples.push(made);
  }

  refuse(reason: string, classes: number, pairs: number): void {
    const known = this.reasons.get(reason) ?? { classes: 0, pairs: 0 };
    known.classes += classes;
    known.pairs += pairs;
    this.reasons.set(reason, known);
  }

  result(): Pick<ComparedPairs, "groups" | "undecided"> {
    return {
      groups: [...this.groups.values()].sort((a, b) => Number(b.id === "UNEXPLAINED") - Number(a.id === "UNEXPLAINED")
        || GRAVITY.indexOf(a.change) - GRAVITY.indexOf(b.change) || b.pairs - a.pairs || (a.id + a.object < b.id + b.object ? -1 : 1)),
      undecided: [...this.reasons].map(([reason, counts]) => ({ reason, ...counts }))
        .sort((a, b) => b.pairs - a.pairs || (a.reason < b.reason ? -1 : 1)),
    };
  }
}

/** The policies that deny, or the service; else the way. */
function objectOf(service: string, way: Way, change: Change, becauses: readonly Because[]): string {
  const policies = [...new Set(becauses.filter(({ where }) => where !== null).map(({ object }) => object))];
  if (isOfReach(change) && policies.length > 0) {
    return `${policies.slice(0, 3).join(", ")}${policies.length > 3 ? ` and ${policies.length - 3} more` : ""}`;
  }
  return service === "" ? way : `service ${service}`;
}

/** Whether it arrives: by policies and services foremost. */
function isOfReach(change: Change): boolean {
  return change === "newly denied" || change === "newly allowed";
}
