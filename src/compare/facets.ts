/**
 * Facets: the things in which two outcomes of one packet can differ, each with its own equality. Knows outcomes,
 * not planes.
 *
 * Choices are compared modulo what each plane says it could have chosen: another member of the same eligible set of
 * backends is no difference, and neither is another source port.
 */
import { End } from "../dataplane.js";
import type { Outcome } from "../replay/outcome.js";
import { sameDestination as sameDestinationAddress, sameSource, sameTuple, Tuple } from "../replay/tuple.js";

export const Facet = {
  /** One arrived, the other did not. */
  Reached: 1,
  /** Both arrived, at different destinations that are not the same choice. */
  Destination: 2,
  /** Both arrived at the same destination, which sees different source addresses. */
  Source: 4,
  /** Neither arrived, and the sender learns of it in different ways. */
  Refusal: 8,
  /** An answer came back with other addresses than the other plane's. */
  Reply: 16,
} as const;

export const FACET_NAMES: Readonly<Record<number, string>> = {
  1: "reached", 2: "destination", 4: "source seen", 8: "how refused", 16: "reply restored",
};

/** Which facet differs, the gravest first; 0: none. */
export function differingFacets(current: Outcome, target: Outcome, isReply: boolean, bothRestored: boolean): number {
  if (current.arrived !== target.arrived || (current.end === End.Redirected) !== (target.end === End.Redirected)) {
    return Facet.Reached;
  }
  if (!current.arrived) return sameRefusal(current, target) ? 0 : Facet.Refusal;
  if (isReply) return bothRestored || sameTuple(current.image, 0, target.image, 0) ? 0 : Facet.Reply;
  if (!sameDestination(current, target)) return Facet.Destination;
  return sameSource(current.image, target.image) ? 0 : Facet.Source;
}

export function sameDestination(a: Outcome, b: Outcome): boolean {
  const samePort = a.withoutPorts || b.withoutPorts || Tuple.destinationPort(a.image) === Tuple.destinationPort(b.image);
  return samePort && sameDestinationAddress(a.image, b.image);
}

/** Silence equals silence; an answer equals one of the same kind from the same address. */
function sameRefusal(a: Outcome, b: Outcome): boolean {
  if (a.answerProtocol !== b.answerProtocol) return false;
  if (a.answerProtocol === 0) return true;
  return a.answerType === b.answerType && a.answerCode === b.answerCode && sameBytes(a.answerSource, b.answerSource);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return a.length === b.length;
}
