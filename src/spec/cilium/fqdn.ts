/**
 * toFQDNs: a name, or a pattern in which `*` stands for characters of one label, and alone for every name. From 1.19 on `**.`
 * at the front is one label or more, and any number of stars alone every name. Names have no case and end with a dot.
 *
 * Source: Cilium's documentation, "DNS based" (matchName, matchPattern).
 */
import type { CiliumFQDN } from "../../cluster/cilium/types.js";

export function isNamed({ matchName, matchPattern }: CiliumFQDN, name: string, version: number): boolean {
  const plain = undotted(name);
  if (matchName !== null && undotted(matchName) === plain) return true;
  if (matchPattern === null) return false;
  const written = matchPattern.trim();
  if (version >= 19 ? /^\*+\.?$/.test(written) : written === "*") return true;
  const pattern = undotted(written).replace(/\*+/g, (stars) => (version >= 19 && stars.length > 1 ? "**" : "*"));
  const [lead, rest] = pattern.startsWith("**.") ? ["([-a-z0-9_]+\\.)+", pattern.slice(3)] : ["", pattern];
  const body = rest.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace(/\*+/g, "[-a-z0-9_]*");
  return new RegExp(`^${lead}${body}$`).test(plain);
}

function undotted(name: string): string {
  return name.trim().toLowerCase().replace(/\.$/, "");
}
