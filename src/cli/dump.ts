/** `twinplane dump`: what was compiled, as cilium-dbg and iptables-save show it. */
import { type Command, Argument } from "commander";
import { formatProblem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { assumedNetwork, dumpMaps, dumpRules, rulesProblems, type Profile } from "../planes.js";
import { renderCluster } from "../report/cluster.js";
import { readInputs } from "./inputs.js";
import { addInputOptions, addTargetOptions, type InputOptions, networkOf, profileOf, refuseUnmodelled, type TargetOptions,
  ciliumProfileOf } from "./options.js";
import { UsageError } from "./usage.js";

interface DumpOptions extends InputOptions, TargetOptions {
  readonly node?: string;
  readonly current: string;
}

const RULES = "kube-proxy, kube-proxy+npm or kube-proxy+calico";

export function dumpCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("dump").description("the maps or rules that were compiled, or the cluster as it was read")
    .addArgument(new Argument("<what>").choices(["maps", "rules", "cluster"]));
  addTargetOptions(addInputOptions(command, false))
    .option("--node <name>", "rules of this node (default: every node)")
    .option("--current <profile>", `whose rules, with their IP sets: ${RULES}`, "kube-proxy")
    .addHelpText("after", `
Examples:
  twinplane dump maps -f cluster.yaml
  twinplane dump rules -f cluster.yaml --node node1 > node1.rules
  twinplane dump rules -f cluster.yaml --current kube-proxy+npm`)
    .action((what: "maps" | "rules" | "cluster", options: DumpOptions) => exit(dump(what, options)));
}

function dump(what: "maps" | "rules" | "cluster", options: DumpOptions): number {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const inputs = readInputs(options.file, []);
  const { initial, problems: found } = buildTimeline({ initial: inputs.objects, facts: inputs.facts });
  const problems = [...inputs.problems, ...found];
  if (what === "rules") refuseUnmodelled(initial, [profileOf("kube-proxy")]);
  const network = assumedNetwork(initial, networkOf(options), problems);
  if (options.node !== undefined && !initial.nodes.some((node) => node.name === options.node)) {
    throw new UsageError(`no node ${options.node} in the manifests`);
  }
  if (what === "maps") process.stdout.write(dumpMaps(ciliumProfileOf(options.target), initial, network));
  else if (what === "rules") {
    const engine = rulesProfileOf(options.current);
    process.stdout.write(dumpRules(initial, network, options.node ?? null, engine));
    problems.push(...rulesProblems(initial, network, engine));
  } else process.stdout.write(renderCluster(initial));
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  const strict = options.strict === true && problems.some((one) => one.severity === "error");
  return inputs.unreadable > 0 || strict ? 2 : 0;
}

/** A profile that has rules. */
function rulesProfileOf(text: string): Profile["engine"] {
  const { engine } = profileOf(text);
  if (engine === "cilium") throw new UsageError(`${text} has no rules; expected --current ${RULES}`);
  return engine;
}
