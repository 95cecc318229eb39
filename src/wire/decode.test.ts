/**
 * Link headers and extension headers by example, and every reader and rewriter on damaged packets: nothing
 * outside the captured bytes is read or written, and nothing throws.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import { CaptureReader, LinkType } from "../capture/index.js";
import {
  CopyKey, checksumState, copyKey, Decoded, DecodeStatus, DestinationKind, decode, decodeEmbedded,
  decodeLink, decodeTunnel, Endpoints, EtherType, L4Status, LinkInfo, LinkStatus, Protocol, rewriteEmbedded,
  TunnelInfo, turnAround,
} from "./index.js";

const shared = sharedDir();
const runs = { seed: Number(process.env.TWINPLANE_SEED ?? 20261122), verbose: 1 } as const;

function read(bytes: Uint8Array, length = bytes.length): Decoded {
  const packet = new Decoded();
  decode(bytes, 0, length, bytes.length, EtherType.None, packet);
  return packet;
}

describe("links", () => {
  const link = new LinkInfo();

  test("VLAN tags, QinQ, and the kind of destination", () => {
    const mac = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];
    const tagged = Uint8Array.from([...mac, 0x88, 0xa8, 0x60, 100, 0x81, 0, 0, 7, 0x86, 0xdd, 0x60]);
    decodeLink(LinkType.Ethernet, tagged, 0, tagged.length, link);
    expect(link).toMatchObject({
      status: LinkStatus.Ok,
      etherType: EtherType.Ipv6,
      l3Offset: 22,
      vlanTags: 2,
      vlanId: 100,
      vlanTci: 0x6064,
      vlanProtocol: 0x88a8,
      destination: DestinationKind.Broadcast,
    });
    decodeLink(LinkType.Ethernet, tagged, 0, 20, link);
    expect(link.status).toBe(LinkStatus.Cut);
  });

  test("NULL and LOOP in either byte order", () => {
    for (const [bytes, etherType] of [
      [[2, 0, 0, 0], EtherType.Ipv4],
      [[0, 0, 0, 2], EtherType.Ipv4],
      [[30, 0, 0, 0], EtherType.Ipv6],
      [[0, 0, 0, 10], EtherType.Ipv6],
    ] as const) {
      decodeLink(LinkType.Null, Uint8Array.from(bytes), 0, 4, link);
      expect([link.status, link.etherType, link.l3Offset]).toEqual([LinkStatus.Ok, etherType, 4]);
    }
    decodeLink(LinkType.Loop, Uint8Array.of(0, 0, 0, 7), 0, 4, link);
    expect(link.status).toBe(LinkStatus.NotIp);
  });
});

describe("extension headers", () => {
  const extended = (...chain: number[][]): Uint8Array => {
    const rest = chain.flat();
    const header = new Uint8Array(40);
    header[0] = 0x60;
    header[5] = rest.length;
    header[6] = 0;
    return Uint8Array.from([...header, ...rest]);
  };
  const hopByHop = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];
  const fragment = (next: number, offset: number, more: number): number[] => [
    next,
    0,
    offset >> 8,
    (offset & 0xf8) | more,
    1,
    2,
    3,
    4,
  ];
  const udp = [0, 53, 0x20, 0, 0, 8, 0, 0];

  test("are walked to the upper layer", () => {
    const packet = read(
      extended(
        hopByHop(Protocol.DestinationOptions),
        [Protocol.Auth, 0, 1, 4, 0, 0, 0, 0],
        [Protocol.Fragment, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        fragment(Protocol.Udp, 0, 1),
        udp,
      ),
    );
    expect(packet).toMatchObject({
      status: DecodeStatus.Ok,
      protocol: Protocol.Udp,
      headerLength: 76,
      srcPort: 53,
      dstPort: 8192,
      fragmentId: 0x01020304,
      moreFragments: true,
      fragmentOffset: 0,
      l4Status: L4Status.Ok,
    });
  });

  test("end at a later fragment, whose bytes are no header", () => {
    const packet = read(extended(hopByHop(Protocol.Fragment), fragment(Protocol.Udp, 1480, 0), udp));
    expect(packet).toMatchObject({
      fragmentOffset: 1480,
      isFragment: true,
      srcPort: -1,
      l4Status: L4Status.None,
      headerLength: 56,
    });
  });

  test("a later fragment of an extension header is not walked", () => {
    const later = fragment(Protocol.DestinationOptions, 8, 0);
    const packet = read(extended(hopByHop(Protocol.Fragment), later, udp));
    expect(packet).toMatchObject({ protocol: Protocol.DestinationOptions, headerLength: 56, srcPort: -1 });
  });

  test("cut by the capture or by the packet", () => {
    const bytes = extended(hopByHop(Protocol.Udp), udp);
    expect(read(bytes, 44).status).toBe(DecodeStatus.CaptureCut);
    bytes[41] = 200;
    expect(read(bytes).status).toBe(DecodeStatus.ShortHeader);
  });
});

describe("lengths that lie", () => {
  const ipv4 = (total: number, fragment: number, protocol: number, ...rest: number[]): Uint8Array =>
    Uint8Array.from([
      ...[0x45, 0, total >> 8, total, 0, 1, fragment >> 8, fragment],
      ...[64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, ...rest],
    ]);
  const udp = (length: number): number[] => [0, 53, 0x20, 0, length >> 8, length, 0, 0];

  test("an IPv4 total length past the frame, or below the header's", () => {
    expect(read(ipv4(29, 0, Protocol.Udp, ...udp(8))).status).toBe(DecodeStatus.BadTotalLength);
    expect(read(ipv4(19, 0, Protocol.Udp, ...udp(8))).status).toBe(DecodeStatus.BadTotalLength);
    expect(read(ipv4(28, 0, Protocol.Udp, ...udp(8))).status).toBe(DecodeStatus.Ok);
  });

  test("a UDP length past the packet is bad, but not in a first fragment", () => {
    expect(read(ipv4(28, 0, Protocol.Udp, ...udp(9))).l4Status).toBe(L4Status.BadLength);
    expect(read(ipv4(28, 0, Protocol.Udp, ...udp(7))).l4Status).toBe(L4Status.BadLength);
    expect(read(ipv4(28, 0x2000, Protocol.Udp, ...udp(4000))).l4Status).toBe(L4Status.Ok);
  });
});

test("Geneve options are stepped over", () => {
  const frame = [...new Array(12).fill(2), 0x08, 0x06];
  const geneve = [1, 0, 0x65, 0x58, 0, 0, 10, 0, 9, 9, 9, 9, ...frame];
  const udp = [0, 1, 0x17, 0xc1, 0, 8 + geneve.length, 0, 0, ...geneve];
  const header = [0x45, 0, 0, 20 + udp.length, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
  const bytes = Uint8Array.from([...header, ...udp]);
  const tunnel = new TunnelInfo();
  const link = new LinkInfo();
  expect(decodeTunnel(bytes, read(bytes), tunnel)).toBe(true);
  decodeLink(LinkType.Ethernet, bytes, tunnel.innerOffset, tunnel.innerLength, link);
  expect([tunnel.vni, tunnel.innerLength, link.etherType]).toEqual([10, 14, EtherType.Arp]);
});

describe.skipIf(shared === null)("damaged packets (needs TWINPLANE_SHARED)", () => {
  const samples =
    shared === null
      ? []
      : [
          "T26.frags",
          "T26.icmp",
          "T26.trunc",
          "T26.ipopts",
          "T28.3",
          "T18",
          "T14.2",
          "T26.sctp",
          "T01",
        ].flatMap((name) =>
          records(join(shared, "traces/lab/vxlan-nth", name, "node1.any.pcap")).slice(0, 60),
        );

  test("there are samples", () => expect(samples.length).toBeGreaterThan(150));

  test("every truncation reads only what was captured, and alike wherever it stands", () => {
    for (const sample of samples) {
      for (let length = 0; length <= sample.length; length += length < 140 ? 1 : 97) inspect(sample, length);
    }
  });

  test(`flipped bytes (TWINPLANE_SEED=${runs.seed})`, () =>
    fc.assert(
      fc.property(
        fc.nat({ max: samples.length - 1 }),
        fc.nat(),
        fc.array(fc.tuple(fc.nat({ max: 160 }), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        (index, cut, flips) => {
          const sample = samples[index].slice();
          for (const [at, value] of flips) sample[at % sample.length] ^= value;
          inspect(sample, cut % 3 === 0 ? cut % (sample.length + 1) : sample.length);
        },
      ),
      { ...runs, numRuns: 4000 },
    ));

  /**
   * All readers on `length` captured bytes of an SLL2 frame: as they are, and inside poisoned surroundings.
   */
  function inspect(sample: Uint8Array, length: number): void {
    const exact = sample.slice(0, length);
    const poisoned = new Uint8Array(length + 64).fill(0xa5);
    poisoned.set(exact, 32);
    const first = everything(exact, 0, length, sample.length);
    expect(everything(poisoned, 32, length, sample.length)).toEqual(first);
  }

  function everything(bytes: Uint8Array, offset: number, length: number, wireLength: number): unknown {
    const link = new LinkInfo();
    const packet = new Decoded();
    const inner = new Decoded();
    const tunnel = new TunnelInfo();
    const key = new CopyKey();
    decodeLink(LinkType.LinuxSll2, bytes, offset, length, link);
    decode(
      bytes,
      link.l3Offset,
      length - link.headerLength,
      wireLength - link.headerLength,
      link.etherType,
      packet,
    );
    copyKey(bytes, packet, key);
    const state = checksumState(bytes, packet);
    const inside = decodeTunnel(bytes, packet, tunnel);
    if (packet.errorOffset >= 0) decodeEmbedded(bytes, packet, inner);
    const before = bytes.slice();
    if (packet.errorOffset >= 0) rewriteEmbedded(bytes, packet, inner, new Endpoints());
    if (packet.status === DecodeStatus.Ok) turnAround(bytes, packet, new Endpoints());
    const changed = Buffer.from(bytes.subarray(offset, offset + length)).toString("hex");
    expect(bytes.subarray(0, offset).every((byte) => byte === 0xa5)).toBe(true);
    expect(bytes.subarray(offset + length).every((byte) => byte === 0xa5)).toBe(true);
    bytes.set(before);
    const relative = Object.fromEntries(
      Object.entries(packet).map(([name, value]) => [
        name,
        /Offset$/.test(name) && name !== "fragmentOffset" && (value as number) >= 0
          ? (value as number) - offset
          : value,
      ]),
    );
    return {
      link: link.status,
      type: link.etherType,
      state,
      inside,
      vni: tunnel.vni,
      key: key.key,
      check: key.check,
      relative,
      changed,
    };
  }
});

/** SLL2 frames of a lab capture. */
function records(path: string): Uint8Array[] {
  const reader = new CaptureReader();
  reader.push(new Uint8Array(readFileSync(path)));
  reader.end();
  const found: Uint8Array[] = [];
  while (reader.next())
    found.push(
      reader.record.bytes.slice(reader.record.offset, reader.record.offset + reader.record.capturedLength),
    );
  return found;
}
