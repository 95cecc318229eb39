/**
 * Addresses outside a cluster, one for each class: between two neighbouring ends of prefixes that something tells addresses
 * apart by, all addresses are alike. Ranges that nobody outside has (loopback, link-local, multicast, pod ranges) are none.
 */
import { type Address, addressFromBytes, parsePrefix, type Prefix, prefixContains } from "../cluster/address.js";
import type { Cluster } from "../cluster/cluster.js";

/** An interval of addresses and one of them that belongs to nobody in the cluster. */
export interface OutsideClass {
  readonly address: Address;
  /** First and last address of the interval, as text. */
  readonly text: string;
}

/** Where hosts outside are not. */
const NOBODY = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8"]
  .map((text) => parsePrefix(text)!);
/** How many addresses of an interval are tried for one that belongs to nobody. */
const TRIES = 4096;

export function outsideClasses(cluster: Cluster, prefixes: readonly Prefix[]): OutsideClass[] {
  const taken = ownAddresses(cluster);
  const inside = cluster.nodes.flatMap((node) => node.podCIDRs);
  const hasV6 = cluster.pods.some((pod) => pod.ips.some(({ family }) => family === 6));
  return ([4, 6] as const).filter((family) => family === 4 || hasV6).flatMap((family) => {
    const bits = family === 4 ? 32 : 128;
    const cuts = new Set<bigint>([0n]);
    for (const { address, length } of [...prefixes, ...inside, ...NOBODY]) {
      if (address.family !== family) continue;
      const first = toNumber(address);
      cuts.add(first);
      cuts.add(first + (1n << BigInt(bits - length)));
    }
    const end = 1n << BigInt(bits);
    const sorted = [...cuts].filter((cut) => cut < end).sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
    return sorted.flatMap((first, index): OutsideClass[] => {
      const last = (sorted[index + 1] ?? end) - 1n;
      const start = fromNumber(first, family);
      if (NOBODY.some((range) => prefixContains(range, start)) || inside.some((range) => prefixContains(range, start))) return [];
      const address = freeAddress(first, last, family, taken);
      return address === null ? [] : [{ address, text: `${start.text}-${fromNumber(last, family).text}` }];
    });
  });
}

function freeAddress(first: bigint, last: bigint, family: 4 | 6, taken: ReadonlySet<string>): Address | null {
  // Not the network's own address, where there is room.
  const from = last - first > 8n ? first + 9n : first;
  for (let step = 0n; step < TRIES && from + step <= last; step++) {
    const address = fromNumber(from + step, family);
    if (!taken.has(address.text)) return address;
  }
  return null;
}

function ownAddresses({ pods, nodes, services, endpointSlices }: Cluster): Set<string> {
  return new Set([
    ...pods.flatMap(({ ips }) => ips), ...nodes.flatMap((node) => node.addresses.map(({ address }) => address)),
    ...nodes.flatMap((node) => node.facts.devices.flatMap((device) => device.addresses.map(({ address }) => address))),
    ...services.flatMap((one) => [...one.clusterIPs, ...one.externalIPs, ...one.loadBalancerIngress.map(({ ip }) => ip)]),
    ...endpointSlices.flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses)),
  ].map(({ text }) => text));
}

function toNumber({ bytes }: Address): bigint {
  return bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
}

function fromNumber(value: bigint, family: 4 | 6): Address {
  const bytes = new Uint8Array(family === 4 ? 4 : 16);
  let rest = value;
  for (let index = bytes.length - 1; index >= 0; index--) {
    bytes[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return addressFromBytes(bytes);
}
