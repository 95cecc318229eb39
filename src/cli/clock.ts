/** `--clock node=+12ms`: what is to be added to the times of a node's captures, where its clock was not the others'. */
import type { Problem } from "../cluster/problem.js";
import type { NamedCapture } from "./inputs.js";
import { UsageError } from "./usage.js";

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9 };

/** The captures with their nodes' offsets, and a warning for each that was corrected. */
export function withClocks(captures: readonly NamedCapture[], given: readonly string[] = [])
  : { readonly captures: readonly NamedCapture[]; readonly said: readonly Problem[] } {
  const offsets = new Map<string, number>();
  for (const text of given) {
    const match = /^(.+)=([+-]?\d{1,12}(?:\.\d{1,9})?)(ns|us|µs|ms|s)$/.exec(text);
    if (match === null) throw new UsageError(`--clock takes node=offset with a unit, such as node2=-12ms, not '${text}'`);
    const [, node, number, unit] = match;
    if (!captures.some((one) => one.node === node)) throw new UsageError(`--clock names ${node}, of which no capture was given with -r`);
    offsets.set(node, Math.round(Number(number) * UNITS[unit]));
  }
  const corrected = captures.filter((one) => offsets.has(one.node));
  return {
    captures: captures.map((one) => (offsets.has(one.node) ? { ...one, clockNs: offsets.get(one.node)! } : one)),
    said: corrected.map(({ file, node }) => ({ where: { file, line: 0 }, severity: "warning",
      what: `${(offsets.get(node)! / 1e6).toString()} ms were added to its times, as --clock says of ${node}` })),
  };
}
