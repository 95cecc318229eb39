/**
 * A map that cannot hold its entries.
 *
 * With enable-endpoint-lockdown-on-policy-overflow (1.17 on, off by default) the agent empties it and denies everything
 * both ways (`pkg/endpoint/bpf.go` endpointPolicyLockdown). Without, updates fail one by one: which entries a real node
 * holds depends on the order of arrival, so nothing is known and both directions are undecided.
 */
import type { CiliumOptions } from "../../options.js";
import type { Compiler, Draft } from "./compiler.js";

export function overflowed(draft: Draft, options: CiliumOptions, compiler: Compiler): Draft {
  const max = options["bpf-policy-map-max"];
  if (draft.size <= max) return draft;
  const because = { where: null, object: "bpf-policy-map-max", rule: `${draft.size} entries for a limit of ${max}` };
  const locks = options.version !== "1.16" && options["enable-endpoint-lockdown-on-policy-overflow"];
  return locks ? compiler.locked(draft.policies, because, draft.size) : compiler.unknown(draft.policies, [because], draft.size);
}
