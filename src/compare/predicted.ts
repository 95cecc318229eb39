/**
 * What a finding says will be seen after a switch: who talks to whom, and what then becomes of it. Parties are named so
 * that they are known again where pods have been made anew, with other addresses and other names.
 */
import { End } from "../dataplane.js";
import type { FiveTuple, JudgedSide } from "./judged.js";
import type { Names } from "./names.js";

/** One end of a flow. */
export interface PredictedParty {
  readonly address: string;
  /** Host order; 0 where the protocol has none, and of whoever opens a connection. */
  readonly port: number;
  /** Of a pod; empty where it is none. */
  readonly namespace: string;
  readonly pod: string;
  /** Of a node; empty where it is none. */
  readonly node: string;
  /** `namespace/name` of a service whose address it is; empty where it is none. */
  readonly service: string;
}

/** What one side does with it. */
export interface PredictedSide {
  /** As Hubble says it. */
  readonly verdict: "FORWARDED" | "DROPPED" | "REDIRECTED";
  /** Why it was dropped; empty where it was not. */
  readonly reason: string;
  /** Whom the receiver sees; null where it does not arrive. */
  readonly source: PredictedParty | null;
  /** Where it arrives, or which backend it was to; null where that is not known. */
  readonly destination: PredictedParty | null;
}

export interface Predicted {
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: PredictedParty;
  /** As the sender addresses it. */
  readonly destination: PredictedParty;
  readonly current: PredictedSide;
  readonly target: PredictedSide;
}

/** Of one packet; null where a side did not decide. */
export function predictedOf(tuple: FiveTuple, sides: readonly [JudgedSide, JudgedSide], names: Names): Predicted | null {
  const [current, target] = sides.map((side) => sideOf(side, names));
  if (current === null || target === null) return null;
  return { protocol: tuple.protocol, source: party(tuple.source, 0, names),
    destination: party(tuple.destination, tuple.destinationPort, names), current, target };
}

function sideOf(side: JudgedSide, names: Names): PredictedSide | null {
  const { end, arrived, backend } = side;
  if (end === End.None || end === End.Held || end === End.Undecided) return null;
  if (arrived !== null) {
    return { verdict: "FORWARDED", reason: "", source: party(arrived.source, 0, names),
      destination: party(arrived.destination, arrived.destinationPort, names) };
  }
  const verdict = end === End.Redirected ? "REDIRECTED" : "DROPPED";
  const colon = backend?.lastIndexOf(":") ?? -1;
  const destination = backend === null ? null
    : party(backend.slice(0, colon).replace(/^\[|\]$/g, ""), Number(backend.slice(colon + 1)), names);
  return { verdict, reason: verdict === "DROPPED" ? side.reason : "", source: null, destination };
}

function party(address: string, port: number, names: Names): PredictedParty {
  const pod = names.pod(address);
  const described = names.describe(address);
  return { address, port, namespace: pod?.namespace ?? "", pod: pod?.name ?? "", node: names.node(address) ?? "",
    service: described.startsWith("service ") ? described.slice("service ".length) : "" };
}
