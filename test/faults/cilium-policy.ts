/** Faults seeded in what compiles Cilium's policies; the policy ring, or the cases it found, must see each. */
import type { Fault } from "./fault.js";

const FOLDER = "src/ebpf/compile/policy";
const RING = "test/policy-ring/ring.test.ts";
const CASES = "test/policy-ring/cases.test.ts";

function fault(id: string, file: string, find: string, replace: string, why: string, seenBy = RING): Fault {
  return { id: `cilium-${id}`, file: file.includes("/") ? file : `${FOLDER}/${file}`, find, replace, why, seenBy };
}

export const CILIUM_POLICY_FAULTS: readonly Fault[] = [
  fault("empty-list-is-any", "cilium-peers.ts", "list !== null && list.length === 0)) return null;", "false)) return null;",
    "an empty list of peers names everybody"),
  fault("reserved-is-scoped", "cilium-peers.ts", "if (requirements.some(({ source }) => source === \"reserved\")) return requirements;", "",
    "a peer by a reserved label is of the policy's namespace"),
  fault("peers-of-any-namespace", "cilium-peers.ts", "operator: \"In\", values: [namespace] });", "operator: \"Exists\", values: [] });",
    "peers of a namespaced policy are of any namespace"),
  fault("clusterwide-peers-are-all", "cilium-peers.ts", "if (namespace === \"\" && !matchesInit) {",
    "if (namespace === \"\" && !matchesInit && requirements.length > 0) {", "an empty clusterwide selector is everybody, not every pod"),
  fault("cluster-without-nodes", "cilium-peers.ts", "[\"host\", \"remote-node\", \"init\", \"ingress\", \"health\", \"unmanaged\", \"kube-apiserver\"]",
    "[\"host\", \"init\", \"ingress\", \"health\", \"unmanaged\", \"kube-apiserver\"]", "entity cluster leaves other nodes out"),
  fault("all-is-world", "cilium-peers.ts", "case \"all\": return [{ kind: \"any\" }];", "case \"all\": return [\"world\", \"world-ipv4\", \"world-ipv6\"].map(reserved);",
    "entity all is world alone"),
  fault("group-of-another-name", "cilium-peers.ts", "group.name === set.cidrGroupRef", "group.name !== set.cidrGroupRef",
    "a group stands for the others"),
  fault("denied-services", "cilium-peers.ts", "(deny ? [] : rule.services ?? [])", "(rule.services ?? [])", "services of denying rules are looked up"),
  fault("any-protocol-is-tcp", "cilium-rules.ts", "[\"TCP\", \"UDP\", \"SCTP\"] : [protocol]", "[\"TCP\"] : [protocol]", "a port without a protocol is TCP's"),
  fault("end-port-ignored", "cilium-rules.ts", "Math.max(port, endPort) };", "port };", "a range of ports is its first port"),
  fault("zero-is-a-port", "cilium-rules.ts", "last: port === 0 ? 65535 : ", "last: ", "port 0 is one port"),
  fault("rule-of-nothing-is-any", "cilium-rules.ts", "if (ports === ANY_PORT && peers.length === 0) return [];", "",
    "a rule that says nothing allows everything"),
  fault("denies-do-not-close", "cilium-rules.ts", "const enforces = allows.length + denies.length > 0;", "const enforces = allows.length > 0;",
    "a policy of denies alone says nothing"),
  fault("default-deny-always", "cilium-rules.ts", "enableDefaultDeny === null || !heeded ? true : enableDefaultDeny", "true",
    "enableDefaultDeny false is not heeded"),
  fault("icmp-families-swapped", "cilium-rules.ts", "family === \"IPv4\" ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6",
    "family === \"IPv6\" ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6", "ICMP types are of the other family"),
  fault("subject-of-any-namespace", "cilium-rules.ts", "rule.endpointSelector === null || policy.namespace === \"\" ?", "true ?",
    "a namespaced policy applies to pods of any namespace"),
  fault("http-unseen", "cilium-rules.ts", "if ((rules?.http ?? []).length > 0) return \"http\";", "", "HTTP rules hand nothing to a proxy"),
  fault("services-by-any-label", "service-peers.ts", ".filter((service) => matchesLabels(service, k8sServiceSelector.selector))", "",
    "a selector of services selects all of them"),
  fault("service-pods-of-any-namespace", "service-peers.ts", "[[POD_NAMESPACE_LABEL, service.namespace], ...selector]", "[...selector]",
    "a service's pods are of any namespace"),
  fault("split-too-wide", "split.ts", "port + (2 << bits) - 1 <= last", "port + (1 << bits) - 1 <= last", "blocks of a range reach past its end"),
  fault("not-in-needs-the-key", "selectors.ts", "operator === \"NotIn\" && value !== undefined && values.includes(value)",
    "operator === \"NotIn\" && (value === undefined || values.includes(value))", "NotIn leaves out pods without the key"),
  fault("except-selects", "selectors.ts", "return !except.some((out) => inside(own, out));", "return true;", "what a CIDR leaves out is in it"),
  fault("world-without-itself", "selectors.ts", "if (prefix.length === 0)\n      selected.push(", "if (prefix.length === 99)\n      selected.push(",
    "0.0.0.0/0 is the CIDRs that policies name"),
  fault("deny-as-allow", "values.ts", "export const DENY = 255;", "export const DENY = 1;", "a deny counts as an allow"),
  fault("types-count", "rules.ts", "policy.ingress.length > 0 || names.includes(\"Ingress\")", "names.includes(\"Ingress\")",
    "ingress rules count only where policyTypes says so"),
  fault("namespace-selector-selects-all", "rules.ts", "const requirements = requirementsOf(peer.namespaceSelector, NAMESPACE_LABELS_PREFIX);",
    "const requirements = requirementsOf(peer.namespaceSelector, \"\");", "a namespace selector asks for labels of pods"),
  fault("requires-ignored", "compiler.ts", "if (requirements.length === 0) return entry;", "if (requirements.length >= 0) return entry;",
    "fromRequires narrows nothing"),
  fault("localhost-forbidden", "compiler.ts", "this.options.version === \"1.20\" ? enforced && rules > 0 : true", "false",
    "a pod's own node does not reach it"),
  fault("egress-name-of-first", "compiler.ts", "if (numbers.length === 1) state.insertAll(", "if (numbers.length > 0) state.insertAll(",
    "before 1.20 a name that means several numbers means the first"),
  fault("always-is-default", "compiler.ts", "const always = this.options[\"enable-policy\"] === \"always\";", "const always = false;",
    "enable-policy=always is not heeded"),
  fault("tiers-as-read", "filters.ts", "].sort((a, b) => a.tier - b.tier);", "];", "tiers come in the order of the objects' names", CASES),
];
