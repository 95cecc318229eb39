#!/usr/bin/env node
/**
 * Pages of docs/differences from the catalogue. Without a flag it says which differ and exits 1; `--update` writes them.
 *
 *   node scripts/differences.mjs [--update]
 */
import { spawnSync } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const { status } = spawnSync(process.execPath, ["--import", "tsx", "test/difference-pages.ts", ...process.argv.slice(2)],
  { cwd: root, stdio: "inherit" });
process.exit(status ?? 1);
