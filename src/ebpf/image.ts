/**
 * The whole content of the plane's maps for a cluster at one instant, as named entries before encoding.
 *
 * With fresh numbers it depends on the cluster, the options and the list of nodes only, never on the order of
 * objects or on what was before; a plane that lives through changes passes its own numbers, so that live
 * entries keep meaning what they meant. `diffImages` gives the updates and deletes that lead from one image
 * to the next.
 */
import type { Cluster } from "../cluster/cluster.js";
import type { DNSNames } from "../cluster/names.js";
import type { Problem } from "../cluster/problem.js";
import { encode } from "../contract/codec.js";
import type { AnyRecord } from "../contract/codec.js";
import type { MapName } from "../contract/maps.js";
import { maps } from "../contract/maps.js";
import type { Because } from "../dataplane.js";
import { buildFabric } from "../fabric/fabric.js";
import { withCiliumNodes } from "./compile/cilium-node.js";
import { compileEgressGateways } from "./compile/egress-gateway.js";
import { compileFib } from "./compile/fib.js";
import type { FibRow } from "./compile/fib.js";
import { compileIpMasq } from "./compile/ipmasq.js";
import { compileMaglev } from "./compile/maglev.js";
import type { CompiledMaglev } from "./compile/maglev.js";
import { compileNodes } from "./compile/node.js";
import type { CompiledNodes } from "./compile/node.js";
import { NO_TAGS } from "./compile/vlan-filter.js";
import type { Numbers } from "./compile/numbers.js";
import { freshNumbers } from "./compile/numbers.js";
import { compilePolicies } from "./compile/policies.js";
import type { CompiledPolicies } from "./compile/policies.js";
import { becauseText } from "./compile/policy/cookies.js";
import { compileServices } from "./compile/service.js";
import type { CompiledServices } from "./compile/service.js";
import {
  deviceRecords,
  egressGatewayRecord,
  endpointRecords,
  fibRecord,
  ipMasqRecord,
  ipcacheRecord,
  nodeRecord,
  serviceRecords,
} from "./records.js";
import { configRecord } from "./config-record.js";
import type { CiliumOptions } from "./options.js";

export type MapEntry = readonly [AnyRecord, AnyRecord];

export interface MapImage {
  readonly options: CiliumOptions;
  /** Names by number. */
  readonly nodes: readonly string[];
  /** Entries of every map but the policy maps, each list in the order of its source. */
  readonly maps: ReadonlyMap<MapName, readonly MapEntry[]>;
  /** What the entries were made from; `policies.endpoints.maps` are the policy maps, by their outer key. */
  readonly policies: CompiledPolicies;
  readonly services: CompiledServices;
  /** Which Maglev tables there are, and whose; the loader computes them. */
  readonly maglev: CompiledMaglev;
  readonly hosts: CompiledNodes;
  readonly fib: readonly FibRow[];
  /** What a cookie stands for. */
  readonly cookies: ReadonlyMap<number, readonly Because[]>;
  readonly problems: readonly Problem[];
}

/** What limits are counted in. */
export type LimitImage = Pick<MapImage, "options" | "nodes" | "policies" | "services" | "hosts" | "cookies">;

export interface ImageInput {
  readonly cluster: Cluster;
  readonly options: CiliumOptions;
  /** Numbering of nodes; the cluster's own names in order where absent. */
  readonly nodes?: readonly string[];
  /** Fresh where absent. */
  readonly numbers?: Numbers;
  /** What is known of DNS names, for toFQDNs; nothing where absent. */
  readonly names?: DNSNames;
  /** Part of every draw. */
  readonly seed?: bigint;
  readonly plane?: number;
  /** What programs pass up goes through the nodes' kernels. */
  readonly nodeStack?: boolean;
}

export function nodeNames(cluster: Cluster): string[] {
  return cluster.nodes.map((node) => node.name).sort();
}

