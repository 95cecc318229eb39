/** `twinplane check`: from a dump alone, what would change, what would not fit, and what the target cannot do. */
import { type Command, Option } from "commander";
import { runCheck } from "../check/check.js";
import { detectCurrent, profileHints } from "../check/detect.js";
import { SCALE_BY, type ScaleBy } from "../check/scale.js";
import { formatProblem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { assumedNetwork, CILIUM_VERSIONS, PROFILES_HELP } from "../planes.js";
import { renderCheck } from "../report/check.js";
import { jsonText, printableData } from "../report/printable.js";
import { type AcceptedOptions, acceptedOf, addAcceptedOptions } from "./accepted.js";
import { readInputs } from "./inputs.js";
import { addInputOptions, addTargetOptions, ciliumProfileOf, type InputOptions, networkOf, numberOf, profileOf,
  type TargetOptions, wholeNumberOf } from "./options.js";
import { UsageError } from "./usage.js";
import { version } from "./version.js";
import { readWasm } from "./wasm.js";

interface CheckOptions extends InputOptions, TargetOptions, AcceptedOptions {
  readonly current?: string;
  readonly output: "text" | "json";
  readonly seed: string;
  readonly maxProbes?: string;
  readonly scalePods?: string;
  readonly scaleBy: ScaleBy;
}

export function checkCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("check")
    .description("what would change with the target dataplane, from the manifests alone: pairs, policies and services that are read"
      + " otherwise, every pair of both dataplanes, limits, hazards");
  addInputOptions(command, false)
    .option("--current <profile>", "the dataplane the cluster has now (default: what the objects show)");
  addAcceptedOptions(addTargetOptions(command))
    .option("--scale-pods <number>", "limits also for this cluster grown to so many pods")
    .addOption(new Option("--scale-by <what>", "how it grows: replicas (more pods of the same label sets on more nodes; identities"
      + " stay) or labels (every namespace again under names of its own, with its pods, services and policies; identities multiply)")
      .choices(SCALE_BY).default("replicas"))
    .option("--seed <number>", "seed of every random choice", "1")
    .option("--max-probes <number>", "packets that the comparison of both planes sends at most, one for each class of pairs; what is"
      + " beyond is counted as undecided (default: what a few minutes are thought to take; 0: none)")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "json"]).default("text"))
    .addHelpText("after", `
${PROFILES_HELP}

--accepted accepts rows of pairs, flags, limits and hazards by id, or by id and the row's own
name (subject: service shop/web); entries about a source, a destination or a port are for
compare and accept no row of pairs. Blockers are not accepted.

Exit codes:
  0  nothing found that would change, but what is accepted
  1  something would change, or a limit is exceeded
  2  wrong usage, or an input that could not be read
  3  could not judge

Examples:
  kubectl get ns,po,no,svc,endpointslices,netpol,ds,cm -A -o yaml | twinplane check -f -
  twinplane check -f cluster.yaml --current kube-proxy+npm --target aks@1.34 -o json
  twinplane check -f cluster.yaml --scale-pods 200000 --scale-by labels --max-probes 0`)
    .action((options: CheckOptions) => exit(check(options)));
}

function check(options: CheckOptions): number {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const target = ciliumProfileOf(options.target);
  const accepted = acceptedOf(options);
  const inputs = readInputs(options.file, []);
  const { initial: cluster, problems: ofTimeline } = buildTimeline({ initial: inputs.objects, facts: inputs.facts });
  const detected = detectCurrent(cluster, CILIUM_VERSIONS);
  const current = profileOf(options.current ?? detected.profile);
  const problems = [...inputs.problems, ...ofTimeline, ...accepted?.problems ?? []];
  problems.push(...profileHints(cluster, current, target, CILIUM_VERSIONS));
  const network = assumedNetwork(cluster, networkOf(options), problems);
  const scale = options.scalePods === undefined ? null : { pods: wholeNumberOf(options.scalePods, "--scale-pods", 1), by: options.scaleBy };
  const report = runCheck({ scale, wasm: readWasm(), seed: numberOf(options.seed, "--seed", 0, 0xffffffff), rulesByNode: inputs.dumps,
    mostProbes: options.maxProbes === undefined ? null : wholeNumberOf(options.maxProbes, "--max-probes", 0),
    version: version(), cluster, network, current, target,
    detected: options.current === undefined ? detected.because : "", problems, unreadable: inputs.unreadable,
    strict: options.strict === true, accepted: accepted?.input ?? null });
  process.stdout.write(options.output === "json" ? jsonText(report) : renderCheck(printableData(report)));
  for (const problem of options.output === "json" ? [] : report.problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const { exitCode, why } = report.verdict;
  if (exitCode > 1) process.stderr.write(`twinplane: ${why}\n`);
  return exitCode;
}
