/** `twinplane check`: from the manifests alone, what would not fit into Cilium's maps. */
import { type Command, Option } from "commander";
import { formatProblem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { assumedNetwork, checkTarget } from "../planes.js";
import { renderCheck } from "../report/check.js";
import { readInputs } from "./inputs.js";
import { addInputOptions, addTargetOptions, type InputOptions, networkOf, type TargetOptions, ciliumProfileOf } from "./options.js";
import { UsageError } from "./usage.js";

interface CheckOptions extends InputOptions, TargetOptions {
  readonly output: "text" | "json";
}

export function checkCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("check")
    .description("policy-map entries per endpoint, identities and other limits, from manifests alone");
  addTargetOptions(addInputOptions(command, false))
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "json"]).default("text"))
    .addHelpText("after", `
Example:
  kubectl get ns,po,no,svc,endpointslices,netpol -A -o yaml | twinplane check -f -`)
    .action((options: CheckOptions) => exit(check(options)));
}

function check(options: CheckOptions): number {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const inputs = readInputs(options.file, []);
  const { initial, problems: ofTimeline } = buildTimeline({ initial: inputs.objects, facts: inputs.facts });
  const problems = [...inputs.problems, ...ofTimeline];
  const found = checkTarget(ciliumProfileOf(options.target), initial, assumedNetwork(initial, networkOf(options), problems));
  problems.push(...found.problems);
  if (options.output === "json") process.stdout.write(`${JSON.stringify({ ...found, problems }, null, 2)}\n`);
  else {
    process.stdout.write(renderCheck(found));
    for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  }
  if (inputs.unreadable > 0 || (options.strict === true && problems.some((one) => one.severity === "error"))) return 2;
  if (found.endpoints === 0) {
    process.stderr.write("twinplane: the manifests hold no Pod object, so there is nothing to check\n");
    return 3;
  }
  return found.limits.some((one) => one.exceeded) ? 1 : 0;
}
