/** What a log tells became of its connections, beside what the side says that they were recorded on. */
import type { FatesSummary } from "../compare/recorded-fates.js";
import { count } from "./report.js";
import type { TextOptions } from "./text.js";

/** @param side what the traffic is taken to be recorded on, such as `the current side` */
export function fateLines({ compared, otherwise, examples }: FatesSummary, side: string, paint: TextOptions["paint"]): string[] {
  if (compared === 0) return [];
  const alike = `  ${compared - otherwise} of ${count(compared, "connection")} whose end the log tells fare so in ${side} too`;
  if (otherwise === 0) return [alike];
  return [alike, paint("yellow", `  ${otherwise} otherwise: ${side} is not what was in force when they were recorded`),
    ...examples.map(({ file, line, source, destination, port, recorded, current }) =>
      `    ${file} line ${line}: ${source} -> ${destination}${port === 0 ? "" : `:${port}`}`
        + ` ${recorded === "denied" ? "denied by policy" : "arrived"} as recorded, ${current}`)];
}
