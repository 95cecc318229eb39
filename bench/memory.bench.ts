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
    return [...figures, ...dumps(), ...flowLog()];
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

/** A dump most of which is Events, which are of no use here: as a file, by gzip and from standard input. */
function dumps(): Figure[] {
  const folder = mkdtempSync(join(tmpdir(), "twinplane-bench-"));
  try {
    const file = join(folder, "dump.json");
    const bytes = written(file, dumpTexts());
    const packed = join(folder, "dump.json.gz");
    spawnSync("sh", ["-c", `gzip -1 -c ${file} > ${packed}`]);
    const args = (name: string): string[] => ["compare", "-f", name, LAB, "-r", join(LAB, "clusterip-tcp")];
    const note = `${Math.round(bytes / 1e6)} MB of JSON`;
    return [figure("a dump of 500 MB, a file", peak(args(file)), note), figure("the same by gzip", peak(args(packed)), note),
      figure("the same from standard input", peak(args("-"), file), note)];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function* dumpTexts(): Generator<string> {
  const filler = "x".repeat(4000);
  yield '{"apiVersion":"v1","kind":"List","items":[';
  for (let index = 0; index < 118_000; index++) {
    yield `${index === 0 ? "" : ",\n"}${JSON.stringify({ apiVersion: "v1", kind: "Event", metadata: { name: `filler-${index}`,
      namespace: "filler" }, message: `${index} ${filler}` })}`;
  }
  yield "]}\n";
}

/** A million lines of a flow log, of as many connections as lines and of few. */
function flowLog(): Figure[] {
  const folder = mkdtempSync(join(tmpdir(), "twinplane-bench-"));
  try {
    return [["few", 1000], ["a million", 1_000_000]].map(([text, connections]) => {
      const file = join(folder, `flows-${connections}.jsonl`);
      const bytes = written(file, flowTexts(Number(connections)));
      return figure(`a flow log of a million lines, ${text} connections`, peak(["compare", "-f", LAB, "--input-file", file]),
        `${Math.round(bytes / 1e6)} MB of JSON lines`);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function* flowTexts(connections: number): Generator<string> {
  for (let line = 0; line < 1_000_000; line++) {
    const number = line % connections;
    yield `${JSON.stringify({ flow: { time: new Date(1.8e12 + line).toISOString(), verdict: "FORWARDED", Type: "L3_L4",
      IP: { source: "10.244.1.20", destination: "10.244.2.10", ipVersion: "IPv4" }, is_reply: false, node_name: "node1",
      l4: { TCP: { source_port: 1024 + (number % 60_000), destination_port: 8000 + Math.floor(number / 60_000), flags: { SYN: true } } },
      source: { namespace: "default", pod_name: "cli-a" }, destination: { namespace: "default", pod_name: "web-b" } } })}\n`;
  }
}

/** Bytes written. */
function written(file: string, texts: Iterable<string>): number {
  const handle = openSync(file, "w");
  let bytes = 0;
  let batch = "";
  for (const text of texts) {
    batch += text;
    if (batch.length < 1 << 20) continue;
    bytes += writeSync(handle, batch);
    batch = "";
  }
  bytes += writeSync(handle, batch);
  closeSync(handle);
  return bytes;
}

/** Peak resident memory of a run of the program, MB. It exits 1 where it finds differences, 3 where too little can be judged. */
function peak(args: readonly string[], input: string | null = null): number {
  const stdin = input === null ? "ignore" : openSync(input, "r");
  const { status, stderr } = spawnSync(process.execPath, ["--import", PRELOAD, TWINPLANE, ...args],
    { encoding: "utf8", maxBuffer: 1 << 28, stdio: [stdin, "ignore", "pipe"] });
  if (typeof stdin === "number") closeSync(stdin);
  const found = /^peak (\d+)$/m.exec(stderr);
  if (found === null || (status !== 0 && status !== 1 && status !== 3)) throw new Error(`the measured run ended with ${status}: ${stderr.slice(0, 2000)}`);
  return (Number(found[1]) * 1024) / 1e6;
}

function figure(what: string, megabytes: number, note: string): Figure {
  return single(what, megabytes, "MB", note);
}
