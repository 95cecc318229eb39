/**
 * ip-masq-agent-v2's rules: whatever leaves for an address that is not the node's own and in no listed range gets the
 * node's address (Azure/ip-masq-agent-v2 cmd/ip-masq-agent-v2/ip-masq-agent.go).
 *
 *   POSTROUTING ! --dst-type LOCAL -> IP-MASQ-AGENT: -d LINK-LOCAL RETURN, -d RANGE RETURN …, MASQUERADE
 *
 * No source is matched: forwarded traffic of others goes through too. The jump is appended, so it stands behind
 * kube-proxy's. Ranges come in the order of their files, where the agent has Go's map order; it means nothing.
 */
import type { Family, Prefix } from "../../cluster/address.js";
import type { Where } from "../../cluster/problem.js";
import type { Because } from "../../dataplane.js";
import type { Rule, RulePart } from "../ruleset.js";

export interface IpMasqAgentConfig {
  readonly agent: "ip-masq-agent";
  /** Flag `--masq-chain`. */
  readonly chain: string;
  /** Destinations that see a pod's own address; both families. */
  readonly nonMasqueradeCIDRs: readonly { readonly range: Prefix; readonly where: Where | null }[];
  /** Link-local destinations are masqueraded like any other. */
  readonly masqLinkLocal: boolean;
  readonly masqLinkLocalIPv6: boolean;
  /** Flag `--enable-ipv6`; without it the agent writes no IPv6 rules. */
  readonly enableIPv6: boolean;
  /** Not an option of ip-masq-agent-v2; the agent it comes from has it as a flag. */
  readonly randomFully: boolean;
  /** The agent refuses its configuration and ends before it writes a rule. */
  readonly stopped: boolean;
}

const LINK_LOCAL = { 4: "169.254.0.0/16", 6: "fe80::/10" } as const;

export function ipMasqAgentPart(config: IpMasqAgentConfig, family: Family): RulePart {
  if (config.stopped || (family === 6 && !config.enableIPv6)) return { jumps: [], chains: [], rules: [] };
  const { chain } = config;
  const nat = (where: string, text: string, because: Because): Rule => ({ table: "nat", chain: where, text, becauses: [because] });
  const kept = (range: string, because: Because): Rule => nat(chain,
    `-m comment --comment "ip-masq-agent: local traffic is not subject to MASQUERADE" -d ${range} -j RETURN`, because);
  const linkLocal = family === 4 ? config.masqLinkLocal : config.masqLinkLocalIPv6;
  return {
    // The agent hands iptables a comment with quotes in it, so they are part of the comment.
    jumps: [nat("POSTROUTING", '-m comment --comment "\\"ip-masq-agent: ensure nat POSTROUTING directs all non-LOCAL destination '
      + `traffic to our custom ${chain} chain\\"" -m addrtype ! --dst-type LOCAL -j ${chain}`, said("jump"))],
    chains: [{ table: "nat", chain }],
    rules: [
      ...(linkLocal ? [] : [kept(LINK_LOCAL[family], said(family === 4 ? "masqLinkLocal: false" : "masqLinkLocalIPv6: false"))]),
      ...config.nonMasqueradeCIDRs.filter(({ range }) => range.address.family === family)
        .map(({ range, where }) => kept(range.text, { ...said(`nonMasqueradeCIDRs ${range.text}`), where })),
      nat(chain, '-m comment --comment "ip-masq-agent: outbound traffic is subject to MASQUERADE (must be last in chain)" '
        + `-j MASQUERADE${config.randomFully ? " --random-fully" : ""}`, said("no nonMasqueradeCIDRs")),
    ],
  };
}

function said(rule: string): Because {
  return { where: null, object: "ip-masq-agent", rule };
}
