/**
 * The parts of kube-proxy's tables that no Service changes: jumps from built-in chains, masquerading,
 * forwarding, and the jump to node ports (proxier.go: iptablesJumpChains, the head and the tail of
 * syncProxyRules).
 */
import type { Family } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { Rule, TableName } from "../ruleset.js";
import { masqueradeMark, tcpBeLiberal, type KubeProxyConfig } from "./config.js";
import { isLoopback, localhostNodePorts, nodePortAddresses, nodePortRanges } from "./nodeAddresses.js";

const NEW = "-m conntrack --ctstate NEW ";
const FIREWALL = `${NEW}-m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL`;
const PORTALS = '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
const EXTERNAL = `${NEW}-m comment --comment "kubernetes externally-visible service portals" -j KUBE-EXTERNAL-SERVICES`;

/**
 * Jumps as they stand on a clean host. kube-proxy inserts each at the head of its chain, so they stand in the
 * reverse order of its list: KUBE-FIREWALL, which comes last there, stands first here.
 */
const JUMPS: readonly (readonly [TableName, string, string])[] = [
  ["filter", "INPUT", "-j KUBE-FIREWALL"],
  ["filter", "INPUT", FIREWALL],
  ["filter", "INPUT", '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS'],
  ["filter", "INPUT", EXTERNAL],
  ["filter", "FORWARD", FIREWALL],
  ["filter", "FORWARD", '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD'],
  ["filter", "FORWARD", `${NEW}${PORTALS}`],
  ["filter", "FORWARD", EXTERNAL],
  // No KUBE-EXTERNAL-SERVICES here: the node's own traffic to a VIP without endpoints leaves unchanged.
  ["filter", "OUTPUT", "-j KUBE-FIREWALL"],
  ["filter", "OUTPUT", FIREWALL],
  ["filter", "OUTPUT", `${NEW}${PORTALS}`],
  ["nat", "PREROUTING", PORTALS],
  ["nat", "OUTPUT", PORTALS],
  ["nat", "POSTROUTING", '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING'],
];

export function jumpRules(): Rule[] {
  return JUMPS.map(([table, chain, text]) => ({ table, chain, text, becauses: option("jump", chain) }));
}

/** Rules of nat that stand before the services. */
export function masqueradeRules(config: KubeProxyConfig): Rule[] {
  const mark = masqueradeMark(config);
  const becauses = option("masqueradeBit", String(config.masqueradeBit));
  const nat = (chain: string, text: string): Rule => ({ table: "nat", chain, text, becauses });
  return [
    nat("KUBE-POSTROUTING", `-m mark ! --mark ${mark}/${mark} -j RETURN`),
    // Past the RETURN the bit is set, so xor clears it.
    nat("KUBE-POSTROUTING", `-j MARK --xor-mark ${mark}`),
    nat("KUBE-POSTROUTING", '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE'
      + (config.randomFully ? " --random-fully" : "")),
    nat("KUBE-MARK-MASQ", `-j MARK --or-mark ${mark}`),
  ];
}

/** The rule that keeps others than the node itself from 127.0.0.0/8 while route_localnet is on. It comes first. */
export function localnetRules(config: KubeProxyConfig, node: Node, family: Family): Rule[] {
  if (!localhostNodePorts(config, node, family)) return [];
  return [{ table: "filter", chain: "KUBE-FIREWALL", becauses: option("localhostNodePorts", "true"),
    text: '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 ! -s 127.0.0.0/8 '
      + "-m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP" }];
}

/** Rules of filter that no service changes and that come last. */
export function forwardRules(config: KubeProxyConfig, node: Node): Rule[] {
  const mark = masqueradeMark(config);
  const rules: Rule[] = [];
  const filter = (text: string, becauses: readonly Because[]): void => {
    rules.push({ table: "filter", chain: "KUBE-FORWARD", text, becauses });
  };
  if (!tcpBeLiberal(config, node)) {
    filter(`-m conntrack --ctstate INVALID ${nfacct(config, "ct_state_invalid_dropped_pkts")}-j DROP`,
      option("conntrack.tcpBeLiberal", "false"));
  }
  filter(`-m comment --comment "kubernetes forwarding rules" -m mark --mark ${mark}/${mark} -j ACCEPT`,
    option("masqueradeBit", String(config.masqueradeBit)));
  filter('-m comment --comment "kubernetes forwarding conntrack rule" '
    + "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", option("KUBE-FORWARD", "always"));
  return rules;
}

/** The last rule, or rules, of KUBE-SERVICES: anything addressed to the node itself may be a node port. */
export function nodePortJumps(config: KubeProxyConfig, node: Node, family: Family): Rule[] {
  const comment = "-m comment --comment "
    + '"kubernetes service nodeports; NOTE: this must be the last rule in this chain"';
  const { nodePortAddresses: configured } = config;
  const becauses = option("nodePortAddresses",
    configured === "primary" ? configured : configured.map((range) => range.text).join(","));
  const jump = (match: string): Rule => (
    { table: "nat", chain: "KUBE-SERVICES", text: `${comment} ${match} -j KUBE-NODEPORTS`, becauses });
  const ranges = nodePortRanges(config, node, family);
  const onLocalhost = localhostNodePorts(config, node, family);
  if (ranges === null) {
    // IPv6 node ports on localhost never work, IPv4 ones only with route_localnet.
    const notLoopback = family === 6 ? " ! -d ::1/128" : onLocalhost ? "" : " ! -d 127.0.0.0/8";
    return [jump(`-m addrtype --dst-type LOCAL${notLoopback}`)];
  }
  return nodePortAddresses(ranges, node, family).filter((address) => !isLoopback(address) || onLocalhost)
    .map((address) => jump(`-d ${address.text}`));
}

/** `-m nfacct …` with a trailing space where the counter exists, else nothing. It only counts. */
export function nfacct(config: KubeProxyConfig, counter: KubeProxyConfig["nfacctCounters"][number]): string {
  return config.nfacctCounters.includes(counter) ? `-m nfacct --nfacct-name ${counter} ` : "";
}

function option(name: string, value: string): readonly Because[] {
  return [{ where: null, object: `kube-proxy ${name}`, rule: value }];
}
