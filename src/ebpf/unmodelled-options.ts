/**
 * Option values that are not modelled, said when options are read: what each makes undecided (doubts/table.ts, and what a
 * program itself leaves undecided), and what the agent refuses (refusals.ts).
 */
import type { Problem } from "../cluster/problem.js";
import { type Doubt, DOUBTS } from "./doubts/table.js";
import { ipipByXdp } from "./encapsulation.js";
import type { OptionName } from "./option-values.js";
import type { CiliumOptions } from "./options.js";
import { refusalProblems, refusedValues } from "./refusals.js";

/** What programs leave undecided (UndecidedReason). */
const BY_PROGRAMS: readonly Pick<Doubt, "option" | "when" | "why">[] = [
  { option: "bpf-lb-dsr-dispatch", when: (o) => ipipByXdp(o) && o["kube-proxy-replacement"],
    why: "up to 1.18 direct server return in IP headers of its own is XDP's, and what it may touch" },
];

export function refuseUnmodelled(options: CiliumOptions, problems: Problem[]): void {
  for (const { option, when, why } of [...DOUBTS, ...BY_PROGRAMS]) {
    if (!when(options)) continue;
    const where = options.grades[option] === "read" ? options.where : null;
    problems.push({ where, severity: "warning", what: `option ${option}=${String(options[option])}: undecided: ${why}` });
  }
  for (const what of options.unread) {
    problems.push({ where: options.where, severity: "warning", what: `${what}: every packet is undecided` });
  }
  problems.push(...refusalProblems(options));
}

/** What is undecided or refused of values of an option; empty where every value is modelled. */
export function unmodelledValues(name: OptionName): string {
  const why = [...DOUBTS, ...BY_PROGRAMS].filter((one) => one.option === name).map((one) => one.why);
  const undecided = why.length === 0 ? "" : `undecided: ${[...new Set(why)].join("; ")}`;
  return [undecided, refusedValues(name)].filter((text) => text !== "").join("; ");
}
