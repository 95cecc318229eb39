/** `twinplane compare`: the main job. */
import { type Command, Option } from "commander";
import picocolors from "picocolors";
import type { Cluster } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { type TakenTime, takenTimeOf } from "../cluster/taken.js";
import { profileHints } from "../check/detect.js";
import { assumedNetwork, CILIUM_VERSIONS } from "../planes.js";
import { mergeReports, type NamedReport } from "../report/merge.js";
import { printableData } from "../report/printable.js";
import type { FilterTerm } from "../report/flows/filter.js";
import { count, LEAST_JUDGED, type Report } from "../report/report.js";
import { renderStories } from "../report/stories.js";
import { renderText, type TextOptions } from "../report/text.js";
import type { ConnectionSet } from "../flows/connections.js";
import { type FlowCapture, type FlowCaptures, flowCaptures } from "../replay/flow-captures.js";
import { withClocks } from "./clock.js";
import { type InputFiles, withInputFiles } from "./input-files.js";
import { type EntryCapture, type EntryCaptures, entryCaptures } from "../replay/entries.js";
import { runSession, type SessionInput } from "../session.js";
import { verifyDumps } from "../verification.js";
import type { Judged } from "../compare/judged.js";
import { COVERAGE_HELP, writeCoverage } from "./coverage.js";
import { Fixes, FIXES_HELP } from "./fixes.js";
import { type Change, changeOf, timelineOf } from "./changes.js";
import { DEMO_NETWORK, demoStories } from "./demo.js";
import { type Inputs, type NamedCapture, readInputs } from "./inputs.js";
import { addInputOptions, addPlaneOptions, type InputOptions, networkOf, numberOf, type PlaneOptions, profileOf,
  refuseUnmodelled, wholeNumberOf } from "./options.js";
import { withLearnedNames } from "./learned-names.js";
import { addOutputOptions, type OutputOptions, Outputs } from "./outputs.js";
import { ownProgram } from "./own-program.js";
import { Progress } from "./progress.js";
import { UsageError } from "./usage.js";
import { version } from "./version.js";
import { type AcceptedOptions, acceptedOf, addAcceptedOptions } from "./accepted.js";
import { judgeDumps, unusedDumps } from "./dumps.js";
import { readWasm } from "./wasm.js";

export interface CompareOptions extends InputOptions, PlaneOptions, OutputOptions, AcceptedOptions {
  readonly demo?: boolean;
  readonly inputFile?: readonly string[];
  readonly followCapture?: boolean;
  readonly change?: readonly string[];
  readonly copyWindow: string;
  readonly clock?: readonly string[];
  readonly snapshotTime?: string;
  readonly minJudged: string;
  readonly failOn: "any" | "unexplained" | "none";
  readonly coverage?: string;
  readonly fixes?: string;
  readonly verbose?: boolean;
}

export function compareCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("compare").description("replay captures through both dataplanes and name every difference");
  const terms = addOutputOptions(command);
  addAcceptedOptions(addReplayOptions(addPlaneOptions(addInputOptions(command, true))))
    .option("--input-file <path...>", "instead of captures, flows: hubble observe -o jsonpb, Hubble's or Azure's flow logs, each"
      + " connection replayed as its first packet; or conntrack -L or -E of a node, each entry replayed as its first packet and first"
      + " answer, pinned to the recorded choices; [node=]path, - for stdin")
    .option("--demo", "run on the recordings that come with twinplane, instead of -f and -r")
    .addOption(new Option("--fail-on <what>", "what makes the exit code 1").choices(["any", "unexplained", "none"]).default("any"))
    .option("--min-judged <percent>", "least share of packets that must match the cluster and be decided, from 10 on", "90")
    .option("--coverage <file>", COVERAGE_HELP)
    .option("--fixes <folder>", FIXES_HELP)
    .option("-v, --verbose", "list every problem and disagreement")
    .addHelpText("after", `
Exit codes:
  0  judged, and no difference or limit that --fail-on counts
  1  differences or limits
  2  wrong usage, or an input that could not be read
  3  could not judge: too few packets match the cluster, or too many are undecided (--min-judged);
     or no difference, but the current side reproduces too few of the recorded views (--min-judged);
     or no difference, but a manifest could be read in part only

Examples:
  twinplane compare --demo
  twinplane compare -f cluster.yaml -f facts/ -r node1=node1.pcap -r node2=node2.pcap
  twinplane compare -f cluster.yaml --rules node1=node1.iptables-save -r node1=node1.pcap
  twinplane compare -f cluster.yaml --input-file node1=conntrack.txt
  hubble observe -o jsonpb --last 10000 | twinplane compare -f cluster.yaml --input-file -
  twinplane compare -f cluster.yaml -r node1:eth0=uplink.pcapng -o json | jq '.findings[].id'
  twinplane compare -f cluster.yaml -r node1.pcap -o text -o html=report.html -o pcapng=commented.pcapng
  twinplane compare -f cluster.yaml -r node1.pcap -o compact --verdict DROPPED --not --port 53`)
    .action(async (options: CompareOptions) => exit(await compare(options, terms)));
}

