/**
 * Everything that policy makes: identities, the ipcache, and the policy map of every endpoint.
 *
 * CiliumNetworkPolicy and its relatives are kept by the cluster as they were read and are not evaluated: each
 * is a Problem, and what they select is undecided where they could decide it.
 */
import type { AdminPolicy } from "../../cluster/admin-policy.js";
import type { Cluster, ObjectMeta } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { CiliumOptions } from "../options.js";
import type { Identities } from "./identity.js";
import { allocateIdentities } from "./identity.js";
import type { IpcacheEntry } from "./ipcache.js";
import { compileIpcache } from "./ipcache.js";
import type { Numbers } from "./numbers.js";
import type { EndpointPolicies } from "./policy/endpoints.js";
import { compileEndpointPolicies } from "./policy/endpoints.js";
import { opaquePolicies } from "./policy/opaque.js";
import { filteredKeys, policyPrefixes, policyRules } from "./policy/rules.js";

export interface CompiledPolicies {
  readonly identities: Identities;
  readonly ipcache: readonly IpcacheEntry[];
  readonly endpoints: EndpointPolicies;
  /** Policy objects of kinds that are not evaluated. */
  readonly unmodelled: readonly ObjectMeta[];
}

const UNMODELLED_KINDS: Readonly<Record<string, string>> = {
  CiliumNetworkPolicy: "verdicts of the pods it selects are undecided",
  CiliumClusterwideNetworkPolicy: "verdicts of the pods it selects are undecided",
  CiliumLocalRedirectPolicy: "services it redirects are evaluated as if it were not there",
  CiliumEgressGatewayPolicy: "egress of the pods it selects is evaluated as if it were not there",
};

const UNREAD_KINDS: Readonly<Record<AdminPolicy["kind"], string>> = {
  ClusterNetworkPolicy: "Cilium 1.20 ignores it unless enable-k8s-cluster-network-policy is set",
  AdminNetworkPolicy: "Cilium up to 1.20 ignores it",
  BaselineAdminNetworkPolicy: "Cilium up to 1.20 ignores it",
};

export function compilePolicies(
  cluster: Cluster,
  options: CiliumOptions,
  problems: Problem[],
  numbers: Numbers,
): CompiledPolicies {
  const policies = [...cluster.networkPolicies].sort(
    (a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name),
  );
  const rules = policies.map(policyRules);
  for (const policy of policies) {
    const keys = filteredKeys(policy);
    if (keys.length === 0) continue;
    problems.push({
      where: policy.where,
      severity: "warning",
      what:
        `NetworkPolicy ${policy.namespace}/${policy.name} selects ` +
        `by ${keys.join(", ")}, which Cilium leaves out of identities by default; it matches as if no pod had it`,
    });
  }
  const unmodelled: ObjectMeta[] = [
    ...cluster.ciliumPolicies,
    ...cluster.others.filter((object) => UNMODELLED_KINDS[object.kind] !== undefined),
  ];
  for (const object of unmodelled) {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    problems.push({
      where: object.where,
      severity: "warning",
      what: `${object.kind} ${name} is not evaluated: ${UNMODELLED_KINDS[object.kind]}`,
    });
  }
  for (const { where, kind, name } of cluster.adminPolicies) {
    problems.push({ where, severity: "warning", what: `${kind} ${name} is not evaluated: ${UNREAD_KINDS[kind]}` });
  }
  const identities = allocateIdentities(cluster, options, rules.flatMap(policyPrefixes), numbers);
  const ipcache = compileIpcache(cluster, options, identities, problems);
  const endpoints = compileEndpointPolicies(
    cluster,
    options,
    identities,
    rules,
    cluster.ciliumPolicies.flatMap(opaquePolicies),
    numbers,
  );
  return { identities, ipcache, endpoints, unmodelled };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
