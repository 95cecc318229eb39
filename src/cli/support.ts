/** `twinplane support`: what is modelled of a profile. */
import type { Command } from "commander";
import { profileNames, supportOfProfile } from "../planes.js";
import { renderSupport } from "../report/support.js";
import { UsageError } from "./usage.js";

export function supportCommand(program: Command, exit: (code: number) => void): void {
  program.command("support").description("what is modelled of a profile: options, drop reasons, what is undecided, policies")
    .argument("[profile]", "a profile of Cilium; without it the profiles are listed")
    .option("--json", "the same as JSON")
    .addHelpText("after", `
Each option has its value and the ground it stands on: documented by Cilium, or assumed by the profile. What a
cluster says itself in its cilium-config comes before both.

Examples:
  twinplane support
  twinplane support aks@1.33
  twinplane support cilium@1.20 --json | jq '.reasons[] | select(.status == "modelled").name'`)
    .action((profile: string | undefined, options: { readonly json?: boolean }) => exit(support(profile, options.json === true)));
}

function support(profile: string | undefined, json: boolean): number {
  if (profile === undefined) {
    const names = profileNames();
    const lines = names.map(({ name, what }) => `${name.padEnd(20)}${what}\n`);
    process.stdout.write(json ? `${JSON.stringify(names, null, 2)}\n` : lines.join(""));
    return 0;
  }
  const found = supportOfProfile(profile);
  if (typeof found === "string") throw new UsageError(found);
  process.stdout.write(json ? `${JSON.stringify(found, null, 2)}\n` : renderSupport(found));
  return 0;
}
