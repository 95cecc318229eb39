/**
 * Host ports of a node's pods as the CNI plugin portmap forwards them (containernetworking/plugins
 * plugins/meta/portmap/portmap_iptables.go, iptables backend).
 *
 *   PREROUTING, OUTPUT --dst-type LOCAL -> CNI-HOSTPORT-DNAT: --destination-ports P… -> CNI-DN-x: DNAT pod:port
 *   POSTROUTING (first) -> CNI-HOSTPORT-MASQ: marked -> MASQUERADE
 *
 * What a pod of the pod's own network, or 127.0.0.1, sends to a host port is marked for masquerading: by
 * CNI-HOSTPORT-SETMARK, or by `externalSetMarkChain` (kubenet: KUBE-MARK-MASQ), and then kube-proxy masquerades it.
 *
 * Not knowable from objects: the name of a CNI-DN chain is a hash of the network's name and the container's id. Here
 * the pod's `namespace/name` stands for the container's id, in the name and in the comment, so a name and a comment of
 * a real node differ from these, and the chains stand in the order in which the pods were started, here by name.
 * A text is compared with a node's own only modulo both. `-s` of the hairpin rule has the prefix length that the IPAM
 * plugin gave the pod: here that of the node's podCIDR with the address in it, else the full length.
 */
import { createHash } from "node:crypto";
import { type Address, type Family, parseAddress, prefixContains } from "../../cluster/address.js";
import type { Cluster, ContainerPort, Node, Pod } from "../../cluster/cluster.js";
import type { Because } from "../../dataplane.js";
import type { RuleProgram } from "../planeNode.js";
import type { Jump, Rule, RulePart } from "../ruleset.js";

/** The plugin's configuration; field names are its own. */
export interface PortmapConfig {
  /** Name of the CNI network. */
  readonly name: string;
  /** Hairpin and localhost traffic is masqueraded. */
  readonly snat: boolean;
  /** A chain of another program that marks; null: the plugin's own chains. */
  readonly externalSetMarkChain: string | null;
  /** Bit of the mark, 0..31, where the chains are the plugin's own. */
  readonly markMasqBit: number;
  /** All forwarded traffic is masqueraded. */
  readonly masqAll: boolean;
  /** Further matches before the jump to a pod's chain. */
  readonly conditionsV4: readonly string[];
  readonly conditionsV6: readonly string[];
}

export const PORTMAP_DEFAULTS: PortmapConfig = {
  name: "k8s-pod-network", snat: true, externalSetMarkChain: null, markMasqBit: 13, masqAll: false,
  conditionsV4: [], conditionsV6: [],
};

/** The multiport match takes no more. */
const PORTS_OF_A_MATCH = 15;
/** iptables takes names of 28 characters. */
const CHAIN_NAME_LENGTH = 28;
const COMMENT_LENGTH = 255;

/** The plugin's rules on every node; a node without host ports has none. */
export function portmapProgram(config: PortmapConfig): RuleProgram {
  return (cluster, node, family) => portmapPart(config, cluster, node, family);
}

export function portmapPart(config: PortmapConfig, cluster: Cluster, node: Node, family: Family): RulePart {
  const pods = podsOf(cluster, node, family);
  if (pods.length === 0) return { jumps: [], chains: [], rules: [] };
  const own = config.snat && config.externalSetMarkChain === null;
  const parts = pods.map((pod) => podRules(config, pod, node, family));
  return {
    jumps: [...(own ? [masqJump()] : []), ...["PREROUTING", "OUTPUT"].map((chain): Jump => (
      { table: "nat", chain, text: "-m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT", becauses: said("jump") }))],
    chains: [...(own ? ["CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"] : []), "CNI-HOSTPORT-DNAT",
      ...parts.map((part) => part.chain)].map((chain) => ({ table: "nat", chain })),
    rules: [...(own ? markRules(config) : []), ...parts.flatMap((part) => part.rules)],
  };
}

/** The sysctl the plugin sets where it masquerades: 127.0.0.1 may then leave by the pod's device. */
export function portmapSysctls(config: PortmapConfig, cluster: Cluster, node: Node): Record<string, string> {
  const names = config.snat ? podsOf(cluster, node, 4).flatMap((pod) => deviceTo(node, pod)) : [];
  return Object.fromEntries(names.map((name) => [`net.ipv4.conf.${name}.route_localnet`, "1"]));
}

/** The node's pods with a host port and an address of the family. */
function podsOf(cluster: Cluster, node: Node, family: Family): Pod[] {
  return cluster.pods.filter((pod) => pod.nodeName === node.name && !pod.hostNetwork && pod.phase !== "Succeeded"
    && pod.phase !== "Failed" && hostPorts(pod).length > 0 && addressOf(pod, family) !== null);
}

/** Inserted at the head once, when the first pod with a host port starts: after kube-proxy put its own there. */
function masqJump(): Jump {
  return { table: "nat", chain: "POSTROUTING", place: "head", becauses: said("snat"),
    text: '-m comment --comment "CNI portfwd requiring masquerade" -j CNI-HOSTPORT-MASQ' };
}

