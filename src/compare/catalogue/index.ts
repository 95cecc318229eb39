/**
 * Differences that are known and true of the real systems. Order matters: the first whose predicate fits names the
 * packet; what none fits stays UNEXPLAINED.
 */
import type { Cluster } from "../../cluster/cluster.js";
import { End } from "../../dataplane.js";
import { Tuple } from "../../replay/tuple.js";
import { BACKENDS } from "./backends.js";
import { CAPACITY } from "./capacity.js";
import { CONNTRACK } from "./conntrack.js";
import type { Difference, SettingSide, Situation } from "./difference.js";
import { endOf } from "./ends.js";
import { HAZARDS } from "./hazards.js";
import { answersDenied, choosesStranger, engineDeliversDenied, keepsOuterSource, passesLocal, passesOverShown, passesRanges,
  targetDeliversDenied } from "./judgements.js";
import { NAT } from "./nat.js";
import { NODE } from "./node.js";
import { OWN } from "./own-program.js";
import { POLICY } from "./policy.js";
import { calicoDeliversDenied } from "./policy-reading.js";
import { PROTOCOL } from "./protocol.js";
import { SERVICE_HAZARDS } from "./service-hazards.js";
import { SERVICES } from "./services.js";

export type { Difference, Evidence, Page, Setting, SettingSide, ShownBy, Side, Situation, Source } from "./difference.js";

export const UNEXPLAINED = "UNEXPLAINED";

export const CATALOGUE: readonly Difference[] = [
  ...OWN, ...POLICY, ...PROTOCOL, ...NODE, ...SERVICES, ...BACKENDS, ...CONNTRACK, ...NAT, ...CAPACITY,
  ...HAZARDS, ...SERVICE_HAZARDS,
];

const BY_ID: ReadonlyMap<string, Difference> = new Map(CATALOGUE.map((one) => [one.id, one]));
const SHOWN = CATALOGUE.flatMap(({ id, matches }) => (matches === undefined ? [] : [{ id, matches }]));

/** The id of the difference that a packet shows, or UNEXPLAINED. */
export function nameOf(situation: Situation): string {
  if (NEVER.some((is) => is(situation))) return UNEXPLAINED;
  const words = targetDeliversDenied(situation);
  return SHOWN.find((one) => (!words || UNASKED.has(one.id)) && one.matches(situation))?.id ?? UNEXPLAINED;
}

/** What neither system does, whatever is known of it besides. */
const NEVER: readonly ((situation: Situation) => boolean)[] = [isAstray, choosesStranger, passesOverShown, passesRanges, answersDenied,
  engineDeliversDenied, calicoDeliversDenied, keepsOuterSource, passesLocal];

/** Where the target delivers although the words of policies deny it: they know nothing of what these are about. */
const UNASKED: ReadonlySet<string> = new Set(["POL-OWN-PROGRAM", "POL-HAIRPIN"]);

/** What neither system does: to leave the cluster for a pod that is in it; to be translated to what was never the service's endpoint. */
function isAstray({ names, current, target, frontend, destination, packet }: Situation): boolean {
  if ([current, target].some((side) => side.outcome.end === End.Left && names.pod(side.destination) !== null)) return true;
  if (packet.kind !== "request" || frontend === null || frontend.port === null) return false;
  const { outcome } = current;
  if (target.journey.backend !== undefined && !names.wasEndpoint(frontend, ...endOf(target.journey.backend))) return true;
  return outcome.arrived && !outcome.withoutPorts && current.destination !== destination
    && !names.wasEndpoint(frontend, current.destination, Tuple.destinationPort(outcome.image));
}

/** The row of an id; undefined where there is none. */
export function differenceOf(id: string): Difference | undefined {
  return BY_ID.get(id);
}

export function titleOf(id: string): string {
  return BY_ID.get(id)?.title ?? "No known difference fits; please report it";
}

/** A hazard whose precondition holds. */
export interface HazardNote {
  readonly id: string;
  readonly title: string;
  /** A line for each object or option that makes it possible. */
  readonly because: readonly string[];
}

/** What packets would not show beforehand and can arise in this cluster between these two planes, in the catalogue's order. */
export function hazardsOf(cluster: Cluster, current: SettingSide, target: SettingSide): HazardNote[] {
  return CATALOGUE.flatMap(({ id, title, appliesTo }) => {
    const because = [...new Set(appliesTo?.({ cluster, current, target }) ?? [])];
    return because.length === 0 ? [] : [{ id, title, because }];
  });
}
