/**
 * The command line. Knows exit codes, the terminal and the file system; everything else is asked of the library.
 *
 * Exit codes: 0 judged and nothing at or above --fail-on; 1 differences or limits; 2 usage or unreadable input;
 * 3 could not judge; 70 our fault. The highest of 70, 2, 3, 1 wins.
 */
import { Command, CommanderError } from "commander";
import { anonymiseCommand } from "./anonymise.js";
import { buildCommand } from "./build.js";
import { checkCommand } from "./check.js";
import { collectCommand } from "./collect.js";
import { compareCommand } from "./compare.js";
import { completionCommand } from "./completion.js";
import { dumpCommand } from "./dump.js";
import { explainCommand } from "./explain.js";
import { reviewCommand } from "./review.js";
import { scoreCommand } from "./score.js";
import { supportCommand } from "./support.js";
import { testCommand } from "./test.js";
import { traceCommand } from "./trace.js";
import { verifyCommand } from "./verify.js";
import { UsageError } from "./usage.js";
import { version } from "./version.js";

export async function main(argv: readonly string[]): Promise<number> {
  let exitCode = 0;
  const program = new Command("twinplane")
    .description("Replays captured traffic through two Kubernetes dataplanes and explains, packet by packet, where they disagree.")
    .version(version())
    .exitOverride()
    .configureHelp({ helpWidth: 110 })
    .showHelpAfterError("(twinplane --help shows the commands)")
    .addHelpText("after", `
Examples:
  twinplane compare --demo
  twinplane compare -f cluster.yaml -r node1=node1.pcap -r node2=node2.pcap
  twinplane check -f cluster.yaml
  twinplane explain NAT-LOCAL-BACKEND
  twinplane test scenarios/`);
  const commands = [compareCommand, reviewCommand, traceCommand, dumpCommand, checkCommand, verifyCommand, testCommand, explainCommand,
    collectCommand, anonymiseCommand, scoreCommand, supportCommand, buildCommand, completionCommand];
  for (const command of commands) {
    command(program, (code) => {
      exitCode = code;
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
  } catch (error) {
    return report(error);
  }
  return exitCode;
}

function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof UsageError) {
    process.stderr.write(`twinplane: ${error.message}\n`);
    return 2;
  }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
  process.stderr.write(`twinplane: this is a bug in twinplane, not in your input; please report it\n${detail}\n`);
  return 70;
}
