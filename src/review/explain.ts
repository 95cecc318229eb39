/**
 * Why a packet fares differently before and after a change of the cluster, with one dataplane on both sides: by the
 * changed lines, or not at all. A line counts only where it is what decided: the rule that let the packet through on one
 * side and is no longer said on the other, or the one that refuses it and was not said before. That some object was
 * changed as well explains nothing.
 */
import type { Situation } from "../compare/catalogue/index.js";
import type { ChangedLine, Named } from "../compare/finding.js";
import { UNEXPLAINED } from "../compare/catalogue/index.js";
import { Facet } from "../compare/facets.js";
import { directionOf, isDefaultDeny, peerOf, type PolicyDirection } from "../compare/statements.js";
import type { Because, Journey } from "../dataplane.js";
import { type ClusterChanges, lineOf, type ObjectChange, objectLine, type Statements } from "./changes.js";

/** The id of a difference that changed lines make. */
export const CHANGED = "CHANGED";

export function explain(situation: Situation, changes: ClusterChanges, statements: readonly [Statements, Statements]): Named {
  const causes = unique(causesOf(situation, changes, statements));
  return causes.length === 0 ? { id: UNEXPLAINED, causes } : { id: CHANGED, causes };
}

function causesOf(s: Situation, changes: ClusterChanges, [before, after]: readonly [Statements, Statements]): ChangedLine[] {
  const was: Side = { journey: s.current.journey, statements: before, other: after, gone: "removed" };
  const is: Side = { journey: s.target.journey, statements: after, other: before, gone: "added" };
  const denied = [was, is].filter((side) => denialOf(side.journey) !== null);
  const byPolicy = denied.length === 2 ? refusedOtherwise(was, is) : denied.length === 1
    ? refused(denied[0], denied[0] === is ? was : is) : [];
  if (byPolicy.length > 0) return byPolicy;
  const ends = changes.objects.filter((one) => isEnd(s, one)).map(objectLine);
  if (denied.length > 0 || ends.length > 0) return ends;
  if (s.facets === Facet.Damage || s.facets === Facet.Hops) return [];
  return changes.objects.filter((one) => servesIt(s, one) || configures(one)).map(objectLine);
}

interface Side {
  readonly journey: Journey;
  readonly statements: Statements;
  readonly other: Statements;
  /** What it is called that a statement is on this side alone. */
  readonly gone: "added" | "removed";
}

/**
 * One side refuses by policy and the other does not. Either the refusing rule is new, or what let the packet through on
 * the other side is not said on this one.
 */
function refused(refusing: Side, passing: Side): ChangedLine[] {
  const denial = denialOf(refusing.journey)!;
  if (!denial.byDefault) return newOnes(refusing, denial.by);
  const allowed = [...passing.journey.becauses, ...passing.journey.passed]
    .filter((one) => directionOf(one) === denial.direction && !isDefaultDeny(one));
  if (allowed.length === 0) {
    // Nothing isolated the pod there: of those that do here, what is said here alone.
    const isolating = denial.by.flatMap((one) => refusing.statements.of(one) ?? []);
    return isolating.some((one) => refusing.other.says(one)) ? [] : newOnes(refusing, denial.by);
  }
  // One rule that let it through and is still said lets it through still.
  const still = allowed.some((one) => {
    const statement = passing.statements.of(one);
    return statement === null || passing.other.says(statement, peerOf(one));
  });
  if (!still) return [...newOnes(passing, allowed), ...newOnes(refusing, denial.by)];
  // Of a toFQDNs rule that is still said, the addresses may be gone: which questions the DNS proxy sees is other rules' word.
  return allowed.every((one) => peerOf(one).startsWith("toFQDNs")) ? [passing, refusing].flatMap(askingOnes) : [];
}

/** Both refuse, and the sender learns of it in different ways. */
function refusedOtherwise(was: Side, is: Side): ChangedLine[] {
  return [was, is].flatMap((side) => newOnes(side, denialOf(side.journey)!.by));
}

/** What hands questions to the DNS proxy on this side only. */
function askingOnes({ statements, other, gone }: Side): ChangedLine[] {
  return statements.all.filter((one) => one.asksNames === true).flatMap((one) =>
    one.peers.filter(({ path }) => !other.says(one, path)).map(({ path }) => lineOf(one, path, gone, other)));
}

/** The statements behind becauses that only this side has. */
function newOnes(side: Side, becauses: readonly Because[]): ChangedLine[] {
  return becauses.flatMap((because) => {
    const statement = side.statements.of(because);
    const peer = peerOf(because);
    return statement === null || side.other.says(statement, peer) ? [] : [lineOf(statement, peer, side.gone, side.other)];
  });
}

interface Denial {
  readonly by: readonly Because[];
  readonly direction: PolicyDirection;
  readonly byDefault: boolean;
}

/** What of a journey's becauses refused it by policy; null where policy did not. */
export function denialOf({ becauses, reason }: Journey): Denial | null {
  if (!POLICY_REASON.test(reason)) return null;
  const explicit = becauses.filter((one) => directionOf(one) !== null && !isDefaultDeny(one));
  const byDefault = becauses.filter(isDefaultDeny);
  if (byDefault.length > 0) return { by: byDefault, direction: directionOf(byDefault[0])!, byDefault: true };
  return explicit.length === 0 ? null : { by: explicit, direction: directionOf(explicit[0])!, byDefault: false };
}

/** Cilium's drop reasons of policy; the chains of policy engines; the words of the APIs. */
const POLICY_REASON = /^POLICY_DEN(?:IED|Y)$|^networkpolicy\/|AZURE-NPM|\/cali-/;

/** A pod or namespace at either end. */
function isEnd({ names, source, current, target }: Situation, { kind, namespace, name }: ObjectChange): boolean {
  const pods = [source, current.destination, target.destination].map((address) => names.pod(address));
  if (kind === "Pod") return pods.some((pod) => pod?.namespace === namespace && pod.name === name);
  return kind === "Namespace" && pods.some((pod) => pod?.namespace === name);
}

/** The service that the flow addresses, or a slice of its endpoints. */
function servesIt({ frontend }: Situation, { kind, namespace, name, service }: ObjectChange): boolean {
  if (frontend === null || frontend.service.namespace !== namespace) return false;
  return frontend.service.name === (kind === "Service" ? name : kind === "EndpointSlice" ? service : "");
}

/** What a dataplane is configured by. */
function configures({ kind, namespace, name }: ObjectChange): boolean {
  return kind === "KubeProxyConfiguration" || (kind === "ConfigMap" && namespace === "kube-system"
    && ["cilium-config", "kube-proxy", "azure-ip-masq-agent-config", "ip-masq-agent", "azure-npm-config"].includes(name));
}

function unique(lines: readonly ChangedLine[]): ChangedLine[] {
  const text = ({ where, object, rule, change }: ChangedLine): string =>
    JSON.stringify([where?.file ?? "", where?.line ?? 0, object, rule, change]);
  const found = new Map(lines.map((one) => [text(one), one]));
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, one]) => one);
}
