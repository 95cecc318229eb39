/**
 * Who the other side of a Cilium rule is: its L3 members as peers, with the namespace and cluster that Cilium adds to
 * selectors that name none (`pkg/k8s/apis/cilium.io/utils` getEndpointSelector, `pkg/policy/api/entity.go`).
 */
import type { Prefix } from "../../../cluster/address.js";
import type { CiliumCIDRGroup, CiliumCIDRRule, CiliumDirectionRule, CiliumEntity, CiliumRule, CiliumSelector }
  from "../../../cluster/cilium/types.js";
import type { DNSNames } from "../../../cluster/names.js";
import type { CiliumOptions } from "../../options.js";
import { CLUSTER_LABEL, NAMESPACE_LABELS_PREFIX, POD_NAMESPACE_LABEL } from "../labels.js";
import { localCluster, type Peer, type Requirement } from "./entry.js";
import { namedPeers } from "./fqdn.js";
import { satisfies } from "./selectors.js";
import type { ServicePeers } from "./service-peers.js";

export interface PeerContext {
  readonly options: CiliumOptions;
  readonly cidrGroups: readonly CiliumCIDRGroup[];
  readonly services: ServicePeers;
  /** null: nothing is known of any name. */
  readonly names: DNSNames | null;
}

export interface FoundPeer {
  readonly peer: Peer;
  /** `.fromEndpoints[0]`. */
  readonly path: string;
  /** Added to the rule's name where something is not known. */
  readonly note?: string;
}

/** null: a list is given and empty, so that nothing is selected. Empty: no member, any peer. */
export function ciliumPeers(rule: CiliumDirectionRule, deny: boolean, namespace: string, owner: CiliumRule, context: PeerContext)
  : FoundPeer[] | null {
  const { endpoints, nodes, entities, cidr, cidrSet } = rule;
  if ([endpoints, nodes, entities, cidr, cidrSet].some((list) => list !== null && list.length === 0)) return null;
  const side = /\.(?:in|e)gress/.exec(rule.path)![0] === ".ingress" ? "from" : "to";
  const { options } = context;
  const at = (member: string, index: number): string => `.${side}${member}[${index}]`;
  const found: FoundPeer[] = [];
  (endpoints ?? []).forEach((selector, index) => {
    const peer = labels(endpointRequirements(selector, namespace, owner.endpointSelector, options));
    found.push({ peer: peer.kind === "any" ? { ...peer, endpoints: true } : peer, path: at("Endpoints", index) });
  });
  (nodes ?? []).forEach((selector, index) => {
    found.push({ peer: labels(nodeRequirements(requirementsOf(selector), "remote-node", options), true), path: at("Nodes", index) });
  });
  (entities ?? []).forEach((entity, index) => {
    for (const peer of entityPeers(entity, options)) found.push({ peer, path: at("Entities", index) });
  });
  (cidr ?? []).forEach((prefix, index) => {
    found.push({ peer: { kind: "cidr", prefix, except: [] }, path: at("CIDR", index) });
  });
  (cidrSet ?? []).forEach((set, index) => {
    for (const peer of cidrSetPeers(set, context)) found.push({ peer, path: at("CIDRSet", index) });
  });
  (rule.groups ?? []).forEach((_, index) => {
    found.push({ peer: { kind: "unknown" }, path: at("Groups", index), note: ": its addresses are not known" });
  });
  // Services of deny rules are not looked up (processRule).
  (deny ? [] : rule.services ?? []).forEach((reference, index) => {
    for (const peer of context.services.peersOf(reference)) found.push({ peer, path: at("Services", index) });
  });
  (rule.fqdns ?? []).forEach((selector, index) => {
    for (const one of namedPeers([selector], context.names, options.version)) found.push({ ...one, path: at("FQDNs", index) });
  });
  // A group that is not there or a name without addresses selects nothing. Services that are not there leave a rule without
  // peers, which with ports is a rule for any peer.
  return found.length === 0 && (cidrSet ?? []).length + (rule.fqdns ?? []).length > 0 ? null : found;
}

