/** `twinplane review`: what a change of manifests drops or opens for recorded traffic. */
import { writeFileSync } from "node:fs";
import { type Command, Option } from "commander";
import type { Timeline } from "../cluster/cluster.js";
import type { Problem } from "../cluster/problem.js";
import { formatProblem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { assumedNetwork } from "../planes.js";
import { renderAnnotations } from "../report/annotations.js";
import { count } from "../report/report.js";
import { renderReview } from "../report/review.js";
import { renderReviewMarkdown } from "../report/review-markdown.js";
import type { Review, ReviewFailOn } from "../review/report.js";
import { readdress } from "../review/readdress.js";
import { runReview } from "../review/review.js";
import { jsonText, printableData } from "../report/printable.js";
import { COVERAGE_HELP, writeCoverage } from "./coverage.js";
import { type CompareOptions, painter, plainly, sessionInput, SNAPSHOT_HELP } from "./compare.js";
import { type InputFiles, withInputFiles } from "./input-files.js";
import { type Inputs, readInputs } from "./inputs.js";
import { withLearnedNames } from "./learned-names.js";
import { addNetworkOptions, networkOf } from "./options.js";
import { Progress } from "./progress.js";
import { addAcceptedOptions } from "./accepted.js";
import { addChangeOptions, type ChangeOptions, checkChange, sidesOf, type Sides } from "./review-change.js";
import { UsageError } from "./usage.js";

interface ReviewOptions extends Omit<CompareOptions, "failOn" | "output" | "rules" | "change" | "demo">, ChangeOptions {
  readonly profile: string;
  readonly failOn: ReviewFailOn;
  readonly output: "text" | "json" | "markdown" | "github";
}

export function reviewCommand(program: Command, exit: (code: number) => void): void {
  const command = addChangeOptions(program.command("review").description("what a change of manifests drops or opens for recorded traffic"))
    .option("-f, --file <path...>", "what both have: a dump of the cluster (pods, nodes, services), node facts, conntrack entries;"
      + " where it holds the reviewed objects too, --before and --after stand in their place")
    .option("-r, --read <capture...>", "captures, taken with the manifests of --before; [node[:device]=]path names where one was taken")
    .option("--input-file <entries...>", "flows instead of captures: Hubble's (hubble observe -o jsonpb, ACNS logs),"
      + " conntrack -L or -E; [node=]path")
    .option("--strict", "any error in the inputs ends with exit code 2; without it the rest is used")
    .option("--profile <profile>", "the dataplane on both sides", "cilium@1.20");
  addAcceptedOptions(addNetworkOptions(command))
    .option("--seed <number>", "seed of every random choice", "1")
    .option("--follow-capture", "pin the first packet of each flow to the recorded backend, where that was eligible")
    .option("--snapshot-time <time>", SNAPSHOT_HELP)
    .option("--copy-window <ms>", "how long copies of one packet may lie apart", "50")
    .addOption(new Option("--fail-on <what>", "what makes the exit code 1").choices(["dropped", "opened", "any", "none"]).default("any"))
    .option("--min-judged <percent>", "least share of packets that must match the cluster and be decided, from 10 on", "90")
    .addOption(new Option("-o, --output <format>", "markdown: for a pull request's comment; github: workflow annotations")
      .choices(["text", "json", "markdown", "github"]).default("text"))
    .option("--out-file <path>", "write the report here instead of standard output")
    .option("--coverage <file>", COVERAGE_HELP)
    .option("-v, --verbose", "list every problem and everything that was not exercised")
    .addHelpText("after", `
Exit codes:
  0  judged, and nothing that --fail-on counts
  1  newly dropped or opened connections, or limits newly exceeded; differences that no changed line makes count with every --fail-on
     but none
  2  wrong usage, or an input that could not be read
  3  could not judge: too few packets match the cluster, too many are undecided, or the change made some so

Examples:
  twinplane review --before main/policies --after pr/policies -f dump.yaml -r node1=node1.pcap --profile cilium@1.18
  twinplane review --before main/policies --after policies -f dump.yaml --input-file node1=conntrack.txt -o github
  twinplane review --change pr/web.yaml --delete NetworkPolicy/default/old -f dump.yaml -r node1=node1.pcap`)
    .action(async (options: ReviewOptions) => exit(await review(options)));
}

async function review(options: ReviewOptions): Promise<number> {
  if ((options.read === undefined) === (options.inputFile === undefined)) {
    throw new UsageError("give the traffic with -r or with --input-file");
  }
  checkChange(options);
  const progress = new Progress(process.stderr);
  const found = strictly(options, await reviewed(options, progress));
  progress.clear();
  if (options.coverage !== undefined) writeCoverage(options.coverage, found.coverage);
  const text = rendered(options, found);
  if (options.outFile === undefined) process.stdout.write(text);
  else writeFileSync(options.outFile, text);
  return found.verdict.exitCode;
}

async function reviewed(options: ReviewOptions, progress: Progress): Promise<Review> {
  const sides = sidesOf(options);
  const inputs = await joined(options, sides);
  // One timeline of both, so that a pod's device has one number.
  const facts = new Map([...inputs.facts, ...sides.factsAfter]);
  const moved = readdress(sides.before, sides.after, new Set(sides.factsAfter.keys()));
  const both = buildTimeline({ initial: sides.before, changes: [{ atNs: 0n, kind: "objects", objects: moved.after }], facts });
  const [changed] = both.changes;
  if (changed?.kind !== "cluster") throw new Error("the cluster after the change was not built");
  const base = sessionInput({ ...options, current: options.profile, target: options.profile, failOn: "any", output: [] }, inputs, []);
  const problems: Problem[] = [];
  const targetNetwork = assumedNetwork(changed.cluster, networkOf({ ...options, target: options.profile }), problems);
  const after: Timeline = { initial: changed.cluster, changes: [], problems: [] };
  const learned = await withLearnedNames({ ...base, targetTimeline: after, timeline: { initial: both.initial,
    changes: base.timeline.changes, get problems() { return base.timeline.problems; } } }, inputs.captures);
  const timeline: Timeline = { initial: both.initial, changes: learned.timeline.changes,
    get problems() { return onceEach([...learned.timeline.problems, ...both.problems, ...problems]); } };
  const { rulesByNode: _, verified: __, ...input } = base;
  const { review: found } = await runReview({
    input: { ...input, timeline, targetNetwork, strangers: moved.refused, onProgress: (records) => progress.show(records) },
    after, names: sides.names, readdressed: moved.pods, failOn: options.failOn,
  });
  return found;
}

/** Captures and facts of the shared inputs; where those have no nodes or pods, these are the manifests' before. */
async function joined(options: ReviewOptions, { sharedIsWhole, ...sides }: Sides): Promise<Inputs & InputFiles> {
  const manifests = sharedIsWhole ? options.file ?? [] : [...options.file ?? [], ...options.before ?? []];
  const inputs = await withInputFiles(readInputs(manifests, options.read ?? []), options.inputFile);
  return {
    ...inputs, objects: sides.before, facts: new Map([...inputs.facts, ...sides.factsBefore]), dumps: new Map(),
    unreadable: inputs.unreadable + sides.unreadable,
    get problems() { return [...inputs.problems, ...sides.problems]; },
  };
}

function onceEach(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((one) => [formatProblem(one), one])).values()];
}

function rendered(options: ReviewOptions, found: Review): string {
  switch (options.output) {
    case "json": return jsonText(found);
    case "markdown": return renderReviewMarkdown(found);
    case "github": return renderAnnotations(found);
    case "text": return renderReview(printableData(found), { paint: options.outFile === undefined ? painter() : plainly,
      verbose: options.verbose === true });
  }
}

function strictly(options: ReviewOptions, found: Review): Review {
  const errors = found.problems.filter((problem) => problem.severity === "error").length;
  if (options.strict !== true || errors === 0) return found;
  return { ...found, verdict: { exitCode: 2, why: `${count(errors, "error")} in the inputs (--strict)` } };
}
