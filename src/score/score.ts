/**
 * After a switch: which predictions of a report came true in the flows seen since, and which drops none of them named.
 *
 * A prediction is confirmed where its traffic was seen and fared so, refuted where it was seen and fared otherwise, mixed
 * where both was seen. What the flows do not show of it (hops, a reply's addresses) is not judged by them.
 */
import type { Predicted, PredictedParty } from "../compare/predicted.js";
import type { FlowParty } from "../flows/flow.js";
import type { SeenFlow } from "./seen-flows.js";

export type Outcome = "confirmed" | "refuted" | "mixed" | "not seen";

/** A prediction as a report has it. */
export interface Prediction {
  readonly id: string;
  readonly facet: string;
  readonly source: string;
  readonly destination: string;
  readonly protocol: string;
  readonly port: number;
  readonly current: string;
  readonly target: string;
  readonly predicted: Predicted;
}

export interface ScoreRow extends Omit<Prediction, "predicted"> {
  readonly outcome: Outcome;
  /** Connections that fared as predicted, and otherwise. */
  readonly as: number;
  readonly otherwise: number;
  /** Drop reasons that were seen, where they are not the one predicted. */
  readonly reasons: readonly string[];
}

/** Drops that nothing in the report names. */
export interface UnnamedDrop {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly port: number;
  readonly reason: string;
  readonly connections: number;
}

export interface Score {
  readonly rows: readonly ScoreRow[];
  readonly unnamed: readonly UnnamedDrop[];
  /** Connections in the flows. */
  readonly connections: number;
  readonly verdict: { readonly exitCode: number; readonly why: string };
}

/** `refused`: what both sides drop alike, before the switch and after it. */
export function scoreOf(predictions: readonly Prediction[], refused: readonly Predicted[], flows: readonly SeenFlow[]): Score {
  const rows = predictions.map((one) => rowOf(one, flows));
  const named = [...predictions.filter(({ predicted }) => predicted.target.verdict === "DROPPED").map((one) => one.predicted), ...refused];
  const drops = flows.filter((flow) => flow.dropped && !named.some((one) => isOf(one, flow)));
  const unnamed = grouped(drops);
  return { rows, unnamed, connections: flows.length, verdict: verdictOf(rows, unnamed, flows.length) };
}

function rowOf({ predicted, ...shown }: Prediction, flows: readonly SeenFlow[]): ScoreRow {
  const seen = flows.flatMap((flow) => {
    const answer = fared(shown.facet, predicted, flow);
    return answer === null ? [] : [{ flow, asPredicted: answer }];
  });
  const as = seen.filter((one) => one.asPredicted).length;
  const otherwise = seen.length - as;
  const reasons = new Set(seen.flatMap(({ flow }) => (flow.dropped && predicted.target.verdict === "DROPPED"
    && flow.reason !== predicted.target.reason && flow.reason !== "" ? [flow.reason] : [])));
  return { ...shown, as, otherwise, reasons: [...reasons].sort(),
    outcome: seen.length === 0 ? "not seen" : otherwise === 0 ? "confirmed" : as === 0 ? "refuted" : "mixed" };
}

/** Whether the flow fared as predicted; null: it is another's, or does not show it. */
function fared(facet: string, predicted: Predicted, flow: SeenFlow): boolean | null {
  const { current, target } = predicted;
  switch (facet) {
    case "reached":
    case "how refused":
      return isOf(predicted, flow) ? flow.dropped === (target.verdict === "DROPPED") : null;
    case "destination": {
      if (flow.dropped || !isSource(predicted, flow) || flow.protocol !== predicted.protocol) return null;
      if (target.destination !== null && isParty(target.destination, flow.destination, true)) return true;
      return current.destination !== null && isParty(current.destination, flow.destination, true) ? false : null;
    }
    case "source seen": {
      if (flow.dropped || flow.protocol !== predicted.protocol || !isDestination(predicted, flow)) return null;
      if (target.source !== null && isParty(target.source, flow.source, false)) return true;
      return current.source !== null && isParty(current.source, flow.source, false) ? false : null;
    }
    default:
      return null;
  }
}

