/**
 * The parts of kube-proxy's tables that no Service changes: jumps from built-in chains, masquerading,
 * forwarding, and the jump to node ports (proxier.go: iptablesJumpChains, the head and the tail of
 * syncProxyRules).
 */
import { prefixContains, type Address, type Family } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { Rule, TableName } from "../ruleset.js";
import { localhostNodePorts, masqueradeMark, type KubeProxyConfig } from "./config.js";
import { byteOrder } from "./servicePorts.js";

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

/** Rules of filter that no service changes. */
export function forwardRules(config: KubeProxyConfig, family: Family): Rule[] {
  const mark = masqueradeMark(config);
  const rules: Rule[] = [];
  const filter = (chain: string, text: string, becauses: readonly Because[]): void => {
    rules.push({ table: "filter", chain, text, becauses });
  };
  if (localhostNodePorts(config, family)) {
    filter("KUBE-FIREWALL", '-m comment --comment "block incoming localnet connections" -d 127.0.0.0/8 '
      + "! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    option("localhostNodePorts", "true"));
  }
  if (!config.tcpBeLiberal) {
    filter("KUBE-FORWARD", `-m conntrack --ctstate INVALID ${nfacct(config, "ct_state_invalid_dropped_pkts")}-j DROP`,
      option("conntrack.tcpBeLiberal", "false"));
  }
  filter("KUBE-FORWARD", `-m comment --comment "kubernetes forwarding rules" -m mark --mark ${mark}/${mark} -j ACCEPT`,
    option("masqueradeBit", String(config.masqueradeBit)));
  filter("KUBE-FORWARD", '-m comment --comment "kubernetes forwarding conntrack rule" '
    + "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", option("KUBE-FORWARD", "always"));
  return rules;
}

/** The last rule, or rules, of KUBE-SERVICES: anything addressed to the node itself may be a node port. */
export function nodePortJumps(config: KubeProxyConfig, node: Node, family: Family): Rule[] {
  const comment = "-m comment --comment "
    + '"kubernetes service nodeports; NOTE: this must be the last rule in this chain"';
  const becauses = option("nodePortAddresses", config.nodePortAddresses.map((range) => range.text).join(","));
  const jump = (match: string): Rule => (
    { table: "nat", chain: "KUBE-SERVICES", text: `${comment} ${match} -j KUBE-NODEPORTS`, becauses });
  const ranges = config.nodePortAddresses.filter((range) => range.address.family === family);
  const onLocalhost = localhostNodePorts(config, family);
  if (ranges.length === 0 || ranges.some((range) => range.length === 0)) {
    // IPv6 node ports on localhost never work, IPv4 ones only with route_localnet.
    const notLoopback = family === 6 ? " ! -d ::1/128" : onLocalhost ? "" : " ! -d 127.0.0.0/8";
    return [jump(`-m addrtype --dst-type LOCAL${notLoopback}`)];
  }
  return nodeAddresses(node, family)
    .filter((address) => ranges.some((range) => prefixContains(range, address)))
    .filter((address) => !isLoopback(address) || onLocalhost)
    .map((address) => jump(`-d ${address.text}`));
}

/** The node's primary address of a family: its first InternalIP, else its first ExternalIP. */
export function primaryAddress(node: Node, family: Family): Address | null {
  for (const type of ["InternalIP", "ExternalIP"]) {
    const found = node.addresses.find((entry) => entry.type === type && entry.address.family === family);
    if (found !== undefined) return found.address;
  }
  return null;
}

/** `-m nfacct …` with a trailing space where the counter exists, else nothing. It only counts. */
export function nfacct(config: KubeProxyConfig, counter: KubeProxyConfig["nfacctCounters"][number]): string {
  return config.nfacctCounters.includes(counter) ? `-m nfacct --nfacct-name ${counter} ` : "";
}

function option(name: string, value: string): readonly Because[] {
  return [{ where: null, object: `kube-proxy ${name}`, rule: value }];
}

/** Addresses on the node's devices, and those in its status; sorted by text. */
function nodeAddresses(node: Node, family: Family): Address[] {
  const found = new Map<string, Address>();
  for (const device of node.facts.devices) {
    for (const { address } of device.addresses) found.set(address.text, address);
  }
  for (const { type, address } of node.addresses) if (type.endsWith("IP")) found.set(address.text, address);
  return [...found.values()].filter((address) => address.family === family)
    .sort((a, b) => byteOrder(a.text, b.text));
}


function isLoopback(address: Address): boolean {
  return address.family === 4 ? address.bytes[0] === 127 : address.text === "::1";
}
