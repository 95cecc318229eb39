/**
 * Findings: the rows of a report, one for all flows that differ alike, with the words for what became of them on each side.
 */
import { addressText } from "../cluster/address.js";
import type { Where } from "../cluster/problem.js";
import type { Because } from "../dataplane.js";
import { tupleText } from "../replay/flows.js";
import type { Outcome } from "../replay/outcome.js";
import { decidingOptions } from "./catalogue/deciding-options.js";
import type { Situation } from "./catalogue/index.js";
import { FACET_NAMES } from "./facets.js";
import { END_WORDS } from "./judged.js";
import type { Names } from "./names.js";
import type { Predicted } from "./predicted.js";

/** One row of the report: a difference, for flows that are alike. */
export interface Finding {
  /** Id of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly facet: string;
  readonly source: string;
  readonly destination: string;
  /** Where it arrives on one of the sides, the current one first; the destination where it does not. */
  readonly receiver: string;
  readonly protocol: string;
  readonly port: number;
  readonly current: string;
  readonly target: string;
  readonly reachesNow: boolean;
  /** The target's options that decide it, by the difference. */
  readonly settings: readonly Because[];
  /** Those, and what each side says of it. */
  readonly becauses: readonly Because[];
  /** Lines that differ between the planes' clusters and make it; none where both have one cluster. */
  readonly causes: readonly ChangedLine[];
  flows: number;
  packets: number;
  /** `capture record time` of the first packet. */
  readonly firstCapture: number;
  readonly firstRecord: number;
  readonly firstFlow: string;
  /** Of its first packet, what will be seen after a switch; null for errors about a flow, and where nobody wants it. */
  readonly predicted: Predicted | null;
}

/** A line of a manifest, and what a change did to it. */
export interface ChangedLine extends Because {
  readonly change: "added" | "removed" | "changed";
  /** The line to look at after the change: what stands in its place, else its object; null where that is gone. */
  readonly after: Where | null;
}

export interface Named {
  /** Id of the catalogue, or UNEXPLAINED. */
  readonly id: string;
  readonly causes: readonly ChangedLine[];
}

/** What flows have in common that a row is for. */
type Row = Pick<Finding, "id" | "facet" | "source" | "destination" | "receiver" | "protocol" | "port" | "current" | "target"
  | "reachesNow" | "causes">;

/** The rows so far; a flow keeps the number of its own. */
export class Findings {
  /** Row -> its number in `found`. */
  private readonly rows = new Map<string, number>();
  private readonly found: Finding[] = [];
  /** Number of the row that was asked for last. */
  private last = 0;

  /** The row of what differs so, a new one where none is alike; it counts nothing. */
  of(situation: Situation, { id, causes }: Named, facets: number, targetNames: Names, predict: () => Predicted | null): Finding {
    const { packet, names } = situation;
    const ports = situation.protocol === "TCP" || situation.protocol === "UDP" || situation.protocol === "SCTP";
    const row: Row = {
      id, facet: FACET_NAMES[facets], source: names.describe(situation.source), destination: names.describe(situation.destination),
      protocol: packet.kind === "error" ? `ICMP error about ${situation.protocol}` : situation.protocol, port: ports ? situation.port : 0,
      current: describeSide(situation.current, names), target: describeSide(situation.target, targetNames),
      reachesNow: situation.current.outcome.arrived, causes, receiver: receiverOf(situation, names, targetNames),
    };
    const key = keyOf(row);
    const known = this.rows.get(key);
    this.last = known ?? this.found.length;
    if (known === undefined) {
      const settings = decidingOptions(id, situation);
      this.rows.set(key, this.last);
      this.found.push({
        id: row.id, facet: row.facet, source: row.source, destination: row.destination, protocol: row.protocol, port: row.port,
        current: row.current, target: row.target, reachesNow: row.reachesNow, causes: row.causes, receiver: row.receiver,
        settings, becauses: becausesOf(situation, settings), flows: 0, packets: 0,
        firstCapture: packet.view.capture, firstRecord: packet.view.record, firstFlow: tupleText(situation.tuple),
        predicted: packet.kind === "error" ? null : predict(),
      });
    }
    return this.found[this.last];
  }

  get size(): number {
    return this.found.length;
  }

  values(): IterableIterator<Finding> {
    return this.found.values();
  }

  /** The number of the row that {@link of} gave last. */
  get number(): number {
    return this.last;
  }

  at(number: number): Finding {
    return this.found[number];
  }
}

/** Equal for rows that are: no name or reason has NUL in it. */
function keyOf({ id, facet, source, destination, receiver, protocol, port, current, target, reachesNow, causes }: Row): string {
  return `${id}\0${facet}\0${source}\0${destination}\0${receiver}\0${protocol}\0${port}\0${current}\0${target}\0${reachesNow}\0${
    causes.length === 0 ? "" : JSON.stringify(causes)}`;
}

/** Of the side that does not deliver first, its last decision foremost: that is what the reader looks for. */
function becausesOf({ current, target }: Situation, settings: readonly Because[]): Because[] {
  const [now, then] = [current.journey.becauses, target.journey.becauses];
  if (current.outcome.arrived && !target.outcome.arrived) return [...[...then].reverse(), ...settings, ...now];
  if (target.outcome.arrived && !current.outcome.arrived) return [...[...now].reverse(), ...settings, ...then];
  // That no policy isolates a pod decides nothing where both deliver.
  return [...settings, ...[...now, ...then].filter(({ object, rule }) => object !== "enable-policy" || rule !== "default")];
}

function receiverOf({ current, target, destination }: Situation, names: Names, targetNames: Names): string {
  if (current.outcome.arrived) return names.describe(current.destination);
  return target.outcome.arrived ? targetNames.describe(target.destination) : names.describe(destination);
}

/** `delivered to default/web-a, source node1`, `dropped (POLICY_DENIED)`. */
export function describeSide(side: Situation["current"], names: Names): string {
  const { outcome } = side;
  const word = END_WORDS[outcome.end];
  if (outcome.arrived) return `${word} to ${names.describe(side.destination)}, source ${names.describe(side.sourceSeen)}`;
  const answer = outcome.answerProtocol === 0 ? "" : `, answered by ${answerText(outcome, names)}`;
  return side.reason === "" ? `${word}${answer}` : `${word} (${side.reason})${answer}`;
}

function answerText(outcome: Outcome, names: Names): string {
  if (outcome.answerProtocol === 6) return "a TCP reset";
  const v4 = outcome.answerProtocol === 1;
  const from = addressText(outcome.answerSource.subarray(0, v4 ? 4 : 16));
  return `${v4 ? "ICMP" : "ICMPv6"} ${outcome.answerType}/${outcome.answerCode} from ${names.describe(from)}`;
}
