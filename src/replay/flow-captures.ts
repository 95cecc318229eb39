/**
 * Recorded flows as captures: of each connection its first packet (TCP SYN, UDP, ICMP echo, SCTP INIT) as the one who
 * sent it sent it, entering where he is: at his pod's device, from a node's own socket, or by the uplink of the node that
 * it came to from outside. To the address that the log gives: a service's, or, where the log saw it behind the
 * balancing, the backend's; then what balances is not exercised, and that is counted. Where the log has both of one
 * connection, the second is the choice that was made for the first.
 *
 * No answers are made: a flow log says that packets came back, not how. And such a capture is no evidence of what else
 * crossed a device.
 */
import type { Address } from "../cluster/address.js";
import type { Cluster, Device } from "../cluster/cluster.js";
import { LinkType, PcapngWriter } from "../capture/index.js";
import { SeenDirection } from "../capture/record.js";
import type { Connection, ConnectionSet } from "../flows/connections.js";
import type { Fate } from "../flows/flow.js";
import { entryPacket, hasFirstPacket, type PacketTuple } from "./entryPacket.js";
import { FlowParties, type Seat, type Target } from "./flow-parties.js";

/** One packet of a flow capture, in the order of its records. */
export interface FlowPacket {
  readonly connection: Connection;
  readonly tuple: PacketTuple;
  /** Backend that the log shows the connection had; null: not told. */
  readonly backend: { readonly address: Address; readonly port: number } | null;
  /** What the log shows became of it; null: it does not tell, or not the same of all its events. */
  readonly fate: Fate | null;
}

export interface FlowCapture {
  readonly file: string;
  readonly node: string;
  readonly bytes: Uint8Array;
  readonly packets: readonly FlowPacket[];
}

export interface FlowCaptures {
  readonly captures: readonly FlowCapture[];
  readonly connections: number;
  readonly replayed: number;
  /** To a backend where the log does not tell whether a service was asked first. */
  readonly notExercised: number;
  /** Of those replayed, how many with an address that the pod or service has in the snapshot in place of the recorded one. */
  readonly readdressed: number;
  readonly unplaced: readonly (readonly [reason: string, connections: number])[];
}

/** A connection in its place. */
interface Placed {
  readonly connection: Connection;
  readonly node: string;
  readonly device: Device;
  readonly direction: SeenDirection;
  readonly tuple: PacketTuple;
  readonly target: Target;
  readonly readdressed: boolean;
  backend: FlowPacket["backend"];
  /** Of the connection, and of what the log has of it behind the balancing. */
  readonly fates: Set<Fate>;
}

const APART_NS = 1_000_000n;
const BEGINS_NS = 1_000_000_000n;
const TTL = 64;
/** Client ports for flows that do not say theirs. */
const STAND_IN_FROM = 49152;
const STAND_INS = 16384;

export function flowCaptures(cluster: Cluster, set: ConnectionSet): FlowCaptures {
  const parties = new FlowParties(cluster);
  const unplaced = new Map<string, number>();
  const placed: Placed[] = [];
  const oriented = set.undirected.map((one) => orient(one, parties));
  for (const one of oriented) if (typeof one === "string") unplaced.set(one, (unplaced.get(one) ?? 0) + 1);
  const connections = [...set.connections, ...oriented.filter((one) => typeof one !== "string")];
  for (const connection of connections) {
    const found = place(connection, cluster, parties, placed.length);
    if (typeof found === "string") unplaced.set(found, (unplaced.get(found) ?? 0) + 1);
    else placed.push(found);
  }
  const replayed = withoutBackends(placed, cluster);
  return {
    captures: write(replayed),
    connections: connections.length + oriented.filter((one) => typeof one === "string").length - (placed.length - replayed.length),
    replayed: replayed.length,
    notExercised: replayed.filter(({ tuple, target, connection }) => !target.isService
      && parties.isBackend(tuple.destination, connection.protocol, tuple.destinationPort)).length,
    readdressed: replayed.filter((one) => one.readdressed).length,
    unplaced: [...unplaced].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)),
  };
}

/** The one where a service listens, and the other does not, was connected to. */
function orient(connection: Connection, parties: FlowParties): Connection | string {
  const { source, destination, protocol } = connection;
  const there = parties.listens(destination, protocol);
  const here = parties.listens(source, protocol);
  if (there === here) return "who connected to whom is not told, and no service tells it";
  return there ? connection : { ...connection, source: destination, destination: source, service: "", entered: "" };
}

function place(connection: Connection, cluster: Cluster, parties: FlowParties, index: number): Placed | string {
  const { protocol, source, destination } = connection;
  if (!hasFirstPacket(protocol)) return `of IP protocol ${protocol}, of which no first packet is made`;
  const seat = parties.seat(source);
  if (typeof seat === "string") return seat;
  const target = parties.target(destination, connection.service, seat.address.family);
  if (typeof target === "string") return target;
  if (target.address.family !== seat.address.family) return "of addresses of two families";
  if (isLoopback(seat.address) || isLoopback(target.address)) return "on loopback";
  if (destination.port === 0 && protocol !== 1 && protocol !== 58) return "without the port that was connected to";
  const at = entrance(seat, target, connection, cluster);
  if (typeof at === "string") return at;
  const standIn = source.port === 0 ? STAND_IN_FROM + index % STAND_INS : source.port;
  const tuple = { source: seat.address, destination: target.address, sourcePort: standIn,
    destinationPort: protocol === 1 || protocol === 58 ? standIn : destination.port };
  return { connection, ...at, tuple, target, readdressed: seat.otherAddress || target.otherAddress, backend: null,
    fates: new Set(connection.fates) };
}

