/**
 * Builds the project: assembly/abi.gen.ts from the contract, build/fast.wasm and build/traced.wasm from assembly/,
 * dist/ from src/. A step whose inputs are those of the last build is skipped; build/.stamp keeps their hashes and is
 * written after the step is through.
 *
 * Plain JavaScript, because it runs before anything is compiled. `--force` does every step.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
process.chdir(root);
const stampFile = "build/.stamp";
const force = process.argv.includes("--force");

class BuildError extends Error {}

try {
  await main();
} catch (error) {
  if (!(error instanceof BuildError)) throw error;
  process.stderr.write(`build: ${error.message}\n`);
  process.exitCode = 1;
}

async function main() {
  mkdirSync("build", { recursive: true });
  await step("contract", ["src/contract", "src/dataplane.ts"], ["assembly/abi.gen.ts"], emit);
  for (const target of ["fast", "traced"]) {
    await step(target, ["assembly", "asconfig.json", "node_modules/assemblyscript/package.json"], [`build/${target}.wasm`],
      () => compileAssembly(target));
  }
  await step("dist", ["src", "tsconfig.json", "tsconfig.build.json", "node_modules/typescript/package.json"],
    ["dist"], compileTypeScript);
}

/** Runs `work` unless inputs and outputs are as the stamp has them. Inputs are hashed before, outputs after it. */
async function step(name, inputs, outputs, work) {
  const before = hashOf(inputs);
  const last = readStamp()[name];
  if (!force && last?.inputs === before && last.outputs === hashOf(outputs)) return;
  const began = performance.now();
  await work();
  writeFileSync(stampFile, JSON.stringify({ ...readStamp(), [name]: { inputs: before, outputs: hashOf(outputs) } }, null, 2));
  process.stderr.write(`build: ${name} ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
}

/** With CI set a stale file is an error: what is committed must be what the contract says. */
function emit() {
  const program = 'import { emitAbi } from "./src/contract/emit.ts"; process.stdout.write(emitAbi());';
  const text = run("tsx", ["--import", "tsx", "--input-type=module", "--eval", program]);
  const file = "assembly/abi.gen.ts";
  if (existsSync(file) && readFileSync(file, "utf8") === text) return;
  if (process.env.CI) fail(`${file} is not what src/contract says: run \`npm run build\` and commit it`);
  writeFileSync(file, text);
}

async function compileAssembly(target) {
  const { default: asc } = await import("assemblyscript/asc");
  const { error, stderr } = await asc.main(["--target", target]);
  process.stderr.write(stderr.toString());
  if (error) fail(`asc could not build ${target}: ${error.message}`);
}

/** Into a folder beside, which takes the place of dist/ when it is whole: a failed build leaves the last one. */
function compileTypeScript() {
  const fresh = `build/dist-${process.pid}`;
  const old = `build/old-${process.pid}`;
  try {
    run("tsc", ["node_modules/typescript/bin/tsc", "-p", "tsconfig.build.json", "--outDir", fresh]);
    if (existsSync("dist")) renameSync("dist", old);
    renameSync(fresh, "dist");
  } finally {
    for (const folder of [fresh, old]) rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a Node program of a development dependency and returns what it printed; throws where it failed. */
function run(name, args) {
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (error || status !== 0) {
    process.stderr.write(stdout + stderr);
    fail(`${name} failed${error ? `: ${error.message}` : ""}`);
  }
  return stdout;
}

function readStamp() {
  try {
    return JSON.parse(readFileSync(stampFile, "utf8"));
  } catch {
    return {};
  }
}

/** Names and contents of all files below the inputs. */
function hashOf(inputs) {
  const hash = createHash("sha256");
  for (const file of inputs.flatMap(filesOf)) hash.update(`${file}\0`).update(readFileSync(file)).update("\0");
  return hash.digest("hex");
}

function filesOf(path) {
  if (!existsSync(path)) return [];
  const entries = safeList(path);
  if (entries === null) return [relative(root, path) || path];
  return entries.sort((a, b) => (a < b ? -1 : 1)).flatMap((name) => filesOf(join(path, name)));
}

/** Names in a folder, or null where it is a file. */
function safeList(path) {
  try {
    return readdirSync(path);
  } catch (error) {
    if (error.code === "ENOTDIR") return null;
    throw error;
  }
}

/** Ends the build; thrown, so that what is half done is cleared away on the way out. */
function fail(message) {
  throw new BuildError(message);
}
