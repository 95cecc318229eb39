/** Which packets of a plane its options leave undecided: table.ts asked of each frame's images. */
import type { Cluster } from "../../cluster/cluster.js";
import type { FrameBlock, StepResults } from "../../dataplane.js";
import type { CiliumOptions } from "../options.js";
import { refusals } from "../refusals.js";
import { hopsOf } from "./hops.js";
import { Surroundings } from "./surroundings.js";
import { type Doubt, DOUBTS } from "./table.js";

/** What is undecided of a plane's packets by its options; asked after each frame. */
export class OptionDoubts {
  private readonly active: readonly Doubt[];
  private readonly refused: string | null;
  private around: Surroundings | null = null;

  constructor(private readonly options: CiliumOptions, private readonly nodes: readonly string[]) {
    this.active = DOUBTS.filter((one) => one.when(options));
    this.refused = refusals(options)[0]?.what ?? options.unread[0] ?? null;
  }

  /** Whether anything may be. */
  get any(): boolean {
    return this.active.length > 0 || this.refused !== null;
  }

  use(cluster: Cluster): void {
    this.around = this.any ? new Surroundings(cluster, this.nodes, this.options) : null;
  }

  /** Why a row cannot be judged, after its images; null where it can. */
  reason(frames: FrameBlock, results: StepResults, row: number): string | null {
    const { around } = this;
    if (around === null) return null;
    if (this.refused !== null) return `undecided: ${this.refused}`;
    const hops = hopsOf(frames, results, row, around.kindOf);
    const doubt = this.active.find((one) => one.touches(hops, around));
    return doubt === undefined ? null : `undecided: ${doubt.option}: ${doubt.why}`;
  }
}
