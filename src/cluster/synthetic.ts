/**
 * A repository of manifests has no pods, no nodes and no addresses: a cluster makes them. What is missing is made up
 * here, so that policies and services can be judged all the same, and everything made up is said in a warning:
 *
 *   a node that only its pods name     -> that node, with the addresses that its pods say it has
 *   no Node at all, nor a pod on one   -> two nodes, synthetic-node-1 and -2
 *   a workload without any of its pods -> its pods, as many as it asks for (a DaemonSet: one a node)
 *   a Pod that was never scheduled     -> a node and an address
 *   a Service without cluster IP       -> one of a range that nothing else uses
 *   a Service without EndpointSlice    -> what its Endpoints say; without those its selector's pods, taken to be ready
 *
 * Addresses and nodes follow from names by a hash, so that one more workload moves few of the others. An object that
 * came out of a cluster (it has a uid) and has no pods there has none here.
 */
import { type Address, addressFromBytes, parsePrefix, type Prefix, prefixContains } from "./address.js";
import type { Endpoint, EndpointSlice, OtherObject, Pod, Service } from "./cluster.js";
import { slicesOfEndpoints } from "./endpoints.js";
import { ObjectReading } from "./field.js";
import type { ManifestObjects } from "./manifests.js";
import { type NodeObject, readPod } from "./pod.js";
import type { Problem } from "./problem.js";
import { readMeta } from "./meta.js";
import { namesOnly } from "./other.js";

type Used = Pick<ManifestObjects, "nodes" | "pods" | "services">;
type Fields = Readonly<Record<string, unknown>>;

const WORKLOADS = new Set(["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ReplicationController"]);
const GROUPS = /^(apps|batch)\/|^v1$/;
/** The first range that nothing in the input lies in is taken. */
const POD_RANGES = ["10.244.0.0/16", "10.42.0.0/16", "100.100.0.0/16", "172.24.0.0/16"];
const SERVICE_RANGES = ["10.96.0.0/16", "10.43.0.0/16", "100.101.0.0/16", "172.25.0.0/16"];
const NODE_RANGES = ["192.168.50.0/24", "172.26.50.0/24", "10.250.0.0/24"];
const NOWHERE = { file: "", line: 0 };
const LISTED = 5;

export function withSynthetic(objects: ManifestObjects): { objects: ManifestObjects; problems: Problem[] } {
  return new Maker(objects).run();
}

class Maker {
  private readonly problems: Problem[] = [];
  private readonly taken = new Set<string>();
  /** Warnings so far, by what is lacking. */
  private readonly said = new Map<string, { readonly names: readonly string[]; readonly problem: Problem }>();

  private readonly given: ManifestObjects;

  constructor(read: ManifestObjects) {
    const { pods, services, nodes } = read;
    for (const { ips } of pods) for (const { text } of ips) this.taken.add(text);
    for (const { clusterIPs } of services) for (const { text } of clusterIPs) this.taken.add(text);
    for (const { addresses } of nodes) for (const { address } of addresses) this.taken.add(address.text);
    this.given = { ...read, nodes: [...nodes, ...this.namedNodes(read)].sort(byName) };
  }

  run(): { objects: ManifestObjects; problems: Problem[] } {
    const { given } = this;
    const workloads = this.workloadsWithoutPods();
    const unscheduled = given.pods.filter((pod) => pod.nodeName === "" && pod.phase === "Running" && pod.ips.length === 0);
    const nodes = workloads.length + unscheduled.length > 0 || given.nodes.length === 0 ? this.nodes() : given.nodes;
    const pods = [...given.pods.map((pod) => (unscheduled.includes(pod) ? this.scheduled(pod, nodes, 0) : pod)),
      ...workloads.flatMap((one) => this.podsOf(one, nodes))].sort(byName);
    if (unscheduled.length > 0) this.say(unscheduled, "Pod", "without node or address", "synthetic ones are used");
    const services = this.services();
    const endpointSlices = [...given.endpointSlices, ...this.slices(services, pods)].sort(byName);
    const others = given.others.map((one) => (isEndpoints(one) ? namesOnly(one, one.apiVersion) : one));
    return { objects: { ...given, nodes, pods, services, endpointSlices, others }, problems: this.problems };
  }

  // ---- nodes ----

