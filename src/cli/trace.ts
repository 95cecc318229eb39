/** `twinplane trace`: every step of one packet in both planes. */
import type { Command } from "commander";
import { renderTrace } from "../report/trace.js";
import { runSession } from "../session.js";
import { addReplayOptions, type CompareOptions, sessionInput } from "./compare.js";
import { readInputs } from "./inputs.js";
import { addInputOptions, addPlaneOptions, numberOf } from "./options.js";
import { UsageError } from "./usage.js";

interface TraceOptions extends CompareOptions {
  readonly packet: string;
  readonly capture?: string;
}

export function traceCommand(program: Command, exit: (code: number) => void): void {
  const command = program.command("trace").description("every step of one packet in both dataplanes, with manifest lines");
  addReplayOptions(addPlaneOptions(addInputOptions(command, true)))
    .requiredOption("--packet <number>", "record number in the capture, from 1, as Wireshark counts")
    .option("--capture <file>", "which of the captures given with -r (default: the first)")
    .addHelpText("after", `
Example:
  twinplane trace -f cluster.yaml -r node1=node1.pcap -r node2=node2.pcap --capture node1.pcap --packet 3`)
    .action(async (options: TraceOptions) => exit(await trace(options)));
}

async function trace(options: TraceOptions): Promise<number> {
  if ((options.file ?? []).length === 0) throw new UsageError("no manifests; give -f");
  const inputs = readInputs(options.file ?? [], options.read ?? []);
  const capture = options.capture === undefined ? 0 : inputs.captures.findIndex((one) => one.file === options.capture || one.file.endsWith(`/${options.capture}`));
  if (capture < 0 || inputs.captures.length === 0) throw new UsageError(`no capture ${options.capture ?? ""} among those given with -r`);
  const record = numberOf(options.packet, "--packet", 1, Number.MAX_SAFE_INTEGER);
  const session = await runSession({ ...sessionInput(options, inputs), traced: true, until: { capture, record } });
  const watched = session.traced;
  if (watched === null) {
    process.stderr.write(`twinplane: packet ${record} of ${inputs.captures[capture].file} was not replayed as a packet of its own:`
      + " it is a later view of another packet, made by a node, or not there\n");
    return 3;
  }
  process.stdout.write(renderTrace(watched));
  return 0;
}
