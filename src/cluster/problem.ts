/** What is wrong with something a user gave us. Collected and returned, never thrown. */
import { printable } from "./printable.js";

export interface Where {
  /** The file as the user named it; `-` for standard input, `<inline>` for an object inside a scenario. */
  readonly file: string;
  /** 1-based line, 0 where unknown. */
  readonly line: number;
}

export interface Problem {
  readonly where: Where | null;
  /** `error`: the thing was not used. `warning`: it was used, and something about it deserves a look. */
  readonly severity: "error" | "warning";
  /** One sentence: what was found and what was expected. */
  readonly what: string;
  /** A manifest's text could not be read from here on, or a document of it as a whole: which objects were in it is not known. */
  readonly incomplete?: true;
}

/** Manifests of which an unknown part was not read. */
export function incompleteFiles(problems: readonly Problem[]): string[] {
  return [...new Set(problems.flatMap(({ incomplete, where }) => (incomplete === true && where !== null ? [where.file] : [])))].sort();
}

/** One line: what a file says and is quoted cannot begin another, nor move a terminal's cursor. */
export function formatProblem(problem: Problem): string {
  const place = problem.where === null ? "" : `${problem.where.file}${problem.where.line > 0 ? `:${problem.where.line}` : ""}: `;
  return printable(`${place}${problem.severity}: ${problem.what}`);
}
