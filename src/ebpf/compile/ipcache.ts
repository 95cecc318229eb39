/**
 * cilium_ipcache: prefix -> identity, and the tunnel endpoint behind it.
 *
 * Entries that all nodes share are held once. A node's own addresses are `host` on itself; those rows carry
 * the node's name and win over the shared row of the same prefix there. A lookup that finds nothing is world.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { parsePrefix, prefixContains, prefixOf } from "../../cluster/address.js";
import type { Cluster } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import { hasTunnel } from "../encapsulation.js";
import type { CiliumOptions } from "../options.js";
import type { Identities } from "./identity.js";
import { byPrefix, isEndpoint, nodeAddresses, Reserved } from "./identity.js";
import { routerAddress } from "./node.js";

export interface IpcacheEntry {
  /** Null: every node. */
  readonly node: string | null;
  readonly prefix: Prefix;
  readonly identity: number;
  /** Node address behind which the prefix is, where there are tunnels; null elsewhere. */
  readonly tunnelEndpoint: Address | null;
  /** An address of a node in its own network: no route of Cilium's leads to it. */
  readonly nodeAddress: boolean;
}

export function compileIpcache(
  cluster: Cluster,
  options: CiliumOptions,
  identities: Identities,
  problems: Problem[],
): IpcacheEntry[] {
  const shared = new Map<string, IpcacheEntry>();
  const tunnel = hasTunnel(options);
  const nodeAddress = new Map<string, Address>();
  for (const node of cluster.nodes) {
    const internal = node.addresses.find(({ type }) => type === "InternalIP");
    if (internal !== undefined) nodeAddress.set(node.name, internal.address);
  }
  // Least specific knowledge first; a later row of the same prefix replaces an earlier one.
  for (const text of ["0.0.0.0/0", "::/0"]) {
    const prefix = parsePrefix(text)!;
    const world = prefix.address.family === 4 ? identities.world.v4 : identities.world.v6;
    put(shared, prefix, world.id, null);
  }
  for (const identity of identities.ofPrefix.values()) {
    put(shared, identity.prefix!, identity.id, tunnel ? oldTunnel(cluster, options, nodeAddress, identity.prefix!) : null);
  }
  if (tunnel) {
    for (const node of cluster.nodes) {
      for (const prefix of node.podCIDRs) {
        const world = prefix.address.family === 4 ? identities.world.v4 : identities.world.v6;
        if (!shared.has(prefix.text)) put(shared, prefix, world.id, nodeAddress.get(node.name) ?? null);
      }
    }
  }
  const owners = new Map<string, string>();
  cluster.pods.forEach((pod, index) => {
    const identity = identities.ofPod[index];
    if (identity === null || !isEndpoint(pod)) return;
    const name = `${pod.namespace}/${pod.name}`;
    for (const ip of pod.ips) {
      const prefix = prefixOf(ip, ip.bytes.length * 8);
      const owner = owners.get(ip.text);
      if (owner !== undefined && owner !== name) {
        problems.push({
          where: pod.where,
          severity: "error",
          what: `pods ${[owner, name].sort().join(" and ")} both have address ${ip.text}; the first has it`,
        });
        if (owner < name) continue;
      }
      owners.set(ip.text, name);
      put(shared, prefix, identity.id, tunnel ? (nodeAddress.get(pod.nodeName) ?? null) : null);
    }
  });
  const own: IpcacheEntry[] = [];
  for (const node of cluster.nodes) {
    const routers = new Set([routerAddress(node, 4)?.text, routerAddress(node, 6)?.text]);
    for (const address of nodeAddresses(node)) {
      const prefix = prefixOf(address, address.bytes.length * 8);
      const router = routers.has(address.text);
      // Nodes' own addresses are behind the tunnel only for a host firewall, which needs identities (pkg/node/manager).
      const behind = tunnel && (router || options["enable-host-firewall"]);
      put(shared, prefix, identities.ofNodeAddress.get(address.text)!.id, behind ? nodeAddress.get(node.name) ?? null : null, !router);
      own.push({ node: node.name, prefix, identity: Reserved.Host, tunnelEndpoint: null, nodeAddress: !router });
    }
  }
  return [...[...shared.values()].sort(byEntry), ...own.sort(byEntry)];
}

/**
 * Up to 1.17 a table of pod ranges says the tunnel's end where the ipcache does not (cilium_tunnel_map), so that a
 * prefix a policy names inside another node's pod range is behind the tunnel as well.
 */
function oldTunnel(
  cluster: Cluster,
  options: CiliumOptions,
  nodeAddress: ReadonlyMap<string, Address>,
  prefix: Prefix,
): Address | null {
  if (options.version !== "1.16" && options.version !== "1.17") return null;
  const owner = cluster.nodes.find((node) =>
    node.podCIDRs.some((range) => range.length <= prefix.length && prefixContains(range, prefix.address)));
  return owner === undefined ? null : nodeAddress.get(owner.name) ?? null;
}

function put(
  entries: Map<string, IpcacheEntry>,
  prefix: Prefix,
  identity: number,
  tunnelEndpoint: Address | null,
  nodeAddress = false,
): void {
  entries.set(prefix.text, { node: null, prefix, identity, tunnelEndpoint, nodeAddress });
}

function byEntry(a: IpcacheEntry, b: IpcacheEntry): number {
  return byPrefix(a.prefix, b.prefix) || (a.node === b.node ? 0 : (a.node ?? "") < (b.node ?? "") ? -1 : 1);
}
