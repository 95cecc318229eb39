/**
 * Accepted differences: entries that somebody answers for, held against what was found. An accepted difference is
 * reported with its owner and does not fail; an entry that has expired accepts nothing, and one that fits nothing is said.
 *
 * The day is given: the same findings, entries and day give the same result.
 */
import type { Where } from "../cluster/problem.js";

export interface AcceptedEntry {
  readonly id: string;
  readonly scope: AcceptedScope;
  readonly owner: string;
  readonly reason: string;
  /** `YYYY-MM-DD`, the last day. */
  readonly expires: string;
  readonly where: Where;
}

/** Every field that is given must fit. Texts are globs over the report's own names. */
export interface AcceptedScope {
  readonly source?: string;
  readonly destination?: string;
  readonly namespace?: string;
  readonly pod?: string;
  readonly service?: string;
  readonly protocol?: string;
  /** First and last port, in host order. */
  readonly ports?: readonly [number, number];
  readonly subject?: string;
}

/** What an entry can accept: a finding's ends as the report names them, or a limit's subject. */
export interface Acceptable {
  readonly id: string;
  /** `default/web-1`, `node1`, an address; empty for a limit. */
  readonly source: string;
  /** The same, or `service default/web`. */
  readonly destination: string;
  readonly protocol: string;
  /** 0 where there is none. */
  readonly port: number;
  /** Of a limit; empty for a finding. */
  readonly subject: string;
}

export interface Acceptance {
  readonly owner: string;
  readonly reason: string;
  readonly expires: string;
  readonly where: Where;
}

/** An entry and what it did. */
export interface AcceptedRow extends Acceptance {
  readonly id: string;
  /** `source default/*, port 80`; empty: everywhere. */
  readonly scope: string;
  readonly state: "used" | "expired" | "never matched";
  /** Rows of the report that it accepts; of an expired one, that it would have accepted. */
  readonly rows: number;
}

export interface AcceptedResult {
  /** By the order of what was given; null: not accepted. */
  readonly of: readonly (Acceptance | null)[];
  readonly entries: readonly AcceptedRow[];
}

/** @param today `YYYY-MM-DD` */
export function acceptKnown(found: readonly Acceptable[], entries: readonly AcceptedEntry[], today: string): AcceptedResult {
  const rows = entries.map(() => 0);
  const of = found.map((one): Acceptance | null => {
    const fits = entries.flatMap((entry, index) => (matches(entry, one) ? [index] : []));
    for (const index of fits) rows[index]++;
    const valid = fits.find((index) => !isExpired(entries[index], today));
    return valid === undefined ? null : acceptanceOf(entries[valid]);
  });
  return {
    of, entries: entries.map((entry, index) => ({
      ...acceptanceOf(entry), id: entry.id, scope: scopeText(entry.scope), rows: rows[index],
      state: isExpired(entry, today) ? "expired" : rows[index] === 0 ? "never matched" : "used",
    })),
  };
}

function matches({ id, scope }: AcceptedEntry, one: Acceptable): boolean {
  const ends = [one.source, one.destination];
  const named = ends.map((end) => end.replace(/^service /, ""));
  const pods = ends.filter((end) => !end.startsWith("service ") && end.includes("/"));
  const service = one.destination.startsWith("service ") ? one.destination.slice("service ".length) : null;
  return id === one.id
    && fits(scope.source, [one.source]) && fits(scope.destination, [one.destination])
    && fits(scope.namespace, named.filter((end) => end.includes("/")).map((end) => end.slice(0, end.indexOf("/"))))
    && fits(scope.pod, pods) && fits(scope.service, service === null ? [] : [service])
    && fits(scope.protocol, [one.protocol]) && fits(scope.subject, [one.subject])
    && (scope.ports === undefined || (one.port >= scope.ports[0] && one.port <= scope.ports[1]));
}

function fits(glob: string | undefined, texts: readonly string[]): boolean {
  return glob === undefined || texts.some((text) => globMatches(glob, text));
}

/** `*` stands for any text, an empty one too; everything else for itself. */
export function globMatches(glob: string, text: string): boolean {
  const parts = glob.split("*");
  if (parts.length === 1) return glob === text;
  const last = parts[parts.length - 1];
  if (!text.startsWith(parts[0]) || !text.endsWith(last) || text.length < parts[0].length + last.length) return false;
  let at = parts[0].length;
  for (const part of parts.slice(1, -1)) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > text.length - last.length) return false;
    at = found + part.length;
  }
  return at <= text.length - last.length;
}

function isExpired({ expires }: AcceptedEntry, today: string): boolean {
  return expires < today;
}

function acceptanceOf({ owner, reason, expires, where }: AcceptedEntry): Acceptance {
  return { owner, reason, expires, where };
}

function scopeText({ ports, ...texts }: AcceptedScope): string {
  const parts = Object.entries(texts).map(([name, glob]) => `${name} ${glob}`);
  if (ports !== undefined) parts.push(`port ${ports[0] === ports[1] ? ports[0] : ports.join("-")}`);
  return parts.join(", ");
}
