/**
 * Options of Cilium that the dataplane works by and that are not evaluated: where a cilium-config gives one a value under
 * which packets fare otherwise, that is said. Names outside this table and option-values.ts decide nothing about a packet
 * (metrics, limits of the agent, the control plane), or are told from objects.
 *
 * Source: flags in pkg/option, daemon/cmd and the Helm chart's cilium-configmap.yaml of the five trees.
 */
import type { Problem, Where } from "../cluster/problem.js";

interface Foreign {
  /** Values under which nothing differs; the first is the agent's default. */
  readonly usual: readonly string[];
  /** What is not evaluated, and what is instead. */
  readonly what: string;
}

const FOREIGN: Readonly<Record<string, Foreign>> = {
  "vlan-bpf-bypass": { usual: [""], what: "tagged frames are not evaluated" },
};

/** What a cluster's cilium-config says of such options; where each is not as usual. */
export function foreignProblems(data: Readonly<Record<string, unknown>>, where: Where | null): Problem[] {
  return Object.entries(FOREIGN).flatMap(([name, { usual, what }]): Problem[] => {
    const raw = data[name];
    const text = raw === undefined || raw === null ? usual[0] : String(raw).trim();
    return usual.includes(text) ? [] : [{ where, severity: "warning", what: `option ${name}=${text}: ${what}` }];
  });
}

/** For `twinplane support`. */
export function foreignOptions(): { readonly name: string; readonly what: string }[] {
  return Object.entries(FOREIGN).map(([name, { usual: [standard], what }]) =>
    ({ name, what: `other than ${standard === "" ? '""' : standard}: ${what}` }));
}