export const SNAPSHOT_HELP = "when the manifests were dumped (RFC 3339, or seconds since 1970), or FROM/TO, between which they are known to"
  + " hold: packets of pods' addresses at other times are undecided (default: pods are taken to have lived on)";

export function addReplayOptions(command: Command): Command {
  return command
    .option("--change <time=path...>", "manifests as they are from this time on (RFC 3339, or seconds since 1970)")
    .option("--follow-capture", "pin the first packet of each flow to the recorded backend, where that was eligible")
    .option("--clock <node=offset...>", "what to add to the times of a node's captures, such as node2=-12ms, where its clock was off")
    .option("--snapshot-time <time>", SNAPSHOT_HELP)
    .option("--copy-window <ms>", "how long copies of one packet may lie apart", "50");
}

async function compare(options: CompareOptions, terms: readonly FilterTerm[]): Promise<number> {
  checkUsage(options);
  const outputs = new Outputs(options, terms);
  const progress = new Progress(process.stderr);
  const exitCode = options.demo === true ? await compareDemo(options, outputs, progress) : await compareOnce(options, outputs, progress);
  progress.clear();
  return exitCode;
}

async function compareOnce(options: CompareOptions, outputs: Outputs, progress: Progress): Promise<number> {
  const inputs = await withInputFiles(readInputs(options.file ?? [], options.read ?? [], options), options.inputFile);
  const input = inOrder(await withLearnedNames(sessionInput(options, inputs, (options.change ?? []).map(changeOf)), inputs.captures));
  const own = await targetWasm(options);
  const fixes = options.fixes === undefined ? null : new Fixes(options.fixes, input.captures);
  const { onJudged } = listening(outputs, input);
  const { report: found, comparison, planes } = await runSession({ ...input, ...own,
    ...(onJudged === undefined && fixes === null ? {} : { onJudged: (judged: Judged) => {
      onJudged?.(judged);
      fixes?.listener(judged);
    } }), onProgress: (records) => progress.show(records) });
  const report = fixes === null ? found : { ...found, fixes: await fixes.finish({ ...input, ...own }, found, progress) };
  if (options.coverage !== undefined) writeCoverage(options.coverage, comparison.coverage.report(input.timeline.initial, planes));
  return printed(options, outputs, strictly(options, report), renderText);
}

/** Records of equal times are taken in the order of the captures: whatever order they are named in, it is this one. */
function inOrder(input: SessionInput): SessionInput {
  const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
  return { ...input, captures: [...input.captures].sort((a, b) => compareText(a.file, b.file) || compareText(a.node, b.node)) };
}

/** Each recording is a session of its own. */
async function compareDemo(given: CompareOptions, outputs: Outputs, progress: Progress): Promise<number> {
  const options: CompareOptions = { ...DEMO_NETWORK, ...given, followCapture: true };
  const own = await targetWasm(options);
  const parts: NamedReport[] = [];
  let before = 0;
  for (const story of demoStories()) {
    const input = sessionInput(options, readInputs(story.file, story.read), story.change);
    const { report } = await runSession({ ...input, ...own, ...listening(outputs, input),
      onProgress: (records) => progress.show(before + records) });
    before += report.packets.records;
    progress.show(before);
    parts.push({ name: story.name, report: strictly(options, report) });
  }
  return printed(options, outputs, mergeReports(parts), renderStories);
}

