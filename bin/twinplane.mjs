#!/usr/bin/env node
import { main } from "../dist/cli/main.js";

// Whoever reads the output may stop reading (`| head`); what is left to print is then of no use.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error) => {
    if (error.code !== "EPIPE") throw error;
  });
}
process.exitCode = await main(process.argv.slice(2));
