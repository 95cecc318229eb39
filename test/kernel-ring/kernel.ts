/** This machine's kernel: whether the ring can ask it, and the executor that does (executor.py). */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { NodeFacts } from "../../src/cluster/cluster.js";
import type { FrontEnd } from "./case.js";
import { BARRIER, commands, factsOf, LINKS, SYSCTLS } from "./topology.js";

const TOOLS = ["ip", "iptables-legacy-restore", "ip6tables-legacy-restore", "iptables-nft-restore", "ip6tables-nft-restore", "ipset",
  "conntrack", "ethtool", "nsenter", "nft"];

/** What is missing; empty: nothing. */
export function missing(): string {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "root on Linux";
  const tools = TOOLS.filter((tool) => spawnSync("sh", ["-c", `command -v ${tool}`]).status !== 0);
  if (tools.length > 0) return tools.join(", ");
  return spawnSync("unshare", ["-n", "true"]).status === 0 ? "" : "network namespaces";
}

export interface FrameResult {
  /** CLOCK_MONOTONIC, ns, before the packet was sent. */
  readonly t: number;
  readonly left: readonly (readonly [string, string])[];
  readonly local: readonly string[];
  readonly errno: string;
}

/** One node with one front end of iptables. Jobs are answered in order. */
export class Kernel {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly waiting: { resolve: (answer: string) => void; reject: (error: Error) => void }[] = [];
  private failure = "";

  private constructor(readonly frontEnd: FrontEnd) {
    const python = existsSync("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
    this.child = spawn(python, [join(import.meta.dirname, "executor.py"), frontEnd]);
    this.child.stderr.on("data", (data: Buffer) => { this.failure += data.toString(); });
    createInterface({ input: this.child.stdout }).on("line", (line) => this.waiting.shift()?.resolve(line));
    this.child.on("exit", (status) => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error(`the executor ended with ${status}: ${this.failure}`));
    });
  }

  static async start(frontEnd: FrontEnd): Promise<{ kernel: Kernel; facts: NodeFacts }> {
    const kernel = new Kernel(frontEnd);
    const dump = await kernel.ask("setup", { devices: LINKS, commands: commands(), sysctls: SYSCTLS, barrier: BARRIER,
      nfacct: ["ct_state_invalid_dropped_pkts", "localhost_nps_accepted_pkts"] });
    return { kernel, facts: factsOf(dump) };
  }

  stop(): void {
    this.child.stdin.end();
  }

  async sysctls(sysctls: Readonly<Record<string, string>>): Promise<void> {
    await this.ask("sysctl", { sysctls });
  }

  async clear(): Promise<void> {
    await this.ask("clear", {});
  }

  /** The kernel's refusal, or an empty text. */
  async load(texts: readonly (readonly [family: 4 | 6, text: string])[], noflush: boolean): Promise<string> {
    return ((await this.ask("load", { texts, noflush })) as { error: string }).error;
  }

  /** All sets and what is in them, for `ipset restore`. Sets that are not among them stay, empty. */
  async loadSets(text: string): Promise<void> {
    await this.ask("sets", { text });
  }

  async save(): Promise<[v4: string, v6: string]> {
    return ((await this.ask("save", {})) as { texts: [string, string] }).texts;
  }

  /** Standard output of `conntrack`; empty where it found nothing. */
  async conntrack(args: readonly string[]): Promise<string> {
    return ((await this.ask("conntrack", { arguments: args })) as { text: string }).text;
  }

  /** CLOCK_MONOTONIC, ns. */
  async now(): Promise<number> {
    return ((await this.ask("now", {})) as { t: number }).t;
  }

  async sink(ports: readonly number[]): Promise<void> {
    await this.ask("sink", { ports });
  }

  async frames(items: readonly (readonly [device: string, hex: string])[]): Promise<readonly FrameResult[]> {
    return ((await this.ask("frames", { items })) as { results: FrameResult[] }).results;
  }

  private async ask(operation: string, job: object): Promise<unknown> {
    if (this.child.exitCode !== null) throw new Error(`the executor has ended: ${this.failure}`);
    const answer = new Promise<string>((resolve, reject) => this.waiting.push({ resolve, reject }));
    this.child.stdin.write(`${JSON.stringify({ operation, ...job })}\n`);
    return JSON.parse(await answer);
  }
}