  /** Nodes that running pods are on and that are not among the objects. */
  private namedNodes({ nodes, pods }: ManifestObjects): NodeObject[] {
    const known = new Set(nodes.map(({ name }) => name));
    const named = new Map<string, Pod>();
    for (const pod of pods) {
      if (pod.nodeName === "" || known.has(pod.nodeName) || pod.phase === "Succeeded" || pod.phase === "Failed") continue;
      if ((named.get(pod.nodeName)?.hostIPs ?? []).length === 0) named.set(pod.nodeName, pod);
    }
    const bare = [...named].filter(([, { hostIPs, hostNetwork, ips }]) => (hostIPs ?? (hostNetwork ? ips : [])).length === 0);
    const range = bare.length === 0 ? null : this.freeRange(NODE_RANGES, { nodes, pods, services: [] });
    const made = [...named].map(([name, { hostIPs, hostNetwork, ips, where }]): NodeObject => {
      const said = hostIPs ?? (hostNetwork ? ips : []);
      const addresses = said.length > 0 ? said : [this.take(range!, hash(name))].filter((one) => one !== null);
      return { kind: "Node", namespace: "", name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" }, annotations: {},
        where, addresses: addresses.map((address) => ({ type: "InternalIP", address })), podCIDRs: [] };
    });
    const list = (all: readonly { name: string }[]): string => all.slice(0, LISTED).map(({ name }) => name).join(", ")
      + (all.length > LISTED ? ", …" : "");
    if (made.length > 0) {
      const [are, them] = made.length === 1 ? [" that pods run on is", "it"] : ["s that pods run on are", "them"];
      this.problems.push({ where: null, severity: "warning",
        what: `${made.length} Node${are} not among the objects (${list(made)}): made from what the pods say of ${them};`
        + ` labels, zones and pod ranges are not known${bare.length > 0 ? `, and the addresses of ${bare.length} are synthetic` : ""}` });
    }
    return made;
  }

  private nodes(): readonly NodeObject[] {
    const { nodes } = this.given;
    const range = this.freeRange(POD_RANGES);
    if (nodes.length > 0) {
      const blocks = 2 ** Math.ceil(Math.log2(nodes.length + 1));
      return nodes.map((node, index) => (node.podCIDRs.length > 0 ? node : { ...node, podCIDRs: [block(range, index, blocks)] }));
    }
    if (this.given.pods.length + this.given.services.length + this.given.others.length === 0) return nodes;
    this.problems.push({ where: null, severity: "warning",
      what: "no Node among the objects: two synthetic nodes, synthetic-node-1 and synthetic-node-2, stand for the cluster's" });
    const addresses = this.freeRange(NODE_RANGES);
    return [1, 2].map((number): NodeObject => ({ kind: "Node", namespace: "", name: `synthetic-node-${number}`,
      labels: { "kubernetes.io/hostname": `synthetic-node-${number}`, "kubernetes.io/os": "linux" }, annotations: {}, where: NOWHERE,
      addresses: [{ type: "InternalIP", address: this.take(addresses, 10 + number)! }], podCIDRs: [block(range, number - 1, 2)] }));
  }

  // ---- pods ----

  private workloadsWithoutPods(): OtherObject[] {
    const { pods, others } = this.given;
    const owned = new Set(pods.map((pod) => `${pod.namespace}/${pod.owner ?? ""}`));
    return others.filter((one) => {
      if (templateOf(one) === null || isOwned(one)) return false;
      if (owned.has(`${one.namespace}/${one.name}`)) return false;
      const live = typeof fieldsOf(one.object["metadata"])["uid"] === "string";
      if (live && pods.length > 0) return false;
      const labels = Object.entries(fieldsOf(fieldsOf(templateOf(one))["metadata"])["labels"] ?? {});
      return !pods.some((pod) => pod.namespace === one.namespace && labels.length > 0
        && labels.every(([key, value]) => pod.labels[key] === value));
    });
  }

  private podsOf(workload: OtherObject, nodes: readonly NodeObject[]): Pod[] {
    const template = fieldsOf(templateOf(workload));
    const count = countOf(workload, nodes);
    const made: Pod[] = [];
    for (let index = 0; index < count; index++) {
      const pod = this.read(workload, template, index);
      if (pod === null) return [];
      const node = workload.kind === "DaemonSet" ? [nodes[index]] : nodes;
      made.push(this.scheduled({ ...pod, owner: workload.name }, node, index));
    }
    this.say(made.length === 0 ? [] : [workload], workload.kind, "without pods", "synthetic ones stand for them, as many as it asks for");
    return made;
  }

  /** The template's pod; null where the API server would refuse it, which is said. */
  private read(workload: OtherObject, template: Fields, index: number): Pod | null {
    const reading = new ObjectReading({ where: () => workload.where }, index === 0 ? this.problems : []);
    reading.title = `${workload.kind} ${workload.namespace}/${workload.name}`;
    const metadata = fieldsOf(template["metadata"]);
    const name = workload.kind === "StatefulSet" ? `${workload.name}-${index}` : `${workload.name}-synthetic-${index}`;
    const root = reading.root({ metadata: { ...metadata, name, namespace: workload.namespace }, spec: template["spec"] });
    const meta = readMeta(root, "Pod", true);
    const pod = readPod(root, { ...meta, labels: { ...meta.labels, ...addedLabels(workload, name, index) }, where: workload.where });
    return reading.refused ? null : pod;
  }