function isOf(predicted: Predicted, flow: SeenFlow): boolean {
  return flow.protocol === predicted.protocol && isSource(predicted, flow) && isDestination(predicted, flow);
}

/** As the sender is, or as either side shows it. */
function isSource({ source, current, target }: Predicted, flow: SeenFlow): boolean {
  return [source, current.source, target.source].some((one) => one !== null && isParty(one, flow.source, false));
}

/** The address that was asked for, before or after its translation. */
function isDestination({ destination, current, target }: Predicted, flow: SeenFlow): boolean {
  if (flow.service !== "" && flow.service === destination.service && flow.destination.port === destination.port) return true;
  return [destination, current.destination, target.destination].some((one) => one !== null && isParty(one, flow.destination, true));
}

function isParty(one: PredictedParty, seen: FlowParty, withPort: boolean): boolean {
  if (withPort && one.port !== seen.port) return false;
  if (one.pod !== "") return seen.namespace === one.namespace && isSamePod(one.pod, seen);
  if (one.service !== "" || seen.address !== null) return seen.address?.text === one.address;
  return false;
}

/** By its name, or as another pod of the same Deployment, DaemonSet or the like. */
function isSamePod(pod: string, seen: FlowParty): boolean {
  if (seen.pod === pod) return true;
  const workload = workloadOf(pod);
  return workload !== null && (seen.workload === workload || workloadOf(seen.pod) === workload);
}

/** What Kubernetes adds to a name: a template's hash and five characters, or those alone; none of them are vowels, 0, 1 or 3. */
const GENERATED = /^(.+?)(?:-[bcdf-hj-np-tv-z2456789]{8,10})?-[bcdf-hj-np-tv-z2456789]{5}$/;

function workloadOf(pod: string): string | null {
  return GENERATED.exec(pod)?.[1] ?? null;
}

function grouped(drops: readonly SeenFlow[]): UnnamedDrop[] {
  const groups = new Map<string, UnnamedDrop>();
  for (const { source, destination, service, protocol, reason } of drops) {
    const row = { source: partyText(source), destination: service === "" ? partyText(destination) : `service ${service}`, protocol,
      port: destination.port, reason };
    const key = JSON.stringify(row);
    groups.set(key, { ...row, connections: (groups.get(key)?.connections ?? 0) + 1 });
  }
  return [...groups].sort(([a, x], [b, y]) => y.connections - x.connections || (a < b ? -1 : 1)).map(([, row]) => row);
}

function partyText({ namespace, pod, workload, address, reserved }: FlowParty): string {
  if (pod !== "" || workload !== "") return `${namespace}/${pod !== "" ? pod : workload}`;
  return address?.text ?? (reserved === "" ? "unknown" : reserved);
}

/** 0: all that was seen came true, and every drop was named; 1: something did not; 3: nothing that was predicted was seen. */
function verdictOf(rows: readonly ScoreRow[], unnamed: readonly UnnamedDrop[], connections: number): Score["verdict"] {
  const wrong = rows.filter((row) => row.outcome === "refuted" || row.outcome === "mixed").length;
  const words: string[] = [];
  if (wrong > 0) words.push(`${wrong} of ${rows.length} predictions did not come true, or not always`);
  if (unnamed.length > 0) words.push(`${unnamed.length} kinds of drops that no prediction named`);
  if (words.length > 0) return { exitCode: 1, why: words.join("; ") };
  const seen = rows.filter((row) => row.outcome !== "not seen").length;
  if (connections === 0) return { exitCode: 3, why: "no connection in the flows" };
  if (rows.length > 0 && seen === 0) return { exitCode: 3, why: "none of the predicted traffic is in the flows" };
  return { exitCode: 0, why: rows.length === 0 ? "nothing was predicted, and nothing was dropped that was not before"
    : `${seen} of ${rows.length} predictions were seen and came true; every drop was named` };
}
