/**
 * The L3 part of a rule: whether it names the other end of the flow.
 *
 * A CIDR names what is in the world, never pods, and nodes only with policy-cidr-match-mode=nodes. A service with a
 * selector stands for the pods it selects, one without for the addresses of its endpoints. A list that is given and
 * empty names nobody; no list at all names everybody, if the rule has an L4 part.
 *
 * Source: Cilium's documentation, "Layer 3 Policies".
 */
import { type Prefix, prefixContains } from "../../cluster/address.js";
import type { CiliumCIDRRule, CiliumDirectionRule, CiliumEntity, CiliumRequirement, CiliumServiceReference }
  from "../../cluster/cilium/types.js";
import type { Cluster, Service } from "../../cluster/cluster.js";
import { isNamed } from "./fqdn.js";
import type { CiliumSpecOptions } from "./options.js";
import { matches, peerRequirements } from "./selector.js";
import { POD_NAMESPACE, type Subject } from "./subject.js";

/** `maybe`: the objects do not say. */
export type Match = boolean | "maybe";

/** What the rules of one policy object share. */
export interface PeerContext {
  readonly cluster: Cluster;
  readonly options: CiliumSpecOptions;
  /** Of the policy; empty for a clusterwide one. */
  readonly namespace: string;
  readonly ofInit: boolean;
  /** The rule is of ingressDeny or egressDeny. */
  readonly deny: boolean;
  /** What fromRequires or toRequires of all rules that select the pod ask of fromEndpoints or toEndpoints. */
  readonly required: readonly CiliumRequirement[];
}

/** null: the rule says nothing of the other end. */
export function namesPeer(rule: CiliumDirectionRule, peer: Subject, context: PeerContext): Match | null {
  const { endpoints, cidr, cidrSet, entities, nodes, fqdns, groups } = rule;
  // The services of a denying rule are not looked up (pkg/policy/k8s/service.go, processRule): it is as if it named none.
  const services = context.deny ? [] : (rule.services ?? []).flatMap((one) => referenced(one, context.cluster));
  if ([endpoints, cidr, cidrSet, entities, nodes].some((list) => list?.length === 0)) return false;
  const found: Match[] = [
    ...(endpoints ?? []).map((one) => matches([...peerRequirements(one, context.namespace, context.ofInit), ...context.required],
      peer.labels)),
    ...(cidr ?? []).map((one) => contains(one, peer, context)),
    ...(cidrSet ?? []).map((one) => inCidrRule(one, peer, context)),
    ...(entities ?? []).map((one) => isEntity(one, peer, context.options.clusterName)),
    ...(fqdns ?? []).map((one): Match => {
      const { domainNames, moreNames, version } = context.options;
      if (peer.kind !== "world") return false;
      const named = (domainNames?.get(peer.address.text) ?? []).some((name) => isNamed(one, name, version));
      return named || (domainNames === undefined || moreNames === true ? "maybe" : false);
    }),
    ...services.map((one) => isOfService(one, peer, context)),
    // The other nodes, never the own.
    ...(nodes ?? []).map((one) => peer.kind === "remote-node" && matches(one.requirements, peer.labels)),
    // Members of a cloud's groups are not among the objects.
    ...(groups ?? []).map((): Match => (peer.kind === "world" ? "maybe" : false)),
  ];
  if (found.length === 0) return null;
  return found.includes(true) ? true : found.includes("maybe") ? "maybe" : false;
}

/** All of a family's addresses are the world's, and then no node's (cilium#47827). */
export function contains(cidr: Prefix, peer: Subject, { options }: Pick<PeerContext, "options">): boolean {
  const kinds = options.cidrMatchesNodes && cidr.length > 0 ? ["world", "host", "remote-node"] : ["world"];
  return kinds.includes(peer.kind) && peer.addresses.some((one) => prefixContains(cidr, one));
}

function inCidrRule(rule: CiliumCIDRRule, peer: Subject, { cluster, options }: PeerContext): boolean {
  // 1.16 forgets the exceptions of a group.
  const excepted = (rule.cidr !== null || options.version > 16) && rule.except
    .some((hole) => peer.addresses.some((one) => prefixContains(hole, one)));
  if (excepted) return false;
  if (rule.cidr !== null) return contains(rule.cidr, peer, { options });
  return cluster.cidrGroups.some((group) => {
    const labels = Object.entries(group.labels).map(([key, value]) => ({ source: "cidrgroup", key, value }));
    const chosen = rule.cidrGroupRef !== null ? group.name === rule.cidrGroupRef
      : rule.cidrGroupSelector !== null && matches(rule.cidrGroupSelector.requirements, labels);
    return chosen && group.externalCIDRs.some((one) => contains(one, peer, { options }));
  });
}

/** "cluster: all endpoints inside of the local cluster", with host, remote-node and kube-apiserver. */
function isEntity(entity: CiliumEntity, peer: Subject, clusterName: string): boolean {
  const has = (name: string): boolean => peer.labels.some((one) => one.source === "reserved" && one.key === name);
  switch (entity) {
    case "all": return true;
    case "none": return false;
    case "world": return peer.kind === "world";
    case "cluster": return peer.kind === "host" || peer.kind === "remote-node" || has("kube-apiserver")
      || peer.labels.some(({ key, value }) => key === "io.cilium.k8s.policy.cluster" && value === clusterName);
    default: return has(entity);
  }
}

/** Services that a reference names. */
function referenced({ k8sService, k8sServiceSelector }: CiliumServiceReference, cluster: Cluster): Service[] {
  const isIn = (namespace: string, service: Service): boolean => namespace === "" || namespace === service.namespace;
  return cluster.services.filter((service) => {
    if (k8sServiceSelector !== null) {
      // The sources of labels are not looked at here.
      const labels = Object.entries(service.labels).map(([key, value]) => ({ source: "k8s", key, value }));
      const asked = k8sServiceSelector.selector.requirements.map((one) => ({ ...one, source: "any" }));
      return isIn(k8sServiceSelector.namespace, service) && matches(asked, labels);
    }
    return k8sService !== null && k8sService.serviceName === service.name && isIn(k8sService.namespace, service);
  });
}

function isOfService(service: Service, peer: Subject, context: PeerContext): boolean {
  if (service.selector !== null && Object.keys(service.selector).length > 0) {
    // 1.16: only services without a selector (pkg/policy/k8s/service.go, isSelectableService).
    if (context.options.version < 17) return false;
    const asked = Object.entries({ ...service.selector, [POD_NAMESPACE]: service.namespace })
      .map(([key, value]): CiliumRequirement => ({ source: "k8s", key, operator: "In", values: [value] }));
    return matches([...asked, ...context.required], peer.labels);
  }
  if (peer.kind === "pod" || (peer.kind !== "world" && !context.options.cidrMatchesNodes)) return false;
  return context.cluster.endpointSlices.some((slice) => slice.namespace === service.namespace && slice.serviceName === service.name
    && slice.endpoints.some(({ addresses }) => addresses.some((one) => peer.addresses.some(({ text }) => text === one.text))));
}
