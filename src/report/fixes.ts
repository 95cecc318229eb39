/** The fixes of a comparison on the screen: what each cures, and those that were tried and do not. Prints data. */
import type { FixReport } from "../fix/fixes.js";
import { count } from "./report.js";
import type { TextOptions } from "./text.js";

export function fixLines({ offered, refused, together }: FixReport, { paint }: Pick<TextOptions, "paint">): string[] {
  if (offered.length + refused.length === 0) return ["No difference here has a fix that a manifest could say."];
  const lines = [paint("bold", `Fixes: ${offered.length} offered, each tried on this traffic`)];
  for (const { id, kind, namespace, name, when, result, cured, flows, shows } of offered) {
    const then = shows.length === 0 ? "" : `; then shows ${shows.join(", ")}`;
    const word = paint(result === "cured" ? "green" : "yellow", result);
    lines.push(`  ${id}  ${word}: ${cured} of ${count(flows, "flow")};`
      + ` opens nothing else, no limit newly exceeded${then}`, `      ${kind} ${namespace}/${name}, ${when} the switch: ${name}.yaml`);
  }
  for (const { id, object, why } of refused) lines.push(paint("dim", `  ${id}  not offered: ${object}: ${why}`));
  if (together !== null && offered.length > 1) {
    const besides = together.clean ? "" : "; and other flows change";
    lines.push(`  together: ${together.cured} of ${count(together.flows, "flow")} cured${besides}`);
  }
  return lines;
}
