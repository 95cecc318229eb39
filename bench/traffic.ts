/**
 * Established traffic of any length, made from the bundled stories: every recorded TCP connection is copied to many
 * client ports, and what lies between its handshake and its first FIN is sent again and again, with sequence numbers
 * and IPv4 ids moved on and checksums made right. Packets keep all their recorded views: a forwarded one is seen
 * twice on each node it crosses.
 *
 * The time between packets is even, and the connections' packets are dealt out in turn, as from clients that are
 * busy at once. The same arguments give the same bytes.
 */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { CaptureReader, PcapWriter } from "../src/capture/index.js";
import { be16, be32, CopyKey, copyKey, Decoded, DecodeStatus, decode, fold, internetChecksum, Protocol, sum16 } from "../src/wire/index.js";

export const LAB = join(dirname(fileURLToPath(import.meta.url)), "..", "traces", "lab");
export const NODES = ["node1", "node2"] as const;

export interface TrafficOptions {
  /** Folders of the lab. */
  readonly stories: readonly string[];
  /** Copies of each recorded connection. */
  readonly copies: number;
  /** Times that a connection's packets between handshake and end are sent. */
  readonly laps: number;
  /** Packets a second, over all connections. */
  readonly rate: number;
}

interface Sight {
  readonly node: number;
  /** Link header and packet. */
  readonly bytes: Uint8Array;
}

interface Packet {
  readonly sights: Sight[];
  readonly fromClient: boolean;
  readonly flags: number;
  readonly payload: number;
}

interface Connection {
  readonly clientPort: number;
  readonly packets: Packet[];
}

const SLL2 = 276;
const SLL2_HEADER = 20;
const SYN = 0x02;
const END = 0x05;
const FIRST_PORT = 10_000;
const START_SEC = 1_700_000_000;
/** Between the sights of one packet. */
const SIGHT_NS = 2000;
const CHUNK = 1 << 18;

/** Packets of the whole traffic, and records in all captures. */
export function sizeOf(options: TrafficOptions): { packets: number; records: number } {
  let packets = 0;
  let records = 0;
  for (const { packet } of schedule(options)) {
    packets++;
    records += packet.sights.length;
  }
  return { packets, records };
}

/** The capture of one node (index into NODES) in chunks. */
export function* captureOf(node: number, options: TrafficOptions): Generator<Uint8Array> {
  const writer = new PcapWriter({ linkType: SLL2 });
  const scratch = new Uint8Array(1 << 16);
  const stepNs = 1e9 / options.rate;
  let index = 0;
  for (const { packet, lap, copy, connection } of schedule(options)) {
    let timeNs = Math.floor(index++ * stepNs);
    for (const sight of packet.sights) {
      if (sight.node === node) {
        rewrite(sight.bytes, scratch, packet, connection, FIRST_PORT + connection.number * options.copies + copy, lap);
        const sec = Math.floor(timeNs / 1e9);
        writer.write(START_SEC + sec, timeNs - sec * 1e9, scratch, 0, sight.bytes.length, sight.bytes.length);
      }
      timeNs += SIGHT_NS;
    }
    if (writer.pending > CHUNK) yield writer.take();
  }
  yield writer.take();
}

interface Prepared {
  readonly number: number;
  readonly clientPort: number;
  readonly opening: readonly Packet[];
  readonly middle: readonly Packet[];
  readonly closing: readonly Packet[];
  /** Payload bytes of one lap: client's, server's. */
  readonly sent: readonly [number, number];
}

interface Scheduled {
  readonly packet: Packet;
  readonly connection: Prepared;
  readonly copy: number;
  readonly lap: number;
}

/** All openings, then lap by lap, then all ends; within a stage the connections take turns. */
function* schedule(options: TrafficOptions): Generator<Scheduled> {
  const connections = options.stories.flatMap(connectionsOf).map(prepare);
  function* stage(part: "opening" | "middle" | "closing", lap: number): Generator<Scheduled> {
    const longest = Math.max(...connections.map((one) => one[part].length));
    for (let index = 0; index < longest; index++) {
      for (const connection of connections) {
        const packet = connection[part][index];
        if (packet === undefined) continue;
        for (let copy = 0; copy < options.copies; copy++) yield { packet, connection, copy, lap };
      }
    }
  }
  yield* stage("opening", 0);
  for (let lap = 0; lap < options.laps; lap++) yield* stage("middle", lap);
  yield* stage("closing", options.laps - 1);
}

function prepare(connection: Connection, number: number): Prepared {
  const { packets, clientPort } = connection;
  const end = packets.findIndex((packet) => (packet.flags & END) !== 0);
  const middle = packets.slice(3, end);
  const sent = (fromClient: boolean): number => middle.reduce((sum, one) => sum + (one.fromClient === fromClient ? one.payload : 0), 0);
  return { number, clientPort, opening: packets.slice(0, 3), middle, closing: packets.slice(end), sent: [sent(true), sent(false)] };
}

