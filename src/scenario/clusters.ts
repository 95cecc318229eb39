/**
 * The clusters of a scenario: its objects, and after each probe's changes the objects as they are from then on, with the
 * node facts it states. Deleting a pod takes its addresses out of the EndpointSlices too, as the endpoint controller does.
 */
import { type Prefix, prefixOf } from "../cluster/address.js";
import type { Cluster, Device, EndpointSlice, Node, NodeFacts, Route, Timeline } from "../cluster/cluster.js";
import { type ManifestObjects, mergeObjects, readItems, withoutObjects } from "../cluster/manifests.js";
import type { Problem, Where } from "../cluster/problem.js";
import { buildTimeline } from "../cluster/timeline.js";
import { VLAN_8021Q } from "../cluster/vlans.js";
import type { Change, ClusterPart, DeviceAddress, PlaneSpec, Scenario, StatedNode } from "./scenario.js";

/** As flannel has it on Linux. */
const VXLAN_PORT = 8472;

/** What the paths of a scenario hold; read by whoever knows files. */
export interface LoadedPaths {
  readonly objects: ManifestObjects;
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly problems: readonly Problem[];
}

export type Load = (paths: readonly string[], where: Where) => LoadedPaths;

export interface ScenarioObjects {
  readonly initial: ManifestObjects;
  /** By index of the probe they come before; the same as before where it has no changes. */
  readonly before: readonly ManifestObjects[];
  readonly facts: ReadonlyMap<string, NodeFacts>;
  readonly problems: readonly Problem[];
}

export function scenarioObjects(scenario: Scenario, load: Load): ScenarioObjects {
  const problems: Problem[] = [];
  const facts = new Map<string, NodeFacts>();
  const read = (parts: readonly ClusterPart[], where: Where): ManifestObjects => {
    const paths = parts.filter((part) => typeof part === "string");
    const inline = readItems(parts.filter((part) => typeof part !== "string"));
    problems.push(...inline.problems);
    if (paths.length === 0) return inline.objects;
    const loaded = load(paths, where);
    problems.push(...loaded.problems);
    for (const [node, known] of loaded.facts) facts.set(node, known);
    return mergeObjects(loaded.objects, inline.objects);
  };
  const initial = read(scenario.cluster, scenario.whereOf(["cluster"]));
  let now = initial;
  const before = scenario.probes.map((probe) => {
    for (const change of probe.changes) {
      now = change.kind === "apply" ? mergeObjects(now, read(change.parts, probe.where)) : without(now, change, problems);
    }
    return now;
  });
  return { initial, before, facts, problems };
}

/** The clusters as a plane sees them: the first, and at each probe with changes the next. */
export function timelineFor(scenario: Scenario, objects: ScenarioObjects, extra: ManifestObjects | null,
  timesNs: readonly number[], epochNs: bigint): Timeline {
  const whole = (one: ManifestObjects): ManifestObjects => (extra === null ? one : mergeObjects(one, extra));
  const changes = scenario.probes.flatMap((probe, index) => (probe.changes.length === 0 ? []
    : [{ atNs: epochNs + BigInt(timesNs[index]), kind: "objects" as const, objects: whole(objects.before[index]) }]));
  const timeline = buildTimeline({ initial: whole(objects.initial), changes, facts: objects.facts });
  return {
    ...timeline, initial: withStatedNodes(timeline.initial, scenario),
    changes: timeline.changes.map((one) => (one.kind === "cluster" ? { ...one, cluster: withStatedNodes(one.cluster, scenario) } : one)),
  };
}

/** kube-proxy's configuration of a plane, as the document that its node would have. */
export function kubeProxyObjects(name: string, spec: PlaneSpec, scenario: Scenario)
  : { objects: ManifestObjects; problems: Problem[] } | null {
  if (spec.kubeProxy === undefined) return null;
  const document = { apiVersion: "kubeproxy.config.k8s.io/v1alpha1", kind: "KubeProxyConfiguration", ...spec.kubeProxy };
  const where = scenario.whereOf(["planes", name, "kubeProxy"]);
  const read = readItems([{ value: document, positions: scenario.positions.inside(["planes", name, "kubeProxy"]) }]);
  return { objects: read.objects, problems: read.problems.map((one) => ({ ...one, where })) };
}

function without(objects: ManifestObjects, { object, name, where }: Extract<Change, { kind: "delete" }>,
  problems: Problem[]): ManifestObjects {
  const slash = name.indexOf("/");
  const namespace = slash < 0 ? "" : name.slice(0, slash);
  const own = name.slice(slash + 1);
  let found = false;
  const rest = withoutObjects(objects, (one) => {
    const gone = one.kind.toLowerCase() === object.toLowerCase() && one.name === own && one.namespace === namespace;
    found ||= gone;
    return gone;
  });
  if (!found) {
    problems.push({ where, severity: "error", what: `there is no ${object} ${name} to delete; expected a kind and namespace/name` });
  }
  if (object.toLowerCase() !== "pod") return rest;
  return { ...rest, endpointSlices: rest.endpointSlices.map((slice): EndpointSlice => ({ ...slice,
    endpoints: slice.endpoints.filter(({ targetRef }) => targetRef?.kind !== "Pod" || targetRef.namespace !== namespace
      || targetRef.name !== own) })) };
}

