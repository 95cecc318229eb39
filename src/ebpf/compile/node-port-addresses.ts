/**
 * The addresses of a node that node ports and host ports answer on (pkg/datapath/tables/node_address.go): those in
 * nodeport-addresses, or without it one of each family of each uplink: the node's own InternalIP if it is there, else
 * the first private one, else the first.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { parsePrefix, prefixContains } from "../../cluster/address.js";
import type { Node } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { CiliumOptions } from "../options.js";

/** privateIPBlocks of pkg/ip, and what is of one link or loopback. */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"].map((text) => parsePrefix(text)!);
const LINK_LOCAL = ["169.254.0.0/16", "fe80::/10", "127.0.0.0/8", "::1/128"].map((text) => parsePrefix(text)!);

export function nodePortAddresses(node: Node, options: CiliumOptions): Address[] {
  const ranges = rangesOf(options).flatMap((text) => parsePrefix(text) ?? []);
  const uplinks = node.facts.devices.filter(({ kind }) => kind === "uplink");
  const internal = node.addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
  const found = new Map<string, Address>();
  for (const addresses of uplinks.length === 0 ? [internal] : uplinks.map((device) => device.addresses.map(({ address }) => address))) {
    const usable = addresses.filter((address) => !isIn(LINK_LOCAL, address));
    for (const family of [4, 6] as const) {
      const own = usable.filter((address) => address.family === family);
      const chosen = ranges.length > 0 ? own.filter((address) => isIn(ranges, address)) : own.length === 0 ? [] : [pick(own, internal)];
      for (const address of chosen) found.set(address.text, address);
    }
  }
  return [...found.values()];
}

/** What of nodeport-addresses is no prefix. */
export function checkNodePortAddresses(options: CiliumOptions, problems: Problem[]): void {
  const wrong = rangesOf(options).filter((text) => parsePrefix(text) === null);
  if (wrong.length === 0) return;
  problems.push({
    where: options.grades["nodeport-addresses"] === "read" ? options.where : null,
    severity: "error",
    what: `option nodeport-addresses has "${wrong.join(", ")}"; expected prefixes such as 192.168.0.0/16`,
  });
}

function rangesOf(options: CiliumOptions): string[] {
  return options["nodeport-addresses"].split(/[\s,]+/).filter((text) => text !== "");
}

/** Private before public; among those the node's own. */
function pick(addresses: readonly Address[], internal: readonly Address[]): Address {
  const hidden = addresses.filter((address) => isIn(PRIVATE, address));
  const among = hidden.length > 0 ? hidden : addresses;
  return among.find(({ text }) => internal.some((one) => one.text === text)) ?? among[0];
}

function isIn(prefixes: readonly Prefix[], address: Address): boolean {
  return prefixes.some((prefix) => prefixContains(prefix, address));
}
