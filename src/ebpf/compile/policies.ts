/**
 * Everything that policy makes: identities, the ipcache, and the policy map of every endpoint.
 *
 * An object that this Cilium does not take, or kinds it does not read, are Problems; they have no entry.
 */
import type { Cluster, ObjectMeta } from "../../cluster/cluster.js";
import type { DNSNames } from "../../cluster/names.js";
import type { Problem } from "../../cluster/problem.js";
import type { OptionName } from "../option-values.js";
import type { CiliumOptions } from "../options.js";
import type { Identities } from "./identity.js";
import { allocateIdentities } from "./identity.js";
import type { IpcacheEntry } from "./ipcache.js";
import { compileIpcache } from "./ipcache.js";
import { labelFilter } from "./label-filter.js";
import type { Numbers } from "./numbers.js";
import { adminPolicyRules } from "./policy/admin-rules.js";
import { admits } from "./policy/admission.js";
import type { PeerContext } from "./policy/cilium-peers.js";
import { ciliumPolicyRules } from "./policy/cilium-rules.js";
import type { EndpointPolicies } from "./policy/endpoints.js";
import { compileEndpointPolicies } from "./policy/endpoints.js";
import type { PolicyRules } from "./policy/entry.js";
import { UNMODELLED_KINDS, UNREAD_KINDS } from "./policy/kinds.js";
import { policyPrefixes, policyRules, selectorKeys } from "./policy/rules.js";
import { ServicePeers } from "./policy/service-peers.js";

export interface CompiledPolicies {
  readonly identities: Identities;
  readonly ipcache: readonly IpcacheEntry[];
  readonly endpoints: EndpointPolicies;
  /** Policy objects of kinds that are not evaluated. */
  readonly unmodelled: readonly ObjectMeta[];
}

export function compilePolicies(
  cluster: Cluster,
  options: CiliumOptions,
  problems: Problem[],
  numbers: Numbers,
  names: DNSNames | null = null,
): CompiledPolicies {
  const policies = read(cluster.networkPolicies, options, problems).sort(
    (a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name),
  );
  const filter = labelFilter(options, problems);
  for (const policy of policies) {
    const keys = [...selectorKeys(policy)].filter((key) => !filter.keeps(key)).sort();
    if (keys.length === 0) continue;
    problems.push({
      where: policy.where,
      severity: "warning",
      what:
        `NetworkPolicy ${policy.namespace}/${policy.name} selects ` +
        `by ${keys.join(", ")}, which Cilium leaves out of identities; it matches as if no pod had it`,
    });
  }
  const unmodelled = cluster.others.filter((object) => UNMODELLED_KINDS[object.kind] !== undefined);
  for (const object of unmodelled) {
    const name = object.namespace === "" ? object.name : `${object.namespace}/${object.name}`;
    problems.push({
      where: object.where,
      severity: "warning",
      what: `${object.kind} ${name} is not evaluated: ${UNMODELLED_KINDS[object.kind]}`,
    });
  }
  const rules = [...policies.map((policy) => policyRules(policy, options)), ...ciliumRules(cluster, options, problems, names)];
  const identities = allocateIdentities(cluster, options, rules.flatMap(policyPrefixes), numbers);
  const ipcache = compileIpcache(cluster, options, identities, problems);
  const endpoints = compileEndpointPolicies(
    cluster,
    options,
    identities,
    rules,
    numbers,
  );
  return { identities, ipcache, endpoints, unmodelled };
}

/** Of Cilium's own kinds, and of ClusterNetworkPolicy where this Cilium reads it. */
function ciliumRules(cluster: Cluster, options: CiliumOptions, problems: Problem[], names: DNSNames | null): PolicyRules[] {
  const context: PeerContext = {
    options, names,
    cidrGroups: cluster.cidrGroups.filter((group) => admits(group, options, problems)),
    services: new ServicePeers(cluster, options.version),
  };
  const own = read(cluster.ciliumPolicies, options, problems).filter((policy) => admits(policy, options, problems))
    .flatMap((policy) => ciliumPolicyRules(policy, context));
  const readsAdmin = options.version === "1.20" && options["enable-k8s-cluster-network-policy"];
  const admin = cluster.adminPolicies.flatMap((policy) => {
    if (policy.kind === "ClusterNetworkPolicy" && readsAdmin) return adminPolicyRules(policy, context, problems) ?? [];
    const { where, kind, name } = policy;
    problems.push({ where, severity: "warning", what: `${kind} ${name} is not evaluated: ${UNREAD_KINDS[kind]}` });
    return [];
  });
  return [...own, ...admin];
}

/** Kinds that the agent can be told not to read. */
const SWITCHES: Readonly<Record<string, OptionName>> = {
  NetworkPolicy: "enable-k8s-networkpolicy",
  CiliumNetworkPolicy: "enable-cilium-network-policy",
  CiliumClusterwideNetworkPolicy: "enable-cilium-clusterwide-network-policy",
};

/** The objects of kinds that are read; a Problem for each that is not. */
function read<Policy extends ObjectMeta>(policies: readonly Policy[], options: CiliumOptions, problems: Problem[]): Policy[] {
  return policies.filter(({ kind, namespace, name, where }) => {
    const option = SWITCHES[kind];
    if (option === undefined || options[option] === true) return true;
    const title = `${kind} ${namespace === "" ? "" : `${namespace}/`}${name}`;
    problems.push({ where, severity: "warning", what: `${title} is not evaluated: with ${option}=false Cilium does not read it` });
    return false;
  });
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
