/** The files of docs/differences as the catalogue has them: what scripts/differences.mjs writes and a test holds them to. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { CATALOGUE } from "../src/compare/catalogue/index.js";
import { differenceMarkdown, differencesIndex } from "../src/report/explain.js";

const folder = fileURLToPath(new URL("../docs/differences", import.meta.url));

export function pages(): Map<string, string> {
  return new Map([["README.md", differencesIndex(CATALOGUE)],
    ...CATALOGUE.map((row) => [`${row.id}.md`, differenceMarkdown(row)] as const)]);
}

/** Names of files that are missing, stale or of no row, sorted. */
export function stalePages(): string[] {
  const wanted = pages();
  const there = existsSync(folder) ? readdirSync(folder) : [];
  const stale = [...wanted].filter(([name, text]) => !there.includes(name) || readFileSync(join(folder, name), "utf8") !== text);
  return [...stale.map(([name]) => name), ...there.filter((name) => !wanted.has(name))].sort();
}

function update(): void {
  mkdirSync(folder, { recursive: true });
  const wanted = pages();
  for (const name of readdirSync(folder)) if (!wanted.has(name)) rmSync(join(folder, name));
  for (const [name, text] of wanted) writeFileSync(join(folder, name), text);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const stale = stalePages();
  if (process.argv.includes("--update")) update();
  else if (stale.length > 0) process.stdout.write(`differ from the catalogue: ${stale.join(", ")}\n`);
  process.exit(stale.length > 0 && !process.argv.includes("--update") ? 1 : 0);
}
