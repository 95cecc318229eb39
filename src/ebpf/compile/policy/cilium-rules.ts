/**
 * CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy as Cilium's core takes them: each rule under spec or specs with
 * its subject and entries (`pkg/k8s/apis/cilium.io/utils` ParseToCiliumRule, `pkg/policy/utils/parserules.go`).
 *
 * A rule without any member adds no entry and still enforces its direction; a list that is given and empty selects
 * nothing.
 */
import type { CiliumDirectionRule, CiliumICMPField, CiliumPolicy, CiliumPort, CiliumPortRule, CiliumProtocol, CiliumRule }
  from "../../../cluster/cilium/types.js";
import type { CiliumVersion } from "../../options.js";
import { POD_NAMESPACE_LABEL } from "../labels.js";
import { ciliumPeers, endpointRequirements, type FoundPeer, type PeerContext, requirementsOf } from "./cilium-peers.js";
import { ANY_PORT, type DirectionRules, IP_PROTOCOL, type PolicyEntry, type PolicyRules, type PortRange, type Redirect,
  type Requirement, Tier, type Verdict } from "./entry.js";

export function ciliumPolicyRules(policy: CiliumPolicy, context: PeerContext): PolicyRules[] {
  return policy.rules.map((rule) => ruleOf(policy, rule, context));
}

/** `CiliumNetworkPolicy default/web`. */
export function ciliumPolicyName({ kind, namespace, name }: CiliumPolicy): string {
  return `${kind} ${namespace === "" ? name : `${namespace}/${name}`}`;
}

function ruleOf(policy: CiliumPolicy, rule: CiliumRule, context: PeerContext): PolicyRules {
  const selector = rule.endpointSelector ?? rule.nodeSelector!;
  const builder = new RuleBuilder(policy, rule, context);
  return {
    name: ciliumPolicyName(policy),
    where: rule.where,
    subject: rule.endpointSelector === null || policy.namespace === "" ? requirementsOf(selector)
      : inNamespace(requirementsOf(selector), policy.namespace),
    forNodes: rule.nodeSelector !== null,
    ingress: builder.direction(rule.ingress, rule.ingressDeny, rule.enableDefaultDeny.ingress),
    egress: builder.direction(rule.egress, rule.egressDeny, rule.enableDefaultDeny.egress),
  };
}

/** The policy's namespace in place of one that matchLabels name with the source k8s. */
function inNamespace(requirements: readonly Requirement[], namespace: string): Requirement[] {
  const kept = requirements.filter(({ source, key, operator, values }) =>
    !(source === "k8s" && key === POD_NAMESPACE_LABEL && operator === "In" && values.length === 1));
  return [{ source: "k8s", key: POD_NAMESPACE_LABEL, operator: "In", values: [namespace] }, ...kept];
}

class RuleBuilder {
  private readonly object: string;

  constructor(private readonly policy: CiliumPolicy, private readonly rule: CiliumRule, private readonly context: PeerContext) {
    this.object = ciliumPolicyName(policy);
  }

  direction(allows: readonly CiliumDirectionRule[], denies: readonly CiliumDirectionRule[], enableDefaultDeny: boolean | null)
    : DirectionRules {
    const enforces = allows.length + denies.length > 0;
    // The flag has no effect while enable-non-default-deny-policies is off, from 1.17 on.
    const heeded = this.context.options.version === "1.16" || this.context.options["enable-non-default-deny-policies"];
    return {
      enforces,
      defaultDeny: enforces && (enableDefaultDeny === null || !heeded ? true : enableDefaultDeny),
      entries: [
        ...allows.flatMap((rule) => this.entries(rule, "allow")),
        ...denies.flatMap((rule) => this.entries(rule, "deny")),
      ],
      requires: allows.flatMap((rule) => this.requires(rule)),
      requiresDeny: denies.flatMap((rule) => this.requires(rule)),
    };
  }

