/**
 * Manifests and dumps -> Kubernetes objects.
 *
 * Reads YAML (several documents) and JSON, with List kinds, as kubectl reads them; validates and defaults as
 * the API server does. What is wrong becomes a Problem with file and line; the rest is used. Of objects with
 * the same kind, namespace and name one counts, with a Problem (repeats.ts). Objects come out sorted by namespace
 * and name, so neither the order nor the division into files matters.
 *
 * Secrets and environment variables are dropped here and reach nothing else.
 */
import { readAdminNetworkPolicy, readBaselineAdminNetworkPolicy, readClusterNetworkPolicy }
  from "./admin-policy.js";
import { readCIDRGroup } from "./cilium/cidr-group.js";
import { readCiliumPolicy } from "./cilium/policy.js";
import type { Cluster, Namespace, ObjectMeta, OtherObject } from "./cluster.js";
import { type Documents, type ManifestItem, readDocuments, readPieces } from "./documents.js";
import { type Field, ObjectReading } from "./field.js";
import { readLines } from "./lines.js";
import { checkName, readMeta } from "./meta.js";
import { readNetworkPolicy } from "./network-policy.js";
import { readOther } from "./other.js";
import { type NodeObject, readNode, readPod } from "./pod.js";
import type { Problem } from "./problem.js";
import { Repeats } from "./repeats.js";
import { readEndpointSlice, readService } from "./service.js";
import type { NamedText } from "./source-text.js";

/** Objects by kind; each list sorted by namespace, then name, each pair once. */
export interface ManifestObjects extends Omit<Cluster, "namespaces" | "nodes"> {
  readonly namespaces: readonly Namespace[];
  readonly nodes: readonly NodeObject[];
}

export interface Manifests {
  readonly objects: ManifestObjects;
  readonly problems: readonly Problem[];
}

/** How a kind is read: its list, whether it has a namespace, its API versions. */
interface Kind {
  readonly list: keyof ManifestObjects;
  readonly namespaced: boolean;
  readonly apiVersion: string;
  readonly removed: readonly string[];
  /** Other versions that are served and read alike. */
  readonly alike: readonly string[];
  readonly read: (root: Field, meta: ObjectMeta) => ObjectMeta;
}

const KINDS: Readonly<Record<string, Kind>> = {
  Namespace: kind("namespaces", false, "v1", [], (_, meta) => withNameLabel(meta)),
  Node: kind("nodes", false, "v1", [], readNode),
  Pod: kind("pods", true, "v1", [], readPod),
  Service: kind("services", true, "v1", [], readService),
  EndpointSlice: kind("endpointSlices", true, "discovery.k8s.io/v1",
    ["discovery.k8s.io/v1beta1", "discovery.k8s.io/v1alpha1"], readEndpointSlice),
  NetworkPolicy: kind("networkPolicies", true, "networking.k8s.io/v1",
    ["extensions/v1beta1"], readNetworkPolicy),
  AdminNetworkPolicy: kind("adminPolicies", false, "policy.networking.k8s.io/v1alpha1", [], readAdminNetworkPolicy),
  BaselineAdminNetworkPolicy: kind("adminPolicies", false, "policy.networking.k8s.io/v1alpha1", [], readBaselineAdminNetworkPolicy),
  ClusterNetworkPolicy: kind("adminPolicies", false, "policy.networking.k8s.io/v1alpha2", [], readClusterNetworkPolicy),
  CiliumNetworkPolicy: kind("ciliumPolicies", true, "cilium.io/v2", [], readCiliumPolicy),
  CiliumClusterwideNetworkPolicy: kind("ciliumPolicies", false, "cilium.io/v2", [], readCiliumPolicy),
  CiliumCIDRGroup: kind("cidrGroups", false, "cilium.io/v2alpha1", [], readCIDRGroup, ["cilium.io/v2"]),
};

/** A text too large to be held whole; its chunks are taken once. */
export interface LargeText {
  readonly name: string;
  readonly chunks: Iterable<string>;
}

export function readManifests(sources: readonly (NamedText | LargeText)[]): Manifests {
  const ofTexts: Problem[] = [];
  const ofObjects: Problem[] = [];
  const collection = new Collection(ofObjects);
  const take = ({ items, problems }: Documents): void => {
    ofTexts.push(...problems.map((one): Problem => (one.severity === "error" ? { ...one, incomplete: true } : one)));
    for (const item of items) readObject(item, collection, ofObjects);
  };
  for (const source of sources) {
    if ("text" in source) take(readDocuments(source));
    else for (const documents of readPieces(source.name, source.chunks)) take(documents);
  }
  const objects = collection.objects();
  return { objects, problems: [...ofTexts, ...ofObjects] };
}

/** The same of objects that are already split into items, such as those inside another document. */
export function readItems(items: readonly ManifestItem[]): Manifests {
  const problems: Problem[] = [];
  const collection = new Collection(problems, true);
  for (const item of items) readObject(item, collection, problems);
  const objects = collection.objects();
  return { objects, problems };
}

/** The objects of both, those of `added` in place of those with the same kind, namespace and name. */
export function mergeObjects(base: ManifestObjects, added: ManifestObjects): ManifestObjects {
  const collection = new Collection(null);
  for (const objects of [base, added]) {
    for (const list of LISTS) for (const object of objects[list]) collection.add(list, object);
  }
  return collection.objects();
}

/** The objects without those for which `dropped` holds. */
export function withoutObjects(base: ManifestObjects, dropped: (object: ObjectMeta) => boolean)
  : ManifestObjects {
  const collection = new Collection(null);
  for (const list of LISTS) {
    for (const object of base[list]) if (!dropped(object)) collection.add(list, object);
  }
  return collection.objects();
}

