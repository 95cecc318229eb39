/**
 * What a change does to a cluster's objects: which are added, removed or say something else, and which statements of
 * policies come and go. Order, file and place of an object are no change; nor is what controllers write.
 */
import { contentOf } from "../compare/content.js";
import type { ChangedLine } from "../compare/finding.js";
import { type Statement, statementKey, statementsOf, titleOf } from "../compare/statements.js";
import type { Cluster, ObjectMeta } from "../cluster/cluster.js";
import type { Where } from "../cluster/problem.js";
import type { Because } from "../dataplane.js";

export interface ObjectChange {
  readonly kind: string;
  readonly namespace: string;
  readonly name: string;
  readonly change: "added" | "removed" | "changed";
  readonly before: Where | null;
  readonly after: Where | null;
  /** Of an EndpointSlice, the service whose endpoints it holds; else empty. */
  readonly service: string;
}

/** Statements of one side's policies, found by what a because says. */
export class Statements {
  readonly all: readonly Statement[];
  private readonly byKey = new Map<string, Statement>();
  private readonly texts = new Set<string>();

  constructor(cluster: Cluster) {
    this.all = statementsOf(cluster);
    for (const one of this.all) {
      this.byKey.set(one.key, one);
      for (const { text } of one.peers) this.texts.add(textKey(one, text));
    }
  }

  of(because: Because): Statement | null {
    const key = statementKey(because);
    return key === null ? null : this.byKey.get(key) ?? null;
  }

  /** The line of an object's first statement; null where it has none. */
  lineOfObject(object: string): Where | null {
    return this.all.find((one) => one.object === object)?.where ?? null;
  }

  at(key: string): Statement | null {
    return this.byKey.get(key) ?? null;
  }

  /** Whether the same object says the same here, wherever in it: of one peer (`from[1]`), or of all where that is empty. */
  says(statement: Statement, peer = ""): boolean {
    const asked = statement.peers.filter((one) => peer === "" || one.path === peer);
    return asked.every(({ text }) => this.texts.has(textKey(statement, text)));
  }
}

function textKey({ object, direction }: Statement, text: string): string {
  return `${object} ${direction} ${text}`;
}

export interface ClusterChanges {
  /** Sorted by kind, namespace and name. */
  readonly objects: readonly ObjectChange[];
  /** Statements that are on one side only, each as the line that says it; what was reworded is there twice. */
  readonly lines: readonly ChangedLine[];
}

export function changesBetween(before: Cluster, after: Cluster, statements: readonly [Statements, Statements]): ClusterChanges {
  const objects = new Map<string, ObjectChange>();
  const old = objectsOf(before);
  for (const [key, object] of objectsOf(after)) {
    const earlier = old.get(key);
    if (earlier !== undefined && contentOf(earlier) === contentOf(object)) continue;
    objects.set(key, changeOf(object, earlier === undefined ? "added" : "changed", earlier?.where ?? null, object.where));
  }
  const kept = objectsOf(after);
  for (const [key, object] of old) if (!kept.has(key)) objects.set(key, changeOf(object, "removed", object.where, null));
  const [was, is] = statements;
  const lines = [
    ...was.all.flatMap((one) => linesOf(one, "removed", is)),
    ...is.all.flatMap((one) => linesOf(one, "added", was)),
  ];
  return { objects: [...objects.values()].sort(byPlace), lines };
}

/** What of a statement only its own side says, a line for each peer. */
function linesOf(statement: Statement, change: "added" | "removed", other: Statements): ChangedLine[] {
  return statement.peers.filter(({ path }) => !other.says(statement, path)).map(({ path }) => lineOf(statement, path, change, other));
}

/**
 * The line of a statement about a peer, which the other side does not say. `changed` where its object has another
 * statement in the same place there.
 */
export function lineOf(statement: Statement, peer: string, change: "added" | "removed", other: Statements): ChangedLine {
  const { object, path, where, isDefaultDeny } = statement;
  const rule = isDefaultDeny ? `${path}: denies what no rule allows` : peer === "" ? path : `${path}.${peer}`;
  const there = other.at(statement.key);
  return { object, rule, where, change: there === null ? change : "changed",
    after: change === "added" ? where : there?.where ?? other.lineOfObject(object) };
}

/** All but what is the same thing under another name (a namespace that objects are in and nobody wrote down). */
function objectsOf(cluster: Cluster): Map<string, ObjectMeta> {
  const { namespaces, nodes, pods, services, endpointSlices, networkPolicies, adminPolicies, ciliumPolicies, cidrGroups, others } = cluster;
  const written = [...namespaces.values()].filter((one) => one.where.line > 0);
  const all: ObjectMeta[] = [...written, ...nodes, ...pods.map((pod) => ({ ...pod, annotations: {} })), ...services,
    ...endpointSlices, ...networkPolicies, ...adminPolicies, ...ciliumPolicies, ...cidrGroups, ...others];
  return new Map(all.map((one) => [`${one.kind}\t${one.namespace}\t${one.name}`, one]));
}

function changeOf(object: ObjectMeta & { serviceName?: string }, change: ObjectChange["change"], before: Where | null,
  after: Where | null): ObjectChange {
  const { kind, namespace, name, serviceName } = object;
  return { kind, namespace, name, change, before, after, service: serviceName ?? "" };
}

function byPlace(a: ObjectChange, b: ObjectChange): number {
  return compare(a.kind, b.kind) || compare(a.namespace, b.namespace) || compare(a.name, b.name);
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** As a cause of something that is no rule of a policy. */
export function objectLine(change: ObjectChange): ChangedLine {
  return { object: titleOf({ ...change, labels: {}, annotations: {}, where: NOWHERE }), rule: change.kind, change: change.change,
    where: change.after ?? change.before, after: change.after };
}

const NOWHERE: Where = { file: "", line: 0 };