export function compileImage(input: ImageInput): MapImage {
  const { options } = input;
  const cluster = canonical(input.cluster);
  const nodes = input.nodes ?? nodeNames(cluster);
  const numbers = input.numbers ?? freshNumbers();
  const problems: Problem[] = [];
  const policies = compilePolicies(cluster, options, problems, numbers, input.names ?? null);
  const services = compileServices(cluster, options, problems, numbers);
  const hosts = compileNodes(cluster, nodes, options, policies, problems);
  const fabric = buildFabric(cluster, nodes);
  problems.push(...fabric.problems);
  const fib = compileFib(cluster, nodes, fabric.rows, options, problems);
  const cookies = new Map<number, readonly Because[]>(policies.endpoints.cookies);
  const cookieOf = (because: Because): number => {
    const number = numbers.cookies.of(becauseText(because));
    cookies.set(number, [because]);
    return number;
  };
  const numberOf = new Map(nodes.map((name, index) => [name, index]));
  const maglev = compileMaglev(services.frontends, services.backends, numberOf, options, problems);
  const entries = new Map<MapName, MapEntry[]>(maps.map(({ name }) => [name, []]));
  const put = (name: MapName, entry: MapEntry): void => {
    entries.get(name)!.push(entry);
  };
  put("twinplane_config", configRecord(options, input.seed ?? 0n, input.plane ?? 0));
  hosts.nodes.forEach((node, index) => put("twinplane_nodes", nodeRecord(node, index, options, input.nodeStack === true)));
  for (const device of hosts.devices) put("twinplane_devices", deviceRecords(device, hosts, options));
  hosts.nodes.forEach((node, index) => {
    if (node.known)
      put("twinplane_devices", deviceRecords({ node: index, device: null, endpoint: null, tags: NO_TAGS }, hosts, options));
  });
  for (const row of fib) put("twinplane_fib", fibRecord(row));
  for (const endpoint of hosts.endpoints)
    for (const entry of endpointRecords(endpoint)) put("cilium_lxc", entry);
  for (const entry of policies.ipcache)
    if (entry.node === null) put("cilium_ipcache_v2", ipcacheRecord(entry));
  for (const entry of compileIpMasq(cluster, options, problems)) put(...ipMasqRecord(entry));
  for (const entry of compileEgressGateways(cluster, options, policies.identities, problems)) {
    put(...egressGatewayRecord(entry, cookieOf(entry.because)));
  }
  serviceRecords(services, options, numberOf, cookieOf, put);
  return { options, nodes, maps: entries, policies, services, maglev, hosts, fib, cookies, problems };
}

/**
 * What limits are counted in, without the maps: of the ways between nodes and each node's rows a large cluster has too many.
 *
 * @param counted rows of services are made for counting alone (`Frontend.part`)
 */
export function compileForLimits({ cluster: given, options, names }: Pick<ImageInput, "cluster" | "options" | "names">, counted = true)
  : LimitImage & { readonly problems: Problem[] } {
  const cluster = canonical(given);
  const nodes = nodeNames(cluster);
  const numbers = freshNumbers();
  const problems: Problem[] = [];
  const policies = compilePolicies(cluster, options, problems, numbers, names ?? null);
  const services = compileServices(cluster, options, problems, numbers, counted);
  const hosts = compileNodes(cluster, nodes, options, policies, problems);
  return { options, nodes, policies, services, hosts, cookies: policies.endpoints.cookies, problems };
}

/**
 * The errors that compileImage finds in objects with a place, without its maps. Of the ways between nodes, which are most
 * of the work, it has warnings alone.
 */
export function placedErrors(input: Pick<ImageInput, "cluster" | "options" | "names">): Problem[] {
  const { options, nodes, policies, services, problems } = compileForLimits(input, false);
  const cluster = canonical(input.cluster);
  compileMaglev(services.frontends, services.backends, new Map(nodes.map((name, index) => [name, index])), options, problems);
  compileIpMasq(cluster, options, problems);
  compileEgressGateways(cluster, options, policies.identities, problems);
  return problems.filter(({ where, severity }) => where !== null && severity === "error");
}

export interface MapChange {
  /** In the order of the new image. */
  readonly updates: readonly MapEntry[];
  /** Keys that the new image has not. */
  readonly deletes: readonly AnyRecord[];
}

/**
 * What turns one image's maps into the other's; maps without a change are left out. Policy maps are compared
 * apart.
 */
export function diffImages(from: MapImage, to: MapImage): Map<MapName, MapChange> {
  const changes = new Map<MapName, MapChange>();
  for (const { name, key, value } of maps) {
    const before = new Map<string, { entry: MapEntry; value: string }>();
    for (const entry of from.maps.get(name)!) {
      before.set(bytesText(encode(key, entry[0])), { entry, value: bytesText(encode(value, entry[1])) });
    }
    const updates: MapEntry[] = [];
    for (const entry of to.maps.get(name)!) {
      const at = bytesText(encode(key, entry[0]));
      if (before.get(at)?.value !== bytesText(encode(value, entry[1]))) updates.push(entry);
      before.delete(at);
    }
    const deletes = [...before.values()].map(({ entry }) => entry[0]);
    if (updates.length > 0 || deletes.length > 0) changes.set(name, { updates, deletes });
  }
  return changes;
}

function bytesText(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}

/**
 * The cluster with its lists in the order of namespace and name, so that the order of reading cannot matter.
 */
function canonical(cluster: Cluster): Cluster {
  const sorted = <T extends { readonly namespace: string; readonly name: string }>(list: readonly T[]): T[] =>
    [...list].sort((a, b) => compare(a.namespace, b.namespace) || compare(a.name, b.name));
  return {
    ...cluster,
    nodes: sorted(withCiliumNodes(cluster)),
    pods: sorted(cluster.pods),
    services: sorted(cluster.services),
    endpointSlices: sorted(cluster.endpointSlices),
    networkPolicies: sorted(cluster.networkPolicies),
    ciliumPolicies: sorted(cluster.ciliumPolicies),
    cidrGroups: sorted(cluster.cidrGroups),
    others: sorted(cluster.others),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
