/** `--accepted` and `--today`: files of accepted differences, and the day that decides what has expired. */
import type { Command } from "commander";
import type { AcceptedEntry } from "../accepted/accepted.js";
import { readAccepted } from "../accepted/read.js";
import type { AcceptedInput } from "../accepted/report.js";
import type { Problem } from "../cluster/problem.js";
import { differenceOf, UNEXPLAINED } from "../compare/catalogue/index.js";
import { REVIEW_IDS } from "../review/report.js";
import { readText } from "./files.js";
import { UsageError } from "./usage.js";

export interface AcceptedOptions {
  readonly accepted?: readonly string[];
  readonly today?: string;
}

export function addAcceptedOptions(command: Command): Command {
  return command
    .option("--accepted <file...>", "differences that are accepted (YAML: id, scope, owner, reason, expires): they are reported and do not"
      + " fail; schema/accepted.schema.json has the fields")
    .option("--today <date>", "the day that decides what has expired (YYYY-MM-DD; default: the clock's, in UTC)");
}

/** Differences and limits of the catalogue, and what a review calls its rows: one file may be for both. */
function isAcceptable(id: string): boolean {
  return id === UNEXPLAINED || differenceOf(id) !== undefined || Object.values<string>(REVIEW_IDS).includes(id);
}

/** null where no file is given. Without --today the report depends on the clock, and says the day it took. */
export function acceptedOf(options: AcceptedOptions): { readonly input: AcceptedInput; readonly problems: readonly Problem[] } | null {
  const today = options.today ?? new Date().toISOString().slice(0, 10);
  const time = Date.parse(`${today}T00:00:00Z`);
  if (Number.isNaN(time) || new Date(time).toISOString().slice(0, 10) !== today) {
    throw new UsageError(`--today is a day such as 2027-03-31, not '${today}'`);
  }
  if (options.accepted === undefined) return null;
  const entries: AcceptedEntry[] = [];
  const problems: Problem[] = [];
  for (const file of options.accepted) {
    const read = readText(file);
    if (!("text" in read)) throw new UsageError(`--accepted ${file}: ${read.what}`);
    const found = readAccepted({ name: file, text: read.text }, isAcceptable);
    entries.push(...found.entries);
    problems.push(...found.problems);
  }
  return { input: { entries, today }, problems };
}
