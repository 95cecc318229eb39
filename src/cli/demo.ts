/**
 * The recordings that come with twinplane: a folder each, of one cluster. Each was recorded in a lab of its own, so
 * each is replayed by itself.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Change } from "./changes.js";

export interface Story {
  readonly name: string;
  /** As for `-f`, `-r` and `--change`. */
  readonly file: readonly string[];
  readonly read: readonly string[];
  readonly change: readonly Change[];
}

/** The lab's pod ranges and networks, as the rules it was recorded with have them. */
export const DEMO_NETWORK = {
  clusterCidr: ["10.244.0.0/16", "fd00:10:244::/48"],
  nonMasqueradeCidr: ["192.168.50.0/24", "fd00:50::/64"],
} as const;

const CHANGED = "cluster-v2.yaml";

export function demoStories(): Story[] {
  const folder = demoFolder();
  const names = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const shared = readdirSync(folder).filter((name) => name === "cluster.yaml" || /\.(net\.json|sysctl)$/.test(name));
  return names.sort().map((name) => ({
    name, file: [...shared.map((file) => join(folder, file)), join(folder, name)], read: [join(folder, name)],
    change: changesOf(folder, name),
  }));
}

/** Beside the package; from the working folder where that is shorter to read. */
function demoFolder(): string {
  const folder = fileURLToPath(new URL("../../traces/lab", import.meta.url));
  if (!existsSync(folder)) throw new Error("the bundled traces are missing");
  const near = relative(process.cwd(), folder);
  return near === "" || near.startsWith("..") ? folder : near;
}

/**
 * The change of the cluster in a recording: between the two lines of case.jsonl that say when the lab began and had
 * ended to load the changed rules.
 */
function changesOf(folder: string, name: string): Change[] {
  const text = readFileSync(join(folder, name, "case.jsonl"), "utf8");
  // Times are beyond what JSON numbers hold exactly.
  const times = [...text.matchAll(/"desc": "rules v2\b[^}]*?"t0": (\d+)/g)].map((match) => BigInt(match[1]));
  return times.length === 2 ? [{ atNs: (times[0] + times[1]) / 2n, path: join(folder, CHANGED) }] : [];
}
