/** The command as a process: what the executable calls. */
import { main } from "./main.js";

export async function start(): Promise<void> {
  // Whoever reads the output may stop reading (`| head`); what is left to print is then of no use.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
  process.exitCode = await main(process.argv.slice(2));
}
