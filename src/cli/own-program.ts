/**
 * Programs of the user's own: an AssemblyScript file becomes a module whose step it replaces or follows. Compiled by the
 * AssemblyScript that this version was built with, from the sources in the package's assembly/, with the user's folder in
 * place of assembly/own/ and a text that calls it in place of assembly/own.ts.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatProblem, type Problem } from "../cluster/problem.js";
import { moduleProblem } from "../ebpf/machine.js";
import { sentenceOf } from "./files.js";
import { UsageError } from "./usage.js";
import type { WasmBytes } from "./wasm.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Where the user's folder seems to lie. */
const FOLDER = "assembly/own/";
const GLUE = "assembly/own.ts";
/** What the package is called in imports of the user's file. */
const PACKAGE = /(["'])twinplane\/assembly\//g;
const STEPS = ["policy"] as const;
const NONE = new Uint8Array();

export interface Compiled {
  readonly wasm: WasmBytes;
  readonly problems: readonly Problem[];
}

/**
 * A module that was built, or a source that is built now. Throws a UsageError where it is neither.
 *
 * @param traced whether the module that records steps is needed too
 */
export async function ownProgram(path: string, traced: boolean): Promise<WasmBytes> {
  if (extname(path) !== ".wasm") {
    const { wasm, problems } = await compileProgram(path, traced);
    if (problems.length === 0) return wasm;
    throw new UsageError(`${path} does not compile\n${problems.map(formatProblem).join("\n")}`);
  }
  const beside = path.replace(/\.wasm$/, ".traced.wasm");
  return { fast: checked(path, bytesOf(path)), traced: traced ? checked(beside, bytesOf(beside)) : NONE };
}

export async function compileProgram(path: string, withTraced: boolean): Promise<Compiled> {
  const source = textOf(path);
  const steps = STEPS.filter((step) => new RegExp(`^export function ${step}\\b`, "m").test(source));
  const nothing = { fast: NONE, traced: NONE };
  if (steps.length === 0) {
    return { wasm: nothing, problems: [{ where: { file: path, line: 1 }, severity: "error",
      what: `exports no step; expected ${STEPS.map((step) => `export function ${step}(verdict: i32): i32`).join(" or ")}` }] };
  }
  const asc = await compiler();
  const first = await run(asc, path, "fast", ["--optimizeLevel", "0", "--textFile", "own.wat"]);
  if (first.problems.length > 0) return { wasm: nothing, problems: first.problems };
  if (/\$~lib\/rt\/\w+\/__(new|alloc)/.test(first.text)) {
    return { wasm: nothing, problems: [{ where: { file: path, line: 0 }, severity: "error",
      what: "something is allocated (new, an array, a string made at run time); expected none, as memory is laid out for the maps" }] };
  }
  const fast = await run(asc, path, "fast", []);
  const traced = withTraced ? (await run(asc, path, "traced", [])).wasm : NONE;
  const problem = moduleProblem(fast.wasm);
  const problems: Problem[] = problem === null ? [] : [{ where: { file: path, line: 0 }, severity: "error", what: problem }];
  return { wasm: { fast: fast.wasm, traced }, problems };
}

type Asc = typeof import("assemblyscript/asc");

/** It is no dependency of every installation: only this needs it. */
async function compiler(): Promise<Asc> {
  const wanted = (JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { devDependencies: Record<string, string> })
    .devDependencies["assemblyscript"];
  const install = `npm install assemblyscript@${wanted}`;
  try {
    const asc = (await import("assemblyscript/asc")) as unknown as Asc & { readonly default: Asc };
    const found = asc.version ?? asc.default.version;
    if (found !== wanted) throw new UsageError(`AssemblyScript ${found} is installed, expected ${wanted}: ${install}`);
    return asc.default ?? asc;
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new UsageError(`a program of your own is compiled by AssemblyScript, which is not installed: ${install}`);
  }
}

interface Run {
  readonly wasm: Uint8Array<ArrayBuffer>;
  readonly text: string;
  readonly problems: readonly Problem[];
}

async function run(asc: Asc, path: string, target: "fast" | "traced", more: readonly string[]): Promise<Run> {
  let wasm = new Uint8Array();
  let text = "";
  const { error, stderr } = await asc.main(["--noColors", "--config", "asconfig.json", "--target", target,
    "--outFile", "own.wasm", ...more], {
    readFile: (name) => readSource(name, path),
    writeFile: (name, contents) => {
      if (contents instanceof Uint8Array) wasm = Uint8Array.from(contents);
      else if (name.endsWith(".wat")) text = contents;
    },
    listFiles: (folder) => (existsSync(join(ROOT, folder)) ? readdirSync(join(ROOT, folder)) : []),
  });
  return { wasm, text, problems: error === null ? [] : problemsOf(stderr.toString(), path, error.message) };
}

/** A source as the compiler asks for it; null where there is none. */
function readSource(name: string, path: string): string | null {
  if (name === GLUE) return glue();
  const own = name.startsWith(FOLDER) ? name.slice(FOLDER.length) : null;
  const file = own === null ? join(ROOT, name) : own === "program.ts" ? path : join(dirname(path), own);
  if (!existsSync(file)) return null;
  const text = readFileSync(file, "utf8");
  return own === null ? text : text.replace(PACKAGE, "$1../");
}

/** Calls what the user's file exports, with the step's inputs in PolicyStep. */
function glue(): string {
  return `import { PolicyStep } from "./step";
import { ICMP, ICMPV6 } from "./programs/packet";
import { policy as ownPolicy } from "./own/program";
export class Own {
  static policy(verdict: i32, egress: bool, policy: u32, remote: u32, protocol: u8, port: u16): i32 {
    PolicyStep.egress = egress;
    PolicyStep.policy = policy;
    PolicyStep.remote = remote;
    PolicyStep.protocol = protocol;
    PolicyStep.port = protocol == ICMP || protocol == ICMPV6 ? 0 : bswap(port);
    const own: i32 = ownPolicy(verdict);
    return own == verdict ? verdict : PolicyStep.decide(own);
  }
}
`;
}

/** The compiler's messages with the user's file and line; those of other places are of the step's form. */
function problemsOf(stderr: string, path: string, otherwise: string): Problem[] {
  const found = [...stderr.matchAll(/^ERROR (.+)\n(?:.*\n)*?.* in ([^\s(]+)\((\d+),\d+\)/gm)].map((match): Problem => {
    const [, what, name, line] = match;
    if (name.startsWith(FOLDER)) {
      const own = name.slice(FOLDER.length);
      return { where: { file: own === "program.ts" ? path : join(dirname(path), own), line: Number(line) }, severity: "error", what };
    }
    const place = textOf(path).split("\n").findIndex((text) => text.startsWith("export function policy")) + 1;
    return { where: { file: path, line: place }, severity: "error", what: `${what}; expected export function policy(verdict: i32): i32` };
  });
  return found.length > 0 ? found : [{ where: { file: path, line: 0 }, severity: "error", what: otherwise }];
}

function checked(path: string, bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const problem = moduleProblem(bytes);
  if (problem !== null) throw new UsageError(`${path}: ${problem}`);
  return bytes;
}

function bytesOf(path: string): Uint8Array<ArrayBuffer> {
  try {
    return new Uint8Array(readFileSync(path));
  } catch (error) {
    throw new UsageError(`${path}: ${sentenceOf(error)}`);
  }
}

function textOf(path: string): string {
  if (extname(path) !== ".ts") throw new UsageError(`${basename(path)} is neither AssemblyScript (.ts) nor a module (.wasm)`);
  return new TextDecoder().decode(bytesOf(path));
}