  private entries(rule: CiliumDirectionRule, verdict: Verdict): PolicyEntry[] {
    const peers = ciliumPeers(rule, verdict === "deny", this.policy.namespace, this.rule, this.context);
    if (peers === null) return [];
    const ports = this.ports(rule);
    // Without ports a rule is about peers alone: with none of either it says nothing.
    if (ports === ANY_PORT && peers.length === 0) return [];
    const wildcard: FoundPeer = { peer: { kind: "any" }, path: "" };
    return (peers.length === 0 ? [wildcard] : peers).map(({ peer, path, note }) => ({
      verdict, tier: Tier.Normal, priority: 0, peer, ports, auth: rule.authentication,
      because: { where: rule.where, object: this.object, rule: `${rule.path}${path}${note ?? ""}` },
    }));
  }

  private requires(rule: CiliumDirectionRule): Requirement[] {
    return (rule.requires ?? []).flatMap((selector) =>
      endpointRequirements(selector, this.policy.namespace, this.rule.endpointSelector, this.context.options, true));
  }

  private ports(rule: CiliumDirectionRule): readonly PortRange[] {
    if ((rule.toPorts ?? []).length + (rule.icmps ?? []).length === 0) return ANY_PORT;
    return [
      ...(rule.toPorts ?? []).flatMap((ports) => this.portRule(ports)),
      ...(rule.icmps ?? []).flatMap(({ fields }) => fields.map(icmpRange)),
    ];
  }

  private portRule(rule: CiliumPortRule): PortRange[] {
    const redirect = redirectOf(rule, this.policy.namespace, this.context.options.version);
    return rule.ports.flatMap((port) => portRanges(port, redirect));
  }
}

/** ANY is three protocols, so a rule with any port at all does not cover ICMP. */
function portRanges({ port, endPort, protocol }: CiliumPort, redirect: Redirect | null): PortRange[] {
  const protocols: CiliumProtocol[] = protocol === "ANY" ? ["TCP", "UDP", "SCTP"] : [protocol];
  return protocols.map((one) => {
    const range = typeof port === "string" ? { name: port, first: 0, last: 0 }
      : { name: null, first: port, last: port === 0 ? 65535 : Math.max(port, endPort) };
    // Only DNS rules redirect what is not TCP.
    const redirected = redirect !== null && (one === "TCP" || redirect.parser === "dns" || redirect.parser === "crd"
      || redirect.parser === "tls");
    return { protocol: IP_PROTOCOL[one as keyof typeof IP_PROTOCOL], ...range, ...(redirected ? { redirect } : {}) };
  });
}

/** The type stands where the port would. */
function icmpRange({ family, type }: CiliumICMPField): PortRange {
  const protocol = family === "IPv4" ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6;
  // Type 0 is port 0, which is a wildcard: echo replies as a rule are all of ICMP.
  return { protocol, name: null, first: type, last: type === 0 ? 65535 : type };
}

/** Listener priorities of parsers (`pkg/policy/l4.go` defaultPriority), from 1.18; others are proxylib's. */
const PARSER_PRIORITY: Readonly<Record<string, number>> = { http: 101, kafka: 106, tls: 116, dns: 121, crd: 126 };
const PROXYLIB_PRIORITY = 111;

function redirectOf(rule: CiliumPortRule, namespace: string, version: CiliumVersion): Redirect | null {
  const parser = parserOf(rule);
  if (parser === null) return null;
  const given = rule.listener?.priority ?? 0;
  const byParser = version === "1.16" || version === "1.17" ? 0 : (PARSER_PRIORITY[parser] ?? PROXYLIB_PRIORITY);
  const clusterwide = rule.listener?.kind === "CiliumClusterwideEnvoyConfig";
  const listener = rule.listener === null ? ""
    : `${clusterwide ? "" : namespace}/${rule.listener.envoyConfig}/${rule.listener.name}`;
  return { parser, listener, priority: given === 0 ? byParser : given };
}

/** `createL4Filter`: a listener before L7 rules before TLS. */
function parserOf({ listener, rules, terminatingTLS, originatingTLS, serverNames }: CiliumPortRule): string | null {
  if (listener !== null) return "crd";
  if ((rules?.dns ?? []).length > 0) return "dns";
  if ((rules?.http ?? []).length > 0) return "http";
  if ((rules?.kafka ?? 0) > 0) return "kafka";
  if (rules !== null && rules.l7proto !== null && rules.l7proto !== "") return rules.l7proto;
  return terminatingTLS || originatingTLS || serverNames.length > 0 ? "tls" : null;
}
