/** `--fixes DIR`: patches for what differs, tried on the same traffic, those that cure written as manifests. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JudgedListener } from "../compare/judged.js";
import { type FixReport, tryFixes } from "../fix/fixes.js";
import { sessionTrials } from "../fix/session.js";
import { Proposals } from "../fix/propose.js";
import { Trial } from "../fix/trial.js";
import type { Report } from "../report/report.js";
import type { SessionInput } from "../session.js";
import { sentenceOf } from "./files.js";
import type { NamedCapture } from "./inputs.js";
import type { Progress } from "./progress.js";
import { UsageError } from "./usage.js";

export const FIXES_HELP = "write patches that cure differences here: NetworkPolicies for before the switch, CiliumNetworkPolicies for after"
  + " it; each is tried on the same traffic first";

export class Fixes {
  private readonly proposals = new Proposals();
  private readonly baseline = new Trial();

  private readonly captures: readonly NamedCapture[];

  constructor(private readonly folder: string, captures: SessionInput["captures"]) {
    this.captures = captures as readonly NamedCapture[];
    const once = this.captures.find((one) => one.again === undefined);
    if (once !== undefined) throw new UsageError(`--fixes reads the traffic again for each patch, and ${once.file} can be read only once`);
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new UsageError(`cannot write ${folder}: ${sentenceOf(error)}`);
    }
  }

  readonly listener: JudgedListener = (judged) => {
    this.proposals.take(judged);
    this.baseline.take(judged);
  };

  async finish(input: SessionInput, { limits, findings }: Pick<Report, "limits" | "findings">, progress: Progress): Promise<FixReport> {
    const { onJudged: _, onProgress: __, ...same } = input;
    const again = (): SessionInput => ({ ...same, captures: this.captures.map((one) => ({ ...one, chunks: one.again!() })) });
    const found = await tryFixes({ run: sessionTrials(again), findings, patches: this.proposals.patches(), baseline: this.baseline, limits,
      onTrial: (done) => progress.show(done) });
    for (const { name, yaml } of found.offered) writeFileSync(join(this.folder, `${name}.yaml`), yaml);
    return found;
  }
}
