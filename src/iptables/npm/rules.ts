/**
 * The filter rules that Azure NPM keeps on a node, as it writes them (`iptables-restore`'s spelling, matches behind the
 * target, a comment on each).
 *
 * A connection's first packet that is forwarded comes to AZURE-NPM. Every policy that selects its destination, then
 * every policy that selects its source, is asked: an allow for ingress marks the packet 0x200 and goes on to egress at
 * once, an allow for egress accepts. A drop only marks (0x400 ingress, 0x800 egress); the mark counts when all
 * policies of that direction were asked. What nobody dropped is accepted at the end, and rules of FORWARD behind
 * NPM's never see it. Without policies AZURE-NPM is empty.
 *
 * Source: Azure/azure-container-networking npm/pkg/dataplane/policies/chain-management_linux.go,
 * policymanager_linux.go, policy_linux.go.
 */
import type { Because } from "../../dataplane.js";
import type { Jump, Rule, RulePart } from "../ruleset.js";
import type { NpmConfig } from "./config.js";
import { hashedSetName, type NpmNaming, policyChain } from "./names.js";
import type { SetMatch } from "./selectors.js";
import type { Acl, Direction, NpmPolicy } from "./translate.js";

const INGRESS = "AZURE-NPM-INGRESS";
const EGRESS = "AZURE-NPM-EGRESS";
const ALLOW_MARK = "AZURE-NPM-INGRESS-ALLOW-MARK";
const ACCEPT = "AZURE-NPM-ACCEPT";

const MARKS = { ingressAllow: "0x200/0x200", Ingress: "0x400/0x400", Egress: "0x800/0x800" } as const;

/** iptables-restore takes no word of this length or more, and keeps 255 characters of a comment. */
export const WORD_LIMIT = 1024;

const OWN: readonly Because[] = [{ where: null, object: "azure-npm", rule: "always" }];
/** Rules that carry out what others decided: those are named where the packet met them. */
const NOBODY: readonly Because[] = [];

/** @param policies those with rules, in the order their jumps stand in */
export function npmRules(policies: readonly NpmPolicy[], config: NpmConfig): Pick<RulePart, "jumps" | "chains" | "rules"> {
  const { naming } = config;
  const chains = ["AZURE-NPM", INGRESS, ALLOW_MARK, EGRESS, ACCEPT,
    ...policies.flatMap((policy) => directionsOf(policy).map((direction) => chainOf(naming, policy, direction)))];
  return {
    jumps: [forwardJump(config)],
    chains: chains.map((chain) => ({ table: "filter", chain })),
    rules: [
      // Activated by the first policy.
      ...(policies.length === 0 ? [] : [INGRESS, EGRESS, ACCEPT].map((chain) => rule("AZURE-NPM", `-j ${chain}`, NOBODY))),
      ...policies.flatMap((policy) => policyJump(policy, "Ingress", naming)),
      dropRule(INGRESS, "Ingress"),
      rule(ALLOW_MARK, `-j MARK --set-mark ${MARKS.ingressAllow} ${comment(`SET-INGRESS-ALLOW-MARK-${MARKS.ingressAllow}`)}`,
        NOBODY),
      rule(ALLOW_MARK, `-j ${EGRESS}`),
      ...policies.flatMap((policy) => policyJump(policy, "Egress", naming)),
      dropRule(EGRESS, "Egress"),
      rule(EGRESS, `-j ${ACCEPT} -m mark --mark ${MARKS.ingressAllow} `
        + comment(`ACCEPT-ON-INGRESS-ALLOW-MARK-${MARKS.ingressAllow}`), NOBODY),
      rule(ACCEPT, "-j ACCEPT"),
      ...policies.flatMap((policy) => policy.acls.map((acl) => aclRule(policy, acl, naming))),
    ],
  };
}

/** Why iptables-restore refuses the rules of a policy, and so NPM never gets them in place; null where it does not. */
export function tooLong(policy: NpmPolicy): string | null {
  const comments = [...directionsOf(policy).map((direction) => jumpComment(policy, direction)), ...policy.acls.map(aclComment)];
  const longest = Math.max(...comments.map((text) => text.length));
  if (longest < WORD_LIMIT) return null;
  return `a comment of its rules has ${longest} characters, and iptables-restore takes fewer than ${WORD_LIMIT}`;
}

