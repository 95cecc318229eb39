/**
 * CiliumNode objects: cilium_host's addresses of nodes where Cilium runs already (spec.addresses, type CiliumInternalIP), which a
 * Node object does not say.
 */
import { parseAddress } from "../../cluster/address.js";
import type { Cluster, Node } from "../../cluster/cluster.js";

const TYPE = "CiliumInternalIP";

/** The nodes with these addresses behind their own; what cannot be read of an object says nothing, and a node's own word counts first. */
export function withCiliumNodes({ nodes, others }: Cluster): readonly Node[] {
  const objects = new Map(others.filter((one) => one.kind === "CiliumNode").map((one) => [one.name, one.object]));
  if (objects.size === 0) return nodes;
  return nodes.map((node) => {
    const object = objects.get(node.name);
    if (object === undefined || node.addresses.some(({ type }) => type === TYPE)) return node;
    const said = addressesOf(object);
    return said.length === 0 ? node : { ...node, addresses: [...node.addresses, ...said] };
  });
}

function addressesOf(object: Readonly<Record<string, unknown>>): Node["addresses"] {
  const { addresses } = (object["spec"] ?? {}) as { readonly addresses?: unknown };
  if (!Array.isArray(addresses)) return [];
  return addresses.flatMap((one: unknown) => {
    const { type, ip } = (one ?? {}) as { readonly type?: unknown; readonly ip?: unknown };
    const address = type === TYPE && typeof ip === "string" ? parseAddress(ip) : null;
    return address === null ? [] : [{ type: TYPE, address }];
  });
}
