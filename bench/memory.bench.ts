import { spawnSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Figure, type Question, single } from "./bench.js";
import { captureOf, LAB, NODES, sizeOf, type TrafficOptions } from "./traffic.js";

const TWINPLANE = fileURLToPath(new URL("../bin/twinplane.mjs", import.meta.url));
/** Loaded into the measured process: says at its end how much memory it ever held, in KiB. */
const PRELOAD = `data:text/javascript,${encodeURIComponent(
  'process.on("exit", () => process.stderr.write("\\npeak " + process.resourceUsage().maxRSS + "\\n"))')}`;
const LAPS = 40;

export const question: Question = {
  question: "How much memory does the program hold at most? (Limit: 300 MB on the lab's captures, whatever their length.)",
  async run(): Promise<Figure[]> {
    const stories = readdirSync(LAB, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map((entry) => entry.name).sort();
    const figures = [figure("all bundled stories (`compare --demo`)", peak(["compare", "--demo"]), "")];
    const each = stories.map((story) => peak(["compare", "-f", LAB, "-r", join(LAB, story)]));
    const most = each.indexOf(Math.max(...each));
    figures.push(figure(`one story, the most of ${stories.length}`, each[most], stories[most]));
    for (const times of [1, 16, 112]) figures.push(long(times));
    return figures;
  },
};

/** A capture made long by repeating what connections send, through files as a user has them. */
function long(times: number): Figure {
  const traffic: TrafficOptions = { stories: ["clusterip-tcp"], copies: 16, laps: LAPS * times, rate: 20_000 };
  const folder = mkdtempSync(join(tmpdir(), "twinplane-bench-"));
  try {
    let bytes = 0;
    const captures = NODES.map((name, node) => {
      const file = join(folder, `${name}.any.pcap`);
      const handle = openSync(file, "w");
      for (const chunk of captureOf(node, traffic)) bytes += writeSync(handle, chunk);
      closeSync(handle);
      return file;
    });
    const { packets } = sizeOf(traffic);
    return figure(`a capture of ${times} x length`, peak(["compare", "-f", LAB, "-r", ...captures]),
      `${packets} packets, ${Math.round(bytes / 1e6)} MB of capture`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Peak resident memory of a run of the program, MB. It exits 1 where it finds differences. */
function peak(args: readonly string[]): number {
  const { status, stderr } = spawnSync(process.execPath, ["--import", PRELOAD, TWINPLANE, ...args],
    { encoding: "utf8", maxBuffer: 1 << 28, stdio: ["ignore", "ignore", "pipe"] });
  const found = /^peak (\d+)$/m.exec(stderr);
  if (found === null || (status !== 0 && status !== 1)) throw new Error(`the measured run ended with ${status}: ${stderr.slice(0, 2000)}`);
  return (Number(found[1]) * 1024) / 1e6;
}

function figure(what: string, megabytes: number, note: string): Figure {
  return single(what, megabytes, "MB", note);
}
