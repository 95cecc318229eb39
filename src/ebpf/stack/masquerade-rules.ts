/**
 * Masquerading in the node's iptables (installMasqueradeRules of pkg/datapath/iptables/iptables.go, the same in all
 * versions but for the order of routes):
 *
 *     CILIUM_POST_nat: nodes -> ACCEPT (native routing) · pods to outside -> MASQUERADE, or SNAT by route
 *         · proxy's returns -> ACCEPT · into cilium_host from elsewhere -> SNAT to its address (tunnel mode) · …
 *
 * SNAT to cilium_host's address is undecided where nothing says that address.
 */
import type { Address, Family, Prefix } from "../../cluster/address.js";
import type { Cluster, Device, Node, Route } from "../../cluster/cluster.js";
import { byPrefix } from "../compile/identity.js";
import { routerAddress } from "../compile/node.js";
import type { CiliumOptions } from "../options.js";
import { deliveryDevice, HOST_DEVICE, MARK, ownRule } from "./own-rule.js";
import type { OwnRule } from "./rules.js";

const LOOPBACK = { 4: "127.0.0.1", 6: "::1" } as const;
const OUTSIDE = '-m comment --comment "cilium masquerade non-cluster" -j MASQUERADE';

export function masqueradeRules(node: Node, family: Family, options: CiliumOptions): OwnRule[] {
  const pods = node.podCIDRs.find((range) => range.address.family === family);
  if (pods === undefined) {
    return [unknown(OUTSIDE, "the node's pod range, which Cilium's masquerading rules name")];
  }
  const tunnel = options["routing-mode"] === "tunnel";
  const delivery = deliveryDevice(options);
  const host = routerAddress(node, family);
  const toHostAddress = (match: string, comment: string): OwnRule => (host === null
    ? unknown(`${match} -m comment --comment "${comment}" -j ACCEPT`, "the address of cilium_host, which no object says")
    : nat(`${match} -m comment --comment "${comment}" -j SNAT --to-source ${host.text}`));
  return [
    ...(tunnel ? [] : toNodes(pods, family, options)),
    ...(options["enable-masquerade-to-route-source"] ? byRoutes(node, pods, family, options) : toOutside(pods, family, options)),
    nat(`-m mark --mark ${MARK.proxy} -m comment --comment "exclude proxy return traffic from masquerade" -j ACCEPT`),
    ...(tunnel ? [toHostAddress(`! -s ${pods.text} ! -d ${pods.text} -o ${HOST_DEVICE}`, "cilium host->cluster masquerade")] : []),
    toHostAddress(`-s ${LOOPBACK[family]} -o ${delivery}`, `cilium host->cluster from ${LOOPBACK[family]} masquerade`),
    ...(options["enable-endpoint-routes"] ? [] : [toHostAddress(
      `-m mark --mark ${MARK.identity} -o ${delivery} -m conntrack --ctstate DNAT`, "hairpin traffic that originated from a local pod")]),
  ];
}

/** The nodes' internal addresses (pkg/node/manager/manager.go, NodeUpdated), as `ipset restore` reads them. */
export function nodeSet(cluster: Cluster, family: Family): string[] {
  const addresses = new Map<string, Address>();
  for (const { type, address } of cluster.nodes.flatMap((one) => one.addresses)) {
    if (type === "InternalIP" && address.family === family) addresses.set(address.text, address);
  }
  return [`create ${setName(family)} hash:ip family ${family === 4 ? "inet" : "inet6"} hashsize 1024 maxelem 65536`,
    ...[...addresses.keys()].sort().map((text) => `add ${setName(family)} ${text}`)];
}

/** nodeIpsetNATCmds. */
function toNodes(pods: Prefix, family: Family, options: CiliumOptions): OwnRule[] {
  const devices = interfaces(options);
  const matches = devices.length === 0 ? [`-s ${pods.text}`] : devices.map((device) => `-o ${device}`);
  return matches.map((match) => nat(`${match} -m set --match-set ${setName(family)} dst `
    + '-m comment --comment "exclude traffic to cluster nodes from masquerade" -j ACCEPT'));
}

