#!/usr/bin/env node
/**
 * The commands of the README on a machine that has only Node and npm: install what the lockfile names, build, then
 * run. Plain JavaScript without dependencies, because it runs before there are any.
 *
 *   node scripts/bootstrap.mjs start   the main job on the bundled traces
 *   node scripts/bootstrap.mjs test    lint, types, house rules and every test; arguments go to vitest
 *   node scripts/bootstrap.mjs bench   the benchmarks
 *   node scripts/bootstrap.mjs verify-cilium --objects <dir>   Cilium's own compiled programs as referee
 *   node scripts/bootstrap.mjs build   install and build alone, for `npm pack`
 *
 * Works under ignore-scripts, NODE_ENV=production and omit=dev. An install that was interrupted, or packages that
 * went missing since, are noticed: the stamp is written last and knows how many files there were. Two runs at once
 * wait for each other. Exit code 70: it could not install or build.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const lockFolder = join(root, "build", ".bootstrap.lock");
const stampFile = join(root, "node_modules", ".twinplane-stamp");
/** A lock whose owner is gone, or older than this, is taken over. */
const LOCK_STALE_MS = 15 * 60 * 1000;
const COMMANDS = ["start", "test", "bench", "verify-cilium", "build"];

main(process.argv[2], process.argv.slice(3));

function main(command, rest) {
  if (Number(process.versions.node.split(".")[0]) < 20) fail(`twinplane needs Node 20 or newer; this is ${process.version}`);
  if (!COMMANDS.includes(command)) fail(`usage: node scripts/bootstrap.mjs ${COMMANDS.join("|")}`);
  takeLock();
  install();
  if (spawn(process.execPath, ["scripts/build.mjs"]) !== 0) fail("the build failed");
  freeLock();
  if (command === "start") start(rest);
  else if (command === "test") test(rest);
  else if (command === "bench") process.exit(spawn(process.execPath, ["--import", "tsx", "bench/run.ts", ...rest]));
  else if (command === "verify-cilium") process.exit(spawn(process.execPath, ["--import", "tsx", "test/referee/verify.ts", ...rest]));
}

/** `compare` exits 1 when it finds differences, which is what the bundled traces are there to show. */
function start(rest) {
  const status = spawn(process.execPath, ["bin/twinplane.mjs", "compare", "--demo", ...rest]);
  process.exit(status === 1 ? 0 : status);
}

function test(rest) {
  const checks = [
    [bin("@biomejs/biome", "bin/biome"), "lint", "."],
    [bin("typescript", "bin/tsc"), "--noEmit"],
    [bin("typescript", "bin/tsc"), "--noEmit", "-p", "assembly"],
    [bin("vitest", "vitest.mjs"), "run", ...rest],
  ];
  for (const check of checks) {
    const status = spawn(process.execPath, check);
    if (status !== 0) process.exit(status);
  }
}

function install() {
  const wanted = lockHash();
  const stamp = existsSync(stampFile) ? readFileSync(stampFile, "utf8") : "";
  if (stamp === `${wanted} ${fileCount()}`) return;
  rmSync(stampFile, { force: true });
  const npm = process.env.npm_execpath;
  const args = ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
  const status = npm !== undefined && /npm-cli\.c?js$/.test(npm) ? spawn(process.execPath, [npm, ...args])
    : spawn(process.platform === "win32" ? "npm.cmd" : "npm", args);
  if (status !== 0) fail("npm could not install the packages of package-lock.json");
  writeFileSync(stampFile, `${wanted} ${fileCount()}`);
}

function lockHash() {
  const hash = createHash("sha256");
  hash.update(readFileSync(join(root, "package-lock.json")));
  hash.update(`${process.platform} ${process.arch}`);
  return hash.digest("hex");
}

/** Files under node_modules, without what tools keep there for themselves (.vite, .cache). */
function fileCount() {
  const count = (folder) => {
    let files = 0;
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.name.startsWith(".") && folder.endsWith("node_modules")) continue;
      files += entry.isDirectory() ? count(join(folder, entry.name)) : 1;
    }
    return files;
  };
  const folder = join(root, "node_modules");
  return existsSync(folder) ? count(folder) : 0;
}

function takeLock() {
  process.on("exit", freeLock);
  try {
    mkdirSync(dirname(lockFolder), { recursive: true });
  } catch (error) {
    fail(`cannot write to ${root}: ${error.message}`);
  }
  for (let told = false; ; told = true) {
    try {
      mkdirSync(lockFolder);
      writeFileSync(join(lockFolder, "pid"), String(process.pid));
      return;
    } catch (error) {
      if (error.code !== "EEXIST") fail(`cannot write to ${root}: ${error.message}`);
    }
    const owner = lockOwner();
    if (isStale(owner)) takeAway(owner);
    else {
      if (!told) console.error("waiting for another twinplane install in this folder to end …");
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300);
    }
  }
}

/** Removes the lock where it is this process's. */
function freeLock() {
  if (lockOwner().pid === process.pid) rmSync(lockFolder, { recursive: true, force: true });
}

/** pid 0: not written yet. */
function lockOwner(folder = lockFolder) {
  try {
    const pidFile = join(folder, "pid");
    return { pid: existsSync(pidFile) ? Number(readFileSync(pidFile, "utf8")) : 0, ageMs: Date.now() - statSync(folder).mtimeMs };
  } catch {
    return { pid: 0, ageMs: 0 };
  }
}

function isStale({ pid, ageMs }) {
  if (ageMs > LOCK_STALE_MS) return true;
  if (pid === 0) return ageMs > 5000;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return error.code === "ESRCH";
  }
}

/** Takes away the lock of `owner`; a lock that another process has put in its place meanwhile goes back. */
function takeAway(owner) {
  const aside = `${lockFolder}.${process.pid}`;
  try {
    renameSync(lockFolder, aside);
    if (lockOwner(aside).pid === owner.pid) rmSync(aside, { recursive: true, force: true });
    else renameSync(aside, lockFolder);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
}

function bin(name, path) {
  return join(root, "node_modules", name, path);
}

function spawn(command, args) {
  const env = { ...process.env };
  delete env.NODE_ENV;
  const done = spawnSync(command, args, { cwd: root, stdio: "inherit", env, shell: command.endsWith(".cmd") });
  if (done.error !== undefined) fail(`cannot run ${command}: ${done.error.message}`);
  return done.status ?? 130;
}

function fail(message) {
  console.error(`twinplane: ${message}`);
  process.exit(70);
}
