/**
 * ClusterNetworkPolicy as Cilium 1.20 takes it with enable-k8s-cluster-network-policy (`pkg/k8s/cluster_network_policy.go`
 * ParseClusterNetworkPolicy): tiers Admin and Baseline, a priority for every rule, no default deny.
 */
import type { AdminPeer, AdminPolicy, AdminPort, AdminRule, PodsPeer } from "../../../cluster/admin-policy.js";
import type { LabelSelector } from "../../../cluster/cluster.js";
import type { Problem } from "../../../cluster/problem.js";
import { NAMESPACE_LABELS_PREFIX, POD_NAMESPACE_LABEL } from "../labels.js";
import { nodeRequirements, type PeerContext } from "./cilium-peers.js";
import { ANY_PORT, IP_PROTOCOL, NO_RULES, type Peer, type PolicyEntry, type PolicyRules, type PortRange, type Requirement, Tier,
  localCluster, type Verdict } from "./entry.js";
import { namedPeers } from "./fqdn.js";

const VERDICTS: Readonly<Record<AdminRule["action"], Verdict>> = { Allow: "allow", Deny: "deny", Pass: "pass" };
const PROTOCOLS = ["TCP", "UDP", "SCTP"] as const;
/** DNS listens there, as the parser has it. */
const DNS_PODS: readonly Requirement[] = [{ source: "any", key: "k8s-app", operator: "In", values: ["kube-dns"] }];

/** null, with a Problem, where Cilium refuses the object. */
export function adminPolicyRules(policy: AdminPolicy, context: PeerContext, problems: Problem[]): PolicyRules | null {
  const refusal = [...policy.ingress, ...policy.egress].map((rule) => ({ rule, needs: refusalOf(rule, context) }))
    .find(({ needs }) => needs !== null);
  if (refusal !== undefined) {
    problems.push({ where: refusal.rule.where, severity: "error", what: `${policy.kind} ${policy.name}: expected ${refusal.needs}; `
      + `Cilium ${context.options.version} would refuse the ${policy.kind}, so it is not used` });
    return null;
  }
  const direction = (name: "ingress" | "egress"): PolicyRules["ingress"] => {
    const entries = policy[name].flatMap((rule, index) => entriesOf(policy, rule, name, index, context));
    return { ...NO_RULES, enforces: entries.length > 0, entries };
  };
  return {
    name: `${policy.kind} ${policy.name}`,
    where: policy.where,
    subject: podRequirements(policy.subject),
    forNodes: false,
    ingress: direction("ingress"),
    egress: direction("egress"),
  };
}

function refusalOf(rule: AdminRule, { options }: PeerContext): string | null {
  if (rule.peers.some(({ kind }) => kind === "nodes") && !options["enable-node-selector-labels"]) {
    return "option enable-node-selector-labels for its nodes";
  }
  if (!rule.peers.some(({ kind }) => kind === "domainNames")) return null;
  if (rule.action !== "Allow") return "action Accept for its domainNames";
  return options["enable-l7-proxy"] ? null : "option enable-l7-proxy for its domainNames";
}

function entriesOf(policy: AdminPolicy, rule: AdminRule, direction: "ingress" | "egress", index: number, context: PeerContext)
  : PolicyEntry[] {
  const tier = policy.tier === "Baseline" ? Tier.Baseline : Tier.Admin;
  const ports = rule.ports === null ? ANY_PORT : rule.ports.flatMap(portRanges);
  const member = direction === "ingress" ? "from" : "to";
  return rule.peers.flatMap((peer, at) => {
    const entry = (one: Peer, verdict: Verdict, range: readonly PortRange[] = ports, note = ""): PolicyEntry => ({
      verdict, tier, priority: policy.priority + index / 100, peer: one, ports: range, auth: null,
      because: { where: rule.where, object: `${policy.kind} ${policy.name}`, rule: `spec.${direction}[${index}].${member}[${at}]${note}` },
    });
    const verdict = VERDICTS[rule.action];
    switch (peer.kind) {
      // What names whole namespaces is not pinned to the cluster: with NotIn or DoesNotExist alone it means nodes and the world too.
      case "pods": return [entry({ kind: "labels", requirements: [...podRequirements(peer),
        ...(peer.field === "pods" ? localCluster(context.options) : [])] }, verdict)];
      case "networks": return peer.cidrs.map((prefix) => entry({ kind: "cidr", prefix, except: [] }, verdict));
      case "nodes": return (["host", "remote-node"] as const).map((kind) => {
        const own = requirementsOf(peer.selector, "").map((one) => ({ ...one, source: "node" }));
        return entry({ kind: "labels", requirements: nodeRequirements(own, kind, context.options) }, verdict);
      });
      case "domainNames": return domainEntries(peer, entry, context);
      // Fails closed: an Accept matches nothing, everything else denies all.
      case "unknown": return verdict === "allow" ? [] : [entry({ kind: "any" }, "deny")];
    }
  });
}

/** The addresses of the names, and leave to ask for them through the DNS proxy. */
function domainEntries({ names: domains }: Extract<AdminPeer, { kind: "domainNames" }>,
  entry: (peer: Peer, verdict: Verdict, ports?: readonly PortRange[], note?: string) => PolicyEntry, { names, options }: PeerContext)
  : PolicyEntry[] {
  const dns = ["dns", "dns-tcp"].flatMap((name) => PROTOCOLS.map((protocol): PortRange => ({ protocol: IP_PROTOCOL[protocol], name,
    first: 0, last: 0, redirect: { parser: "dns", listener: "", priority: 121 } })));
  const asked = entry({ kind: "labels", requirements: DNS_PODS }, "allow", dns, ": DNS");
  const selectors = domains.map((domain) => (domain.startsWith("*") ? { matchName: null, matchPattern: `*${domain}` }
    : { matchName: domain, matchPattern: null }));
  return [asked, ...namedPeers(selectors, names, options.version).map(({ peer, note }) => entry(peer, "allow", undefined, note))];
}

/** Pods by the labels of their namespace and their own; host-network pods are none. */
function podRequirements({ namespaces, podSelector }: PodsPeer): Requirement[] {
  const own = namespaces.by === "selector" ? requirementsOf(namespaces.selector, NAMESPACE_LABELS_PREFIX) : [];
  // An empty namespace selector means "has a namespace".
  if (own.length === 0) own.push({ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "Exists", values: [] });
  return [...own, ...requirementsOf(podSelector, "")];
}

function requirementsOf(selector: LabelSelector, prefix: string): Requirement[] {
  return [
    ...Object.entries(selector.matchLabels).map(([key, value]): Requirement =>
      ({ source: "k8s", key: prefix + key, operator: "In", values: [value] })),
    ...selector.matchExpressions.map(({ key, operator, values }): Requirement => ({ source: "k8s", key: prefix + key, operator, values })),
  ];
}

function portRanges(port: AdminPort): PortRange[] {
  if (port.kind === "range") return [{ protocol: IP_PROTOCOL[port.protocol], name: null, first: port.first, last: port.last }];
  return PROTOCOLS.map((protocol) => ({ protocol: IP_PROTOCOL[protocol], name: port.name.toLowerCase(), first: 0, last: 0 }));
}