  private scheduled(pod: Pod, nodes: readonly NodeObject[], index: number): Pod {
    const seed = hash(`${pod.namespace}/${pod.owner ?? pod.name}`);
    const node = nodes[(seed + index) % nodes.length];
    if (node === undefined) return pod;
    const ips = pod.hostNetwork ? node.addresses.filter((one) => one.type === "InternalIP").map((one) => one.address)
      : node.podCIDRs.map((range) => this.take(range, hash(`${pod.namespace}/${pod.name}`))).filter((one) => one !== null);
    if (ips.length === 0) this.say([pod], "Pod", "without an address", "the range of its node is full; it is not reached");
    return { ...pod, nodeName: node.name, ips };
  }

  // ---- services ----

  private services(): Service[] {
    const bare = this.given.services.filter((one) => one.clusterIPs.length === 0 && !one.headless && one.type !== "ExternalName");
    if (bare.length === 0) return [...this.given.services];
    const range = this.freeRange(SERVICE_RANGES);
    this.say(bare, "Service", "without cluster IP", `synthetic ones of ${range.text} are used`);
    return this.given.services.map((one) => (!bare.includes(one) ? one
      : { ...one, clusterIPs: [this.take(range, hash(`service ${one.namespace}/${one.name}`))!], ipFamilies: ["IPv4"] }));
  }

  private slices(services: readonly Service[], pods: readonly Pod[]): EndpointSlice[] {
    const sliced = new Set(this.given.endpointSlices.map((one) => `${one.namespace}/${one.serviceName}`));
    const unsliced = services.filter((one) => one.type !== "ExternalName" && !sliced.has(`${one.namespace}/${one.name}`));
    const older = new Map(this.given.others.filter(isEndpoints).map((one) => [`${one.namespace}/${one.name}`, one]));
    const zones = zonesOf(this.given.nodes);
    const told = unsliced.filter((one) => older.has(`${one.namespace}/${one.name}`));
    this.say(told, "Service", "without EndpointSlices", "the Endpoints of the same name are read in their place");
    const bare = unsliced.filter((one) => !older.has(`${one.namespace}/${one.name}`)
      && Object.keys(one.selector ?? {}).length > 0);
    this.say(bare, "Service", "without EndpointSlices", "the pods of their selectors are their endpoints, taken to be ready");
    const fromOlder = told.flatMap((one) => slicesOfEndpoints(older.get(`${one.namespace}/${one.name}`)!,
      Object.keys(one.selector ?? {}).length > 0, (node) => zones.get(node) ?? "", this.problems));
    return [...fromOlder, ...bare.flatMap((service) => slicesOf(service, pods.filter((pod) => pod.namespace === service.namespace
      && pod.phase !== "Succeeded" && pod.phase !== "Failed"
      && Object.entries(service.selector ?? {}).every(([key, value]) => pod.labels[key] === value)), zones))];
  }

  // ---- addresses ----

  private freeRange(candidates: readonly string[], { nodes, pods, services }: Used = this.given): Prefix {
    const ranges = candidates.map((text) => parsePrefix(text)!);
    const used = [...nodes.flatMap((one) => one.addresses.map(({ address }) => address)), ...pods.flatMap((one) => one.ips),
      ...services.flatMap((one) => one.clusterIPs)];
    const cidrs = nodes.flatMap((one) => one.podCIDRs);
    return ranges.find((range) => !used.some((one) => prefixContains(range, one))
      && !cidrs.some((one) => prefixContains(range, one.address) || prefixContains(one, range.address))) ?? ranges[0];
  }

  /** An address of the range that nothing has: the one of this number, or the next that is free; null: all are taken. */
  private take(range: Prefix, number: number): Address | null {
    const bits = Math.min(20, range.address.bytes.length * 8 - range.length);
    // The first are the network's and a router's, the last is the broadcast's.
    const size = 2 ** bits - 3;
    for (let tries = 0; tries < size; tries++) {
      const address = offset(range.address, 2 + (number + tries) % size);
      if (this.taken.has(address.text)) continue;
      this.taken.add(address.text);
      return address;
    }
    return null;
  }

  /** One warning for all objects of a kind that lack the same. */
  private say(objects: readonly { readonly namespace: string; readonly name: string }[], kind: string, lack: string,
    consequence: string): void {
    if (objects.length === 0) return;
    const key = `${kind} ${lack} ${consequence}`;
    const before = this.said.get(key);
    const names = [...before?.names ?? [], ...objects.map((one) => `${one.namespace}/${one.name}`)];
    const list = `${names.slice(0, LISTED).join(", ")}${names.length > LISTED ? ", …" : ""}`;
    const problem: Problem = { where: null, severity: "warning",
      what: `${names.length} ${kind}${names.length === 1 ? "" : "s"} ${lack} (${list}): ${consequence}` };
    if (before === undefined) this.problems.push(problem);
    else this.problems[this.problems.indexOf(before.problem)] = problem;
    this.said.set(key, { names, problem });
  }
}

