/**
 * Names that Felix makes from hashes: chains, IP sets, devices, and the comment by which it knows its own rules.
 *
 * Source: felix/hashutils/id.go, libcalico-go/lib/hash/unique_id.go, felix/generictables/rules.go (RuleHashes),
 * libcalico-go workload_endpoint_default.go (VethNameForWorkload).
 */
import { createHash } from "node:crypto";

/** iptables takes 28 characters. */
const MAX_CHAIN_NAME = 28;
const MAX_SET_NAME = 31;
/** 96 bits. */
const RULE_HASH_LENGTH = 16;

/** `prefix + name`, or `prefix + _ + hash` where that is longer than a chain's name may be. */
export function chainName(prefix: string, name: string): string {
  const whole = prefix + name;
  if (whole.length < MAX_CHAIN_NAME || (whole.length === MAX_CHAIN_NAME && !name.startsWith("_"))) return whole;
  return `${prefix}_${createHash("sha256").update(name).digest("base64url")}`.slice(0, MAX_CHAIN_NAME);
}

/** `s:…` of a selector, `n:…` of a named port: kind, colon and the hash of both. */
export function uniqueId(kind: "s" | "n", content: string): string {
  return `${kind}:${createHash("sha224").update(`${kind}:${content}`).digest("base64url")}`;
}

/** `cali40` before an id, cut to what a set's name may be. */
export function setName(prefix: string, id: string): string {
  return (prefix + id).slice(0, MAX_SET_NAME);
}

/** A chain for several policies of one selector, named by all it holds. */
export function groupChainName(prefix: string, lines: readonly string[]): string {
  const hash = createHash("sha3-224").update(lines.map((line) => `${line}\n`).join("")).digest("base64url");
  return prefix + hash.slice(0, MAX_CHAIN_NAME - prefix.length);
}

/** The host end of a pod's veth, where Calico's CNI plugin names it; Azure's has another prefix and the same hash. */
export function vethName(prefix: string, namespace: string, pod: string): string {
  return prefix + createHash("sha1").update(`${namespace}.${pod}`).digest("hex").slice(0, 11);
}

/**
 * The hash of each rule of a chain; it takes in the chain's name and all rules before.
 * @param rules what Felix writes behind `-A CHAIN` and the hash's own comment
 */
export function ruleHashes(chain: string, rules: readonly string[]): string[] {
  let hash = createHash("sha224").update(chain).digest();
  return rules.map((rule) => {
    hash = createHash("sha224").update(hash).update(`-A ${chain} HASH${rule === "" ? "" : ` ${rule}`}`).digest();
    return hash.toString("base64url").slice(0, RULE_HASH_LENGTH);
  });
}
