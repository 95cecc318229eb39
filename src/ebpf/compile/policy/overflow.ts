/**
 * A map that cannot hold its entries.
 *
 * With enable-endpoint-lockdown-on-policy-overflow (1.17 on, off by default) the agent empties it and denies everything
 * both ways (`pkg/endpoint/bpf.go` endpointPolicyLockdown). Without, updates fail one by one: which entries a real node
 * holds depends on the order of arrival, so nothing is known and both directions are undecided.
 */
import type { CiliumOptions } from "../../options.js";
import type { Compiler, PolicyMap } from "./compiler.js";

export function overflowed(map: PolicyMap, options: CiliumOptions, compiler: Compiler): PolicyMap {
  const max = options["bpf-policy-map-max"];
  if (!map.overflow) return map;
  const because = { where: null, object: "bpf-policy-map-max", rule: `${map.size} entries for a limit of ${max}` };
  const locks = options.version !== "1.16" && options["enable-endpoint-lockdown-on-policy-overflow"];
  return locks ? compiler.locked(map.policies, because, map.size) : compiler.unknown(map.policies, [because], map.size);
}
