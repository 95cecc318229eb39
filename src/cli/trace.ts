/** `twinplane trace`: every step of one packet in both planes. */
import type { Command } from "commander";
import { formatProblem } from "../cluster/problem.js";
import { renderTrace } from "../report/trace.js";
import { runSession } from "../session.js";
import { changeOf } from "./changes.js";
import { addReplayOptions, type CompareOptions, sessionInput, targetWasm } from "./compare.js";
import { type Inputs, readInputs } from "./inputs.js";
import { withLearnedNames } from "./learned-names.js";
import { addInputOptions, addPlaneOptions, wholeNumberOf } from "./options.js";
import { UsageError } from "./usage.js";

interface TraceOptions extends CompareOptions {
  readonly packet: string;
  readonly capture?: string;
}

export function traceCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("trace").description("every step of one packet in both dataplanes, with manifest lines");
  addReplayOptions(addPlaneOptions(addInputOptions(command, true)))
    .requiredOption("--packet <number>", "record number in the capture, from 1, as Wireshark counts")
    .option("--capture <file>", "which of the captures given with -r (default: the first)")
    .addHelpText("after", `
A later view of a packet shows the packet.
Exit code 3: there is no such packet, a node made it, or it is no IP packet.

Example:
  twinplane trace -f cluster.yaml -r node1=node1.pcap -r node2=node2.pcap --capture node1.pcap --packet 3`)
    .action(async (options: TraceOptions) => exit(await trace(options)));
}

async function trace(options: TraceOptions): Promise<number> {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  if (options.read === undefined) throw new UsageError("no captures; give -r with a capture or folder");
  const record = wholeNumberOf(options.packet, "--packet", 1);
  const inputs = readInputs(options.file, options.read, options);
  const capture = captureNamed(options.capture, inputs);
  const session = await runSession({
    ...await withLearnedNames(sessionInput(options, inputs, (options.change ?? []).map(changeOf)), inputs.captures),
    ...await targetWasm(options), traced: true, until: { capture, record },
  });
  for (const problem of session.report.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const watched = session.traced;
  if (watched !== null) {
    const view = watched.record === record ? "" : `packet ${record} of ${inputs.captures[capture].file} is a view of\n`;
    process.stdout.write(`${view}${renderTrace(watched)}`);
  }
  if (session.report.verdict.exitCode === 2) return 2;
  if (options.strict === true && session.report.problems.some((problem) => problem.severity === "error")) return 2;
  if (watched !== null) return 0;
  const { file } = inputs.captures[capture];
  const packets = session.report.captures[capture].packets;
  process.stderr.write(`twinplane: packet ${record} of ${file} was not replayed: ${
    record > packets ? `the capture holds ${packets}` : "a node made it, or it is no IP packet"}\n`);
  return 3;
}

/** Index of the capture the user means; the first where none is named. */
function captureNamed(name: string | undefined, { captures, problems }: Inputs): number {
  if (captures.length === 0) {
    for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
    throw new UsageError("none of the captures given with -r can be used");
  }
  if (name === undefined) return 0;
  const found = captures.flatMap((one, index) => (one.file === name || one.file.endsWith(`/${name}`) ? [index] : []));
  if (found.length === 1) return found[0];
  throw new UsageError(`${found.length === 0 ? "no capture" : `${found.length} captures`} named ${name} among those given with -r: ${
    captures.slice(0, 8).map((one) => one.file).join(", ")}`);
}
