/** `twinplane explain`: the page of a difference, a drop reason or a limit. */
import type { Command } from "commander";
import { explain, explanations, nearIds } from "../explain/explain.js";
import { renderExplanation, renderList } from "../report/explain.js";
import { UsageError } from "./usage.js";

export function explainCommand(program: Command, exit: (code: number) => void): void {
  program.command("explain").description("what a difference, a drop reason or a limit is, who met it, and what to do")
    .argument("[id]", "an id of a report (NAT-LOCAL-BACKEND), a drop reason by name or number (POLICY_DENIED, 133), a limit"
      + " (CAP-POLICYMAP, bpf-policy-map-max); without it everything is listed")
    .option("--json", "the same as JSON")
    .addHelpText("after", `
Examples:
  twinplane explain
  twinplane explain POL-IPBLOCK-POD
  twinplane explain 133`)
    .action((id: string | undefined, options: { readonly json?: boolean }) => exit(run(id, options.json === true)));
}

function run(id: string | undefined, json: boolean): number {
  const all = explanations();
  const found = id === undefined ? all : explain(id, all);
  if (id !== undefined && found.length === 0) {
    const near = nearIds(id, all);
    throw new UsageError(`nothing is called '${id}'; ${near.length === 0 ? "`twinplane explain` lists what is"
      : `did you mean ${near.join(", ")}?`}`);
  }
  const text = id === undefined ? renderList(all) : found.map(renderExplanation).join("\n");
  process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : text);
  return 0;
}
