#!/usr/bin/env node
import { existsSync } from "node:fs";

const built = new URL("../dist/cli/start.js", import.meta.url);
if (existsSync(built)) {
  const { start } = await import(built.href);
  await start();
} else {
  process.stderr.write("twinplane: this copy is not built; `npm start` in its folder installs what it needs, and builds it\n");
  process.exitCode = 2;
}
