/**
 * `npm run verify:cilium -- --objects <dir>`: Cilium's own compiled programs, taken from a node, as referee of ours. See README.md beside
 * this file. Exit codes: 0 every frame that was judged came out equal, 1 some did not, 2 usage, objects or machine.
 */
import { Command, InvalidArgumentError } from "commander";
import { type MatchResult, runMatch } from "./match.js";
import { findObjects, ObjectsError } from "./objects.js";
import { missing, RefereeError } from "./worker.js";

interface Options { objects: string; version?: string; frames: number; seed: number; show: number; option: string[] }

const VERSIONS = ["1.16", "1.17", "1.18", "1.19", "1.20"];

const program = new Command("verify:cilium")
  .description("runs frames through Cilium's compiled programs in this kernel and through ours, and compares what becomes of them")
  .requiredOption("--objects <dir>", "folder with bpf_lxc.o, bpf_host.o and node_config.h from /var/run/cilium/state of a node")
  .option("--version <1.x>", "Cilium's version, where the objects do not tell", version)
  .option("--frames <n>", "frames to run", count, 1000)
  .option("--seed <n>", "seed of the frames", count, 1)
  .option("--show <n>", "differences to print", count, 20)
  .option("--option <name=value>", "a Cilium option that no object shows; may be given again", (value: string, list: string[]) => [...list, value], [])
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : 2));

process.exit(await main(program.parse().opts<Options>()));

async function main(options: Options): Promise<number> {
  const absent = missing();
  if (absent.length > 0) {
    process.stderr.write(`verify:cilium needs ${absent.join(", ")}\n`);
    return 2;
  }
  try {
    const files = findObjects(options.objects, options.version ?? null);
    const overrides = Object.fromEntries(options.option.map((one) => [one.slice(0, one.indexOf("=")), one.slice(one.indexOf("=") + 1)]));
    console.log(`Cilium ${files.version}: ${files.lxc}, ${files.host}`);
    return print(await runMatch(files, options.frames, options.seed, overrides), options.show);
  } catch (error) {
    if (!(error instanceof ObjectsError) && !(error instanceof RefereeError)) throw error;
    process.stderr.write(`verify:cilium: ${error.message}\n`);
    return 2;
  }
}

function print(result: MatchResult, show: number): number {
  for (const one of result.refused) console.log(`the kernel refused ${one}`);
  if (result.missing.length > 0) console.log(`maps of ours that these objects have not: ${result.missing.join(", ")}`);
  for (const [verdict, times] of [...result.verdicts].sort()) console.log(`  ${String(times).padStart(6)} ${verdict}`);
  const undecided = [...result.undecided.values()].reduce((sum, times) => sum + times, 0);
  const judged = result.frames - undecided;
  for (const [reason, times] of result.undecided) console.log(`undecided here: ${times} (${reason})`);
  console.log(`${result.equal} of ${judged} frames equal`);
  for (const one of result.differences.slice(0, show)) console.log(`frame ${one.frame} ${one.text}`);
  if (result.differences.length > show) console.log(`and ${result.differences.length - show} more`);
  return result.equal === judged && judged > 0 ? 0 : 1;
}

function version(text: string): string {
  if (!VERSIONS.includes(text)) throw new InvalidArgumentError(`expected one of ${VERSIONS.join(", ")}`);
  return text;
}

function count(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError("expected a number");
  return Number(text);
}
