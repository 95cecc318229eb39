/** How a packet ended, in the words that predicates of several files need. */
import { End } from "../../dataplane.js";
import type { Outcome } from "../../replay/outcome.js";
import type { Side } from "./difference.js";

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