/** allEgressMasqueradeCmds: where interfaces are given, whoever sends. */
function toOutside(pods: Prefix, family: Family, options: CiliumOptions): OwnRule[] {
  const devices = interfaces(options);
  const kept = exclusion(pods, family, options);
  const random = options["iptables-random-fully"] ? " --random-fully" : "";
  if (devices.length === 0) return [nat(`-s ${pods.text} ! -d ${kept} ! -o cilium_+ ${OUTSIDE}${random}`)];
  return devices.map((device) => nat(`! -d ${kept} -o ${device} ${OUTSIDE}${random}`));
}

/** One rule for each route of the main table that names a source and leads out of one of the devices. */
function byRoutes(node: Node, pods: Prefix, family: Family, options: CiliumOptions): OwnRule[] {
  if (node.facts.source !== "read") {
    return [unknown(`-s ${pods.text} ! -o cilium_+ ${OUTSIDE}`, "the sources of the node's routes, by which Cilium masquerades")];
  }
  const kept = exclusion(pods, family, options);
  const random = options["iptables-random-fully"] ? " --random-fully" : "";
  const devices = new Map(node.facts.devices.map((device) => [device.index, device]));
  return inOrder(node.facts.routes.filter(({ table, destination }) => table === "main" && destination.address.family === family), options)
    .flatMap(({ destination, device, prefSrc }) => {
      const link = device === null ? undefined : devices.get(device);
      if (prefSrc === null || destination.text === kept || (device !== null && (link === undefined || !isChosen(link, options)))) return [];
      const to = destination.length === 0 ? `! -d ${kept}` : `-d ${destination.text}`;
      return [nat(`-s ${pods.text} ${to} ${link === undefined ? "! -o cilium_+" : `-o ${link.name}`} `
        + `-m comment --comment "cilium snat non-cluster via source route" -j SNAT --to-source ${prefSrc.text}${random}`)];
    });
}

/** 1.20 sorts by length; before, the order is the kernel's (by address, the longest first), default routes last. */
function inOrder(routes: readonly Route[], options: CiliumOptions): Route[] {
  const kernels = [...routes].sort(({ destination: a }, { destination: b }) =>
    (a.address.text === b.address.text ? b.length - a.length : byPrefix(a, b)));
  if (options.version >= "1.20") return kernels.sort((a, b) => b.destination.length - a.destination.length);
  const defaults = kernels.filter(({ destination }) => destination.length === 0);
  return [...kernels.filter(({ destination }) => destination.length > 0), ...defaults];
}

/** The agent's devices, or those of egress-masquerade-interfaces; patterns from 1.17 on, exclusions from 1.19 (DeviceFilter). */
function isChosen({ name, kind }: Device, options: CiliumOptions): boolean {
  const chosen = interfaces(options);
  if (chosen.length === 0) return kind === "uplink";
  for (const entry of chosen) {
    const excludes = options.version >= "1.19" && entry.startsWith("!");
    const pattern = excludes ? entry.slice(1) : entry;
    const whole = options.version === "1.16" || !pattern.endsWith("+");
    if (whole ? name === pattern : name.startsWith(pattern.replace(/\++$/, ""))) return !excludes;
  }
  return false;
}

function interfaces(options: CiliumOptions): string[] {
  return options["egress-masquerade-interfaces"].split(/[\s,]+/).filter((name) => name !== "");
}

/** remoteSNATDstAddrExclusionCIDR. */
function exclusion(pods: Prefix, family: Family, options: CiliumOptions): string {
  const native = options[`ipv${family}-native-routing-cidr`];
  return native === "" ? pods.text : native;
}

function setName(family: Family): string {
  return `cilium_node_set_v${family}`;
}

function nat(text: string): OwnRule {
  return ownRule("nat", "CILIUM_POST_nat", text, "enable-bpf-masquerade=false");
}

function unknown(text: string, why: string): OwnRule {
  return { ...nat(text), undecided: why };
}
