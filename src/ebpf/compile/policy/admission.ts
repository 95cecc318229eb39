/** Which objects a version and its options take: what the reader noted (`CiliumCondition`) against a profile. */
import type { CiliumCondition } from "../../../cluster/cilium/types.js";
import type { ObjectMeta } from "../../../cluster/cluster.js";
import type { Problem } from "../../../cluster/problem.js";
import type { CiliumOptions, OptionName } from "../../options.js";

/** Whether the object is there for this Cilium; a Problem for each condition that does not hold. */
export function admits(object: ObjectMeta & { readonly conditions: readonly CiliumCondition[] }, options: CiliumOptions,
  problems: Problem[]): boolean {
  const failing = object.conditions.map((condition) => ({ condition, needs: unmet(condition, options) }))
    .filter((one) => one.needs !== null);
  for (const { condition, needs } of failing) {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    problems.push({ where: condition.where, severity: "error", what: `${object.kind} ${name}: ${condition.path}: `
      + `found ${condition.found}; expected ${needs}; Cilium ${options.version} would refuse the ${object.kind}, so it is not used` });
  }
  return failing.length === 0;
}

function unmet({ since, until, option }: CiliumCondition, options: CiliumOptions): string | null {
  const minor = Number(options.version.split(".")[1]);
  if (since !== undefined && minor < since) return `Cilium 1.${since} or later for it`;
  if (until !== undefined && minor > until) return `it only up to Cilium 1.${until}`;
  if (option !== undefined && options[option as OptionName] !== true) return `option ${option}`;
  return null;
}
