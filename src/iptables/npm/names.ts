/**
 * Names of Azure Network Policy Manager's chains and IP sets, which are hashes of readable names.
 *
 * A set's readable name is a prefix for its kind and what it stands for: `ns-web`, `podlabel-app:web`,
 * `nslabel-all-namespaces`. The hash decides nothing but the name. It changed in July 2026: 32-bit FNV-1a in decimal
 * before, base 36 of the SHA-256 since; names that a policy makes up (address blocks, lists of label values) changed
 * their separator with it.
 *
 * Source: Azure/azure-container-networking npm/util/util.go, npm/pkg/dataplane/ipsets/ipset.go, and its commit
 * b1f7caca (2026-07-30) for the change.
 */
import { createHash } from "node:crypto";

/** Which of the two ways a node's NPM names its chains and sets. */
export type NpmNaming = "sha256" | "fnv32";

/** `hash:net` of pods' addresses or of a policy's address block, `list:set` of sets, `hash:ip,port` of named ports. */
export type SetKind = "hash:net" | "hash:net cidr" | "hash:ip,port" | "list:set";

/** An IP set by its readable name. */
export interface SetName {
  readonly kind: SetKind;
  readonly text: string;
}

/** Pods of a namespace. */
export function namespaceSet(namespace: string): SetName {
  return { kind: "hash:net", text: `ns-${namespace}` };
}

/** Pods with a label: `key`, or `key:value`. */
export function podLabelSet(label: string): SetName {
  return { kind: "hash:net", text: `podlabel-${label}` };
}

/** Namespaces with a label: `key`, or `key:value`. */
export function namespaceLabelSet(label: string): SetName {
  return { kind: "list:set", text: `nslabel-${label}` };
}

export const ALL_NAMESPACES: SetName = namespaceLabelSet("all-namespaces");

/** Addresses and ports of pods with a container port of this name. */
export function namedPortSet(name: string): SetName {
  return { kind: "hash:ip,port", text: `namedport:${name}` };
}

/** Pods with one of several values of a label; each policy has its own list. `policy` is `namespace/name`. */
export function nestedLabelSet(naming: NpmNaming, policy: string, key: string, values: readonly string[]): SetName {
  return { kind: "list:set", text: `nestedlabel-${[`${policy}${naming === "sha256" ? ":" : "-"}${key}`, ...values].join(":")}` };
}

/** The addresses of peer `peer` of rule `rule`, counted from 0, of a policy. */
export function ipBlockSet(naming: NpmNaming, namespace: string, name: string, direction: "IN" | "OUT", rule: number,
  peer: number): SetName {
  const joint = naming === "sha256" ? ":in-ns:" : "-in-ns-";
  return { kind: "hash:net cidr", text: `cidr-${name}${joint}${namespace}-${rule}-${peer}${direction}` };
}

/** The kernel's name of a set. */
export function hashedSetName(naming: NpmNaming, text: string): string {
  return `azure-npm-${naming === "fnv32" ? fnv32(text) : base36(digest(text), 20)}`;
}

/** The chain of a policy's rules of one direction; `policy` is `namespace/name`. */
export function policyChain(naming: NpmNaming, direction: "INGRESS" | "EGRESS", policy: string): string {
  const hash = naming === "fnv32" ? fnv32(policy) : base36(digest(policy) % 36n ** 10n, 10);
  return `AZURE-NPM-${direction}-${hash}`;
}

/** How the node named its sets, from rules or sets text of it; null where the text names none. */
export function namingOf(text: string): NpmNaming | null {
  const found = /\bazure-npm-([0-9a-z]+)\b/.exec(text) ?? /\bAZURE-NPM-(?:IN|E)GRESS-([0-9a-z]{8,20})\b/.exec(text);
  if (found === null) return null;
  return /^\d{1,10}$/.test(found[1]) && Number(found[1]) <= 0xffffffff ? "fnv32" : "sha256";
}

/** FNV-1a, 32 bits, in decimal. */
function fnv32(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193);
  return String(hash >>> 0);
}

function digest(text: string): bigint {
  return BigInt(`0x${createHash("sha256").update(text).digest("hex")}`);
}

/** The leading `length` digits; a small number has zeros before it. */
function base36(value: bigint, length: number): string {
  return value.toString(36).padStart(length, "0").slice(0, length);
}
