/** What became of each flow in a run: what one run with a patch is held against the run without by. */
import { End } from "../dataplane.js";
import { UNEXPLAINED } from "../compare/catalogue/index.js";
import type { Judged } from "../compare/judged.js";

interface FlowResult {
  /** A request of the flow arrived, on the current side and on the target. */
  arrives: [boolean, boolean];
  undecided: boolean;
  /** Ids of the differences it shows. */
  readonly shows: Set<string>;
}

export class Trial {
  private readonly flows = new Map<string, FlowResult>();

  take(judged: Judged): void {
    const key = flowKey(judged);
    let flow = this.flows.get(key);
    if (flow === undefined) {
      flow = { arrives: [false, false], undecided: false, shows: new Set() };
      this.flows.set(key, flow);
    }
    if (judged.class === "undecided" || judged.class === "contradicted") flow.undecided = true;
    if (judged.class === "different" && judged.finding !== null) flow.shows.add(judged.finding.id);
    if (judged.kind !== "request" || judged.sides === null) return;
    for (const side of [0, 1] as const) if (ARRIVED.has(judged.sides[side].end)) flow.arrives[side] = true;
  }

  /**
   * Whether the flow is judged, fares on both sides as it did on the current one, and does not show the difference, nor one that
   * nothing explains.
   */
  isCured(key: string, id: string, before: Trial): boolean {
    const flow = this.flows.get(key);
    const wanted = before.flows.get(key)?.arrives[0];
    return flow !== undefined && !flow.undecided && !flow.shows.has(id) && !flow.shows.has(UNEXPLAINED)
      && flow.arrives[0] === wanted && flow.arrives[1] === wanted;
  }

  /** What the flow shows. */
  shownBy(key: string): readonly string[] {
    return [...this.flows.get(key)?.shows ?? []];
  }

  /** Flows beside those meant that arrive here and did not before, or show what they did not, or are no longer judged. */
  besides(before: Trial, meant: ReadonlySet<string>): { opened: number; worse: number } {
    let opened = 0;
    let worse = 0;
    for (const [key, flow] of this.flows) {
      const was = before.flows.get(key);
      if (!meant.has(key) && ([0, 1] as const).some((side) => flow.arrives[side] && was?.arrives[side] !== true)) opened++;
      // Of a flow that was dropped, what it shows once it arrives was hidden before.
      const shows = !meant.has(key) && [...flow.shows].some((id) => was?.shows.has(id) !== true);
      // What the current side stops is meant to be stopped.
      const lost = ([0, 1] as const).some((side) => !flow.arrives[side] && was?.arrives[side] === true
        && (was.arrives[0] || !meant.has(key)));
      if (shows || lost || (flow.undecided && was?.undecided !== true)) worse++;
    }
    return { opened, worse };
  }
}

/** Of a flow, by its sender's own addresses. */
export function flowKey({ tuple }: Judged): string {
  return `${tuple.protocol} ${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`;
}

const ARRIVED: ReadonlySet<End> = new Set([End.Delivered, End.Left, End.Redirected]);
