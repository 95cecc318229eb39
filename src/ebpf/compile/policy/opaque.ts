/**
 * Policy objects that are known to apply but are not evaluated: CiliumNetworkPolicy and
 * CiliumClusterwideNetworkPolicy.
 *
 * Only their selectors and directions are read. A direction of an endpoint that such a policy may decide is
 * undecided, never taken as allowed or denied. A requirement that cannot be a pod's is left out, so that more
 * is undecided rather than less.
 */
import type { CiliumPolicy, CiliumSelector } from "../../../cluster/cilium/types.js";
import type { Because } from "../../../dataplane.js";
import { POD_NAMESPACE_LABEL } from "../labels.js";
import type { Requirement } from "./rules.js";

export interface OpaquePolicy {
  readonly subject: readonly Requirement[];
  readonly ingress: boolean;
  readonly egress: boolean;
  readonly because: Because;
}

/** Host policies (`nodeSelector`) select no pod. */
export function opaquePolicies(policy: CiliumPolicy): OpaquePolicy[] {
  const clusterwide = policy.namespace === "";
  const own: Requirement[] = clusterwide
    ? [{ key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] }]
    : [{ key: POD_NAMESPACE_LABEL, operator: "In", values: [policy.namespace] }];
  return policy.rules.flatMap((rule) => rule.endpointSelector === null ? [] : [{
    subject: [...own, ...requirements(rule.endpointSelector)],
    ingress: rule.ingress.length + rule.ingressDeny.length > 0,
    egress: rule.egress.length + rule.egressDeny.length > 0,
    because: {
      where: policy.where,
      object: `${policy.kind} ${clusterwide ? policy.name : `${policy.namespace}/${policy.name}`}`,
      rule: rule.path,
    },
  }]);
}

/** `k8s:app` and `any:app` are `app`; other sources are not labels of pods. */
function requirements(selector: CiliumSelector): Requirement[] {
  return selector.requirements.filter(({ source }) => source === "k8s" || source === "any")
    .map(({ key, operator, values }) => ({ key, operator, values }));
}
