/**
 * A node on this machine's kernel, asked packet by packet (node.py beside this file). One process a node; the calls are
 * answered in order.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";

export interface KernelLink {
  readonly mac: string;
  /** MAC of the far end: every neighbour's. */
  readonly peer: string;
  readonly mtu: number;
  /** With prefix lengths. */
  readonly addresses: readonly string[];
  readonly neighbours: readonly string[];
}

export interface KernelSetup {
  /** The namespaces' names begin with it. */
  readonly name: string;
  readonly links: Readonly<Record<string, KernelLink>>;
  readonly sysctls: Readonly<Record<string, string>>;
  /** As `ip route add` takes them. */
  readonly routes: readonly string[];
}

/** A packet that left, from its network header on. */
export interface Sent {
  readonly link: string;
  readonly bytes: Uint8Array;
}

/** Why there is no kernel to ask here; null: there is one. */
export function kernelMissing(tools: readonly string[]): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
  for (const tool of ["ip", "python3", ...tools]) {
    if (spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0) return `needs ${tool}`;
  }
  const name = `tw-try-${process.pid}`;
  const made = spawnSync("ip", ["netns", "add", name]).status === 0;
  if (made) spawnSync("ip", ["netns", "del", name]);
  return made ? null : "needs network namespaces";
}

export class KernelNode {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly lines: Interface;
  private readonly waiting: ((line: string) => void)[] = [];
  private failure = "";

  constructor(setup: KernelSetup) {
    this.child = spawn("python3", [join(import.meta.dirname, "node.py")]);
    this.child.stderr.on("data", (data: Buffer) => {
      this.failure += data.toString();
    });
    this.lines = createInterface({ input: this.child.stdout });
    this.lines.on("line", (line) => this.waiting.shift()?.(line));
    this.child.on("exit", () => {
      for (const waiting of this.waiting.splice(0)) waiting(JSON.stringify({ error: this.failure }));
    });
    this.child.stdin.write(`${JSON.stringify(setup)}\n`);
  }

  async ready(): Promise<void> {
    const answer = await this.answer();
    if (answer !== "ready") throw new Error(`the kernel's node did not start: ${JSON.stringify(answer)}`);
  }

  /** `tags`: VLAN tags before the packet's EtherType. */
  async inject(link: string, bytes: Uint8Array, tags: Uint8Array = new Uint8Array()): Promise<Sent[]> {
    const answer = await this.ask(["inject", link, Buffer.from(bytes).toString("hex"), Buffer.from(tags).toString("hex")]);
    if (!Array.isArray(answer)) throw new Error(`inject: ${JSON.stringify(answer)}`);
    return (answer as [string, string][]).map(([to, hex]) => ({ link: to, bytes: new Uint8Array(Buffer.from(hex, "hex")) }));
  }

  /** Standard output of a command in the node's namespace. */
  async run(argv: readonly string[], input = ""): Promise<string> {
    const { status, out, err } = await this.ask(["run", argv, input]) as { status: number; out: string; err: string };
    if (status !== 0) throw new Error(`${argv.join(" ")}: ${err}`);
    return out;
  }

  async sleep(seconds: number): Promise<void> {
    await this.ask(["sleep", seconds]);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.child.on("exit", resolve));
    this.child.stdin.end();
    await ended;
  }

  private ask(command: unknown): Promise<unknown> {
    this.child.stdin.write(`${JSON.stringify(command)}\n`);
    return this.answer();
  }

  private answer(): Promise<unknown> {
    return new Promise((resolve) => this.waiting.push((line) => resolve(JSON.parse(line))));
  }
}
