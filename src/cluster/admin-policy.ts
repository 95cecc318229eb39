/**
 * Policies of the whole cluster, of the Network Policy API: AdminNetworkPolicy and BaselineAdminNetworkPolicy
 * (policy.networking.k8s.io/v1alpha1) and ClusterNetworkPolicy (v1alpha2), read into one form. Validated as the
 * schemas of their CustomResourceDefinitions validate; one that is refused is not used at all.
 *
 * v1alpha1 is read in two shapes. In its v0.1.1 a peer's namespaces are `{namespaceSelector | sameLabels |
 * notSameLabels}` and a pods peer has them under `namespaces`; since v0.1.2 they are selectors themselves.
 *
 * A peer whose fields are all unknown comes from a newer schema: it is kept as `unknown`, and must fail closed.
 *
 * Source: kubernetes-sigs/network-policy-api apis/v1alpha1 and apis/v1alpha2 at 0eec1b0e5fa9 (kubebuilder markers).
 */
import type { Prefix } from "./address.js";
import { readPrefix } from "./addresses.js";
import { readAdminPorts } from "./admin-ports.js";
import type { LabelSelector, ObjectMeta, Protocol } from "./cluster.js";
import type { Field } from "./field.js";
import { readLabelSelector } from "./label-selector.js";
import { checkLabelKey } from "./meta.js";
import type { Where } from "./problem.js";

/** `Allow` is ClusterNetworkPolicy's Accept too. */
export type AdminAction = "Allow" | "Deny" | "Pass";

export interface AdminPolicy extends ObjectMeta {
  readonly kind: "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy" | "ClusterNetworkPolicy";
  /** Before NetworkPolicy, or after it. */
  readonly tier: "Admin" | "Baseline";
  /** 0..1000, lower first within the tier; equal ones have no order. 0 for BaselineAdminNetworkPolicy, which has none. */
  readonly priority: number;
  readonly subject: PodsPeer;
  /** In order: the first that matches decides. */
  readonly ingress: readonly AdminRule[];
  readonly egress: readonly AdminRule[];
}

export interface AdminRule {
  readonly name: string;
  readonly action: AdminAction;
  /** At least one. */
  readonly peers: readonly AdminPeer[];
  /** null: absent, which means every port and protocol. */
  readonly ports: readonly AdminPort[] | null;
  /** Line of the rule's list item. */
  readonly where: Where;
}

/** Pods, never host-network ones. */
export interface PodsPeer {
  readonly kind: "pods";
  /** The field that named them: whole namespaces, or pods in some. */
  readonly field: "namespaces" | "pods";
  readonly namespaces: NamespaceChoice;
  readonly podSelector: LabelSelector;
}

export type AdminPeer =
  | PodsPeer
  | { readonly kind: "nodes"; readonly selector: LabelSelector }
  | { readonly kind: "networks"; readonly cidrs: readonly Prefix[] }
  /** Lower case, without a final dot; `*.` at the front stands for one or more labels. */
  | { readonly kind: "domainNames"; readonly names: readonly string[] }
  | { readonly kind: "unknown"; readonly fields: readonly string[] };

/** sameLabels, notSameLabels (v0.1.1): keys whose values are held against those of the subject's namespace. */
export type NamespaceChoice =
  | { readonly by: "selector"; readonly selector: LabelSelector }
  | { readonly by: "sameLabels" | "notSameLabels"; readonly keys: readonly string[] };

export type AdminPort =
  /** Inclusive. */
  | { readonly kind: "range"; readonly protocol: Protocol; readonly first: number; readonly last: number }
  /** Container ports of that name, whatever their protocol. */
  | { readonly kind: "named"; readonly name: string };

/** What differs between the three kinds. */
interface Dialect {
  readonly kind: AdminPolicy["kind"];
  readonly actions: readonly string[];
  readonly mostRules: number;
  readonly mostPeers: number;
  readonly portsName: "ports" | "protocols";
  readonly egressPeers: readonly string[];
}

const EGRESS_PEERS = ["namespaces", "pods", "nodes", "networks", "domainNames"] as const;
const ADMIN: Dialect = { kind: "AdminNetworkPolicy", actions: ["Allow", "Deny", "Pass"], mostRules: 100, mostPeers: 100,
  portsName: "ports", egressPeers: EGRESS_PEERS };