function markRules(config: PortmapConfig): Rule[] {
  const bit = `0x${((1 << config.markMasqBit) >>> 0).toString(16)}`;
  const becauses = said(`markMasqBit ${config.markMasqBit}`);
  return [
    { table: "nat", chain: "CNI-HOSTPORT-SETMARK", becauses,
      text: `-m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark ${bit}/${bit}` },
    { table: "nat", chain: "CNI-HOSTPORT-MASQ", becauses, text: `-m mark --mark ${bit}/${bit} -j MASQUERADE` },
  ];
}

function podRules(config: PortmapConfig, pod: Pod, node: Node, family: Family): { chain: string; rules: Rule[] } {
  const id = `${pod.namespace}/${pod.name}`;
  const chain = chainName(config.name, id);
  const address = addressOf(pod, family)!;
  const ports = hostPorts(pod);
  const comment = trimmed(`dnat name: "${config.name}" id: "${id}"`).replace(/["\\]/g, "\\$&");
  const conditions = (family === 4 ? config.conditionsV4 : config.conditionsV6).map((word) => ` ${word}`).join("");
  const entries = [...new Set(ports.map((port) => port.protocol))].sort().flatMap((protocol) => (
    portLists(ports.filter((port) => port.protocol === protocol)).map((list) => rule("CNI-HOSTPORT-DNAT",
      `-m comment --comment "${comment}" -m multiport -p ${protocol.toLowerCase()} --destination-ports ${list}${conditions} `
      + `-j ${chain}`, pod, "hostPort"))));
  const rules = ports.flatMap((port) => portRules(config, pod, port, address, node, chain));
  return { chain, rules: [...unique(rules), ...unique(entries)] };
}

/** Marks come before the DNAT, because it ends the chain. A host IP of the other family has no rule. */
function portRules(config: PortmapConfig, pod: Pod, port: ContainerPort, address: Address, node: Node, chain: string): Rule[] {
  const { family } = address;
  const host = port.hostIP === "" ? null : parseAddress(port.hostIP);
  if (host !== null && host.family !== family) return [];
  // 0.0.0.0 and :: say the family only.
  const destination = host === null || host.bytes.every((byte) => byte === 0) ? "" : ` -d ${host.text}`;
  const base = `-p ${port.protocol.toLowerCase()} --dport ${port.hostPort}${destination}`;
  const path = `hostPort ${port.hostPort} to ${port.containerPort}`;
  const mark = config.externalSetMarkChain ?? "CNI-HOSTPORT-SETMARK";
  const source = config.masqAll ? (family === 4 ? "0.0.0.0/0" : "::/0") : containerNet(address, node);
  const target = family === 6 ? `[${address.text}]:${port.containerPort}` : `${address.text}:${port.containerPort}`;
  return [
    ...(config.snat ? [rule(chain, `${base} -s ${source} -j ${mark}`, pod, path)] : []),
    ...(config.snat && family === 4 && !config.masqAll ? [rule(chain, `${base} -s 127.0.0.1 -j ${mark}`, pod, path)] : []),
    rule(chain, `${base} -j DNAT --to-destination ${target}`, pod, path),
  ];
}

function hostPorts(pod: Pod): readonly ContainerPort[] {
  return pod.ports.filter((port) => port.hostPort !== 0);
}

function addressOf(pod: Pod, family: Family): Address | null {
  return pod.ips.find((ip) => ip.family === family) ?? null;
}

/** The pod's address with its prefix length, host bits and all, as the plugin prints it. */
function containerNet(address: Address, node: Node): string {
  const range = node.podCIDRs.find((one) => prefixContains(one, address));
  return `${address.text}/${range?.length ?? address.bytes.length * 8}`;
}

function portLists(ports: readonly ContainerPort[]): string[] {
  const lists: string[] = [];
  for (let at = 0; at < ports.length; at += PORTS_OF_A_MATCH) {
    lists.push(ports.slice(at, at + PORTS_OF_A_MATCH).map((port) => port.hostPort).join(","));
  }
  return lists;
}

/** The device that leads to the pod: its own, else a bridge with an address of the pod's range. */
function deviceTo(node: Node, pod: Pod): string[] {
  const { devices } = node.facts;
  const found = devices.find((device) => device.pod === `${pod.namespace}/${pod.name}`)
    ?? devices.find((device) => device.name === "cbr0");
  return found === undefined ? [] : [found.name];
}

function chainName(network: string, id: string): string {
  return `CNI-DN-${createHash("sha512").update(network + id).digest("hex")}`.slice(0, CHAIN_NAME_LENGTH);
}

function trimmed(comment: string): string {
  return comment.length <= COMMENT_LENGTH ? comment : `${comment.slice(0, COMMENT_LENGTH - 3)}...`;
}

/** A rule that stands there already is not added again. */
function unique(rules: readonly Rule[]): Rule[] {
  return [...new Map(rules.map((one) => [one.text, one])).values()];
}

function rule(chain: string, text: string, pod: Pod, path: string): Rule {
  const because = { where: pod.where, object: `${pod.namespace}/${pod.name}`, rule: `Pod ${path}` };
  return { table: "nat", chain, text, becauses: [because] };
}

function said(rule: string): readonly Because[] {
  return [{ where: null, object: "portmap", rule }];
}