function entrance(seat: Seat, target: Target, connection: Connection, cluster: Cluster)
  : Pick<Placed, "node" | "device" | "direction"> | string {
  if (seat.kind === "pod") return { node: seat.node, device: seat.device, direction: SeenDirection.In };
  const name = seat.kind === "node" ? seat.node : target.node ?? connection.entered;
  if (name === "" && target.isService) return "the node that it came to from outside is not told";
  if (name === "") return "neither end is in the cluster";
  const node = cluster.nodes.find((one) => one.name === name);
  const uplink = node?.facts.devices.find((device) => device.kind === "uplink");
  if (uplink === undefined) return "the uplink of the node that it entered is not known";
  return { node: name, device: uplink, direction: seat.kind === "node" ? SeenDirection.Out : SeenDirection.In };
}

/**
 * A connection that the log has both to a service and, from the same port, to an endpoint of that service is one: the
 * endpoint is what was chosen.
 */
function withoutBackends(placed: readonly Placed[], cluster: Cluster): Placed[] {
  const endpoints = new Map<string, Set<string>>();
  const servicesOf = new Map<string, string[]>();
  for (const { namespace, name, clusterIPs, externalIPs, loadBalancerIngress } of cluster.services) {
    for (const { text } of [...clusterIPs, ...externalIPs, ...loadBalancerIngress.map(({ ip }) => ip)]) {
      servicesOf.set(text, [...servicesOf.get(text) ?? [], `${namespace}/${name}`]);
    }
  }
  for (const slice of cluster.endpointSlices) {
    const key = `${slice.namespace}/${slice.serviceName}`;
    const set = endpoints.get(key) ?? new Set<string>();
    endpoints.set(key, set);
    for (const { port } of slice.ports) {
      for (const { addresses } of slice.endpoints) for (const { text } of addresses) set.add(`${text} ${port}`);
    }
  }
  const fromPort = ({ connection, tuple }: Placed): string => `${connection.protocol} ${tuple.source.text} ${tuple.sourcePort}`;
  const toService = new Map<string, Placed[]>();
  for (const one of placed) {
    if (one.target.isService) toService.set(fromPort(one), [...toService.get(fromPort(one)) ?? [], one]);
  }
  return placed.filter((one) => {
    if (one.target.isService) return true;
    const { destination, destinationPort } = one.tuple;
    const asked = (toService.get(fromPort(one)) ?? []).find(({ tuple }) => (servicesOf.get(tuple.destination.text) ?? [])
      .some((name) => endpoints.get(name)?.has(`${destination.text} ${destinationPort}`) === true));
    if (asked === undefined) return true;
    asked.backend ??= { address: destination, port: destinationPort };
    for (const fate of one.fates) asked.fates.add(fate);
    return false;
  });
}

/** A capture for each file and node; records in order of time. */
function write(placed: readonly Placed[]): FlowCapture[] {
  const writers = new Map<string, { file: string; node: string; pcapng: PcapngWriter; ids: Map<string, number>; packets: FlowPacket[] }>();
  let nowNs = BEGINS_NS;
  placed.forEach((one, index) => {
    const { connection, node, device, direction, tuple, backend, fates } = one;
    const timeNs = connection.timeNs;
    nowNs = timeNs !== null && timeNs > nowNs + APART_NS ? timeNs : nowNs + APART_NS;
    const key = `${connection.file}\0${node}`;
    const writer = writers.get(key) ?? { file: connection.file, node, pcapng: new PcapngWriter(), ids: new Map(),
      packets: [] as FlowPacket[] };
    writers.set(key, writer);
    const interfaceId = writer.ids.get(device.name) ?? writer.pcapng.addInterface({ linkType: LinkType.Raw, name: device.name });
    writer.ids.set(device.name, interfaceId);
    const bytes = entryPacket(connection.protocol, tuple, false, index, TTL);
    writer.pcapng.write({ interfaceId, timeSec: Number(nowNs / 1_000_000_000n), timeFracNs: Number(nowNs % 1_000_000_000n), bytes,
      offset: 0, capturedLength: bytes.length, wireLength: bytes.length, direction });
    writer.packets.push({ connection, tuple, backend, fate: fates.size === 1 ? [...fates][0] : null });
  });
  return [...writers.values()].map(({ file, node, pcapng, packets }) => ({ file, node, bytes: pcapng.take(), packets }));
}

function isLoopback(address: Address): boolean {
  return address.family === 4 ? address.bytes[0] === 127 : address.text === "::1";
}
