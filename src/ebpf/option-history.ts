/**
 * Options that not every version has. A version without an option behaves as one value of it, whatever a cilium-config
 * says: the agent does not read names that it does not know.
 *
 * Source: flags registered in pkg/option, pkg/loadbalancer, pkg/kpr, pkg/k8s and daemon/cmd of the five trees.
 */
import type { OptionName, OptionValues } from "./option-values.js";
import type { CiliumVersion } from "./presets.js";

interface History {
  /** First version that has it. */
  readonly since?: CiliumVersion;
  /** Last version that has it. */
  readonly until?: CiliumVersion;
  /** The value that a version without it behaves by. */
  readonly otherwise: OptionValues[OptionName];
}

export const HISTORY: Readonly<Partial<Record<OptionName, History>>> = {
  "enable-source-ip-verification": { since: "1.17", otherwise: true },
  "bpf-lb-algorithm-annotation": { since: "1.17", otherwise: false },
  "bpf-lb-source-range-all-types": { since: "1.17", otherwise: false },
  "enable-ipv6-fragment-tracking": { since: "1.18", otherwise: false },
  "policy-deny-response": { since: "1.19", otherwise: "none" },
  "enable-extended-ip-protocols": { since: "1.19", otherwise: false },
  "enable-remote-node-masquerade": { since: "1.19", otherwise: false },
  "enable-session-affinity": { until: "1.18", otherwise: true },
};

/** What this version behaves by although it has no such option; undefined where it has the option. */
export function fixedValue(name: OptionName, version: CiliumVersion): OptionValues[OptionName] | undefined {
  const history = HISTORY[name];
  if (history === undefined) return undefined;
  const early = history.since !== undefined && version < history.since;
  const late = history.until !== undefined && version > history.until;
  return early || late ? history.otherwise : undefined;
}
