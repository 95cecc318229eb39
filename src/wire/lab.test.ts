/**
 * The decoder, the copy key and the rewriters against what a real kernel did: every record of every lab case,
 * with the packet texts, lengths, TTLs and checksum verdicts of pairs.jsonl, which another program made; and
 * the image that the kernel's NAT sent out, byte for byte.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import { CaptureReader } from "../capture/index.js";
import {
  addressText,
  CopyKey,
  checksumState,
  copyKey,
  Csum,
  Decoded,
  DecodeStatus,
  decode,
  decodeEmbedded,
  decodeLink,
  decodeTunnel,
  Endpoints,
  EtherType,
  ipv4ChecksumRight,
  L4Status,
  LinkInfo,
  Protocol,
  rewriteEmbedded,
  TunnelInfo,
  turnAround,
} from "./index.js";

const shared = sharedDir();
const NAMES: Record<number, string> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  58: "icmp6",
  132: "sctp",
  136: "udplite",
  47: "gre",
  50: "esp",
  33: "dccp",
};

interface Pair {
  n_in?: number | null;
  n_out?: number | null;
  before?: string;
  after?: string;
  nat: string;
  ttl: number | [number, number];
  len: number | [number, number];
  csum: Verdict | [Verdict, Verdict];
  ipok?: boolean;
}
type Verdict = boolean | "zero" | null;

/** The packets of a capture from the network header on; index 0 is not used, records count from 1. */
interface Frame {
  bytes: Uint8Array;
  wireLength: number;
  etherType: number;
  packetType: number;
}

describe.skipIf(shared === null)("lab recordings (needs TWINPLANE_SHARED)", () => {
  const cases =
    shared === null
      ? []
      : ["native-nth", "vxlan-nth"].flatMap((run) =>
          readdirSync(join(shared, "traces/lab", run), { withFileTypes: true })
            .filter((entry) => entry.isDirectory())
            .map((entry) => join("traces/lab", run, entry.name)),
        );

  test("both runs are there", () => expect(cases.length).toBeGreaterThan(120));

  test.each(cases)("%s", (folder) => {
    for (const node of ["node1", "node2"]) {
      const frames = readFrames(join(shared as string, folder, `${node}.any.pcap`));
      const pairs = readFileSync(join(shared as string, folder, `${node}.pairs.jsonl`), "utf8")
        .trimEnd()
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Pair);
      for (const pair of pairs) {
        if (typeof pair.n_in === "number") expectText(frames[pair.n_in], pair, 0, pair.before as string);
        if (typeof pair.n_out === "number") expectText(frames[pair.n_out], pair, 1, pair.after as string);
        if (typeof pair.n_in !== "number" || typeof pair.n_out !== "number") continue;
        expectSameKey(frames[pair.n_in], frames[pair.n_out]);
        expectKernelImage(frames[pair.n_in], frames[pair.n_out]);
      }
      expectTellingKeys(frames);
      expectInnerFrames(frames);
    }
  });
});

function readFrames(path: string): Frame[] {
  const reader = new CaptureReader();
  const link = new LinkInfo();
  const frames: Frame[] = [{ bytes: new Uint8Array(0), wireLength: 0, etherType: 0, packetType: 0 }];
  reader.push(new Uint8Array(readFileSync(path)));
  reader.end();
  while (reader.next()) {
    const { record } = reader;
    decodeLink(record.linkType, record.bytes, record.offset, record.capturedLength, link);
    expect([link.packetType, link.ifindex]).toEqual([record.packetType, record.interfaceIndex]);
    frames.push({
      bytes: record.bytes.slice(link.l3Offset, record.offset + record.capturedLength),
      wireLength: record.wireLength - link.headerLength,
      etherType: link.etherType,
      packetType: link.packetType,
    });
  }
  expect(reader.finish().error).toBeNull();
  return frames;
}

function decoded(frame: Frame, bytes = frame.bytes): Decoded {
  const packet = new Decoded();
  decode(bytes, 0, bytes.length, frame.wireLength, frame.etherType, packet);
  return packet;
}

function expectText(frame: Frame, pair: Pair, side: 0 | 1, expected: string): void {
  const packet = decoded(frame);
  const sideOf = <T>(value: T | [T, T]): T => (Array.isArray(value) ? value[side] : value);
  expect(packet.status).toBe(DecodeStatus.Ok);
  expect(text(frame.bytes, packet)).toBe(expected);
  expect([packet.ttl, packet.totalLength]).toEqual([sideOf(pair.ttl), sideOf(pair.len)]);
  if (pair.ipok !== undefined)
    expect(packet.family === 6 || ipv4ChecksumRight(frame.bytes, packet)).toBe(pair.ipok);
  const verdict = sideOf(pair.csum);
  // The other program also sums packets too short to hold a checksum; it does not check ICMPv4.
  if (verdict === null || packet.l4Status === L4Status.Short) return;
  const state = checksumState(frame.bytes, packet);
  expect(state).toBe(verdict === "zero" ? Csum.None : verdict ? Csum.Right : Csum.Wrong);
}

