/** The command line in this process, or in one of its own where signals, pipes and permissions matter. */
import { spawn, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { main } from "../src/cli/main.js";

export const root = fileURLToPath(new URL("..", import.meta.url));
const ENTRY = 'import { main } from "./src/cli/main.ts";'
  + 'for (const stream of [process.stdout, process.stderr]) stream.on("error", (e) => { if (e.code !== "EPIPE") throw e; });'
  + "process.exitCode = await main(process.argv.slice(1));";
const ARGS = ["--import", "tsx", "--input-type=module", "--eval", ENTRY, "--"];

export interface Ran {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** In this process. One at a time. */
export async function runCli(args: readonly string[]): Promise<Ran> {
  const printed = { stdout: "", stderr: "" };
  const spies = (["stdout", "stderr"] as const).map((name) => vi.spyOn(process[name], "write").mockImplementation((text) => {
    printed[name] += String(text);
    return true;
  }));
  try {
    return { exitCode: await main(args), ...printed };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** In a process of its own, with what it is given on standard input. */
export function spawnCli(args: readonly string[], input = ""): SpawnSyncReturns<string> {
  return spawnSync(process.execPath, [...ARGS, ...args], { cwd: root, encoding: "utf8", input, timeout: 60_000, maxBuffer: 1 << 28 });
}

/** In a process of its own whose output is read no further than the first bytes. */
export function spawnHead(args: readonly string[]): Promise<{ exitCode: number | null; stderr: string; first: string }> {
  const child = spawn(process.execPath, [...ARGS, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  let first = "";
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
  });
  child.stdout.once("data", (chunk) => {
    first = String(chunk).slice(0, 100);
    child.stdout.destroy();
  });
  return new Promise((resolve) => child.on("close", (exitCode) => resolve({ exitCode, stderr, first })));
}
