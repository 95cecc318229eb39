/**
 * Which DNS names a toFQDNs selector means (`pkg/fqdn/matchpattern`).
 *
 * `*` is any number of characters of one label; `*` alone is every name. A leading `**.` is one or more labels from 1.19;
 * before, it reads as `*.`.
 */
import type { CiliumVersion } from "../../options.js";

const CHARACTER = "[-a-zA-Z0-9_]";

/** @param name in lower case, with or without a final dot */
export function matchesFQDN(selector: { readonly matchName: string | null; readonly matchPattern: string | null }, name: string,
  version: CiliumVersion): boolean {
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
    found = new RegExp(`^${translated(withoutDot(pattern.trim().toLowerCase()), labels)}$`);
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