/** As pairs.jsonl writes a packet; it gives no ports where the header is not whole, and none for DCCP. */
function text(bytes: Uint8Array, packet: Decoded): string {
  const bare = packet.srcPort < 0 || packet.protocol === Protocol.Dccp || packet.l4Status === L4Status.Short;
  const end = (at: number, port: number): string => {
    const address = addressText(bytes, at, packet.addressLength);
    return bare ? address : `${packet.family === 6 ? `[${address}]` : address}:${port}`;
  };
  const flags = [..."FSRPAUEC"].filter((_, bit) => ((packet.tcpFlags >> bit) & 1) !== 0).join("");
  return [
    NAMES[packet.protocol] ?? packet.protocol,
    end(packet.sourceOffset, packet.srcPort),
    ">",
    end(packet.destinationOffset, packet.dstPort),
    packet.icmpId >= 0 ? `id${packet.icmpId}` : "",
    packet.icmpType >= 0 && packet.l4Status === L4Status.Ok
      ? `type${packet.icmpType}/${packet.icmpCode}`
      : "",
    flags,
    packet.isFragment ? `frag@${packet.fragmentOffset}` : "",
  ]
    .filter((part) => part !== "")
    .join(" ");
}

function keyOf(frame: Frame): string {
  const key = new CopyKey();
  copyKey(frame.bytes, decoded(frame), key);
  return `${key.key}/${key.check}`;
}

function expectSameKey(before: Frame, after: Frame): void {
  expect(keyOf(after)).toBe(keyOf(before));
}

/** Frames of one key agree in what NAT cannot change: else the key tells too little. */
function expectTellingKeys(frames: Frame[]): void {
  const seen = new Map<string, string>();
  for (const frame of frames.slice(1)) {
    const packet = decoded(frame);
    if (packet.status !== DecodeStatus.Ok) continue;
    const invariant = [
      packet.family,
      packet.protocol,
      packet.family === 4 ? packet.fragmentId : 0,
      packet.fragmentOffset,
      packet.tcpSeq,
      packet.tcpAck,
      packet.tcpFlags,
      packet.tcpWindow,
      packet.udpLength,
      packet.icmpType,
      packet.l4Length,
    ].join();
    const key = keyOf(frame);
    expect(seen.get(key) ?? invariant).toBe(invariant);
    seen.set(key, invariant);
  }
}

/** Given the addresses and ports that the kernel chose, the rewriters make the very packet that it sent. */
function expectKernelImage(before: Frame, after: Frame): void {
  const bytes = before.bytes.slice();
  const packet = decoded(before, bytes);
  const sent = decoded(after);
  const inner = new Decoded();
  const sentInner = new Decoded();
  if (packet.errorOffset >= 0) {
    decodeEmbedded(bytes, packet, inner);
    decodeEmbedded(after.bytes, sent, sentInner);
    expect(rewriteEmbedded(bytes, packet, inner, ends(after.bytes, sentInner))).toBe(true);
  }
  turnAround(bytes, packet, ends(after.bytes, sent));
  if (packet.family === 4) expect(ipv4ChecksumRight(bytes, packet)).toBe(true);
  expect(Buffer.from(withoutHop(bytes, packet)).toString("hex")).toBe(
    Buffer.from(withoutHop(after.bytes, sent)).toString("hex"),
  );
}

function ends(bytes: Uint8Array, packet: Decoded): Endpoints {
  const to = new Endpoints();
  to.source = to.destination = bytes;
  to.sourceAt = packet.sourceOffset;
  to.destinationAt = packet.destinationOffset;
  to.sourcePort = packet.icmpId >= 0 ? packet.icmpId : packet.srcPort;
  to.destinationPort = packet.dstPort;
  return to;
}

/**
 * The packet without link padding, and without what a router changes: TTL, IPv4 options (record route, time
 * stamp) and the IPv4 header's checksum.
 */
function withoutHop(bytes: Uint8Array, packet: Decoded): Uint8Array {
  const copy = bytes.slice(0, packet.totalLength);
  if (packet.family === 6) {
    copy[7] = 0;
    // Connection tracking puts IPv6 fragments together, and they leave with a new identification.
    if (packet.isFragment) copy.fill(0, packet.l4Offset - 4, packet.l4Offset);
  } else {
    copy[8] = copy[10] = copy[11] = 0;
    copy.fill(0, 20, packet.headerLength);
  }
  return copy;
}

/** What flannel's VXLAN carries decodes too, and is a copy of a frame seen bare on the same node. */
function expectInnerFrames(frames: Frame[]): void {
  const tunnel = new TunnelInfo();
  const link = new LinkInfo();
  const inner = new Decoded();
  const key = new CopyKey();
  const bare = new Set(frames.slice(1).map(keyOf));
  for (const frame of frames.slice(1)) {
    const packet = decoded(frame);
    if (packet.dstPort !== 8472 || packet.protocol !== Protocol.Udp || packet.isFragment) continue;
    expect(decodeTunnel(frame.bytes, packet, tunnel)).toBe(true);
    expect(tunnel.vni).toBe(1);
    decodeLink(1, frame.bytes, tunnel.innerOffset, tunnel.innerLength, link);
    decode(
      frame.bytes,
      link.l3Offset,
      tunnel.innerLength - link.headerLength,
      tunnel.innerWireLength - link.headerLength,
      link.etherType,
      inner,
    );
    if (link.etherType === EtherType.Arp) continue;
    expect(inner.status).toBe(DecodeStatus.Ok);
    copyKey(frame.bytes, inner, key);
    expect(bare.has(`${key.key}/${key.check}`)).toBe(true);
  }
}