function listening(outputs: Outputs, input: SessionInput): Pick<SessionInput, "onJudged"> {
  const onJudged = outputs.listener(input.captures);
  return onJudged === undefined ? {} : { onJudged };
}

/** The user's own program, where one is named. */
export async function targetWasm(options: PlaneOptions): Promise<Pick<SessionInput, "targetWasm">> {
  if (options.program === undefined) return {};
  if (profileOf(options.target).engine !== "cilium") {
    throw new UsageError(`${options.target} has no programs; --program needs a target of Cilium`);
  }
  return { targetWasm: await ownProgram(options.program, true) };
}

/** What can be said before anything is read. */
function checkUsage(options: CompareOptions): void {
  if (options.demo === true) {
    const { file, read, rules, change, inputFile, coverage, fixes } = options;
    if ([file, read, rules, change, inputFile, coverage, fixes].some((one) => one !== undefined)) {
      throw new UsageError("--demo brings its own inputs; it is given without -f, -r, --rules, --input-file, --change, --coverage and"
        + " --fixes");
    }
  } else {
    if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder, or try --demo");
    if (options.read !== undefined && options.inputFile !== undefined) {
      throw new UsageError("captures and what --input-file names have clocks of their own; give -r or --input-file, not both");
    }
    if (options.read === undefined && options.inputFile === undefined) {
      throw new UsageError("no captures; give -r with a capture or folder, or try --demo");
    }
  }
}

async function printed<R extends Report>(options: CompareOptions, outputs: Outputs, report: R,
  render: (report: R, options: TextOptions) => string): Promise<number> {
  const safe = printableData(report);
  await outputs.finish(report, options.failOn, (onScreen) => render(safe, { paint: onScreen ? painter() : plainly,
    verbose: options.verbose === true }));
  return report.verdict.exitCode;
}

function strictly(options: InputOptions, report: Report): Report {
  const errors = report.problems.filter((problem) => problem.severity === "error").length;
  if (options.strict !== true || errors === 0) return report;
  return { ...report, verdict: { exitCode: 2, why: `${count(errors, "error")} in the inputs (--strict)` } };
}

export function sessionInput(options: PlaneOptions & Pick<CompareOptions, "followCapture" | "copyWindow"> & Partial<CompareOptions>,
  inputs: Inputs & Partial<InputFiles>, changes: readonly Change[]): SessionInput {
  const { timeline, problems, unreadable } = timelineOf(inputs, changes);
  const clocked = withClocks(inputs.captures, options.clock);
  problems.push(...clocked.said);
  const accepted = acceptedOf(options);
  const current = profileOf(options.current);
  const target = profileOf(options.target);
  refuseUnmodelled(timeline.initial, [current, target]);
  // Of a review both sides are one dataplane, and the one that is asked about.
  if (current.text !== target.text) problems.push(...profileHints(timeline.initial, current, target, CILIUM_VERSIONS));
  const entries = (inputs.entries ?? []).length === 0 ? null : entryCaptures(timeline.initial, inputs.entries!);
  const flows = (inputs.flows ?? null) === null ? null : flowCaptures(timeline.initial, inputs.flows!);
  const given = networkOf(options);
  const network = assumedNetwork(timeline.initial, given, problems);
  const dumps = current.engine === "cilium" ? unusedDumps(inputs.dumps)
    : judgeDumps(inputs.dumps, timeline.initial, current.engine);
  problems.push(...dumps.problems);
  for (const capture of inputs.captures) problems.push(...deviceProblems(capture, timeline.initial));
  return {
    version: version(),
    // Problems of captures are added while they are read; the report takes the list at the end.
    timeline: { ...timeline, get problems() { return [...inputs.problems, ...timeline.problems, ...problems,
      ...(accepted?.problems ?? [])]; } },
    captures: entries === null && flows === null ? clocked.captures
      : [...(entries?.captures ?? []).map(captureOf), ...(flows?.captures ?? []).map(flowCaptureOf)],
    conntrack: inputs.conntrack,
    ...(entries === null ? {} : { entries: summaryOf(entries) }),
    ...(flows === null ? {} : { flows: flowSummaryOf(flows, inputs.flows!) }),
    current, target,
    followCapture: options.followCapture === true || entries !== null || flows !== null,
    windowNs: numberOf(options.copyWindow, "--copy-window", 0, 60_000) * 1e6,
    minJudged: numberOf(options.minJudged ?? "90", "--min-judged", LEAST_JUDGED * 100, 100) / 100, failOn: options.failOn ?? "any",
    unreadable: inputs.unreadable + unreadable + dumps.refused, rulesByNode: dumps.usable,
    verified: verifyDumps(timeline.initial, network, given, dumps.usable), wasm: readWasm(), network, seed: seedOf(options),
    traced: false, ...(options.snapshotTime === undefined ? {} : { taken: takenOf(options.snapshotTime) }),
    ...(accepted === null ? {} : { accepted: accepted.input }),
  };
}

