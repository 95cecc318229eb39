/**
 * Compiles an AssemblyScript text in memory, as if it lay in assembly/ beside index.ts: for tests that need a module
 * with more, or less, than the real one.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import asc from "assemblyscript/asc";

const root = fileURLToPath(new URL("..", import.meta.url));
const entry = "assembly/test-entry.ts";

export async function compileAssembly(text: string, options: readonly string[] = ["--use", "abort=assembly/fault/fault"]): Promise<Uint8Array> {
  let wasm: Uint8Array | null = null;
  const { error, stderr } = await asc.main([
    entry, "--outFile", "out.wasm", "--config", "none", "--runtime", "stub", "--importMemory", "--initialMemory", "2",
    "--maximumMemory", "65536", "--enable", "simd", "--use", "TRACE=0", "-O1", ...options,
  ], {
    readFile: (name) => (name === entry ? text : read(name)),
    writeFile: (_name, contents) => {
      if (contents instanceof Uint8Array) wasm = contents;
    },
    listFiles: (folder) => (existsSync(join(root, folder)) ? readdirSync(join(root, folder)) : []),
  });
  if (error !== null || wasm === null) throw new Error(`asc: ${error?.message ?? "no output"}\n${stderr.toString()}`);
  return wasm;
}

function read(name: string): string | null {
  const file = join(root, name);
  return existsSync(file) ? readFileSync(file, "utf8") : null;
}
