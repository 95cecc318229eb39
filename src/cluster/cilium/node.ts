/**
 * What a CiliumNode says of a node that its Node leaves out: the pod ranges that Cilium's own IPAM gave it, and its
 * address on cilium_host.
 *
 * Source: cilium pkg/k8s/apis/cilium.io/v2/types.go, NodeSpec (ipam.podCIDRs, addresses).
 */
import { parseAddress, parsePrefix } from "../address.js";
import type { OtherObject } from "../cluster.js";
import type { NodeObject } from "../pod.js";

type Fields = Readonly<Record<string, unknown>>;

/** The nodes with what the CiliumNodes among the objects add; what a Node says itself stands. */
export function withCiliumNodes(nodes: readonly NodeObject[], others: readonly OtherObject[]): readonly NodeObject[] {
  const byName = new Map(others.filter(({ kind, apiVersion }) => kind === "CiliumNode" && apiVersion.startsWith("cilium.io/"))
    .map((one) => [one.name, fieldsOf(one.object["spec"])]));
  if (byName.size === 0) return nodes;
  return nodes.map((node) => {
    const spec = byName.get(node.name);
    if (spec === undefined) return node;
    const ranges = listOf(fieldsOf(spec["ipam"])["podCIDRs"]).map((one) => (typeof one === "string" ? parsePrefix(one) : null))
      .filter((one) => one !== null);
    const own = listOf(spec["addresses"]).map(fieldsOf).filter((one) => one["type"] === "CiliumInternalIP")
      .map((one) => (typeof one["ip"] === "string" ? parseAddress(one["ip"]) : null)).filter((one) => one !== null);
    const known = new Set(node.addresses.map(({ address }) => address.text));
    const added = own.filter((one) => !known.has(one.text)).map((address) => ({ type: "CiliumInternalIP", address }));
    return { ...node, podCIDRs: node.podCIDRs.length > 0 ? node.podCIDRs : ranges, addresses: [...node.addresses, ...added] };
  });
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