/** The facts that the scenario states in place of those assumed: addresses of the uplink, VLAN devices on it, a tunnel. */
function withStatedNodes(cluster: Cluster, scenario: Scenario): Cluster {
  if (scenario.nodes.size === 0) return cluster;
  return { ...cluster, nodes: cluster.nodes.map((node) => {
    const stated = scenario.nodes.get(node.name);
    if (stated === undefined) return node;
    const facts = withVlans(withAddresses(node.facts, stated.addresses), stated.vlans);
    return { ...node, facts: withTunnel(facts, node, cluster, stated.tunnel) };
  }) };
}

function withAddresses(facts: NodeFacts, addresses: readonly DeviceAddress[]): NodeFacts {
  const uplink = facts.devices.find((device) => device.kind === "uplink");
  if (addresses.length === 0 || uplink === undefined) return facts;
  const device = uplink.index;
  const kept = facts.routes.filter((route) => route.device !== device || (route.type !== "local" && route.via !== null)
    || route.destination.length === 0);
  const devices = facts.devices.map((one) => (one === uplink ? { ...one, addresses } : one));
  return { ...facts, devices, routes: [...kept, ...routesOf(addresses, device)] };
}

/** What the kernel makes for a device's own addresses. */
function routesOf(addresses: readonly DeviceAddress[], device: number): Route[] {
  const base = { metric: 0, mtu: null, via: null, device };
  return addresses.flatMap(({ address, length }): Route[] => [
    { ...base, destination: prefixOf(address, address.bytes.length * 8), table: "local", type: "local", prefSrc: address },
    { ...base, destination: prefixOf(address, length), table: "main", type: "unicast", prefSrc: address },
  ]);
}

/** Flannel's: each node's VXLAN device has the first address of its pod range, and leads to the others' ranges by theirs. */
function withTunnel(facts: NodeFacts, node: Node, cluster: Cluster, tunnel: StatedNode["tunnel"]): NodeFacts {
  const uplink = facts.devices.find((device) => device.kind === "uplink");
  const own = rangeOf(node);
  if (tunnel === null || uplink === undefined || own === null) return facts;
  const index = Math.max(...facts.devices.map((device) => device.index)) + 1;
  const local = uplink.addresses.find(({ address }) => address.family === 4)?.address ?? null;
  const device: Device = { index, name: "flannel.1", kind: "tunnel", mac: macOf(own), mtu: tunnel.mtu, up: true,
    addresses: [{ address: own.address, length: 32 }], pod: null, vxlan: { vni: 1, port: VXLAN_PORT, local } };
  const others = cluster.nodes.filter((one) => one.name !== node.name).flatMap((one) => rangeOf(one) ?? []);
  const isOthers = ({ destination }: Route): boolean => others.some((range) => range.text === destination.text);
  const base = { metric: 0, mtu: null, device: index };
  return {
    ...facts, devices: [...facts.devices, device],
    routes: [...facts.routes.filter((route) => !isOthers(route)),
      { ...base, destination: prefixOf(own.address, 32), table: "local", type: "local", via: null, prefSrc: own.address },
      ...others.map((range): Route =>
        ({ ...base, destination: range, table: "main", type: "unicast", via: range.address, prefSrc: null }))],
    neighbours: [...facts.neighbours, ...others.map((range) => ({ device: index, address: range.address, mac: macOf(range) }))],
  };
}

function rangeOf({ podCIDRs }: Node): Prefix | null {
  return podCIDRs.find(({ address }) => address.family === 4) ?? null;
}

/** Of the VXLAN device with the range's first address. */
function macOf({ address: { bytes } }: Prefix): string {
  return `0a:58:${[...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":")}`;
}

function withVlans(facts: NodeFacts, vlans: StatedNode["vlans"]): NodeFacts {
  const uplink = facts.devices.find((device) => device.kind === "uplink");
  if (vlans === null || uplink === undefined) return facts;
  const first = Math.max(...facts.devices.map((device) => device.index)) + 1;
  const added = vlans.map(({ id, addresses }, at): Device => ({ index: first + at, name: `${uplink.name}.${id}`, kind: "other",
    mac: uplink.mac, mtu: uplink.mtu, up: true, addresses, pod: null, vxlan: null,
    vlan: { parent: uplink.index, id, protocol: VLAN_8021Q } }));
  const devices = facts.devices.map((device) => (device === uplink ? { ...device, vlansUnknown: false } : device));
  return { ...facts, devices: [...devices, ...added], routes: [...facts.routes,
    ...added.flatMap(({ addresses, index }) => routesOf(addresses, index))] };
}
