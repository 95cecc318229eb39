/** Faults in Calico's generator, and the test that must see each. */
import type { Fault } from "./fault.js";

const folder = "src/iptables/calico/";
const POLICY = `${folder}policy.test.ts`;
const PLANE = `${folder}plane.test.ts`;
const NAMES = `${folder}names.test.ts`;
const ENDPOINT_CHAINS = `${folder}endpointChains.ts`;
const STATIC_CHAINS = `${folder}staticChains.ts`;
const POLICIES = `${folder}policies.ts`;
const POLICY_RULES = `${folder}policyRules.ts`;
const SELECTOR = `${folder}selector.ts`;
const ENDPOINTS = `${folder}endpoints.ts`;
const UNMODELLED = `${folder}unmodelled.ts`;

export const CALICO_FAULTS: readonly Fault[] = [
  // ---- what the policies say
  {
    id: "isolation-both-ways", file: POLICIES, seenBy: POLICY,
    find: "if (!policy.policyTypes.includes(type)) return null;", replace: "",
    why: "a policy isolates in directions that its policyTypes leave out",
  },
  {
    id: "peers-of-every-namespace", file: SELECTOR, seenBy: POLICY,
    find: "if (selector === null) return equals(NAMESPACE_LABEL, own);",
    replace: "if (selector === null) return has(NAMESPACE_LABEL);",
    why: "a podSelector alone selects pods of all namespaces",
  },
  {
    id: "not-in-needs-the-label", file: SELECTOR, seenBy: POLICY,
    find: "!labels.has(key) || !values.includes(labels.get(key) ?? \"\")",
    replace: "labels.has(key) && !values.includes(labels.get(key) ?? \"\")",
    why: "NotIn does not match what lacks the label",
  },
  {
    id: "end-port-ignored", file: POLICIES, seenBy: POLICY,
    find: "last: endPort ?? port", replace: "last: port", why: "a range of ports is its first port",
  },
  {
    id: "except-ignored", file: POLICY_RULES, seenBy: POLICY,
    find: "rule(`${side} ${net}`, clearMark(scratch0), because)", replace: "rule(`${side} ${net}`, setMark(scratch0), because)",
    why: "what an ipBlock excepts is allowed",
  },
  {
    id: "named-port-of-one-protocol", file: `${folder}ipSets.ts`, seenBy: POLICY,
    find: "has.name === port && has.protocol.toLowerCase() === protocol", replace: "has.name === port",
    why: "a named port is looked up without its protocol",
  },
  {
    id: "named-port-of-every-pod", file: POLICY_RULES, seenBy: PLANE,
    find: "sets.namedPort(direction === \"outbound\" ? one.selector : null,", replace: "sets.namedPort(null,",
    why: "egress to a port by name goes to every pod that has it, selected or not",
  },
  {
    id: "last-split-of-ports-lost", file: POLICY_RULES, seenBy: PLANE,
    find: "for (const split of splits) blocks", replace: "for (const split of splits.slice(0, 1)) blocks",
    why: "of more than fifteen ports the later ones are shut",
  },
  // ---- chains
  {
    id: "ingress-is-egress", file: POLICY_RULES, seenBy: POLICY,
    find: "direction === \"inbound\" ? [\"--source\", \"src\"]",
    replace: "direction === \"outbound\" ? [\"--source\", \"src\"]",
    why: "peers are looked for at the wrong end of the packet",
  },
  {
    id: "no-drop-at-the-end-of-the-tier", file: ENDPOINT_CHAINS, seenBy: POLICY,
    find: "rule(notMarked(pass), DROP, becauses,", replace: "rule(notMarked(pass), RETURN, becauses,",
    why: "what no policy allows is left to the chains behind",
  },
  {
    id: "entry-without-port-ignored", file: POLICIES, seenBy: PLANE,
    find: "if (own.some((one) => one.port === null)) return [protocol, { ports: [], namedPorts: [] }] as const;", replace: "",
    why: "an entry that opens all ports of a protocol opens no more than the others name",
  },
  {
    id: "host-network-pods-are-endpoints", file: ENDPOINTS, seenBy: POLICY,
    find: "return !pod.hostNetwork && pod.nodeName", replace: "return pod.nodeName",
    why: "a node's address is in the sets of labels that its host-network pods have",
  },
  {
    id: "groups-stop-at-the-fifth", file: ENDPOINT_CHAINS, seenBy: PLANE,
    find: "rule(anyMarked(verdict), RETURN, felix(name), \"Return on verdict\"), to]",
    replace: "rule(notMarked(verdict), RETURN, felix(name), \"Return on verdict\"), to]",
    why: "of many policies with one selector only the first five are asked",
  },
  {
    id: "pod-to-host-not-judged", file: STATIC_CHAINS, seenBy: POLICY,
    find: "[`--in-interface ${device}`, goTo(\"cali-wl-to-host\")] as const",
    replace: "[`--in-interface ${device}`, ACCEPT] as const",
    why: "egress policies do not hold on the way to the pod's own node",
  },
  {
    id: "ingress-not-judged", file: STATIC_CHAINS, seenBy: POLICY,
    find: "[`--out-interface ${device}`, jump(\"cali-to-wl-dispatch\")] as const",
    replace: "[`--out-interface ${device}`, RETURN] as const",
    why: "ingress policies hold nowhere",
  },
  {
    id: "behind-kube-proxy", file: STATIC_CHAINS, seenBy: PLANE,
    find: "{ table, chain, place: \"head\", rule: rule(\"\", jump(`cali-${chain}`)",
    replace: "{ table, chain, place: \"end\", rule: rule(\"\", jump(`cali-${chain}`)",
    why: "kube-proxy accepts what it has marked for masquerading before Calico judges it",
  },
  {
    id: "established-judged-again", file: ENDPOINT_CHAINS, seenBy: PLANE,
    find: "rule(\"-m conntrack --ctstate RELATED,ESTABLISHED\", ACCEPT, own),", replace: "",
    why: "a new policy ends connections that are under way",
  },
  {
    id: "pools-masquerade-each-other", file: STATIC_CHAINS, seenBy: POLICY,
    find: "src -m set ! --match-set ${all} dst", replace: "src -m set ! --match-set ${masquerading} src",
    why: "nothing is masqueraded",
  },
  {
    id: "spoofing-allowed", file: STATIC_CHAINS, seenBy: PLANE,
    find: "-m rpfilter --invert --validmark`, DROP]", replace: "-m rpfilter --invert --validmark`, ACCEPT]",
    why: "a pod may send with another's address",
  },
  {
    id: "unknown-policies-pass", file: UNMODELLED, seenBy: PLANE,
    find: "return [...objects(cluster, \"GlobalNetworkPolicy\"), ...cluster.adminPolicies", replace: "return [...cluster.adminPolicies",
    why: "pods that a GlobalNetworkPolicy may select are judged without it",
  },
  {
    id: "hash-without-the-rules-before", file: `${folder}names.ts`, seenBy: NAMES,
    find: "hash = createHash(\"sha224\").update(hash)", replace: "hash = createHash(\"sha224\")",
    why: "rules are not known again by their comments",
  },
];
