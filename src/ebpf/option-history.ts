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
  /** The same of versions before the first, where it is another. */
  readonly before?: OptionValues[OptionName];
}

export const HISTORY: Readonly<Partial<Record<OptionName, History>>> = {
  "enable-source-ip-verification": { since: "1.17", otherwise: true },
  "bpf-lb-algorithm-annotation": { since: "1.17", otherwise: false },
  "bpf-lb-source-range-all-types": { since: "1.17", otherwise: false },
  "enable-cilium-network-policy": { since: "1.17", otherwise: true },
  "enable-cilium-clusterwide-network-policy": { since: "1.17", otherwise: true },
  "enable-non-default-deny-policies": { since: "1.17", otherwise: true },
  "enable-endpoint-lockdown-on-policy-overflow": { since: "1.17", otherwise: false },
  "policy-default-local-cluster": { since: "1.18", otherwise: false },
  "enable-k8s-cluster-network-policy": { since: "1.20", otherwise: false },
  "enable-ipv6-fragment-tracking": { since: "1.18", otherwise: false },
  "policy-deny-response": { since: "1.19", otherwise: "none" },
  "enable-extended-ip-protocols": { since: "1.19", otherwise: false },
  "enable-remote-node-masquerade": { since: "1.19", otherwise: false },
  "enable-k8s-terminating-endpoint": { until: "1.17", otherwise: true },
  "enable-session-affinity": { until: "1.18", otherwise: true },
  "enable-internal-traffic-policy": { since: "1.17", until: "1.18", otherwise: true },
  "enable-svc-source-range-check": { until: "1.18", otherwise: true },
  "bpf-lb-proto-diff": { since: "1.17", until: "1.18", otherwise: true, before: false },
  "enable-encryption-strict-mode": { until: "1.19", otherwise: false },
  "enable-encryption-strict-mode-egress": { since: "1.19", otherwise: false },
  "enable-encryption-strict-mode-ingress": { since: "1.19", otherwise: false },
  "enable-ztunnel": { since: "1.19", otherwise: false },
};

/** Defaults that were others in versions before 1.20. */
export const FORMER_DEFAULTS: Readonly<Partial<Record<CiliumVersion, Readonly<Partial<OptionValues>>>>> = {
  // daemon/cmd/daemon_main.go; kube-proxy-replacement switches it on.
  "1.16": { "enable-session-affinity": false },
  "1.17": { "enable-session-affinity": false },
  // pkg/clustermesh/types/option.go
  "1.18": { "policy-default-local-cluster": false },
};

/** What this version behaves by although it has no such option; undefined where it has the option. */
export function fixedValue(name: OptionName, version: CiliumVersion): OptionValues[OptionName] | undefined {
  const history = HISTORY[name];
  if (history === undefined) return undefined;
  const early = history.since !== undefined && version < history.since;
  const late = history.until !== undefined && version > history.until;
  return early ? history.before ?? history.otherwise : late ? history.otherwise : undefined;
}
