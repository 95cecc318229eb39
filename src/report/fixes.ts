/** The fixes of a comparison: what each cures, those that were tried and are not offered, and what has none. Prints data. */
import type { Fix, FixReport } from "../fix/fixes.js";
import { count } from "./report.js";
import type { TextOptions } from "./text.js";

export function fixLines({ offered, refused, without, together }: FixReport, { paint }: Pick<TextOptions, "paint">): string[] {
  if (offered.length + refused.length + without.length === 0) return ["No difference here needs a fix."];
  const lines = [paint("bold", `Fixes: ${offered.length} offered, each tried on this traffic`)];
  for (const fix of offered) {
    const word = paint(fix.result === "cured" ? "green" : "yellow", fix.result);
    lines.push(`  ${fix.id}  ${word}${effectText(fix)}`, `      ${placeText(fix)}`);
  }
  for (const { id, object, why } of refused) lines.push(paint("dim", `  ${id}  not offered: ${object}: ${why}`));
  for (const { id, flows, why, advice } of without) {
    lines.push(paint("dim", `  ${id}  ${count(flows, "flow")}: ${why}${advice === "" ? "" : `. ${advice}`}`));
  }
  return [...lines, ...togetherLines({ together, offered })];
}

/** `: 12 of 12 flows; opens nothing else, no limit newly exceeded`. */
export function effectText({ cured, flows, shows }: Fix): string {
  const then = shows.length === 0 ? "" : `; then shows ${shows.join(", ")}`;
  return `: ${cured} of ${count(flows, "flow")}; opens nothing else, no limit newly exceeded${then}`;
}

export function placeText({ kind, namespace, name, when, replaces }: Fix): string {
  return `${kind} ${namespace}/${name}${replaces === true ? " in its own place" : ""}, ${when} the switch: ${name}.yaml`;
}

/** What all of them do at once; nothing where one is offered. */
export function togetherLines({ together, offered }: Pick<FixReport, "together" | "offered">): string[] {
  if (together === null || offered.length < 2) return [];
  return [`  together: ${together.cured} of ${count(together.flows, "flow")} cured${together.clean ? "" : "; and other flows change"}`];
}
