/** How a packet ended, in the words that predicates of several files need. */
import { End } from "../../dataplane.js";
import type { Outcome } from "../../replay/outcome.js";
import { Tuple } from "../../replay/tuple.js";
import type { Frontend } from "../names.js";
import type { Side, Situation } from "./difference.js";

export function isPolicyDrop(side: Side): boolean {
  return side.outcome.end === End.Dropped && (side.reason === "POLICY_DENIED" || side.reason === "POLICY_DENY");
}

export function isUnknownL4(side: Side): boolean {
  return side.reason === "CT_UNKNOWN_L4_PROTOCOL" || side.reason === "UNKNOWN_L4_PROTOCOL";
}

/** Port unreachable, in either family: what both dataplanes refuse a service with. */
export function refuses(outcome: Outcome): boolean {
  if (outcome.end !== End.Rejected) return false;
  return (outcome.answerProtocol === 1 && outcome.answerType === 3 && outcome.answerCode === 3)
    || (outcome.answerProtocol === 58 && outcome.answerType === 1 && outcome.answerCode === 4);
}

/** No backend to send to: dropped, or refused without a packet to a socket that connects. */
export function isNoBackend(side: Side): boolean {
  const atSocket = side.outcome.end === End.Rejected && side.outcome.answerProtocol === 0;
  return (side.outcome.end === End.Dropped || atSocket) && side.reason === "SERVICE_BACKEND_NOT_FOUND";
}

/** It arrived at an endpoint of the frontend. */
export function isEndpoint({ names }: Situation, frontend: Frontend, side: Side): boolean {
  return side.outcome.arrived && names.isEndpoint(frontend, side.destination, Tuple.destinationPort(side.outcome.image));
}

/** A backend, `ip:port`, as its address and port. */
export function endOf(backend: string): [address: string, port: number] {
  const at = backend.lastIndexOf(":");
  return [backend.slice(0, at).replace(/[[\]]/g, ""), Number(backend.slice(at + 1))];
}
