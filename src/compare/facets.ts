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
  /** The bytes that arrived are not the same packet: the upper-layer checksums do not differ as the addresses do. */
  Damage: 32,
  /** Both reached the same place, over another number of hops. */
  Hops: 64,
  /** An answer came back with other addresses than the other plane's. */
  Reply: 16,
} as const;

export const FACET_NAMES: Readonly<Record<number, string>> = {
  32: "damaged", 64: "hops", 1: "reached", 2: "destination", 4: "source seen", 8: "how refused", 16: "reply restored",
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

/**
 * Whether two images of one packet have checksums that differ by their addresses and ports alone, as they must when
 * both started from the same bytes (RFC 1624). Sums that are not computed yet are kept uncomplemented.
 */
export function checksumsAgree(a: Outcome, b: Outcome): boolean {
  if (a.checksum < 0 || b.checksum < 0) return true;
  const protocol = Tuple.protocol(a.image);
  if (protocol === 17 && (a.checksum === 0 || b.checksum === 0)) return a.checksum === b.checksum;
  const covered = covers(b.image, protocol) - covers(a.image, protocol);
  const change = b.checksum - a.checksum;
  return (change + covered) % 0xffff === 0 || (change - covered) % 0xffff === 0;
}

/** Sum of the tuple's words that the checksum covers: ICMPv4 has no pseudo-header, echo has its identifier once. */
function covers(tuple: Uint8Array, protocol: number): number {
  let sum = Tuple.sourcePort(tuple);
  if (protocol === 6 || protocol === 17) sum += Tuple.destinationPort(tuple);
  if (protocol === 1) return sum;
  for (let at = 6; at < tuple.length; at += 2) sum += (tuple[at] << 8) | tuple[at + 1];
  return sum;
}

export function sameDestination(a: Outcome, b: Outcome): boolean {
  if (a.end !== b.end) return false;
  // An echo has its identifier in both places: it is the sender's port, of which masquerading may draw another.
  const samePort = a.withoutPorts || b.withoutPorts || isIcmp(a.image) || Tuple.destinationPort(a.image) === Tuple.destinationPort(b.image);
  return samePort && sameDestinationAddress(a.image, b.image);
}

function isIcmp(image: Uint8Array): boolean {
  return Tuple.protocol(image) === 1 || Tuple.protocol(image) === 58;
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
