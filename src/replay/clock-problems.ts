/** What clocks that do not agree are to a user: which node's, by how much, and what to pass. */
import type { Problem } from "../cluster/problem.js";
import type { ClockHint } from "./clocks.js";
import type { CaptureInput } from "./reading.js";

export function clockProblems(hints: readonly ClockHint[], captures: readonly CaptureInput[], nodes: readonly string[]): Problem[] {
  return hints.map(({ node, against, addNs, packets, atLeast, backwards }) => {
    const capture = captures.find((one) => one.node === node);
    const total = (capture?.clockNs ?? 0) + addNs;
    const found = backwards ? "packets come in before they left" : "packets take longer than --copy-window";
    const estimate = `${ms(Math.abs(addNs))} ms ${addNs < 0 ? "ahead of" : "behind"} ${nodes[against]}'s`;
    return {
      where: { file: capture?.file ?? "", line: 0 }, severity: "warning",
      what: `the clock of ${nodes[node]} seems ${atLeast ? "at least " : ""}${estimate}: ${found} (${packets} packets that both captures`
        + ` have); copies of one packet are not recognised; --clock ${nodes[node]}=${ms(total)}ms makes them agree`,
    };
  });
}

/** To the microsecond. */
function ms(ns: number): string {
  return (Math.round(ns / 1000) / 1000).toString();
}
