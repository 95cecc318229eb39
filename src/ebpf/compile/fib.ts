/**
 * Routes of every node as one longest-prefix table, with the node that receives what leaves through an
 * uplink.
 *
 * A route whose next hop is another node's address leads to that node. Behind a router the network between
 * the nodes decides by destination: those rows of the fabric that a node sends out of its uplink become rows
 * of their own, so that a longest match finds the receiving node. Policy routing rules are not read; the
 * local table comes first.
 *
 * Facts are of the node as it is, under the network that it has now. Routes through a tunnel device that is not
 * Cilium's are left out, and the wider route to the uplink, with the network behind it,
 * takes their place.
 */
import type { Address, Prefix } from "../../cluster/address.js";
import { prefixContains, prefixOf } from "../../cluster/address.js";
import type { Cluster, Device, Node, Route } from "../../cluster/cluster.js";
import type { Problem } from "../../cluster/problem.js";
import type { FabricRow } from "../../fabric/fabric.js";
import type { CiliumOptions } from "../options.js";
import { byPrefix } from "./identity.js";
import { parseMac } from "./node.js";

/** FibKind of the contract, by name. */
export type FibVerdict = "endpoint" | "uplink" | "local" | "unreachable" | "device";

export interface FibRow {
  readonly node: number;
  readonly prefix: Prefix;
  readonly kind: FibVerdict;
  readonly ifindex: number;
  /** Null: on the link. */
  readonly nextHop: Address | null;
  /** Receiving node, or -1: nobody in the cluster. */
  readonly nextNode: number;
  /** ifindex where that node receives it. */
  readonly nextIfindex: number;
  readonly mac: Uint8Array;
}

const CILIUM_TUNNELS: ReadonlySet<string> = new Set(["cilium_vxlan", "cilium_geneve"]);
/** Rows that the table may have. */
const FIB_MAX = 1 << 20;

/**
 * `fabric` is the whole table between the nodes, numbered as `names`. Where the ways between all nodes are
 * too many rows, routes through uplinks are left out, so that frames that need them are undecided, and a
 * Problem says so.
 */
export function compileFib(
  cluster: Cluster,
  names: readonly string[],
  fabric: readonly FabricRow[],
  options: CiliumOptions,
  problems: Problem[],
): FibRow[] {
  const native = options["routing-mode"] === "native";
  const byName = new Map(cluster.nodes.map((node) => [node.name, node]));
  const owners = new Map<string, FabricRow>();
  for (const row of fabric)
    if (row.prefix.length === row.prefix.address.bytes.length * 8) owners.set(row.prefix.address.text, row);
  const between = withoutCovered(fabric);
  const tooMany = names.length * between.length > FIB_MAX / 2;
  if (tooMany) {
    problems.push({
      where: null,
      severity: "error",
      what:
        `the ways between ${names.length} nodes need ${names.length * between.length} ` +
        `routes, and ${FIB_MAX / 2} are kept; frames that leave a node are undecided`,
    });
  }
  return names.flatMap((name, number) => {
    const node = byName.get(name);
    if (node === undefined) return [];
    const rows = nodeRows(node, number, owners, tooMany ? [] : between, native);
    return tooMany ? rows.filter((row) => row.kind !== "uplink") : rows;
  });
}

function nodeRows(
  node: Node,
  number: number,
  owners: ReadonlyMap<string, FabricRow>,
  between: readonly FabricRow[],
  native: boolean,
): FibRow[] {
  const devices = new Map(node.facts.devices.map((device) => [device.index, device]));
  const macs = new Map<string, string>();
  for (const one of node.facts.neighbours) {
    const key = `${one.device} ${one.address.text}`;
    if (!macs.has(key)) macs.set(key, one.mac);
  }
  const rows = new Map<string, FibRow>();
  for (const route of [...node.facts.routes].sort(byPreference)) {
    if (rows.has(route.destination.text) || !USABLE.has(route.type)) continue;
    const row = rowOf(route, macs, number, devices, owners, native);
    if (row !== null) rows.set(route.destination.text, row);
  }
  const own = [...rows.values()].sort((a, b) => b.prefix.length - a.prefix.length);
  /** By a target's length: the rows that may hold it. */
  const wider = new Map<number, readonly FibRow[]>();
  for (const target of between) {
    if (target.node === number || rows.has(target.prefix.text)) continue;
    const { address, length } = target.prefix;
    let holding = wider.get(length);
    if (holding === undefined) wider.set(length, (holding = own.filter((row) => row.prefix.length <= length)));
    const through = holding.find((row) => prefixContains(row.prefix, address));
    if (through === undefined || through.kind !== "uplink" || through.nextNode >= 0) continue;
    rows.set(target.prefix.text, {
      ...through,
      prefix: target.prefix,
      nextNode: target.node,
      nextIfindex: target.device,
    });
  }
  return [...rows.values()].sort((a, b) => byPrefix(a.prefix, b.prefix));
}

const USABLE: ReadonlySet<string> = new Set([
  "unicast",
  "local",
  "unreachable",
  "prohibit",
  "blackhole",
  "throw",
]);

/** The local table, then main, then what is left; in a table the lower metric. */
function byPreference(a: Route, b: Route): number {
  const rank = (route: Route): number => (route.table === "local" ? 0 : route.table === "main" ? 1 : 2);
  return rank(a) - rank(b) || a.metric - b.metric;
}

function rowOf(
  route: Route,
  macs: ReadonlyMap<string, string>,
  number: number,
  devices: ReadonlyMap<number, Device>,
  owners: ReadonlyMap<string, FabricRow>,
  native: boolean,
): FibRow | null {
  const base = {
    node: number,
    prefix: route.destination,
    ifindex: route.device ?? 0,
    nextHop: route.via,
    nextNode: -1,
    nextIfindex: 0,
    mac: new Uint8Array(6),
  };
  if (route.type === "local") return { ...base, kind: "local" };
  if (route.type !== "unicast" || route.device === null) return { ...base, kind: "unreachable" };
  const device = devices.get(route.device);
  if (device === undefined) return null;
  if (device.kind === "tunnel" && (native || !CILIUM_TUNNELS.has(device.name))) return null;
  const mac = parseMac(macs.get(`${device.index} ${(route.via ?? route.destination.address).text}`) ?? "");
  if (device.kind === "pod") return { ...base, mac, kind: "endpoint" };
  if (device.kind !== "uplink") return { ...base, mac, kind: "device" };
  const owner = route.via === null ? undefined : owners.get(route.via.text);
  return owner === undefined || owner.node === number
    ? { ...base, mac, kind: "uplink" }
    : { ...base, mac, kind: "uplink", nextNode: owner.node, nextIfindex: owner.device };
}

/** Leaves out rows that a wider row of the same node and device makes superfluous. */
function withoutCovered(fabric: readonly FabricRow[]): FabricRow[] {
  const ranges = fabric.filter((row) => row.prefix.length < row.prefix.address.bytes.length * 8);
  const bySize = new Map<string, FabricRow>(ranges.map((row) => [row.prefix.text, row]));
  const lengths = [...new Set(ranges.map((row) => row.prefix.length))];
  return fabric.filter((row) => {
    if (bySize.get(row.prefix.text) === row) return true;
    for (const length of lengths) {
      const range = bySize.get(enclosing(row.prefix, length));
      if (range !== undefined) return range.node !== row.node || range.device !== row.device;
    }
    return true;
  });
}

function enclosing(prefix: Prefix, length: number): string {
  return prefixOf(prefix.address, Math.min(length, prefix.length)).text;
}