function summaryOf({ entries, replayed, headless, unplaced }: EntryCaptures): SessionInput["entries"] {
  return { entries, replayed, headless, unplaced };
}

function flowSummaryOf({ connections, replayed, notExercised, readdressed, unplaced }: FlowCaptures, set: ConnectionSet)
  : NonNullable<SessionInput["flows"]> {
  const most = (counts: ReadonlyMap<string, number>): (readonly [string, number])[] =>
    [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
  return { events: set.events, answers: set.answers, alike: set.alike, lost: set.lost, aside: most(set.aside),
    verdicts: most(set.verdicts), policyVerdicts: most(set.policyVerdicts), connections, replayed, notExercised, readdressed, unplaced };
}

function flowCaptureOf({ file, node, bytes, packets }: FlowCapture): NamedCapture {
  return { file, node, device: "", lines: packets.map(({ connection }) => connection.line), stated: packets.map(({ backend }) => backend),
    fates: packets.map(({ fate }) => fate),
    timed: packets.map(({ connection }) => connection.timeNs !== null),
    chunks: [bytes][Symbol.iterator](), again: () => [bytes][Symbol.iterator]() };
}

function captureOf({ file, node, bytes, lines, timed }: EntryCapture): NamedCapture {
  return { file, node, device: "", lines, timed, chunks: [bytes][Symbol.iterator](), again: () => [bytes][Symbol.iterator]() };
}

function takenOf(text: string): TakenTime {
  const taken = takenTimeOf(text);
  if (taken === null) throw new UsageError(`--snapshot-time takes a time such as 2026-03-01T12:00:00Z, or FROM/TO, not '${text}'`);
  return taken;
}

function seedOf(options: PlaneOptions): number {
  const seed = wholeNumberOf(options.seed, "--seed", 0);
  if (seed > 0xffffffff) throw new UsageError(`--seed is a whole number up to ${0xffffffff}, not '${options.seed}'`);
  return seed;
}

function deviceProblems({ file, node, device }: NamedCapture, cluster: Cluster): Problem[] {
  const devices = cluster.nodes.find((one) => one.name === node)?.facts.devices ?? [];
  if (device === "" || devices.some((one) => one.name === device)) return [];
  const known = devices.slice(0, 8).map((one) => one.name).join(", ");
  return [{ where: { file, line: 0 }, severity: "warning",
    what: `${node} has no device ${device}; where its packets were seen is taken from their addresses (devices: ${known})` }];
}

type Paint = (style: "bold" | "red" | "yellow" | "green" | "dim", text: string) => string;

/** Colour where the terminal takes it (NO_COLOR, FORCE_COLOR and a pipe are heeded). */
export function painter(): Paint {
  const colours = picocolors.createColors(process.stdout.isTTY === true && process.env.NO_COLOR === undefined);
  return (style, text) => colours[style](text);
}

export const plainly: Paint = (_style, text) => text;
