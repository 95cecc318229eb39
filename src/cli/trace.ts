/** `twinplane trace`: every step of one packet in both planes, of a recorded one or of one made for the question. */
import type { Command } from "commander";
import { formatProblem } from "../cluster/problem.js";
import { connectionNamed, NAMED_PROTOCOLS, type NamedProtocol } from "../replay/named-ends.js";
import { printable } from "../report/printable.js";
import { renderOutcome, renderTrace } from "../report/trace.js";
import { runSession, type Session } from "../session.js";
import { changeOf, timelineOf } from "./changes.js";
import { addReplayOptions, type CompareOptions, sessionInput, targetWasm } from "./compare.js";
import { type Inputs, type NamedCapture, readInputs } from "./inputs.js";
import { withLearnedNames } from "./learned-names.js";
import { addInputOptions, addPlaneOptions, wholeNumberOf } from "./options.js";
import { UsageError } from "./usage.js";

interface TraceOptions extends CompareOptions {
  readonly packet?: string;
  readonly capture?: string;
  readonly from?: string;
  readonly to?: string;
  readonly protocol?: string;
  readonly via?: string;
}

export function traceCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("trace").description("every step of one packet in both dataplanes, with manifest lines");
  addReplayOptions(addPlaneOptions(addInputOptions(command, true)))
    .option("--packet <number>", "record number in the capture, from 1, as Wireshark counts")
    .option("--capture <file>", "which of the captures given with -r (default: the first)")
    .option("--from <end>", "without a capture: who sends the first packet of a connection: a pod ([namespace/]name), a node, an address")
    .option("--to <end>", "whom to: a pod, a service, a node or an address, with :port or a port's name ([address]:port of IPv6);"
      + " a service with one port needs none")
    .option("--protocol <protocol>", "of that packet: TCP, UDP, SCTP or ICMP (default: the service port's, else TCP)")
    .option("--via <node>", "by which node a packet from outside the cluster comes in")
    .addHelpText("after", `
A later view of a packet shows the packet. A packet that --from and --to make is followed by what differs.
Where a name fits a pod, a service and a node, pod:, service: or node: before it says which.
Exit code 3: there is no such packet, a node made it, it is no IP packet, or it cannot be judged.

Examples:
  twinplane trace -f cluster.yaml -r node1=node1.pcap -r node2=node2.pcap --capture node1.pcap --packet 3
  twinplane trace -f cluster.yaml --from default/client --to service:default/web:http
  twinplane trace -f cluster.yaml --from 203.0.113.9 --via node-1 --to 192.168.50.11:30080`)
    .action(async (options: TraceOptions) => exit(await trace(options)));
}

async function trace(options: TraceOptions): Promise<number> {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const { from, to, via, protocol } = options;
  if (from === undefined && to === undefined && via === undefined && protocol === undefined) return traceRecorded(options, options.file);
  if (from === undefined || to === undefined) throw new UsageError("a packet that nobody recorded needs both --from and --to");
  if (options.read !== undefined || options.packet !== undefined || options.capture !== undefined) {
    throw new UsageError("--from and --to make a packet; give them without -r, --packet and --capture");
  }
  return traceMade(options, options.file, from, to);
}

async function traceRecorded(options: TraceOptions, files: readonly string[]): Promise<number> {
  if (options.read === undefined) throw new UsageError("no captures; give -r with a capture or folder, or --from and --to");
  if (options.packet === undefined) throw new UsageError("no packet; give --packet with a record number, or --from and --to");
  const record = wholeNumberOf(options.packet, "--packet", 1);
  const inputs = readInputs(files, options.read, options);
  const capture = captureNamed(options.capture, inputs);
  const session = await runSession({
    ...await withLearnedNames(sessionInput(options, inputs, (options.change ?? []).map(changeOf)), inputs.captures),
    ...await targetWasm(options), traced: true, until: { capture, record },
  });
  const watched = session.traced;
  const view = watched?.record === record ? "" : `packet ${record} of ${inputs.captures[capture].file} is a view of\n`;
  if (watched !== null) process.stdout.write(`${view}${renderTrace(watched)}`);
  const { file } = inputs.captures[capture];
  const packets = session.report.captures[capture].packets;
  return exitCodeOf(options, session, `packet ${record} of ${file} was not replayed: ${
    record > packets ? `the capture holds ${packets}` : "a node made it, or it is no IP packet"}`);
}

/** The first packet of a connection that nobody recorded. */
async function traceMade(options: TraceOptions, files: readonly string[], from: string, to: string): Promise<number> {
  const inputs = readInputs(files, [], options);
  const changes = (options.change ?? []).map(changeOf);
  const { initial } = timelineOf(inputs, []).timeline;
  const made = connectionNamed(initial, { from, to, protocol: protocolOf(options.protocol), via: options.via ?? null });
  if ("wrong" in made) {
    for (const problem of inputs.problems) process.stderr.write(`${formatProblem(problem)}\n`);
    throw new UsageError(made.wrong.map(printable).join("\ntwinplane: "));
  }
  const flows = { connections: [made.connection], undirected: [], events: 1, answers: 0, alike: 0, lost: 0,
    aside: new Map<string, number>(), verdicts: new Map<string, number>(),
    policyVerdicts: new Map<string, number>() };
  const input = sessionInput(options, { ...inputs, get problems() { return inputs.problems; }, entries: [], flows }, changes);
  const traced = { ...input, ...await targetWasm(options), traced: true, until: { capture: 0, record: 1 } };
  const first = await runSession(traced);
  // Where each side chose a backend of its own, the sides are compared with the current one's.
  const backend = first.report.packets.otherChoice > 0 ? first.traced?.sides[0].arrived ?? null : null;
  const session = backend === null ? first : await runSession({ ...traced,
    captures: input.captures.map((capture) => ({ ...capture, stated: [backend], chunks: (capture as NamedCapture).again!() })) });
  const { report } = session;
  if (session.traced !== null) {
    const chosen = backend === null ? "" : "both sides with the backend that the current one chose\n";
    process.stdout.write(`${printable(made.text)}\n${chosen}${renderTrace(session.traced)}\n${renderOutcome(report)}`);
  }
  const reasons = [...report.flows?.unplaced ?? [], ...report.undecided].map(([reason]) => reason);
  return exitCodeOf(options, session, `${printable(made.text)} was not judged: ${reasons.join("; ")}`);
}

function protocolOf(text: string | undefined): NamedProtocol | null {
  if (text === undefined) return null;
  const found = NAMED_PROTOCOLS.find((one) => one === text.toUpperCase());
  if (found === undefined) throw new UsageError(`--protocol is ${NAMED_PROTOCOLS.join(", ")}, not '${text}'`);
  return found;
}

/** Says what is wrong with the inputs, and with the packet where it was not replayed. */
function exitCodeOf(options: TraceOptions, { report, traced }: Session, otherwise: string): number {
  for (const problem of report.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  if (report.verdict.exitCode === 2) return 2;
  if (options.strict === true && report.problems.some((problem) => problem.severity === "error")) return 2;
  if (traced !== null) return 0;
  process.stderr.write(`twinplane: ${otherwise}\n`);
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
