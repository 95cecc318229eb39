/**
 * A node's own addresses as kube-proxy uses them: its primary address of a family, and where node ports are open
 * (cmd/kube-proxy/app/server.go, pkg/proxy/util/nodeport_addresses.go, component-helpers node/util/ips.go).
 */
import { addressFromBytes, type Address, type Family, type Prefix, prefixContains, prefixOf } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";
import type { KubeProxyConfig } from "./config.js";
import { byteOrder } from "./servicePorts.js";

const LOOPBACK_START = addressFromBytes(Uint8Array.of(127, 0, 0, 0));

/**
 * The node's primary address of a family: `bindAddress` where it is one of this family, else the Node's first
 * InternalIP, else its first ExternalIP.
 */
export function primaryAddress(config: KubeProxyConfig, node: Node, family: Family): Address | null {
  const { bindAddress } = config;
  if (bindAddress !== null && bindAddress.family === family && !isUnspecified(bindAddress)) return bindAddress;
  for (const type of ["InternalIP", "ExternalIP"]) {
    const found = node.addresses.find((entry) => entry.type === type && entry.address.family === family);
    if (found !== undefined) return found.address;
  }
  return null;
}

/**
 * Ranges of a family in which addresses of the node answer node ports; null: every local address. A family without
 * a range is open everywhere, also where the other family has one.
 */
export function nodePortRanges(config: KubeProxyConfig, node: Node, family: Family): readonly Prefix[] | null {
  const ranges = allRanges(config, node).filter((range) => range.address.family === family);
  return ranges.length === 0 || ranges.some((range) => range.length === 0) ? null : ranges;
}

/** The addresses of the node's devices in those ranges, sorted by text (kube-proxy has them in Go map order). */
export function nodePortAddresses(ranges: readonly Prefix[], node: Node, family: Family): Address[] {
  return [...deviceAddresses(node, family).values()].filter((address) => ranges.some((range) => prefixContains(range, address)))
    .sort((a, b) => byteOrder(a.text, b.text));
}

/**
 * Node ports on localhost need IPv4, the option, and nodePortAddresses that take in loopback: with ranges of
 * which none does, kube-proxy turns the option off itself (NewProxier).
 */
export function localhostNodePorts(config: KubeProxyConfig, node: Node, family: Family): boolean {
  if (family === 6 || !config.localhostNodePorts) return false;
  const ranges = allRanges(config, node).filter((range) => range.address.family === 4);
  return ranges.length === 0 || ranges.some((range) => isLoopback(range.address) || prefixContains(range, LOOPBACK_START));
}

export function isLoopback(address: Address): boolean {
  return address.family === 4 ? address.bytes[0] === 127 : address.text === "::1";
}

/** `primary` is the node's own addresses, full length, without loopback; none of them is as if nothing were set. */
function allRanges(config: KubeProxyConfig, node: Node): readonly Prefix[] {
  if (config.nodePortAddresses !== "primary") return config.nodePortAddresses;
  return ([4, 6] as const).flatMap((family) => {
    const address = primaryAddress(config, node, family);
    return address === null || isLoopback(address) ? [] : [prefixOf(address, address.bytes.length * 8)];
  });
}

/** Addresses on the node's devices. An address of the Node's status that no device has is not the node's to answer. */
function deviceAddresses(node: Node, family: Family): Map<string, Address> {
  const found = new Map<string, Address>();
  for (const device of node.facts.devices) {
    for (const { address } of device.addresses) if (address.family === family) found.set(address.text, address);
  }
  return found;
}

function isUnspecified(address: Address): boolean {
  return address.bytes.every((byte) => byte === 0);
}
