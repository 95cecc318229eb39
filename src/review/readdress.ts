/**
 * Pods that have other addresses after the change than in the traffic: a snapshot taken later. Where a pod of the snapshot
 * after is the same one (by name, or by owner and labels, on the same node), it is given the address that the traffic knows it
 * by, in its own object and in EndpointSlices. That is sound where nothing tells the two addresses apart: no prefix and no address
 * that any object of either side says holds one of them without the other, and nobody else has the address after. Where it is
 * not, its packets stay undecided, for a reason.
 */
import { type Address, parseAddress, parsePrefix, prefixContains, type Prefix } from "../cluster/address.js";
import type { Pod } from "../cluster/cluster.js";
import type { ManifestObjects } from "../cluster/manifests.js";
import { hasOwnAddress, isSamePod, likenessOf } from "../cluster/pod-identity.js";

export interface Readdressed {
  /** `namespace/name` after the change. */
  readonly pod: string;
  readonly node: string;
  /** Addresses in the traffic, and in the snapshot after. */
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface Readdressing {
  readonly after: ManifestObjects;
  /** Sorted by pod. */
  readonly pods: readonly Readdressed[];
  /** By address of before: why the pod that had it is not judged. */
  readonly refused: ReadonlyMap<string, string>;
}

/** Say again what pods' addresses are; no dataplane here reads them. */
const RESTATING: ReadonlySet<string> = new Set(["Endpoints", "CiliumEndpoint", "CiliumEndpointSlice", "Event", "NodeNetworkConfig"]);

interface Pair {
  readonly was: Pod;
  readonly is: Pod;
}

/** @param factsAfter nodes of which the manifests after the change bring facts, which have addresses of their own */
export function readdress(before: ManifestObjects, after: ManifestObjects, factsAfter: ReadonlySet<string>): Readdressing {
  const refused = new Map<string, string>();
  const refuse = (was: Pod, why: string): void => {
    for (const { text } of was.ips) refused.set(text, `${was.namespace}/${was.name} had ${text} before the change, and ${why}`);
  };
  const told = distinctionsOf([before, after]);
  let pairs = pairsOf(before.pods, after.pods, refuse).filter(({ was, is }) => {
    const why = factsAfter.has(was.nodeName) ? `the facts of ${was.nodeName} after it are of other addresses` : told(was.ips, is.ips);
    if (why !== "") refuse(was, why);
    return why === "";
  });
  // An address that somebody keeps is not free; who loses a pair keeps its own.
  for (let left = -1; left !== pairs.length;) {
    left = pairs.length;
    const moved = new Set(pairs.map(({ is }) => is));
    const kept = new Map(after.pods.filter((pod) => hasOwnAddress(pod) && !moved.has(pod))
      .flatMap((pod) => pod.ips.map(({ text }) => [text, pod] as const)));
    pairs = pairs.filter(({ was }) => {
      const other = was.ips.flatMap(({ text }) => kept.get(text) ?? [])[0];
      if (other !== undefined) refuse(was, `${other.namespace}/${other.name} has it after`);
      return other === undefined;
    });
  }
  const pods = pairs.map(({ was, is }): Readdressed => ({ pod: `${is.namespace}/${is.name}`, node: is.nodeName,
    before: was.ips.map(({ text }) => text), after: is.ips.map(({ text }) => text) }));
  return { after: withAddresses(after, pairs), refused, pods: pods.sort((a, b) => (a.pod < b.pod ? -1 : 1)) };
}

/** Pods of which one has other addresses after: by name first, then one by one of those that are alike. */
function pairsOf(before: readonly Pod[], after: readonly Pod[], refuse: (was: Pod, why: string) => void): Pair[] {
  const nameOf = ({ namespace, name }: Pod): string => `${namespace}/${name}`;
  const old = before.filter(hasOwnAddress);
  const now = after.filter(hasOwnAddress);
  const byName = new Map(now.map((pod) => [nameOf(pod), pod]));
  const pairs: Pair[] = [];
  const gone: Pod[] = [];
  for (const was of old) {
    const is = byName.get(nameOf(was));
    if (is === undefined) gone.push(was);
    else if (isSamePod(was, is)) pairs.push({ was, is });
    else if (addressesOf(was) !== addressesOf(is)) refuse(was, `runs on ${is.nodeName} after it, where nothing of it was captured`);
  }
  const named = new Set(old.map(nameOf));
  const fresh = now.filter((pod) => !named.has(nameOf(pod)));
  const heirs = new Map<string, Pod[]>();
  for (const pod of fresh) heirs.set(likenessOf(pod), [...heirs.get(likenessOf(pod)) ?? [], pod]);
  for (const was of gone) {
    const candidates = heirs.get(likenessOf(was)) ?? [];
    // Whoever has its very address is its heir, so that nothing needs to be moved.
    const index = Math.max(0, candidates.findIndex((one) => addressesOf(one) === addressesOf(was)));
    const [is] = candidates.splice(index, 1);
    if (is !== undefined) pairs.push({ was, is });
    else refuse(was, "no pod with its name, or of its owner with its labels, is on its node after it");
  }
  return pairs.filter(({ was, is }) => {
    if (addressesOf(was) === addressesOf(is)) return false;
    const alike = was.ips.map(({ family }) => family).join() === is.ips.map(({ family }) => family).join();
    if (!alike) refuse(was, "has addresses of other families after it");
    return alike;
  });
}

function addressesOf({ ips }: Pod): string {
  return ips.map(({ text }) => text).join();
}

/** Says which prefix or address tells two apart; empty where none does. Pods and endpoints say their own. */
function distinctionsOf(sides: readonly ManifestObjects[]): (one: readonly Address[], other: readonly Address[]) => string {
  const said = new Map<string, { readonly prefix: Prefix; readonly by: string }>();
  for (const objects of sides) {
    for (const [list, all] of Object.entries(objects)) {
      if (list === "pods" || list === "endpointSlices") continue;
      for (const object of all as readonly { readonly kind: string; readonly name: string }[]) {
        if (RESTATING.has(object.kind)) continue;
        for (const prefix of prefixesIn(object)) said.set(prefix.text, { prefix, by: `${object.kind} ${object.name}` });
      }
    }
  }
  return (one, other) => {
    for (const { prefix, by } of said.values()) {
      const inside = one.map((address) => prefixContains(prefix, address));
      const split = other.some((address, index) => prefixContains(prefix, address) !== inside[index]);
      if (split) return `${by} tells it from ${other.map(({ text }) => text).join(", ")}, which the pod has after it (${prefix.text})`;
    }
    return "";
  };
}

/** Of every text anywhere in an object; a text that lists several (agents' settings) says each. */
function prefixesIn(value: unknown): Prefix[] {
  if (typeof value === "string") {
    return value.split(/[^0-9A-Fa-f:./]+/).flatMap((word) => {
      const address = parseAddress(word);
      return parsePrefix(address === null ? word : `${word}/${address.family === 4 ? 32 : 128}`) ?? [];
    });
  }
  if (value === null || typeof value !== "object" || value instanceof Uint8Array) return [];
  return Object.entries(value).filter(([key]) => key !== "where" && key !== "lines").flatMap(([, one]) => prefixesIn(one));
}

function withAddresses(objects: ManifestObjects, pairs: readonly Pair[]): ManifestObjects {
  if (pairs.length === 0) return objects;
  const known = new Map(pairs.flatMap(({ was, is }) => is.ips.map(({ text }, index) => [text, was.ips[index]] as const)));
  const renamed = (addresses: readonly Address[]): Address[] => addresses.map((one) => known.get(one.text) ?? one);
  return {
    ...objects,
    pods: objects.pods.map((pod) => (pod.hostNetwork ? pod : { ...pod, ips: renamed(pod.ips) })),
    endpointSlices: objects.endpointSlices.map((slice) => ({ ...slice,
      endpoints: slice.endpoints.map((one) => ({ ...one, addresses: renamed(one.addresses) })) })),
  };
}
