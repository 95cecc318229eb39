import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Figure, type Question, single } from "./bench.js";

const CHILD = fileURLToPath(new URL("nodes-child.ts", import.meta.url));
const NODES = 5_000;
const SERVICES = 10_000;
const TOUCHED = 10;
/** Every twentieth service has traffic policy Local in the second cluster, so no two nodes have the same rules. */
const LOCAL = 20;

interface Measured {
  readonly read: { readonly ms: number; readonly mb: number };
  /** ms for the nodes' first packets, all and by node. */
  readonly built: number;
  readonly peak: number;
  readonly changes: readonly number[];
  /** Peak after the changes. */
  readonly changed: number;
  readonly arrived: number;
}

export const question: Question = {
  question: `What does a plane of ${NODES} nodes and ${SERVICES} services hold and take with traffic on ${TOUCHED} nodes? (Limit: 1,000 MB.)`,
  async run(): Promise<Figure[]> {
    return [...figures("all nodes alike", 0), ...figures("every node different", LOCAL)];
  },
};

function figures(what: string, local: number): Figure[] {
  const args = ["--import", "tsx", CHILD, ...[NODES, SERVICES, TOUCHED, local].map(String)];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8", maxBuffer: 1 << 26 });
  if (status !== 0) throw new Error(`the measured run ended with ${status}: ${stderr.slice(0, 2000)}`);
  const { read, built, peak, changes, changed, arrived } = JSON.parse(stdout) as Measured;
  if (arrived === 0) throw new Error("no packet arrived");
  const sorted = [...changes].sort((a, b) => a - b);
  return [
    single(`${what}: objects read`, read.mb, "MB", "peak resident memory"),
    single(`${what}: traffic on ${TOUCHED} nodes`, peak, "MB", "peak resident memory"),
    single(`${what}: after ${changes.length} changes`, changed, "MB", "peak resident memory; one EndpointSlice each time"),
    single(`${what}: first packets on ${TOUCHED} nodes`, built, "ms", "rules, devices and routes of these nodes are made"),
    { what: `${what}: a change, ${TOUCHED} nodes`, unit: "ms", min: sorted[0], median: sorted[sorted.length >> 1],
      max: sorted[sorted.length - 1], note: "both families" },
  ];
}
