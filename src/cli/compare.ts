/** `twinplane compare`: the main job. */
import { existsSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import picocolors from "picocolors";
import type { Problem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { assumedNetwork } from "../planes.js";
import { renderText } from "../report/text.js";
import { runSession, type SessionInput } from "../session.js";
import { type Inputs, readInputs } from "./inputs.js";
import { addInputOptions, addPlaneOptions, type InputOptions, networkOf, numberOf, type PlaneOptions, profileOf } from "./options.js";
import { Progress } from "./progress.js";
import { UsageError } from "./usage.js";
import { version } from "./version.js";
import { readWasm } from "./wasm.js";

export interface CompareOptions extends InputOptions, PlaneOptions {
  readonly demo?: boolean;
  readonly followCapture?: boolean;
  readonly copyWindow: string;
  readonly minJudged: string;
  readonly failOn: "any" | "unexplained" | "none";
  readonly strict?: boolean;
  readonly output: "text" | "json";
  readonly outFile?: string;
  readonly verbose?: boolean;
}

export function compareCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("compare").description("replay captures through both dataplanes and name every difference");
  addReplayOptions(addPlaneOptions(addInputOptions(command, true)))
    .option("--demo", "run on the traces that come with twinplane")
    .addOption(new Option("--fail-on <what>", "what makes the exit code 1").choices(["any", "unexplained", "none"]).default("any"))
    .option("--min-judged <percent>", "least share of packets that must match the cluster and be decided", "90")
    .option("--strict", "any problem in the manifests is an error")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "json"]).default("text"))
    .option("--out-file <path>", "write the report here instead of standard output")
    .option("-v, --verbose", "list every problem and disagreement")
    .addHelpText("after", `
Examples:
  twinplane compare -f cluster.yaml -f facts/ -r node1=node1.pcap -r node2=node2.pcap
  twinplane compare --demo -o json | jq '.findings[].id'`)
    .action(async (options: CompareOptions) => exit(await compare(options)));
}

export function addReplayOptions(command: Command): Command {
  return command
    .option("--follow-capture", "pin the first packet of each flow to the recorded backend, where that was eligible")
    .option("--copy-window <ms>", "how long copies of one packet may lie apart", "50");
}

async function compare(given: CompareOptions): Promise<number> {
  const options = given.demo === true ? withDemo(given) : given;
  if ((options.file ?? []).length === 0) throw new UsageError("no manifests; give -f with a file or folder, or try --demo");
  if ((options.read ?? []).length === 0) throw new UsageError("no captures; give -r with a capture or folder, or try --demo");
  const inputs = readInputs(options.file ?? [], options.read ?? []);
  const progress = new Progress(process.stderr);
  const input = sessionInput(options, inputs);
  const { report } = await runSession({ ...input, onProgress: (records) => progress.show(records) });
  progress.clear();
  const paint = options.outFile === undefined ? painter() : plainly;
  const text = options.output === "json" ? `${JSON.stringify(report, null, 2)}\n` : renderText(report, { paint, verbose: options.verbose === true });
  if (options.outFile === undefined) process.stdout.write(text);
  else writeFileSync(options.outFile, text);
  const strict = options.strict === true && report.problems.some((problem) => problem.severity === "error");
  return strict ? Math.max(2, report.verdict.exitCode) : report.verdict.exitCode;
}

export function sessionInput(options: PlaneOptions & Pick<CompareOptions, "followCapture" | "copyWindow"> & Partial<CompareOptions>,
  inputs: Inputs): SessionInput {
  const timeline = buildTimeline({ initial: inputs.objects, facts: inputs.facts });
  const assumptions: Problem[] = [];
  const network = assumedNetwork(timeline.initial, networkOf(options), assumptions);
  // Problems of captures are added while they are read; the report takes the list at the end.
  return {
    version: version(), timeline: { ...timeline, get problems() { return [...inputs.problems, ...timeline.problems, ...assumptions]; } },
    captures: inputs.captures, conntrack: inputs.conntrack, current: profileOf(options.current), target: profileOf(options.target),
    followCapture: options.followCapture === true, windowNs: numberOf(options.copyWindow, "--copy-window", 0, 60_000) * 1e6,
    minJudged: numberOf(options.minJudged ?? "90", "--min-judged", 0, 100) / 100, failOn: options.failOn ?? "any",
    unreadable: inputs.unreadable, wasm: readWasm(), network, seed: numberOf(options.seed, "--seed", 0, 0xffffffff), traced: false,
  };
}

/** The bundled stories: one cluster, captures of both nodes. */
function withDemo(options: CompareOptions): CompareOptions {
  const folder = demoFolder();
  return { ...options, file: [...(options.file ?? []), folder], read: [...(options.read ?? []), folder] };
}

function demoFolder(): string {
  const folder = fileURLToPath(new URL("../../traces/lab", import.meta.url));
  if (!existsSync(folder)) throw new Error("the bundled traces are missing");
  return folder;
}

type Paint = (style: "bold" | "red" | "yellow" | "green" | "dim", text: string) => string;

/** Colour where the terminal takes it (NO_COLOR, FORCE_COLOR and a pipe are heeded). */
function painter(): Paint {
  const colours = picocolors.createColors(process.stdout.isTTY === true && process.env.NO_COLOR === undefined);
  return (style, text) => colours[style](text);
}

const plainly: Paint = (_style, text) => text;
