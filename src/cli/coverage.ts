/** `--coverage FILE`: what the traffic exercised, line by line of the manifests. */
import { writeFileSync } from "node:fs";
import type { CoverageReport } from "../compare/coverage.js";
import { renderLcov } from "../report/coverage.js";
import { jsonText } from "../report/printable.js";
import { sentenceOf } from "./files.js";
import { UsageError } from "./usage.js";

export const COVERAGE_HELP = "write what the traffic exercised, by manifest line: rules by peer and port, default denies, frontends,"
  + " backends; lcov, or JSON where the name ends in .json";

export function writeCoverage(file: string, coverage: CoverageReport): void {
  const text = file.endsWith(".json") ? jsonText(coverage) : renderLcov(coverage);
  try {
    writeFileSync(file, text);
  } catch (error) {
    throw new UsageError(`cannot write ${file}: ${sentenceOf(error)}`);
  }
}
