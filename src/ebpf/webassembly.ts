/**
 * The part of the WebAssembly JavaScript API used here, typed. The DOM's typings have it, but this project is not
 * compiled against the DOM, and Node's typings leave it out.
 */

export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  /** By pages of 64 KiB; returns the size before. */
  grow(pages: number): number;
}

export interface WasmImport {
  readonly module: string;
  readonly name: string;
  readonly kind: string;
}

interface WasmModule {
  /** Brand only. */
  readonly [Symbol.toStringTag]: string;
}

interface WebAssemblyApi {
  readonly Module: {
    new (bytes: Uint8Array): WasmModule;
    imports(module: WasmModule): WasmImport[];
  };
  readonly Memory: new (limits: { initial: number; maximum: number }) => WasmMemory;
  readonly RuntimeError: new (message?: string) => Error;
}

export const wasm = (globalThis as unknown as { WebAssembly: WebAssemblyApi }).WebAssembly;
