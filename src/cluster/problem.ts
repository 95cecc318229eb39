/** What is wrong with something a user gave us. Collected and returned, never thrown. */

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
}

export function formatProblem(problem: Problem): string {
  const place = problem.where === null ? "" : `${problem.where.file}${problem.where.line > 0 ? `:${problem.where.line}` : ""}: `;
  return `${place}${problem.severity}: ${problem.what}`;
}