/** The pod template of a workload; null of anything else. */
export function templateOf({ kind, apiVersion, object }: OtherObject): unknown {
  if (!WORKLOADS.has(kind) || !GROUPS.test(apiVersion)) return null;
  const spec = fieldsOf(object["spec"]);
  const holder = kind === "CronJob" ? fieldsOf(fieldsOf(spec["jobTemplate"])["spec"]) : spec;
  return typeof holder["template"] === "object" ? holder["template"] : null;
}

function isOwned({ object }: OtherObject): boolean {
  const owners = fieldsOf(object["metadata"])["ownerReferences"];
  return Array.isArray(owners) && owners.some((one) => fieldsOf(one)["controller"] === true);
}

function countOf({ kind, object }: OtherObject, nodes: readonly NodeObject[]): number {
  const spec = fieldsOf(object["spec"]);
  if (kind === "DaemonSet") return nodes.length;
  if (kind === "CronJob") return 1;
  const asked = kind === "Job" ? spec["parallelism"] : spec["replicas"];
  return typeof asked === "number" && Number.isInteger(asked) && asked >= 0 ? asked : 1;
}

/** What controllers put on their pods beside the template's labels, as far as it is known beforehand. */
function addedLabels({ kind, name: workload }: OtherObject, name: string, index: number): Record<string, string> {
  if (kind === "StatefulSet") return { "statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": String(index) };
  return kind === "Job" ? { "batch.kubernetes.io/job-name": workload, "job-name": workload } : {};
}

/** A slice for each family and each set of port numbers that the pods' names for ports come to. */
function slicesOf(service: Service, pods: readonly Pod[], zones: ReadonlyMap<string, string>): EndpointSlice[] {
  const groups = new Map<string, EndpointSlice & { endpoints: Endpoint[] }>();
  for (const family of [4, 6] as const) {
    for (const pod of pods) {
      const addresses = pod.ips.filter((ip) => ip.family === family);
      const ports = service.ports.flatMap(({ name, protocol, targetPort }) => {
        const port = typeof targetPort === "number" ? targetPort
          : pod.ports.find((one) => one.name === targetPort && one.protocol === protocol)?.containerPort;
        return port === undefined ? [] : [{ name, protocol, port }];
      });
      if (addresses.length === 0 || ports.length === 0) continue;
      const key = `${family} ${JSON.stringify(ports)}`;
      const slice = groups.get(key) ?? { kind: "EndpointSlice", namespace: service.namespace,
        name: `${service.name}-synthetic-${groups.size + 1}`, labels: { "kubernetes.io/service-name": service.name }, annotations: {},
        where: service.where, addressType: `IPv${family}` as const, serviceName: service.name, ports, endpoints: [] };
      groups.set(key, slice);
      const targetRef = { kind: "Pod", namespace: pod.namespace, name: pod.name };
      slice.endpoints.push({ addresses: addresses.slice(0, 1), nodeName: pod.nodeName, zone: zones.get(pod.nodeName) ?? "", targetRef,
        ready: true, serving: true, terminating: false, hintZones: [], hintNodes: [] });
    }
  }
  return [...groups.values()];
}

function zonesOf(nodes: readonly NodeObject[]): ReadonlyMap<string, string> {
  return new Map(nodes.map((node) => [node.name, node.labels["topology.kubernetes.io/zone"] ?? ""]));
}

function isEndpoints(one: OtherObject): boolean {
  return one.kind === "Endpoints" && one.apiVersion === "v1";
}

/** Part `index` of `parts` (a power of two) of a range. */
function block(range: Prefix, index: number, parts: number): Prefix {
  const length = range.length + Math.round(Math.log2(parts));
  return parsePrefix(`${offset(range.address, index * 2 ** (32 - length)).text}/${length}`)!;
}

function offset(address: Address, by: number): Address {
  const bytes = Uint8Array.from(address.bytes);
  let carry = by;
  for (let at = bytes.length - 1; at >= 0 && carry > 0; at--) {
    carry += bytes[at];
    bytes[at] = carry & 255;
    carry = Math.floor(carry / 256);
  }
  return addressFromBytes(bytes);
}

/** FNV-1a over the code units. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return value;
}

function byName(a: { namespace: string; name: string }, b: { namespace: string; name: string }): number {
  const one = `${a.namespace}\0${a.name}`;
  const other = `${b.namespace}\0${b.name}`;
  return one < other ? -1 : one > other ? 1 : 0;
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}
