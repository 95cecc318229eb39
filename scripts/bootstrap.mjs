#!/usr/bin/env node
/**
 * The two commands of the README on a machine that has only Node and npm: install what the lockfile names, build,
 * then run. Plain JavaScript without dependencies, because it runs before there are any.
 *
 *   node scripts/bootstrap.mjs start   the main job on the bundled traces
 *   node scripts/bootstrap.mjs test    lint, types, house rules and every test
 *   node scripts/bootstrap.mjs bench   the benchmarks
 *
 * Works under ignore-scripts, NODE_ENV=production and omit=dev; an interrupted install is noticed because the stamp
 * is written last; two runs at once wait for each other.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const lockFolder = join(root, ".bootstrap.lock");
const stampFile = join(root, "node_modules", ".twinplane-stamp");
/** A lock whose owner is gone, or older than this, is taken over. */
const LOCK_STALE_MS = 15 * 60 * 1000;

main(process.argv[2], process.argv.slice(3));

function main(command, rest) {
  if (Number(process.versions.node.split(".")[0]) < 20) fail(`twinplane needs Node 20 or newer; this is ${process.version}`);
  if (!["start", "test", "bench"].includes(command)) fail("usage: node scripts/bootstrap.mjs start|test|bench");
  takeLock();
  try {
    install();
    run(process.execPath, ["scripts/build.mjs"]);
  } finally {
    rmSync(lockFolder, { recursive: true, force: true });
  }
  if (command === "start") start(rest);
  else if (command === "test") test(rest);
  else process.exit(spawn(process.execPath, ["--import", "tsx", "bench/run.ts", ...rest]));
}

/** `compare` exits 1 when it finds differences, which is what the bundled traces are there to show. */
function start(rest) {
  const status = spawn(process.execPath, ["bin/twinplane.mjs", "compare", "--demo", ...rest]);
  process.exit(status === 1 ? 0 : status);
}

function test(rest) {
  run(process.execPath, [bin("@biomejs/biome", "bin/biome"), "lint", "."]);
  run(process.execPath, [bin("typescript", "bin/tsc"), "--noEmit"]);
  run(process.execPath, [bin("typescript", "bin/tsc"), "--noEmit", "-p", "assembly"]);
  process.exit(spawn(process.execPath, [bin("vitest", "vitest.mjs"), "run", ...rest]));
}

function install() {
  const wanted = stampText();
  if (existsSync(stampFile) && readFileSync(stampFile, "utf8") === wanted) return;
  const npm = process.env.npm_execpath;
  const args = ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  if (npm !== undefined && /\.c?js$/.test(npm)) run(process.execPath, [npm, ...args]);
  else run(process.platform === "win32" ? "npm.cmd" : "npm", args);
  writeFileSync(stampFile, wanted);
}

function stampText() {
  const hash = createHash("sha256");
  hash.update(readFileSync(join(root, "package-lock.json")));
  hash.update(`${process.platform} ${process.arch}`);
  return hash.digest("hex");
}

function takeLock() {
  let told = false;
  for (;;) {
    try {
      mkdirSync(lockFolder);
      writeFileSync(join(lockFolder, "pid"), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
    }
    if (lockIsStale()) {
      rmSync(lockFolder, { recursive: true, force: true });
      continue;
    }
    if (!told) console.error("waiting for another twinplane install in this folder to end …");
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
  }
}

function lockIsStale() {
  try {
    const age = Date.now() - statSync(lockFolder).mtimeMs;
    if (age > LOCK_STALE_MS) return true;
    const pidFile = join(lockFolder, "pid");
    if (!existsSync(pidFile)) return age > 5000;
    process.kill(Number(readFileSync(pidFile, "utf8")), 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

function bin(name, path) {
  return join(root, "node_modules", name, path);
}

function run(command, args) {
  const status = spawn(command, args);
  if (status !== 0) process.exit(status);
}

function spawn(command, args) {
  const env = { ...process.env };
  delete env.NODE_ENV;
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", env });
  if (done.error !== undefined) fail(`cannot run ${command}: ${done.error.message}`);
  return done.status ?? 70;
}

function fail(message) {
  console.error(message);
  process.exit(70);
}