/**
 * A selector with the namespace and cluster it means. `alwaysScoped`: of fromRequires and toRequires, which mean one beside a
 * reserved label too (getEndpointSelector without addK8sPrefix, pkg/k8s/apis/cilium.io/utils/utils.go).
 */
export function endpointRequirements(selector: CiliumSelector, namespace: string, subject: CiliumSelector | null, options: CiliumOptions,
  alwaysScoped = false): Requirement[] {
  const requirements = requirementsOf(selector);
  const ofPods = ({ source }: Requirement): boolean => source === "k8s" || source === "any";
  if (!alwaysScoped && requirements.some(({ source }) => source === "reserved")) return requirements;
  if (!requirements.some((one) => ofPods(one) && one.key === POD_NAMESPACE_LABEL)) {
    const matchesInit = subject?.requirements.some(({ source, key }) => source === "reserved" && key === "init") ?? false;
    if (namespace === "" && !matchesInit) {
      // Pods of any namespace; neither world nor hosts, which have none.
      requirements.push({ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] });
    } else if (namespace !== "" && !requirements.some((one) => ofPods(one) && one.key.startsWith(NAMESPACE_LABELS_PREFIX))) {
      requirements.push({ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "In", values: [namespace] });
    }
  }
  const named = requirements.some((one) => ofPods(one) && one.key === CLUSTER_LABEL);
  return named ? requirements : [...requirements, ...localCluster(options)];
}

/** Nodes of one kind, of the cluster that the selector names or the own one. */
export function nodeRequirements(requirements: readonly Requirement[], kind: "host" | "remote-node", options: CiliumOptions)
  : Requirement[] {
  const named = requirements.some(({ source, key }) => (source === "k8s" || source === "any") && key === CLUSTER_LABEL);
  return [...requirements, { source: "reserved", key: kind, operator: "Exists", values: [] }, ...(named ? [] : localCluster(options))];
}

export function requirementsOf(selector: CiliumSelector): Requirement[] {
  return [...selector.requirements];
}

function labels(requirements: readonly Requirement[], fixed?: true): Peer {
  if (requirements.length === 0) return { kind: "any" };
  return { kind: "labels", requirements, ...(fixed === undefined ? {} : { fixed }) };
}

function reserved(name: string): Peer {
  return labels([{ source: "reserved", key: name, operator: "In", values: [""] }], true);
}

function entityPeers(entity: CiliumEntity, options: CiliumOptions): Peer[] {
  switch (entity) {
    case "all": return [{ kind: "any" }];
    case "world": return ["world", "world-ipv4", "world-ipv6"].map(reserved);
    case "cluster": return [
      ...["host", "remote-node", "init", "ingress", "health", "unmanaged", "kube-apiserver"].map(reserved),
      labels([{ source: "k8s", key: CLUSTER_LABEL, operator: "In", values: [options["cluster-name"]] }], true),
    ];
    default: return [reserved(entity)];
  }
}

/** A group is the prefixes it lists; one that is not there is none. */
function cidrSetPeers(set: CiliumCIDRRule, { cidrGroups, options }: PeerContext): Peer[] {
  // 1.16 turns a group into its prefixes and forgets the exceptions.
  const except = set.cidr === null && options.version === "1.16" ? [] : set.except;
  const peer = (prefix: Prefix): Peer => ({ kind: "cidr", prefix, except });
  if (set.cidr !== null) return [peer(set.cidr)];
  const groups = cidrGroups.filter((group) => (set.cidrGroupRef !== null ? group.name === set.cidrGroupRef
    : satisfies(new Map(Object.entries(group.labels)), set.cidrGroupSelector!.requirements.map((one) => ({ ...one, source: "k8s" })))));
  return groups.flatMap((group) => group.externalCIDRs.map(peer));
}
