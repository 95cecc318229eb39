/**
 * Calico's own objects, and what of them changes rules that are not modelled: policies of its own kinds, host
 * endpoints, tunnels, limits of pods. Each is a Problem, and a packet that would meet their rules is undecided.
 *
 * Staged policies, network sets and tiers change nothing by themselves.
 */
import type { AdminPolicy } from "../../cluster/admin-policy.js";
import type { Cluster, ObjectMeta, OtherObject, Pod } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { Because } from "../../dataplane.js";
import type { TableName } from "../ruleset.js";
import type { WorkloadEndpoint } from "./endpoints.js";
import { parseExpression } from "./expression.js";
import { NAMESPACE_PREFIX } from "./selector.js";

/** A reason, and the object it is from. */
export interface Unknown {
  readonly why: string;
  readonly because: Because;
}

/** What is not modelled of a cluster, for one node. */
export interface Unmodelled {
  ofPod(endpoint: WorkloadEndpoint): readonly Unknown[];
  /** Of the chains that lead to host endpoints. */
  ofHostChain(table: TableName, chain: string): readonly Unknown[];
  /** Of the node's own traffic, where pools are tunnelled. */
  readonly ofTunnels: readonly Unknown[];
}

const GROUPS = /^(crd\.projectcalico\.org|projectcalico\.org|policy\.networking\.k8s\.io)\//;
/** Annotations by which Felix limits a pod's packets or connections. */
const LIMITS = /^qos\.projectcalico\.org\/(ingress|egress)(PacketRate|MaxConnections)$/;
/** Fields of FelixConfiguration that change no rule, or that the operator's environment overrides. */
const HARMLESS = new RegExp([
  "^(log|health|prometheus|reporting|usage|debug|bpf(?!Enabled)|wireguard(?!Enabled)|vxlan(VNI|MTU))", "(Interval|Timeout)$",
  "^(defaultEndpointToHostAction|floatingIPs|ipv6Support|nftablesMode)$",
].join("|"));

/** The objects, in the cluster's order. */
function objects(cluster: Cluster, kind: string): OtherObject[] {
  return cluster.others.filter((one) => one.kind === kind && GROUPS.test(one.apiVersion));
}

export function unmodelled(cluster: Cluster, nodeName: string): Unmodelled {
  const policies = policiesOf(cluster);
  const hosts = objects(cluster, "HostEndpoint").filter((one) => spec(one)["node"] === nodeName).map(unknown);
  // Only cluster-wide policies police what a node forwards, or its packets before connection tracking and NAT.
  const global = hosts.length === 0 ? [] : objects(cluster, "GlobalNetworkPolicy").map(unknown);
  return {
    ofPod: (endpoint) => [...policies.filter((one) => maySelect(one, endpoint)).map(unknown),
      ...limits(endpoint.pod).map((name) => ({ why: `${name} of pod ${titleOf(endpoint.pod)}`,
        because: { where: endpoint.pod.where, object: titleOf(endpoint.pod), rule: name } }))],
    ofHostChain: (table, chain) => (table === "filter" && chain.endsWith("-host-endpoint") ? hosts : global),
    ofTunnels: objects(cluster, "IPPool").filter(isTunnelled).map(unknown),
  };
}

type PolicyObject = OtherObject | AdminPolicy;

/** Calico's own policies, and those of the Network Policy API for the whole cluster, which Calico reads too. */
function policiesOf(cluster: Cluster): PolicyObject[] {
  return [...objects(cluster, "GlobalNetworkPolicy"), ...cluster.adminPolicies, ...objects(cluster, "NetworkPolicy")];
}

/** What a user should know of the cluster's objects. */
export function unmodelledProblems(cluster: Cluster): Problem[] {
  const problems: Problem[] = [];
  const found = (one: ObjectMeta, what: string): void => {
    problems.push({ where: one.where, severity: "warning", what: `${title(one)}: ${what}` });
  };
  for (const one of policiesOf(cluster)) found(one, "is not modelled, so traffic of the pods it selects is undecided");
  for (const one of cluster.others) {
    if (!GROUPS.test(one.apiVersion)) continue;
    if (one.kind === "HostEndpoint") found(one, "is not modelled, so traffic of its node's own sockets is undecided");
    if (one.kind === "IPPool" && isTunnelled(one)) {
      found(one, "tunnels are not modelled, so traffic of nodes' own sockets is undecided; expected ipipMode and vxlanMode "
        + "Never");
    }
    if (one.kind === "FelixConfiguration") {
      const fields = Object.keys(spec(one)).filter((field) => !HARMLESS.test(field));
      if (fields.length > 0) found(one, `found ${fields.join(", ")}, which ${fields.length === 1 ? "is" : "are"} not read`);
    }
  }
  for (const pod of cluster.pods) {
    const names = limits(pod);
    if (names.length === 0) continue;
    problems.push({ where: pod.where, severity: "warning",
      what: `Pod ${titleOf(pod)}: ${names.join(", ")} not modelled, so its traffic is undecided` });
  }
  return problems;
}

/** spec of an object of Calico's, or nothing. */
export function spec(one: OtherObject): Readonly<Record<string, unknown>> {
  const value = one.object["spec"];
  return value !== null && typeof value === "object" ? value as Record<string, unknown> : {};
}

/** Whether the policy selects the pod, or says so in a way that is not read. */
function maySelect(policy: PolicyObject, { pod, labels }: WorkloadEndpoint): boolean {
  if (policy.kind === "NetworkPolicy" && policy.namespace !== pod.namespace) return false;
  if ("subject" in policy) return true;
  const { selector, namespaceSelector } = spec(policy);
  return [[selector, ""], [namespaceSelector, NAMESPACE_PREFIX]].every(([text, prefix]) => {
    // Labels of service accounts are not known.
    if (typeof text !== "string" || text.includes("pcsa.") || text.includes("serviceaccount")) return true;
    return parseExpression(text, prefix as string)?.(labels) ?? true;
  });
}

function titleOf(pod: Pod): string {
  return `${pod.namespace}/${pod.name}`;
}

function unknown(one: ObjectMeta): Unknown {
  return { why: title(one), because: { where: one.where, object: title(one), rule: "not modelled" } };
}

function isTunnelled(pool: OtherObject): boolean {
  return ["ipipMode", "vxlanMode"].some((field) => (spec(pool)[field] ?? "Never") !== "Never");
}

function limits(pod: Pod): string[] {
  return Object.keys(pod.annotations).filter((name) => LIMITS.test(name)).sort();
}

function title(one: ObjectMeta): string {
  return `${one.kind} ${one.namespace === "" ? "" : `${one.namespace}/`}${one.name}`;
}
