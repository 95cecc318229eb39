/** `twinplane build`: a module with a program of the user's own in the place of a step. */
import { writeFileSync } from "node:fs";
import { basename } from "node:path";
import type { Command } from "commander";
import { formatProblem } from "../cluster/problem.js";
import { sentenceOf } from "./files.js";
import { compileProgram } from "./own-program.js";
import { UsageError } from "./usage.js";

export function buildCommand(program: Command, exit: (code: number) => void): void {
  program.command("build").description("make a module whose policy step a program of your own replaces or follows")
    .argument("<program>", "an AssemblyScript file that exports policy(verdict: i32): i32")
    .option("-o, --out-file <path>", "the module; beside it one that records steps, for trace (default: the program's name)")
    .addHelpText("after", `
The program is compiled with the package's assembly/; what it may import is in assembly/step.ts:
  import { DropReason, GO_ON, PolicyStep, TCP } from "twinplane/assembly/step";
  export function policy(verdict: i32): i32 {
    return PolicyStep.protocol == TCP && PolicyStep.port == 23 ? -<i32>DropReason.DROP_POLICY_DENY : verdict;
  }

Examples:
  twinplane build no_telnet.ts -o no_telnet.wasm
  twinplane compare -f cluster.yaml -r node1=node1.pcap --program no_telnet.wasm
  twinplane test no_telnet.scenario.yaml     # planes: {own: {profile: cilium@1.20, program: no_telnet.ts}}`)
    .action(async (path: string, options: { readonly outFile?: string }) => exit(await build(path, options.outFile)));
}

async function build(path: string, outFile: string | undefined): Promise<number> {
  const { wasm, problems } = await compileProgram(path, true);
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  if (problems.length > 0) return 2;
  const out = outFile ?? `${basename(path, ".ts")}.wasm`;
  if (!out.endsWith(".wasm")) throw new UsageError(`the module is a file.wasm, not '${out}'`);
  const files = [[out, wasm.fast], [out.replace(/\.wasm$/, ".traced.wasm"), wasm.traced]] as const;
  for (const [file, bytes] of files) {
    try {
      writeFileSync(file, bytes);
    } catch (error) {
      throw new UsageError(`cannot write ${file}: ${sentenceOf(error)}`);
    }
    process.stdout.write(`${file}  ${bytes.length} bytes\n`);
  }
  return 0;
}
