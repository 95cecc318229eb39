import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { generatedRules } from "../src/iptables/planeNode.js";
import { type Figure, type Question, single } from "./bench.js";
import { clusterIp, clusterOf, generators } from "./services.js";

const SCRIPT = fileURLToPath(new URL("netfilter-kernel.py", import.meta.url));
const SERVICES = 10_000;
const RUNS = 9;
const PLACES = [["first", 0], ["middle", SERVICES >> 1], ["last", SERVICES - 1]] as const;
/** Programs that load the rules, and new flows a run with them. */
const LOADERS = [["iptables-legacy-restore", 1000], ["iptables-nft-restore", 300]] as const;

/** What the script prints: ms; ns per SYN, one figure a run. */
interface Measured {
  readonly loading: number;
  readonly bare: readonly number[];
  readonly flows: readonly (readonly number[])[];
}

export const question: Question = {
  question: `What does the kernel of this machine take for a new flow through the same rules of ${SERVICES} services?`,
  async run(): Promise<Figure[]> {
    const reason = whyNot();
    if (reason !== null) return [notRun("new flows in the kernel", reason)];
    const folder = mkdtempSync(join(tmpdir(), "twinplane-bench-"));
    try {
      const cluster = clusterOf({ nodes: 100, services: SERVICES });
      const file = join(folder, "rules");
      writeFileSync(file, generatedRules(cluster, cluster.nodes[0], 4, generators).text);
      return LOADERS.flatMap(([loader, count]) => figures(loader, count, file));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

function figures(loader: string, count: number, file: string): Figure[] {
  if (!succeeds("sh", "-c", `command -v ${loader}`)) return [notRun(loader, "the program is not there")];
  const args = [SCRIPT, file, String(count), String(RUNS), loader, ...PLACES.map(([, service]) => clusterIp(service))];
  const { status, stdout, stderr } = spawnSync("python3", args, { encoding: "utf8" });
  if (status !== 0) return [notRun(loader, stderr.trim().split("\n").at(-1) ?? "")];
  const { loading, bare, flows } = JSON.parse(stdout) as Measured;
  const without = sorted(bare);
  const note = `SYN sent by AF_PACKET over a veth and forwarded; CPU time of the sender, which handles it; the least without rules, ${
    Math.round(without[0])} ns, subtracted`;
  return [
    single(`${loader}: loading`, loading, "ms", "wall time"),
    ...PLACES.map(([place], at) => {
      const [min, median, max] = spread(flows[at]).map((ns) => ns - without[0]);
      return { what: `${loader}: new flow to the ${place} service`, unit: "ns", min, median, max, note };
    }),
  ];
}

function whyNot(): string | null {
  if (process.platform !== "linux" || process.getuid?.() !== 0) return "needs root on Linux";
  for (const tool of ["ip", "python3"]) {
    if (!succeeds("sh", "-c", `command -v ${tool}`)) return `needs ${tool}`;
  }
  const made = succeeds("ip", "netns", "add", "tw-bench-try");
  if (made) succeeds("ip", "netns", "del", "tw-bench-try");
  return made ? null : "needs network namespaces";
}

function succeeds(command: string, ...args: readonly string[]): boolean {
  return spawnSync(command, args).status === 0;
}

function notRun(what: string, reason: string): Figure {
  return single(what, Number.NaN, "", `not run here: ${reason}`);
}

function spread(values: readonly number[]): [number, number, number] {
  const ascending = sorted(values);
  return [ascending[0], ascending[ascending.length >> 1], ascending[ascending.length - 1]];
}

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}
