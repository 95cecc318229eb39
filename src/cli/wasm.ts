/** The built WebAssembly modules, from beside the package. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

export interface WasmBytes {
  readonly fast: Uint8Array<ArrayBuffer>;
  readonly traced: Uint8Array<ArrayBuffer>;
}

export function readWasm(): WasmBytes {
  return { fast: read("fast.wasm"), traced: read("traced.wasm") };
}

function read(name: string): Uint8Array<ArrayBuffer> {
  const file = fileURLToPath(new URL(`../../build/${name}`, import.meta.url));
  if (!existsSync(file)) throw new Error(`${name} is not built; run: npm run build`);
  return new Uint8Array(readFileSync(file));
}
