/**
 * Reads files of accepted differences (YAML or JSON): each entry with its line, and what is wrong with it as a Problem. An
 * entry that is wrong accepts nothing.
 */
import { readDocuments } from "../cluster/documents.js";
import type { Path, Positions } from "../cluster/positions.js";
import type { Problem } from "../cluster/problem.js";
import type { NamedText } from "../cluster/source-text.js";
import { misfits } from "../scenario/check.js";
import type { AcceptedEntry, AcceptedScope } from "./accepted.js";
import { ACCEPTED_SCHEMA } from "./schema.js";

export interface AcceptedFile {
  readonly entries: readonly AcceptedEntry[];
  readonly problems: readonly Problem[];
}

type RawEntry = Readonly<Record<string, string | number | undefined>>;

/** @param known whether there is a difference or limit of this id */
export function readAccepted(source: NamedText, known: (id: string) => boolean): AcceptedFile {
  const { items, problems: ofText } = readDocuments(source);
  const problems: Problem[] = [...ofText];
  const entries: AcceptedEntry[] = [];
  if (items.length === 0 && problems.length === 0) {
    problems.push({ where: { file: source.name, line: 0 }, severity: "error", what: "this file is empty; expected accepted: and a list" });
  }
  for (const { value, positions } of items) {
    const wrong = misfits(value, ACCEPTED_SCHEMA);
    for (const { path, what } of wrong) problems.push(problemAt(positions, path, what));
    const bad = new Set(wrong.map(({ path }) => path[1]));
    const list = (value as { readonly accepted?: unknown } | null)?.accepted;
    if (!Array.isArray(list)) continue;
    list.forEach((raw: RawEntry, index) => {
      const path = ["accepted", index];
      if (bad.has(index)) return;
      const what = refusal(raw, known);
      if (what === null) entries.push(entryOf(raw, positions, path));
      else problems.push(problemAt(positions, path, what));
    });
  }
  return { entries, problems };
}

/** What the schema cannot say; null: nothing is wrong. */
function refusal(raw: RawEntry, known: (id: string) => boolean): string | null {
  const id = String(raw["id"]);
  if (!known(id)) return `there is no difference ${id}; \`twinplane explain\` lists them`;
  const expires = String(raw["expires"]);
  const time = Date.parse(`${expires}T00:00:00Z`);
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== expires) return `expires: found "${expires}", expected a day`;
  const [first, last] = portsOf(raw) ?? [0, 0];
  if (first > last || last > 65535) return `port: found "${raw["port"]}", expected a range such as 8000-8100`;
  for (const name of ["owner", "reason"]) if (String(raw[name]).trim() === "") return `${name} is empty, expected who or why`;
  if (id !== "UNEXPLAINED") return null;
  // What nobody has explained may be a wrong verdict: it is accepted one flow at a time, by name.
  const vague = ["source", "destination"].filter((name) => raw[name] === undefined || String(raw[name]).includes("*"));
  return vague.length === 0 ? null
    : `UNEXPLAINED is accepted for one source and one destination alone, without *; found none such as ${vague.join(" and ")}`;
}

function entryOf(raw: RawEntry, positions: Positions, path: Path): AcceptedEntry {
  const scope: Record<string, string> = {};
  for (const name of ["source", "destination", "namespace", "pod", "service", "protocol", "subject"]) {
    if (raw[name] !== undefined) scope[name] = String(raw[name]);
  }
  const ports = portsOf(raw);
  return {
    id: String(raw["id"]), scope: { ...scope, ...(ports === null ? {} : { ports }) } as AcceptedScope,
    owner: String(raw["owner"]), reason: String(raw["reason"]), expires: String(raw["expires"]), where: positions.where(path),
  };
}

function portsOf({ port }: RawEntry): readonly [number, number] | null {
  if (port === undefined) return null;
  const [first, last = first] = String(port).split("-").map(Number);
  return [first, last];
}

function problemAt(positions: Positions, path: Path, what: string): Problem {
  const place = path.map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`)).join("").replace(/^\./, "");
  return { where: positions.where(path), severity: "error",
    what: `${place === "" ? "accepted differences" : place}: ${what}; it accepts nothing` };
}