const BASELINE: Dialect = { ...ADMIN, kind: "BaselineAdminNetworkPolicy", actions: ["Allow", "Deny"],
  egressPeers: ["namespaces", "pods", "nodes", "networks"] };
const CLUSTER: Dialect = { kind: "ClusterNetworkPolicy", actions: ["Accept", "Deny", "Pass"], mostRules: 25, mostPeers: 25,
  portsName: "protocols", egressPeers: EGRESS_PEERS };
const MAX_NETWORKS = 25;
const MAX_NAME = 100;
/** As the API writes it, `A-z` included. */
const DOMAIN_NAME = /^(\*\.)?([a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-z0-9]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$/;

export function readAdminNetworkPolicy(root: Field, meta: ObjectMeta): AdminPolicy {
  const spec = root.get("spec");
  spec.onlyKnows("priority", "subject", "ingress", "egress");
  return { ...policyOf(spec, meta, ADMIN), tier: "Admin", priority: readPriority(spec.get("priority")) };
}

export function readBaselineAdminNetworkPolicy(root: Field, meta: ObjectMeta): AdminPolicy {
  const spec = root.get("spec");
  spec.onlyKnows("subject", "ingress", "egress");
  if (meta.name !== "default") {
    root.get("metadata").get("name").refuse(`found "${meta.name}", expected default, the only one a cluster can have`);
  }
  return { ...policyOf(spec, meta, BASELINE), tier: "Baseline", priority: 0 };
}

export function readClusterNetworkPolicy(root: Field, meta: ObjectMeta): AdminPolicy {
  const spec = root.get("spec");
  spec.onlyKnows("tier", "priority", "subject", "ingress", "egress");
  const tier = spec.get("tier");
  if (tier.absent) tier.refuse("found no tier, expected Admin or Baseline");
  return { ...policyOf(spec, meta, CLUSTER), tier: tier.oneOf(["Admin", "Baseline"], "Admin"),
    priority: readPriority(spec.get("priority")) };
}

function policyOf(spec: Field, meta: ObjectMeta, dialect: Dialect): Omit<AdminPolicy, "tier" | "priority"> {
  return {
    ...meta, kind: dialect.kind,
    subject: readSubject(spec.get("subject")),
    ingress: readRules(spec.get("ingress"), "from", dialect),
    egress: readRules(spec.get("egress"), "to", dialect),
  };
}

function readPriority(field: Field): number {
  const priority = field.integer(-1);
  if (priority < 0 || priority > 1000) field.refuse(`found ${field.absent ? "none" : priority}, expected 0 to 1000`);
  return priority;
}

function readSubject(field: Field): PodsPeer {
  field.onlyKnows("namespaces", "pods");
  const given = ["namespaces", "pods"].filter((name) => !field.get(name).absent);
  if (given.length !== 1) field.refuse(`found ${given.length} of namespaces and pods, expected exactly one`);
  return readPods(field);
}

function readRules(field: Field, peersName: "from" | "to", dialect: Dialect): AdminRule[] {
  const items = field.items();
  if (items.length > dialect.mostRules) field.refuse(`found ${items.length} rules, expected at most ${dialect.mostRules}`);
  return items.map((rule) => readRule(rule, peersName, dialect));
}

function readRule(field: Field, peersName: "from" | "to", dialect: Dialect): AdminRule {
  field.onlyKnows("name", "action", peersName, dialect.portsName);
  const name = field.get("name").string();
  if (name.length > MAX_NAME) field.get("name").refuse(`found ${name.length} characters, expected at most ${MAX_NAME}`);
  const action = field.get("action");
  if (action.absent) action.refuse(`found no action, expected ${dialect.actions.join(", ")}`);
  const written = action.absent ? "Deny" : action.oneOf(dialect.actions, "Deny");
  const peersField = field.get(peersName);
  const peers = peersField.items();
  if (peers.length === 0 || peers.length > dialect.mostPeers) {
    peersField.refuse(`found ${peers.length} peers, expected 1 to ${dialect.mostPeers}`);
  }
  const known = peersName === "from" ? ["namespaces", "pods"] : dialect.egressPeers;
  const rule: AdminRule = {
    name, action: written === "Accept" ? "Allow" : written as AdminAction,
    peers: peers.map((peer) => readPeer(peer, known)),
    ports: readAdminPorts(field.get(dialect.portsName), dialect.portsName, dialect.mostPeers),
    where: field.where(),
  };
  checkTogether(field, rule);
  return rule;
}

/** What holds of a rule's fields together. */
function checkTogether(field: Field, { peers, ports, action }: AdminRule): void {
  const unnamed = peers.find(({ kind }) => kind === "nodes" || kind === "networks" || kind === "domainNames");
  if (unnamed !== undefined && ports?.some(({ kind }) => kind === "named") === true) {
    field.refuse(`found a named port with a ${unnamed.kind} peer, expected numbers, since such a peer has no port names`);
  }
  if (action !== "Allow" && peers.some(({ kind }) => kind === "domainNames")) {
    field.warn("found domainNames in a rule that does not allow, which the API does not support; the rule fails closed: it denies all");
  }
}

function readPeer(field: Field, known: readonly string[]): AdminPeer {
  const names = field.fields().filter((one) => !one.absent).map((one) => one.name);
  const given = names.filter((name) => known.includes(name));
  if (names.length > 1) field.refuse(`found ${names.join(" and ")} in one peer, expected exactly one of ${known.join(", ")}`);
  if (names.length === 0) field.refuse(`found an empty peer, expected one of ${known.join(", ")}`);
  if (given.length === 0) {
    if (names.length > 0) {
      field.warn(`found ${names.join(", ")}, expected one of ${known.join(", ")}; a rule with an unknown peer fails closed: it allows `
        + "nothing, and one that denies or passes denies all");
    }
    return { kind: "unknown", fields: names };
  }
  if (given[0] === "nodes") return { kind: "nodes", selector: readLabelSelector(field.get("nodes")) };
  if (given[0] === "networks") return { kind: "networks", cidrs: readNetworks(field.get("networks")) };
  if (given[0] === "domainNames") return { kind: "domainNames", names: readDomainNames(field.get("domainNames")) };
  return readPods(field);
}

/** `namespaces` or `pods` of a subject or a peer. */
function readPods(field: Field): PodsPeer {
  const namespaces = field.get("namespaces");
  const everyPod: LabelSelector = { matchLabels: {}, matchExpressions: [] };
  if (!namespaces.absent) return { kind: "pods", field: "namespaces", namespaces: readNamespaces(namespaces), podSelector: everyPod };
  const pods = field.get("pods");
  pods.onlyKnows("namespaceSelector", "namespaces", "podSelector");
  const wrapped = pods.get("namespaces");
  return {
    kind: "pods", field: "pods",
    namespaces: wrapped.absent ? { by: "selector", selector: readLabelSelector(pods.get("namespaceSelector")) } : readNamespaces(wrapped),
    podSelector: readLabelSelector(pods.get("podSelector")),
  };
}

const OLD_FORMS = ["namespaceSelector", "sameLabels", "notSameLabels"] as const;

function readNamespaces(field: Field): NamespaceChoice {
  const old = OLD_FORMS.filter((name) => !field.get(name).absent);
  if (old.length === 0) return { by: "selector", selector: readLabelSelector(field) };
  field.onlyKnows(...OLD_FORMS);
  if (old.length > 1) field.refuse(`found ${old.join(" and ")}, expected exactly one`);
  field.warn(`found ${old[0]}, the form of network-policy-api v0.1.1, and read it so; later versions of the API drop the field`);
  if (old[0] === "namespaceSelector") return { by: "selector", selector: readLabelSelector(field.get(old[0])) };
  const keys = field.get(old[0]).items();
  for (const key of keys) checkLabelKey(key, key.string());
  return { by: old[0], keys: keys.map((key) => key.string()) };
}

function readNetworks(field: Field): Prefix[] {
  checkSet(field);
  return field.items().map((item) => readPrefix(item, true)).filter((prefix) => prefix !== null);
}

function readDomainNames(field: Field): string[] {
  checkSet(field);
  return field.items().map((item) => {
    const name = item.string();
    if (!DOMAIN_NAME.test(name)) item.refuse(`found "${name}", expected a domain name of two labels or more, or *. before one`);
    return name.toLowerCase().replace(/\.$/, "");
  });
}

/** listType=set: 1 to 25 items, each once. */
function checkSet(field: Field): void {
  const values = field.items().map((item) => item.string());
  if (values.length === 0 || values.length > MAX_NETWORKS) field.refuse(`found ${values.length} items, expected 1 to ${MAX_NETWORKS}`);
  const repeated = values.find((value, index) => values.indexOf(value) < index);
  if (repeated !== undefined) field.refuse(`found ${repeated} twice, expected each once`);
}
