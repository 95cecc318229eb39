/**
 * The IP sets of a node (ipset), loaded from `ipset save` or `ipset restore` text, asked by `-m set` and changed by
 * the SET target. What a line says wrong is a Problem with its number; the rest is loaded.
 *
 * Source: man ipset(8), net/netfilter/ipset of Linux.
 */
import type { Problem } from "../../../cluster/problem.js";

export class IpSets {
  /** `create`, `add`, `del`, `flush` and `destroy` lines. */
  load(_text: string, _options: { readonly file?: string } = {}): Problem[] {
    return [];
  }

  /** Names, sorted. */
  names(): string[] {
    return [];
  }

  has(_name: string): boolean {
    return false;
  }

  /** As `ipset save` prints it, sets in order of creation. */
  save(): string {
    return "";
  }
}

/** Parses one text into new sets. */
export function parseIpSets(text: string, file: string): { sets: IpSets; problems: Problem[] } {
  const sets = new IpSets();
  return { sets, problems: sets.load(text, { file }) };
}
