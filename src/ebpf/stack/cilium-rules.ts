/**
 * What the agent writes into a node's iptables (pkg/datapath/iptables/iptables.go), in the text of iptables-save:
 *
 *     INPUT FORWARD OUTPUT (filter), POSTROUTING (nat) -> CILIUM_<HOOK>[_<table>], each at the head of its chain
 *
 * Left out are rules that no packet meets which the programs let into the stack: those for packets of a proxy's sockets,
 * of IPsec and of cloud interfaces. SNAT to cilium_host's address is undecided, because the address is in no object.
 */
import type { Address, Family, Prefix } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";
import type { CiliumOptions } from "../options.js";
import type { OwnJump, OwnRule, OwnRules } from "./rules.js";

const HOST_DEVICE = "cilium_host";
const PEER_DEVICE = "cilium_net";
const CHAINS = [
  { table: "filter", hook: "INPUT", chain: "CILIUM_INPUT" },
  { table: "filter", hook: "OUTPUT", chain: "CILIUM_OUTPUT" },
  { table: "nat", hook: "POSTROUTING", chain: "CILIUM_POST_nat" },
  { table: "filter", hook: "FORWARD", chain: "CILIUM_FORWARD" },
] as const;
/** pkg/datapath/linux/linux_defaults/mark.go, with their masks. */
const MARK = { decrypt: "0xd00/0xf00", encrypt: "0xe00/0xf00", overlay: "0x400/0xf00", proxy: "0xa00/0xe00",
  proxyEndpoint: "0x800/0xe00", identity: "0xf00/0xf00", host: "0xc00/0xf00" } as const;
const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
const NO_HOST_ADDRESS = "the address of cilium_host, which no object says";

/** Whether the agent masquerades a family in iptables. */
export function masqueradesInIptables(options: CiliumOptions, family: Family): boolean {
  return options[`enable-ipv${family}`] && !options["enable-bpf-masquerade"] && options[`enable-ipv${family}-masquerade`];
}

/**
 * Whether the nodes' netfilter changes packets, so that what programs pass up must go through it: the agent's rules
 * masquerade, or another agent's do.
 */
export function hasNodeStack(options: CiliumOptions): boolean {
  if (options["routing-mode"] !== "native") return false;
  return options.masqueradeAgent || masqueradesInIptables(options, 4) || masqueradesInIptables(options, 6);
}

export function ciliumRules(cluster: Cluster, node: Node, family: Family, options: CiliumOptions): OwnRules {
  if (!options[`enable-ipv${family}`]) return { jumps: [], chains: [], rules: [], sets: [] };
  const masquerades = masqueradesInIptables(options, family);
  return {
    jumps: CHAINS.map(({ table, hook, chain }): OwnJump => ({ place: "head",
      ...rule(table, hook, `-m comment --comment "cilium-feeder: ${chain}" -j ${chain}`, "install-iptables-rules") })),
    chains: CHAINS.map(({ table, chain }) => ({ table, chain })),
    rules: [...forwardRules(options), hostMarkRule(options), ...(masquerades ? masqueradeRules(node, family, options) : [])],
    sets: masquerades && options["routing-mode"] === "native" ? nodeSet(cluster, family) : [],
  };
}

/** installForwardChainRules. */
function forwardRules(options: CiliumOptions): OwnRule[] {
  const delivery = deliveryDevice(options);
  const accept = (match: string, comment: string): OwnRule => rule("filter", "CILIUM_FORWARD",
    `${match} -m comment --comment "cilium: ${comment}" -j ACCEPT`, "install-iptables-rules");
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
  return rule("filter", "CILIUM_OUTPUT", `${matches.join(" ")} -m comment --comment "cilium: host->any mark as from host" `
    + `-j MARK --set-xmark ${MARK.host}`, "install-iptables-rules");
}

/** installMasqueradeRules. */
function masqueradeRules(node: Node, family: Family, options: CiliumOptions): OwnRule[] {
  const option = "enable-bpf-masquerade=false";
  const nat = (text: string): OwnRule => rule("nat", "CILIUM_POST_nat", text, option);
  const unknown = (text: string, why: string): OwnRule => ({ ...nat(text), undecided: why });
  const pods = node.podCIDRs.find((range) => range.address.family === family);
  if (pods === undefined) {
    return [unknown('-m comment --comment "cilium masquerade non-cluster" -j MASQUERADE',
      "the node's pod range, which Cilium's masquerading rules name")];
  }
  const tunnel = options["routing-mode"] === "tunnel";
  const delivery = deliveryDevice(options);
  const proxyReturn = nat(`-m mark --mark ${MARK.proxy} -m comment --comment "exclude proxy return traffic from masquerade" -j ACCEPT`);
  const toHostAddress = (match: string, comment: string): OwnRule => unknown(
    `${match} -m comment --comment "${comment}" -j ACCEPT`, NO_HOST_ADDRESS);
  return [
    ...(tunnel ? [] : [nat(`-s ${pods.text} -m set --match-set ${setName(family)} dst `
      + '-m comment --comment "exclude traffic to cluster nodes from masquerade" -j ACCEPT')]),
    nat(`-s ${pods.text} ! -d ${exclusion(pods, family, options)} ! -o cilium_+ -m comment `
      + '--comment "cilium masquerade non-cluster" -j MASQUERADE'),
    proxyReturn,
    ...(tunnel ? [toHostAddress(`! -s ${pods.text} ! -d ${pods.text} -o ${HOST_DEVICE}`, "cilium host->cluster masquerade")] : []),
    toHostAddress(`-s ${LOOPBACK[family]} -o ${delivery}`, `cilium host->cluster from ${LOOPBACK[family]} masquerade`),
    ...(options["enable-endpoint-routes"] ? [] : [toHostAddress(
      `-m mark --mark ${MARK.identity} -o ${delivery} -m conntrack --ctstate DNAT`, "hairpin traffic that originated from a local pod")]),
  ];
}

/** remoteSNATDstAddrExclusionCIDR. */
function exclusion(pods: Prefix, family: Family, options: CiliumOptions): string {
  const native = options[`ipv${family}-native-routing-cidr`];
  return native === "" ? pods.text : native;
}

/** getDeliveryInterface. */
function deliveryDevice(options: CiliumOptions): string {
  return options["enable-endpoint-routes"] ? "lxc+" : HOST_DEVICE;
}

function setName(family: Family): string {
  return `cilium_node_set_v${family}`;
}

/** The nodes' internal addresses (pkg/node/manager/manager.go, NodeUpdated). */
function nodeSet(cluster: Cluster, family: Family): string[] {
  const addresses = new Map<string, Address>();
  for (const { type, address } of cluster.nodes.flatMap((one) => one.addresses)) {
    if (type === "InternalIP" && address.family === family) addresses.set(address.text, address);
  }
  return [`create ${setName(family)} hash:ip family ${family === 4 ? "inet" : "inet6"} hashsize 1024 maxelem 65536`,
    ...[...addresses.keys()].sort().map((text) => `add ${setName(family)} ${text}`)];
}

function rule(table: OwnRule["table"], chain: string, text: string, option: string): OwnRule {
  return { table, chain, text, becauses: [{ where: null, object: "cilium", rule: option }] };
}
