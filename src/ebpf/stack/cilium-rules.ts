/**
 * What the agent writes into a node's iptables (pkg/datapath/iptables/iptables.go), in the text of iptables-save:
 *
 *     INPUT FORWARD OUTPUT (filter), POSTROUTING (nat), PREROUTING OUTPUT (raw, in tunnel mode)
 *         -> CILIUM_<HOOK>[_<table>], each at the head of its chain
 *
 * Left out are rules that no packet meets which the programs let into the stack: those for packets of a proxy's sockets,
 * of IPsec and of cloud interfaces. What is masqueraded is in masquerade-rules.ts.
 */
import type { Family } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import { tunnelPort } from "../encapsulation.js";
import type { CiliumOptions } from "../options.js";
import { masqueradeRules, nodeSet } from "./masquerade-rules.js";
import { deliveryDevice, HOST_DEVICE, MARK, ownRule } from "./own-rule.js";
import type { OwnJump, OwnRule, OwnRules } from "./rules.js";

const PEER_DEVICE = "cilium_net";
const CHAINS = [
  { table: "filter", hook: "INPUT", chain: "CILIUM_INPUT" },
  { table: "filter", hook: "OUTPUT", chain: "CILIUM_OUTPUT" },
  { table: "nat", hook: "POSTROUTING", chain: "CILIUM_POST_nat" },
  { table: "filter", hook: "FORWARD", chain: "CILIUM_FORWARD" },
] as const;
const TUNNEL_CHAINS = [
  { table: "raw", hook: "OUTPUT", chain: "CILIUM_OUTPUT_raw" },
  { table: "raw", hook: "PREROUTING", chain: "CILIUM_PRE_raw" },
] as const;
const OPTION = "install-iptables-rules";

/** Whether the agent masquerades a family in iptables. */
export function masqueradesInIptables(options: CiliumOptions, family: Family): boolean {
  return options["install-iptables-rules"] && options[`enable-ipv${family}`] && !options["enable-bpf-masquerade"]
    && options[`enable-ipv${family}-masquerade`];
}

/**
 * Whether the nodes' netfilter changes or drops packets, so that what programs pass up must go through it: the agent's rules
 * masquerade, or another agent's do, or kube-proxy's stand beside them.
 */
export function hasNodeStack(options: CiliumOptions): boolean {
  return options.masqueradeAgent || masqueradesInIptables(options, 4) || masqueradesInIptables(options, 6)
    || !options["kube-proxy-replacement"];
}

const NOTHING: OwnRules = { jumps: [], chains: [], rules: [], sets: [] };

export function ciliumRules(cluster: Cluster, node: Node, family: Family, options: CiliumOptions): OwnRules {
  const beside = options["kube-proxy-replacement"] ? NOTHING : kubeProxyRules();
  if (!options[`enable-ipv${family}`] || !options["install-iptables-rules"]) return beside;
  const masquerades = masqueradesInIptables(options, family);
  const tunnel = options["routing-mode"] === "tunnel";
  const chains = tunnel ? [...CHAINS, ...TUNNEL_CHAINS] : CHAINS;
  return {
    jumps: [...beside.jumps, ...chains.map(({ table, hook, chain }): OwnJump => ({
      ...(options["prepend-iptables-chains"] ? { place: "head" } : {}),
      ...ownRule(table, hook, `-m comment --comment "cilium-feeder: ${chain}" -j ${chain}`, OPTION) }))],
    chains: [...beside.chains, ...chains.map(({ table, chain }) => ({ table, chain }))],
    rules: [...beside.rules, ...(tunnel ? tunnelRules(options) : []), ...forwardRules(options), hostMarkRule(options),
      ...(masquerades ? masqueradeRules(node, family, options) : [])],
    sets: masquerades && !tunnel ? nodeSet(cluster, family) : [],
  };
}

/**
 * What kube-proxy's chain says of forwarded packets that belong to no connection (KUBE-FORWARD): it drops them, unless it is told to
 * be liberal with TCP. Cilium's chain accepts what comes from pods or goes to them; which of the two comes first is up to which
 * program was started last, and an nftables kube-proxy does not ask.
 */
function kubeProxyRules(): OwnRules {
  const option = "kube-proxy-replacement=false";
  return { ...NOTHING, chains: [{ table: "filter", chain: "KUBE-FORWARD" }],
    jumps: [{ place: "head", ...ownRule("filter", "FORWARD", "-m conntrack --ctstate INVALID -j KUBE-FORWARD", option) }],
    rules: [{ ...ownRule("filter", "KUBE-FORWARD", "-j DROP", option),
      undecided: "a segment that conntrack does not take may be dropped by kube-proxy's rules" }] };
}

/** addCiliumTunnelRules: the tunnel's packets are tracked by no connection. */
function tunnelRules(options: CiliumOptions): OwnRule[] {
  const match = `-p udp -m udp --dport ${tunnelPort(options)} -m comment --comment`;
  const untracked = (chain: string): OwnRule =>
    ownRule("raw", chain, `${match} "cilium: NOTRACK for tunnel traffic" -j CT --notrack`, OPTION);
  return [ownRule("filter", "CILIUM_OUTPUT", `${match} "cilium: ACCEPT for tunnel traffic" -j ACCEPT`, OPTION),
    untracked("CILIUM_PRE_raw"), untracked("CILIUM_OUTPUT_raw")];
}

/** installForwardChainRules. */
function forwardRules(options: CiliumOptions): OwnRule[] {
  const delivery = deliveryDevice(options);
  const accept = (match: string, comment: string): OwnRule => ownRule("filter", "CILIUM_FORWARD",
    `${match} -m comment --comment "cilium: ${comment}" -j ACCEPT`, OPTION);
  const both = (device: string): OwnRule[] => [accept(`-o ${device}`, `any->cluster on ${device} forward accept`),
    accept(`-i ${device}`, `cluster->any on ${device} forward accept (nodeport)`)];
  return [...both(HOST_DEVICE), accept("-i lxc+", "cluster->any on lxc+ forward accept"),
    accept(`-i ${PEER_DEVICE}`, `cluster->any on ${PEER_DEVICE} forward accept (nodeport)`),
    ...(delivery === HOST_DEVICE ? [] : both(delivery))];
}

/** installHostTrafficMarkRule; up to 1.18 packets with an identity in their mark are left alone (the DNS proxy's). */
function hostMarkRule(options: CiliumOptions): OwnRule {
  const spared = [MARK.encrypt, MARK.decrypt, MARK.overlay, MARK.proxy, MARK.proxyEndpoint];
  const version = Number(options.version.slice(2));
  const matches = (version <= 18 ? [...spared, MARK.identity] : spared).map((mark) => `-m mark ! --mark ${mark}`);
  return ownRule("filter", "CILIUM_OUTPUT", `${matches.join(" ")} -m comment --comment "cilium: host->any mark as from host" `
    + `-j MARK --set-xmark ${MARK.host}`, OPTION);
}
