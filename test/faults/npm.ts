/** Faults seeded in the generator of Azure NPM's rules and sets, and the test that must see each. */
import type { Fault } from "./fault.js";

const TRANSLATE = "src/iptables/npm/translate.ts";
const SELECTORS = "src/iptables/npm/selectors.ts";
const SETS = "src/iptables/npm/sets.ts";
const RULES = "src/iptables/npm/rules.ts";
const RING = "test/npm/ring.test.ts";
const LAB = "test/npm/lab.test.ts";
const TEXT = "src/iptables/npm/generate.test.ts";

export const NPM_FAULTS: readonly Fault[] = [
  {
    id: "negative-included", file: SELECTORS, seenBy: RING,
    find: "const included = operator === \"In\" || operator === \"Exists\";", replace: "const included = operator !== \"NotIn\";",
    why: "DoesNotExist selects pods that have the label",
  },
  {
    id: "notin-values-are-all", file: SELECTORS, seenBy: LAB,
    find: "one.operator === \"In\" || one.operator === \"NotIn\") && one.values.length !== 1",
    replace: "one.operator === \"In\") && one.values.length !== 1",
    why: "of NotIn's several namespaces the first alone is left out",
  },
  {
    id: "peer-of-any-namespace", file: TRANSLATE, seenBy: RING,
    find: "podSelector === null ? [] : [this.podsHere(podSelector)]",
    replace: "podSelector === null ? [] : [podMatches(this.config.naming, this.key, podSelector)]",
    why: "a pod selector alone selects pods of every namespace",
  },
  {
    id: "except-matches", file: TRANSLATE, seenBy: RING,
    find: "`${hole} nomatch`", replace: "hole",
    why: "what a block leaves out is in it",
  },
  {
    id: "half-the-world", file: TRANSLATE, seenBy: RING,
    find: "[\"0.0.0.0/1\", \"128.0.0.0/1\"]", replace: "[\"0.0.0.0/1\"]",
    why: "0.0.0.0/0 ends at 127.255.255.255",
  },
  {
    id: "end-port-ignored", file: TRANSLATE, seenBy: TEXT,
    find: "[first, port?.endPort ?? first]", replace: "[first, first]",
    why: "a range of ports is its first port",
  },
  {
    id: "no-default-drop", file: TRANSLATE, seenBy: RING,
    find: "const all = rules.findIndex((rule) => rule.peers === null && rule.ports === null);",
    replace: "const all = rules.findIndex((rule) => rule.peers === null || rule.ports === null);",
    why: "a rule without ports, or without peers, allows everything",
  },
  {
    id: "named-port-of-source", file: RULES, seenBy: RING,
    find: "\"dst,dst\"", replace: "\"src,dst\"",
    why: "a port's name is looked up for the pod that sends",
  },
  {
    id: "ingress-accepts-at-once", file: RULES, seenBy: RING,
    find: "direction === \"Ingress\" ? ALLOW_MARK : ACCEPT", replace: "direction === \"Ingress\" ? ACCEPT : ACCEPT",
    why: "what ingress allows is not asked for egress",
  },
  {
    id: "drop-mark-shared", file: RULES, seenBy: RING,
    find: "Egress: \"0x800/0x800\"", replace: "Egress: \"0x400/0x400\"",
    why: "a policy for ingress that another overruled drops the packet on egress",
  },
  {
    id: "subject-both-ways", file: RULES, seenBy: RING,
    find: "[EGRESS, \"src\"]", replace: "[EGRESS, \"dst\"]",
    why: "egress policies are asked about the pod that receives",
  },
  {
    id: "host-pods-are-members", file: SETS, seenBy: RING,
    find: "return !pod.hostNetwork && pod.phase", replace: "return pod.phase",
    why: "nodes are members of the sets of their host-network pods' labels",
  },
  {
    id: "ended-pods-are-members", file: SETS, seenBy: TEXT,
    find: "pod.phase !== \"Succeeded\" && ", replace: "",
    why: "the address of a pod that ended, which another may have by now, keeps its labels",
  },
  {
    id: "named-port-any-protocol", file: SETS, seenBy: RING,
    find: "${protocol.toLowerCase()}:${containerPort}", replace: "tcp:${containerPort}",
    why: "every named port is TCP",
  },
  {
    id: "chain-first", file: RULES, seenBy: LAB,
    find: "PlaceAzureChainFirst ? \"head\" : { after: \"KUBE-SERVICES\" }", replace: "PlaceAzureChainFirst ? \"head\" : \"head\"",
    why: "policies are enforced for node ports with a local backend",
  },
  {
    id: "established-asked-again", file: RULES, seenBy: TEXT,
    find: "rule(\"FORWARD\", \"-j AZURE-NPM -m conntrack --ctstate NEW\")", replace: "rule(\"FORWARD\", \"-j AZURE-NPM\")",
    why: "a new policy cuts connections that are open, and answers are asked about",
  },
  {
    id: "comment-without-protocol", file: RULES, seenBy: TEXT,
    find: "protocol === null ? \"\" : `-ON-${protocol}`,", replace: "\"\",",
    why: "a node's own rules would not be recognised",
  },
];
