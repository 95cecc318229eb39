/**
 * A map that cannot hold its entries.
 *
 * Which of its entries a real node holds depends on the order of arrival. What the datapath would do with it is not
 * known, so both directions are undecided.
 */
import type { CiliumOptions } from "../../options.js";
import type { Compiler, Draft } from "./compiler.js";

export function overflowed(draft: Draft, options: CiliumOptions, compiler: Compiler): Draft {
  const max = options["bpf-policy-map-max"];
  if (draft.size <= max) return draft;
  const because = { where: null, object: "bpf-policy-map-max", rule: `${draft.size} entries for a limit of ${max}` };
  return compiler.unknown(draft.policies, [because], draft.size);
}
