/** The Python process that has the kernel run Cilium's programs: one request, one answer, a line each. */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";

const SCRIPT = fileURLToPath(new URL("./kernel/worker.py", import.meta.url));

/** The kernel, or what stands before it, would not do what was asked. */
export class RefereeError extends Error {}

/** What is missing on this machine; empty: nothing. */
export function missing(): string[] {
  const found: string[] = [];
  if (process.platform !== "linux") return ["Linux"];
  if (process.getuid?.() !== 0) found.push("root");
  if (spawnSync("python3", ["--version"]).status !== 0) found.push("python3 (Debian package python3)");
  if (spawnSync("ip", ["-V"]).status !== 0) found.push("ip (Debian package iproute2)");
  return found;
}

export class Worker {
  private readonly process: ChildProcessWithoutNullStreams;
  private readonly lines: Interface;
  private readonly waiting: ((line: string | null) => void)[] = [];
  private said = "";

  constructor() {
    this.process = spawn("python3", ["-B", SCRIPT], { stdio: "pipe" });
    this.lines = createInterface({ input: this.process.stdout });
    this.lines.on("line", (line) => this.waiting.shift()?.(line));
    this.process.stderr.on("data", (data) => {
      this.said += String(data);
    });
    this.process.on("close", () => {
      for (const one of this.waiting.splice(0)) one(null);
    });
    this.process.stdin.on("error", () => undefined);
  }

  async ask<T>(request: Record<string, unknown>): Promise<T> {
    const line = await new Promise<string | null>((resolve) => {
      this.waiting.push(resolve);
      this.process.stdin.write(`${JSON.stringify(request)}\n`);
    });
    if (line === null) throw new RefereeError(`the worker ended: ${this.said.trim().split("\n").at(-1) ?? ""}`);
    const answer = JSON.parse(line) as T & { error?: string };
    if (answer.error !== undefined) throw new RefereeError(answer.error);
    return answer;
  }

  close(): void {
    this.process.stdin.end();
    this.lines.close();
  }
}