/** `kubernetes.io/metadata.name` is on every namespace; the API server sets it and keeps it so. */
export function withNameLabel(meta: ObjectMeta): Namespace {
  return { ...meta, labels: { ...meta.labels, "kubernetes.io/metadata.name": meta.name } };
}

const LISTS = ["namespaces", "nodes", "pods", "services", "endpointSlices", "networkPolicies", "adminPolicies", "ciliumPolicies",
  "cidrGroups", "others"] as const;

class Collection {
  private readonly lists = new Map<keyof ManifestObjects, Map<string, ObjectMeta>>();
  private readonly repeats: Repeats | null;

  /**
   * @param problems where repeated objects are reported; null: a repeated one replaces silently
   * @param ordered whether the later of two is the one that counts
   */
  constructor(problems: Problem[] | null, ordered = false) {
    this.repeats = problems === null ? null : new Repeats(problems, title, ordered);
    for (const list of LISTS) this.lists.set(list, new Map());
  }

  /** @param version its resourceVersion, where it has one */
  add(list: keyof ManifestObjects, object: ObjectMeta, version: unknown = null): void {
    const objects = this.lists.get(list)!;
    const group = list === "others" ? groupOf(object as OtherObject) : "";
    const key = JSON.stringify([object.namespace, object.name, object.kind, group]);
    objects.set(key, this.repeats?.chosen(`${list} ${key}`, object, version, objects.get(key) ?? null) ?? object);
  }

  objects(): ManifestObjects {
    this.repeats?.report();
    const result: Partial<Record<keyof ManifestObjects, ObjectMeta[]>> = {};
    for (const list of LISTS) result[list] = [...this.lists.get(list)!.values()].sort(byName);
    return result as unknown as ManifestObjects;
  }
}

function readObject(item: ManifestItem, collection: Collection, problems: Problem[]): void {
  const reading = new ObjectReading(item.positions, problems);
  const root = reading.root(item.value);
  const kindName = root.get("kind").string();
  const apiVersion = root.get("apiVersion").string();
  if (reading.refused) return;
  if (kindName === "Status" && root.get("status").value === "Failure") {
    const said = root.get("message").value;
    problems.push({ where: root.where(), severity: "error", incomplete: true, what: "the API server's answer is a failure, and what was"
      + ` asked of it is not here: ${typeof said === "string" ? said : "no reason given"}` });
    return;
  }
  if (kindName === "" || apiVersion === "") {
    root.refuse(`found no ${kindName === "" ? "kind" : "apiVersion"}, expected a Kubernetes object`);
    return;
  }
  const known = Object.hasOwn(KINDS, kindName) ? KINDS[kindName] : undefined;
  reading.title = kindName;
  if (known?.removed.includes(apiVersion)) {
    root.get("apiVersion")
      .refuse(`found ${apiVersion}, which is no longer served, expected ${known.apiVersion}`);
    return;
  }
  // The same kind name in another group (Knative's Service, Calico's NetworkPolicy) is another kind.
  const ours = known !== undefined && [known.apiVersion, ...known.alike].includes(apiVersion) ? known : undefined;
  if (isConfiguration(kindName, apiVersion)) {
    const meta = { kind: kindName, namespace: "", name: "", labels: {}, annotations: {}, where: root.where() };
    const object = readOther(item.value, meta, apiVersion);
    collection.add("others", { ...object, lines: readLines(object.object, item.positions) } as OtherObject);
    return;
  }
  const meta = readMeta(root, kindName, ours?.namespaced ?? !root.get("metadata").get("namespace").absent);
  reading.title = title(meta);
  if (ours !== undefined) checkName(root.get("metadata"), meta);
  const object = ours === undefined ? otherOf(item, meta, apiVersion) : ours.read(root, meta);
  if (!reading.refused) collection.add(ours?.list ?? "others", object, root.get("metadata").get("resourceVersion").value);
}

/** A component's configuration file, which is a document with a kind but without metadata. */
function isConfiguration(kindName: string, apiVersion: string): boolean {
  return kindName === "KubeProxyConfiguration" && apiVersion.startsWith("kubeproxy.config.k8s.io/");
}

/** Programs on nodes are configured by objects of kube-system; what reads them says the line of what is wrong. */
function otherOf(item: ManifestItem, meta: ObjectMeta, apiVersion: string): OtherObject {
  const other = readOther(item.value, meta, apiVersion);
  const configures = meta.namespace === "kube-system" && (meta.kind === "ConfigMap" || meta.kind === "DaemonSet");
  return configures ? { ...other, lines: readLines(other.object, item.positions) } : other;
}

function kind(list: keyof ManifestObjects, namespaced: boolean, apiVersion: string,
  removed: readonly string[], read: Kind["read"], alike: readonly string[] = []): Kind {
  return { list, namespaced, apiVersion, removed, alike, read };
}

function title(object: ObjectMeta): string {
  return `${object.kind} ${object.namespace === "" ? "" : `${object.namespace}/`}${object.name}`.trimEnd();
}

/** By code units, which does not depend on the machine's language. */
function byName(a: ObjectMeta, b: ObjectMeta): number {
  return compare(a.namespace, b.namespace) || compare(a.name, b.name) || compare(a.kind, b.kind)
    || compare(groupOf(a), groupOf(b));
}

/** Of kinds kept as they were read; the other kinds have one group each. */
function groupOf(object: ObjectMeta & { apiVersion?: string }): string {
  return object.apiVersion?.split("/").slice(0, -1).join("/") ?? "";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
