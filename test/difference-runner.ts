/**
 * Prints what the planes show (test/difference-traffic.ts) as one line of JSON. It is a child process of the ring of faults
 * (test/difference-mutants.test.ts), run in a copy of the tree that has one fault in it.
 */
import { shownPackets } from "./difference-traffic.js";

process.stdout.write(`${JSON.stringify(await shownPackets())}\n`);
