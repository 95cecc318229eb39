/** The command line in this process, or in one of its own where signals, pipes and permissions matter. */
import { spawn, spawnSync, type SpawnSyncReturns } from "node:child_process";
import { fileURLToPath } from "node:url";
import { vi } from "vitest";
import { main } from "../src/cli/main.js";

export const root = fileURLToPath(new URL("..", import.meta.url));
/** As bin/twinplane.mjs, from the sources; node --eval has no script name in its arguments. */
const ENTRY = 'import { start } from "./src/cli/start.ts"; process.argv.splice(1, 0, `twinplane`); await start();';
/** Arguments of node that stand before those of the command. */
export const CLI = ["--import", "tsx", "--input-type=module", "--eval", ENTRY, "--"];

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
  return spawnSync(process.execPath, [...CLI, ...args], { cwd: root, encoding: "utf8", input, timeout: 60_000, maxBuffer: 1 << 28 });
}

/** In a process of its own whose output nobody reads: the pipe is closed before anything is printed. */
export function spawnUnread(args: readonly string[]): Promise<{ exitCode: number | null; stderr: string }> {
  const child = spawn(process.execPath, [...CLI, ...args], { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
  });
  child.stdout.destroy();
  return new Promise((resolve) => child.on("close", (exitCode) => resolve({ exitCode, stderr })));
}