/** Whole IPv4 connections of a story, in the order of their SYNs. */
function connectionsOf(story: string): Connection[] {
  const found = new Map<number, { clientPort: number; packets: Map<string, Packet & { sights: (Sight & { timeNs: number })[]; timeNs: number }> }>();
  const fields = new Decoded();
  const key = new CopyKey();
  const records = NODES.flatMap((name, node) => recordsOf(join(LAB, story, `${name}.any.pcap`), node)).sort((a, b) => a.timeNs - b.timeNs);
  for (const { node, bytes, timeNs } of records) {
    decode(bytes, SLL2_HEADER, bytes.length - SLL2_HEADER, bytes.length - SLL2_HEADER, be16(bytes, 0), fields);
    if (fields.status !== DecodeStatus.Ok || fields.family !== 4 || fields.protocol !== Protocol.Tcp) continue;
    if ((fields.tcpFlags & 0x12) === SYN && !found.has(fields.srcPort)) found.set(fields.srcPort, { clientPort: fields.srcPort, packets: new Map() });
    const connection = found.get(fields.srcPort) ?? found.get(fields.dstPort);
    if (connection === undefined) continue;
    copyKey(bytes, fields, key);
    const fromClient = connection.clientPort === fields.srcPort;
    const name = `${fromClient} ${key.key} ${key.check}`;
    const packet = connection.packets.get(name) ?? { sights: [], fromClient, flags: fields.tcpFlags,
      payload: fields.totalLength - (fields.payloadOffset - SLL2_HEADER), timeNs };
    packet.sights.push({ node, bytes, timeNs });
    connection.packets.set(name, packet);
  }
  return [...found.values()].map(({ clientPort, packets }) => ({ clientPort, packets: [...packets.values()] })).filter(isWhole);
}

/** SYN, SYN-ACK and ACK first, something after it, then an end. */
function isWhole({ packets }: Connection): boolean {
  const end = packets.findIndex((packet) => (packet.flags & END) !== 0);
  return end > 4 && (packets[0].flags & SYN) !== 0 && (packets[1].flags & SYN) !== 0 && (packets[2].flags & SYN) === 0;
}

function recordsOf(file: string, node: number): { node: number; bytes: Uint8Array; timeNs: number }[] {
  const reader = new CaptureReader();
  reader.push(new Uint8Array(readFileSync(file)));
  reader.end();
  const records: { node: number; bytes: Uint8Array; timeNs: number }[] = [];
  let firstSec = -1;
  while (reader.next()) {
    const { record } = reader;
    if (firstSec < 0) firstSec = record.timeSec - (record.timeSec % 10_000);
    records.push({ node, bytes: record.bytes.slice(record.offset, record.offset + record.capturedLength),
      timeNs: (record.timeSec - firstSec) * 1e9 + record.timeFracNs });
  }
  return records;
}

/** What enters a plane: each packet at its first sight, rewritten, with the backend that its last sight shows. */
export interface Entry {
  readonly bytes: Uint8Array;
  readonly node: number;
  readonly device: number;
  readonly packetType: number;
  readonly timeNs: number;
  readonly backend: { readonly address: Uint8Array; readonly port: number };
  readonly opens: boolean;
}

/** The packets of the schedule as frames for a plane, first those that open connections. */
export function* entriesOf(options: TrafficOptions): Generator<Entry> {
  const scratch = new Uint8Array(1 << 16);
  const stepNs = 1e9 / options.rate;
  let index = 0;
  for (const { packet, lap, copy, connection } of schedule(options)) {
    const { bytes, node } = packet.sights[0];
    const last = packet.sights[packet.sights.length - 1].bytes;
    rewrite(bytes, scratch, packet, connection, FIRST_PORT + connection.number * options.copies + copy, lap);
    const ports = SLL2_HEADER + (last[SLL2_HEADER] & 15) * 4;
    yield {
      bytes: scratch.slice(SLL2_HEADER, bytes.length), node, device: be32(bytes, 4), packetType: bytes[10], timeNs: index++ * stepNs,
      backend: { address: last.slice(SLL2_HEADER + 16, SLL2_HEADER + 20), port: be16(last, ports + 2) },
      opens: (packet.flags & 0x12) === SYN,
    };
  }
}

const written = new Decoded();

/** One sight into `into`: the client's port, sequence numbers, id and checksums are the copy's and the lap's. */
function rewrite(bytes: Uint8Array, into: Uint8Array, packet: Packet, connection: Prepared, port: number, lap: number): void {
  const at = SLL2_HEADER;
  into.set(bytes);
  const l4 = at + (into[at] & 15) * 4;
  put16(into, packet.fromClient ? l4 : l4 + 2, port);
  const [ours, theirs] = packet.fromClient ? connection.sent : [connection.sent[1], connection.sent[0]];
  put32(into, l4 + 4, be32(into, l4 + 4) + lap * ours);
  if ((packet.flags & 0x10) !== 0) put32(into, l4 + 8, be32(into, l4 + 8) + lap * theirs);
  // Eight ids a lap and direction are more than a connection of the stories sends.
  put16(into, at + 4, be16(into, at + 4) + lap * 8 + port * 37);
  put16(into, at + 10, 0);
  put16(into, at + 10, ~fold(sum16(into, at, l4 - at)));
  decode(into, at, bytes.length - at, bytes.length - at, be16(into, 0), written);
  put16(into, l4 + 16, internetChecksum(into, written));
}

function put16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

function put32(bytes: Uint8Array, at: number, value: number): void {
  put16(bytes, at, value >>> 16);
  put16(bytes, at + 2, value);
}
