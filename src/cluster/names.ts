/**
 * What is known of DNS names: the list of an agent (`cilium-dbg fqdn cache list -o json`), or a mapping from names to lists
 * of addresses, and what answers in the captures say. A file is taken for all there is: a name that is not in it has no
 * address but what a later answer gives it.
 */
import { type Address, parseAddress } from "./address.js";
import type { Problem } from "./problem.js";
import type { NamedText } from "./source-text.js";

export interface DNSNames {
  /** Lower case, without a final dot. */
  readonly addresses: ReadonlyMap<string, readonly Address[]>;
  /** Whether a name that is not there has no address; else its addresses are not known. */
  readonly complete: boolean;
  /** What single agents know of answers to their own pods. */
  readonly learned?: readonly LearnedAddress[];
}

/** An address of a name, as one node's agent learned it from an answer. */
export interface LearnedAddress {
  readonly node: string;
  /** Lower case, without a final dot. */
  readonly name: string;
  readonly address: Address;
  /** Its time to live is over: whether the agent still has it cannot be said. */
  readonly expired: boolean;
}

export function readNames({ name: file, text }: NamedText): { names: DNSNames; problems: Problem[] } {
  const problems: Problem[] = [];
  const addresses = new Map<string, Address[]>();
  const refuse = (what: string): void => {
    problems.push({ where: { file, line: 0 }, severity: "error", what });
  };
  for (const { name, texts } of rows(parsed(text), refuse)) {
    const key = name.toLowerCase().replace(/\.$/, "");
    const known = addresses.get(key) ?? [];
    for (const one of texts) {
      const address = typeof one === "string" ? parseAddress(one) : null;
      if (address === null) refuse(`${name}: found ${JSON.stringify(one)}, expected an IP address; it is not used`);
      else if (!known.some((other) => other.text === address.text)) known.push(address);
    }
    addresses.set(key, known);
  }
  return { names: { addresses, complete: true }, problems };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function rows(value: unknown, refuse: (what: string) => void): { name: string; texts: readonly unknown[] }[] {
  if (Array.isArray(value)) {
    return value.flatMap((row: { fqdn?: unknown; ips?: unknown } | null) => {
      if (typeof row?.fqdn === "string" && Array.isArray(row.ips)) return [{ name: row.fqdn, texts: row.ips }];
      refuse("found a row without fqdn and ips, expected both; it is not used");
      return [];
    });
  }
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([name, texts]) => {
      if (Array.isArray(texts)) return [{ name, texts }];
      refuse(`${name}: expected a list of addresses; it is not used`);
      return [];
    });
  }
  refuse("expected JSON: the output of cilium-dbg fqdn cache list -o json, or a mapping from names to lists of addresses");
  return [];
}
