/**
 * What a flow log shows became of connections, held against what the current side says of them. That side is the dataplane they
 * were recorded on, so where it says otherwise the manifests are not those that were in force, or the model is wrong: what
 * else is said of this traffic is worth less.
 *
 * Only what policy decided is held against it: a log's other drops may come from what no manifest shows.
 */
import { End } from "../dataplane.js";
import type { Fate } from "../flows/flow.js";
import type { Judged, JudgedSide } from "./judged.js";

export interface FatesSummary {
  /** Connections of which the log tells, and the current side decides. */
  readonly compared: number;
  readonly otherwise: number;
  /** The first few of the latter, in the order of the replay. */
  readonly examples: readonly OtherFate[];
}

export interface OtherFate {
  readonly file: string;
  readonly line: number;
  readonly source: string;
  readonly destination: string;
  /** Host order; 0: the protocol has none. */
  readonly port: number;
  readonly recorded: Fate;
  /** What the current side does. */
  readonly current: string;
}

/** A capture made of a log: of each record its line, and what the log tells. */
export interface FateCapture {
  readonly file: string;
  readonly lines?: readonly number[];
  readonly fates?: readonly (Fate | null)[];
}

const EXAMPLES = 3;

export class RecordedFates {
  private compared = 0;
  private otherwise = 0;
  private readonly examples: OtherFate[] = [];

  constructor(private readonly captures: readonly FateCapture[]) {}

  take({ capture, record, sides, tuple, sourceName, destinationName }: Judged): void {
    const { file, lines, fates } = this.captures[capture];
    const recorded = fates?.[record - 1] ?? null;
    const fate = sides === null ? null : fateIn(sides[0]);
    if (recorded === null || fate === null) return;
    this.compared++;
    if (recorded === fate) return;
    this.otherwise++;
    if (this.examples.length === EXAMPLES) return;
    this.examples.push({ file, line: lines?.[record - 1] ?? record, source: sourceName, destination: destinationName,
      port: tuple.destinationPort, recorded, current: sides![0].text });
  }

  summary(): FatesSummary {
    return { compared: this.compared, otherwise: this.otherwise, examples: this.examples };
  }
}

/** What it hands to a proxy or holds back, and what it leaves undecided, is neither. */
function fateIn({ end, arrived }: JudgedSide): Fate | null {
  if (end === End.Delivered || end === End.Left) return arrived === null ? null : "arrived";
  return end === End.Dropped || end === End.Rejected ? "denied" : null;
}