export function directionsOf(policy: NpmPolicy): Direction[] {
  return (["Ingress", "Egress"] as const).filter((direction) => policy.acls.some((acl) => acl.direction === direction));
}

export function chainOf(naming: NpmNaming, policy: NpmPolicy, direction: Direction): string {
  return policyChain(naming, direction === "Ingress" ? "INGRESS" : "EGRESS", policy.key);
}

function forwardJump({ PlaceAzureChainFirst }: NpmConfig): Jump {
  return { ...rule("FORWARD", "-j AZURE-NPM -m conntrack --ctstate NEW"),
    place: PlaceAzureChainFirst ? "head" : { after: "KUBE-SERVICES" } };
}

/** The way into a policy's own chain, for the pods that it selects. */
function policyJump(policy: NpmPolicy, direction: Direction, naming: NpmNaming): Rule[] {
  if (!directionsOf(policy).includes(direction)) return [];
  const [chain, side] = direction === "Ingress" ? [INGRESS, "dst"] : [EGRESS, "src"];
  const sets = policy.subject.map((match) => matchSet(naming, match, side));
  return [rule(chain, [`-j ${chainOf(naming, policy, direction)}`, ...sets, comment(jumpComment(policy, direction))].join(" "),
    [{ where: policy.policy.where, object: policy.key, rule: "podSelector" }])];
}

/** Which policies isolate is known from the marks that led here. */
function dropRule(chain: string, direction: Direction): Rule {
  const mark = MARKS[direction];
  return rule(chain, `-j DROP -m mark --mark ${mark} ${comment(`DROP-ON-${direction.toUpperCase()}-DROP-MARK-${mark}`)}`, NOBODY);
}

function aclRule(policy: NpmPolicy, acl: Acl, naming: NpmNaming): Rule {
  const { direction, target, peers, protocol, ports, namedPort } = acl;
  const jump = target === "drop" ? `MARK --set-mark ${MARKS[direction]}` : direction === "Ingress" ? ALLOW_MARK : ACCEPT;
  const side = direction === "Ingress" ? "src" : "dst";
  return rule(chainOf(naming, policy, direction), [
    `-j ${jump}`,
    ...(protocol === null ? [] : [`-p ${protocol}`]),
    ...(ports === null ? [] : [`--dport ${range(ports)}`]),
    ...peers.map((match) => matchSet(naming, match, side)),
    // Ports of this name are the destination's, whatever the direction.
    ...(namedPort === null ? [] : [matchSet(naming, { set: namedPort, included: true }, "dst,dst")]),
    comment(aclComment(acl)),
  ].join(" "), [acl.because]);
}

function jumpComment({ key, subject, policy }: NpmPolicy, direction: Direction): string {
  const [name, side] = direction === "Ingress" ? ["INGRESS", "TO"] : ["EGRESS", "FROM"];
  return `${name}-POLICY-${key}-${side}-${setsComment(subject)}-IN-ns-${policy.namespace}`;
}

function aclComment({ direction, target, peers, protocol, ports, namedPort }: Acl): string {
  const who = peers.length === 0 ? "-ALL" : `-${direction === "Ingress" ? "FROM" : "TO"}-${setsComment(peers)}`;
  return [target === "allow" ? "ALLOW" : "DROP", who, protocol === null ? "" : `-ON-${protocol}`,
    ports === null ? "" : `-TO-PORT-${range(ports)}`, namedPort === null ? "" : `-TO-${namedPort.text}`].join("");
}

function setsComment(matches: readonly SetMatch[]): string {
  return matches.map(({ set, included }) => `${included ? "" : "!"}${set.text}`).join("-AND-");
}

function matchSet(naming: NpmNaming, { set, included }: SetMatch, side: string): string {
  return `-m set ${included ? "" : "! "}--match-set ${hashedSetName(naming, set.text)} ${side}`;
}

function range([first, last]: readonly [number, number]): string {
  return first === last ? String(first) : `${first}:${last}`;
}

function comment(text: string): string {
  return `-m comment --comment ${text}`;
}

function rule(chain: string, text: string, becauses: readonly Because[] = OWN): Rule {
  return { table: "filter", chain, text, becauses };
}
