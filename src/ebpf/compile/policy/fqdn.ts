/**
 * Which DNS names a toFQDNs selector means (`pkg/fqdn/matchpattern`), and the peers that they stand for.
 *
 * `*` is any number of characters of one label; `*` alone is every name. A leading `**.` is one or more labels from 1.19;
 * before, it reads as `*.`.
 */
import { type Address, type Prefix, prefixOf } from "../../../cluster/address.js";
import type { DNSNames } from "../../../cluster/names.js";
import type { CiliumVersion } from "../../options.js";
import type { Peer } from "./entry.js";

interface FQDNSelector {
  readonly matchName: string | null;
  readonly matchPattern: string | null;
}

/**
 * Addresses of the names that the selectors mean, with a note where one is not certain: an address whose time to live is over
 * stays as long as connections to it do, until some garbage collection (`pkg/fqdn/doc.go`).
 */
export function namedPeers(selectors: readonly FQDNSelector[], names: DNSNames | null, version: CiliumVersion)
  : { readonly peer: Peer; readonly note?: string }[] {
  const isMeant = (name: string): boolean => selectors.some((one) => matchesFQDN(one, name, version));
  const whole = (address: Address): Prefix => prefixOf(address, address.bytes.length * 8);
  const listed = [...names?.addresses ?? []].filter(([name]) => isMeant(name)).flatMap(([, addresses]) => addresses);
  const learned = (names?.learned ?? []).filter(({ name }) => isMeant(name));
  return [
    ...listed.map((address) => ({ peer: { kind: "cidr" as const, prefix: whole(address), except: [] } })),
    ...learned.map(({ node, name, address, expired }) => (expired
      ? { peer: { kind: "unknown" as const, within: whole(address), node }, note: `: the answer for ${name} is older than its TTL` }
      : { peer: { kind: "cidr" as const, prefix: whole(address), except: [], node } })),
    ...(names?.complete === true ? [] : [{ peer: { kind: "unknown" as const }, note: ": its addresses are not known" }]),
  ];
}

const CHARACTER = "[-a-zA-Z0-9_]";

/** @param name in lower case, with or without a final dot */
export function matchesFQDN(selector: FQDNSelector, name: string, version: CiliumVersion): boolean {
  const plain = withoutDot(name.toLowerCase());
  if (selector.matchName !== null) return withoutDot(selector.matchName.toLowerCase()) === plain;
  return expressionOf(selector.matchPattern ?? "", version).test(plain);
}

const expressions = new Map<string, RegExp>();

function expressionOf(pattern: string, version: CiliumVersion): RegExp {
  const labels = version === "1.19" || version === "1.20";
  const key = `${labels} ${pattern}`;
  let found = expressions.get(key);
  if (found === undefined) {
    const trimmed = pattern.trim().toLowerCase();
    // Before 1.19 `*.` is one label.
    found = new RegExp(`^${!labels && trimmed === "*." ? `${CHARACTER}*` : translated(withoutDot(trimmed), labels)}$`);
    if (expressions.size < 10_000) expressions.set(key, found);
  }
  return found;
}

function translated(pattern: string, labels: boolean): string {
  // Before 1.19 only `*` itself is every name; `**` is then one label.
  if (labels ? /^\*+$/.test(pattern) : pattern === "*") return `(${CHARACTER}+[.])*${CHARACTER}+`;
  const prefix = labels ? /^\*{2,}\./.exec(pattern) : null;
  const rest = prefix === null ? pattern : pattern.slice(prefix[0].length);
  const head = prefix === null ? "" : `${CHARACTER}+([.]${CHARACTER}+)*[.]`;
  return head + rest.replaceAll(".", "[.]").replace(/\*+/g, `${CHARACTER}*`);
}

function withoutDot(text: string): string {
  return text.endsWith(".") ? text.slice(0, -1) : text;
}
