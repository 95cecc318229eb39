/** `twinplane verify`: how much of a real node's rules the generated ones reproduce. */
import { type Command, Option } from "commander";
import type { Problem } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import type { NodeDump } from "../iptables/planeNode.js";
import { assumedNetwork } from "../planes.js";
import { renderVerify, type VerifyReport, verifyVerdict } from "../report/verify.js";
import { verifyDumps } from "../verification.js";
import { jsonText } from "../report/printable.js";
import { judgeDumps } from "./dumps.js";
import { readInputs } from "./inputs.js";
import { type InputOptions, networkOf } from "./options.js";
import { UsageError } from "./usage.js";

interface VerifyOptions extends InputOptions {
  readonly node?: string;
  readonly clusterCidr?: readonly string[];
  readonly nonMasqueradeCidr?: readonly string[];
  readonly output: "text" | "json";
  readonly verbose?: boolean;
}

export function verifyCommand(program: Command, exit: (code: number) => void): void {
  program.command("verify")
    .description("how much of a node's own rules the generated ones reproduce, line by line")
    .option("-f, --file <path...>", "manifests, node facts (ip -j) and dumps of nodes' rules: files or folders, - for stdin")
    .option("--rules <dump...>", "what iptables-save, ip6tables-save or ipset save prints on a node; [node=]path")
    .option("--node <name>", "the node that --rules are of; only this node is verified (default: every node with a dump)")
    .option("--cluster-cidr <cidr...>", "pod address ranges (default: what the dump says, else from the nodes' podCIDRs)")
    .option("--non-masquerade-cidr <cidr...>", "destinations that see a pod's own address (default: the nodes' networks)")
    .option("--strict", "any error in the inputs ends with exit code 2; without it the rest is used")
    .addOption(new Option("-o, --output <format>", "report format").choices(["text", "json"]).default("text"))
    .option("-v, --verbose", "list every line")
    .addHelpText("after", `
Counters, spelling, and the order between services in the chains they share do not count.

Exit codes:
  0  every line of the dumps is reproduced, and nothing else is generated
  1  differences
  2  wrong usage, or an input that could not be read
  3  nothing to compare: no dump of a node, or none of its lines is one that is generated

Examples:
  twinplane verify --node node1 --rules node1.txt -f cluster.yaml
  twinplane verify --rules node1=v4.txt node1=v6.txt -f cluster.yaml -f node1.net.json -o json
  ssh node1 sudo iptables-save | twinplane verify --node node1 --rules - -f cluster.yaml`)
    .action((options: VerifyOptions) => exit(verify(options)));
}

function verify(options: VerifyOptions): number {
  if (options.file === undefined) throw new UsageError("no manifests; give -f with a file or folder");
  const { node } = options;
  const rules = (options.rules ?? [])
    .map((argument) => (node === undefined || argument.includes("=") ? argument : `${node}=${argument}`));
  const inputs = readInputs(options.file, [], { rules });
  const { initial, problems: found } = buildTimeline({ initial: inputs.objects, facts: inputs.facts });
  if (node !== undefined && !initial.nodes.some((one) => one.name === node)) {
    throw new UsageError(`no node ${node} in the manifests`);
  }
  const problems = [...inputs.problems, ...found];
  const given = networkOf({ ...options, target: "" });
  const assumed: Problem[] = [];
  const network = assumedNetwork(initial, given, assumed);
  // What is assumed is told by the dump; what was meant for kube-proxy and cannot be read is said.
  problems.push(...assumed.filter((one) => one.severity === "error"));
  const judged = judgeDumps(wanted(inputs.dumps, node), initial, null);
  problems.push(...judged.problems);
  const dumps = verifyDumps(initial, network, given, judged.usable);
  const all = [...problems, ...dumps.flatMap((one) => one.problems)];
  const strict = options.strict === true && all.some((one) => one.severity === "error");
  const verdict = strict ? { exitCode: 2, why: "errors in the inputs (--strict)" }
    : verifyVerdict(dumps, inputs.unreadable + judged.refused);
  const report: VerifyReport = { dumps, problems, verdict };
  process.stdout.write(options.output === "json" ? jsonText(report)
    : renderVerify(report, options.verbose === true));
  return report.verdict.exitCode;
}

function wanted(dumps: ReadonlyMap<string, NodeDump>, node: string | undefined): ReadonlyMap<string, NodeDump> {
  return node === undefined ? dumps : new Map([...dumps].filter(([name]) => name === node));
}
