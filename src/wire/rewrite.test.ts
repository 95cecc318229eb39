/**
 * Checksums, rewriting and the copy key on generated packets: a rewritten packet's checksums are in the state
 * they were in, and it is the packet that is built with the new ends in the first place.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { adjust, checksumAt, pseudoSum } from "./checksum.js";
import {
  CopyKey, checksumState, completeChecksum, copyKey, crc32c, Csum, Decoded, DecodeStatus, decode,
  decodeEmbedded, Endpoints, EtherType, fold, hashBytes, ipv4ChecksumRight, Protocol, rewriteEmbedded, sum16,
  turnAround,
} from "./index.js";

const runs = { seed: Number(process.env.TWINPLANE_SEED ?? 20261122), verbose: 1 } as const;

/**
 * A packet to build: family, protocol, addresses, ports or identifier, and what follows the upper-layer
 * header.
 */
interface Built {
  family: 4 | 6;
  protocol: number;
  source: Uint8Array;
  destination: Uint8Array;
  ports: [number, number];
  options: number;
  payload: Uint8Array;
}

const address = (family: 4 | 6): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: family === 4 ? 4 : 16, maxLength: family === 4 ? 4 : 16 });
const port = fc.nat({ max: 65535 });
const built: fc.Arbitrary<Built> = fc.constantFrom<4 | 6>(4, 6).chain((family) =>
  fc.record({
    family: fc.constant(family),
    protocol: fc.constantFrom(
      Protocol.Tcp,
      Protocol.Udp,
      Protocol.Sctp,
      family === 4 ? Protocol.Icmp : Protocol.Icmpv6,
    ),
    source: address(family),
    destination: address(family),
    ports: fc.tuple(port, port),
    options: fc.nat({ max: family === 4 ? 10 : 0 }),
    payload: fc.uint8Array({ maxLength: 64 }),
  }),
);

const HEADER_SIZE: Record<number, number> = {
  [Protocol.Tcp]: 20,
  [Protocol.Udp]: 8,
  [Protocol.Sctp]: 12,
  [Protocol.Icmp]: 8,
  [Protocol.Icmpv6]: 8,
};

/**
 * The packet with right checksums, made without the code under test but for the sums (which the lab checks).
 */
function build(of: Built): Uint8Array {
  const l4 = new Uint8Array(HEADER_SIZE[of.protocol] + of.payload.length);
  const view = new DataView(l4.buffer);
  l4.set(of.payload, HEADER_SIZE[of.protocol]);
  if (of.protocol === Protocol.Icmp || of.protocol === Protocol.Icmpv6) {
    l4[0] = of.protocol === Protocol.Icmp ? 8 : 128;
    view.setUint16(4, of.ports[0]);
  } else {
    view.setUint16(0, of.ports[0]);
    view.setUint16(2, of.ports[1]);
  }
  if (of.protocol === Protocol.Tcp) l4[12] = 0x50;
  if (of.protocol === Protocol.Udp) view.setUint16(4, l4.length);
  const header = new Uint8Array(of.family === 4 ? 20 + of.options * 4 : 40);
  const head = new DataView(header.buffer);
  if (of.family === 4) {
    header[0] = 0x40 | (header.length >> 2);
    head.setUint16(2, header.length + l4.length);
    header.set([64, of.protocol], 8);
    header.set(of.source, 12);
    header.set(of.destination, 16);
    head.setUint16(10, ~sum16(header, 0, header.length) & 0xffff);
  } else {
    header[0] = 0x60;
    head.setUint16(4, l4.length);
    header.set([of.protocol, 64], 6);
    header.set(of.source, 8);
    header.set(of.destination, 24);
  }
  const bytes = new Uint8Array([...header, ...l4]);
  // completeChecksum and turnAround are tested; here a zero field is turned into a partial one and finished.
  setPartial(bytes, of);
  completeChecksum(bytes, read(bytes));
  return bytes;
}

function setPartial(bytes: Uint8Array, of: Built): void {
  const packet = read(bytes);
  const at = packet.l4Offset + checksumAt(of.protocol);
  bytes[at] = bytes[at + 1] = 0;
  if (of.protocol === Protocol.Sctp) bytes[at + 2] = bytes[at + 3] = 0;
  else if (of.protocol === Protocol.Icmp)
    new DataView(bytes.buffer).setUint16(at, ~sum16(bytes, packet.l4Offset, packet.l4Length) & 0xffff);
  else new DataView(bytes.buffer).setUint16(at, pseudoSum(bytes, packet));
}

function read(bytes: Uint8Array, length = bytes.length): Decoded {
  const packet = new Decoded();
  decode(bytes, 0, length, bytes.length, EtherType.None, packet);
  return packet;
}

function endpoints(of: Pick<Built, "source" | "destination" | "ports">): Endpoints {
  const to = new Endpoints();
  to.source = of.source;
  to.destination = of.destination;
  [to.sourcePort, to.destinationPort] = of.ports;
  return to;
}

const pairOfPackets = fc
  .tuple(built, built)
  .map(([a, b]): [Built, Built] => [
    a,
    {
      ...a,
      ports: b.ports,
      source: Uint8Array.from(a.source, (byte, index) => byte ^ (b.source[index] ?? 7)),
      destination: Uint8Array.from(a.destination, (byte, index) => byte ^ (b.destination[index] ?? 9)),
    },
  ]);

describe("checksums", () => {
  test("known sums: RFC 1071 section 3, and CRC-32C of 123456789", () => {
    expect(sum16(Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7), 0, 8)).toBe(0xddf2);
    expect(~crc32c(-1, new TextEncoder().encode("123456789"), 0, 9) >>> 0).toBe(0xe3069283);
  });

  test("a sum is the naive sum, at any length", () =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(3), (bytes, at) => {
        const from = Math.min(at, bytes.length);
        let sum = 0n;
        for (let index = from; index < bytes.length; index++)
          sum += BigInt(bytes[index]) << ((index - from) % 2 === 0 ? 8n : 0n);
        while (sum > 0xffffn) sum = (sum & 0xffffn) + (sum >> 16n);
        expect(sum16(bytes, from, bytes.length - from)).toBe(Number(sum));
      }),
      runs,
    ));

  test("a long run of ones does not overflow", () =>
    expect(sum16(new Uint8Array(262144).fill(0xff), 0, 262144)).toBe(0xffff));

  test("the incremental update keeps a sum right", () =>
    fc.assert(
      fc.property(port, port, port, (other, before, after) => {
        const field = ~fold(other + before) & 0xffff;
        expect([0, 0xffff]).toContain(fold(other + after + adjust(field, before, after)) % 0xffff);
      }),
      runs,
    ));
});

describe("rewriting", () => {
  test("a right checksum stays right, and the result is the packet built with the new ends", () =>
    fc.assert(
      fc.property(pairOfPackets, ([from, to]) => {
        const bytes = build(from);
        const state = turnAround(bytes, read(bytes), endpoints(to));
        expect(state).toBe(Csum.Right);
        expect(bytes).toEqual(build(to));
      }),
      runs,
    ));

  test("a partial checksum is recognised and finished", () =>
    fc.assert(
      fc.property(pairOfPackets, ([from, to]) => {
        fc.pre(from.protocol !== Protocol.Icmp);
        const bytes = build(from);
        setPartial(bytes, from);
        // One packet in 65536 has the same partial and finished sum.
        fc.pre(checksumState(bytes, read(bytes)) !== Csum.Right);
        expect(turnAround(bytes, read(bytes), endpoints(to))).toBe(Csum.Partial);
        expect(bytes).toEqual(build(to));
      }),
      runs,
    ));

  test("a wrong checksum stays wrong, and a wrong IPv4 header's too", () =>
    fc.assert(
      fc.property(
        pairOfPackets,
        fc.integer({ min: 1, max: 0xfffe }),
        fc.boolean(),
        ([from, to], error, header) => {
          const bytes = build(from);
          const before = read(bytes);
          const at = header && from.family === 4 ? 10 : before.l4Offset + checksumAt(from.protocol);
          const view = new DataView(bytes.buffer);
          view.setUint16(at, fold(view.getUint16(at) + error));
          fc.pre(view.getUint16(at) !== 0 && checksumState(bytes, read(bytes)) !== Csum.Partial);
          const state = turnAround(bytes, read(bytes), endpoints(to));
          const after = read(bytes);
          expect(checksumState(bytes, after)).toBe(state);
          if (from.family === 4) expect(ipv4ChecksumRight(bytes, after)).toBe(!header);
          if (!header || from.family === 6) expect(state).toBe(Csum.Wrong);
        },
      ),
      runs,
    ));

  test("no UDP checksum stays none", () =>
    fc.assert(
      fc.property(pairOfPackets, ([from, to]) => {
        const bytes = build({ ...from, protocol: Protocol.Udp });
        const at = read(bytes).l4Offset + 6;
        bytes[at] = bytes[at + 1] = 0;
        expect(turnAround(bytes, read(bytes), endpoints(to))).toBe(Csum.None);
        expect([bytes[at], bytes[at + 1], read(bytes).srcPort]).toEqual([0, 0, to.ports[0]]);
      }),
      runs,
    ));

  /** A UDP packet whose right checksum would be 0 between the addresses 10.0.0.1 and 10.0.0.2. */
  const zeroSum = (): { bytes: Uint8Array; of: Built } => {
    const source = Uint8Array.of(10, 0, 0, 1);
    const destination = Uint8Array.of(10, 0, 0, 2);
    const base: Built = {
      ...{ family: 4, protocol: Protocol.Udp, source, destination, ports: [1, 2], options: 0 },
      payload: new Uint8Array(2),
    };
    const bytes = build(base);
    const checksum = (bytes[26] << 8) | bytes[27];
    const of = { ...base, payload: Uint8Array.of(checksum >> 8, checksum) };
    return { bytes: build(of), of };
  };

  test("a UDP checksum of 0 is written as all ones, computed or updated", () => {
    const { bytes, of } = zeroSum();
    expect([bytes[26], bytes[27]]).toEqual([0xff, 0xff]);
    expect(checksumState(bytes, read(bytes))).toBe(Csum.Right);
    const other = build({ ...of, ports: [7, 9] });
    turnAround(other, read(other, other.length - 1), endpoints(of));
    expect([other[26], other[27]]).toEqual([0xff, 0xff]);
  });

  test("a first fragment without a UDP checksum stays without", () => {
    const { bytes, of } = zeroSum();
    bytes[6] = 0x20;
    bytes[26] = bytes[27] = 0;
    turnAround(bytes, read(bytes), endpoints({ ...of, ports: [7, 9] }));
    expect([bytes[26], bytes[27], bytes[21]]).toEqual([0, 0, 7]);
  });

  test("of a cut capture the checksum is updated as if the rest were there", () =>
    fc.assert(
      fc.property(pairOfPackets, fc.nat(), ([from, to], cut) => {
        fc.pre(from.protocol !== Protocol.Sctp);
        const bytes = build(from);
        const header = read(bytes).headerLength + HEADER_SIZE[from.protocol];
        const length = header + (cut % (bytes.length - header + 1));
        const expected = build(to);
        turnAround(bytes, read(bytes, length), endpoints(to));
        // 0 and 0xffff are the same sum; only the full computation knows which one is written.
        const at = read(bytes).l4Offset + checksumAt(from.protocol);
        const view = (of: Uint8Array): number => new DataView(of.buffer).getUint16(at) % 0xffff;
        expect(view(bytes)).toBe(view(expected));
        bytes.set(expected.subarray(at, at + 2), at);
        expect(bytes).toEqual(expected);
      }),
      runs,
    ));

  test("the packet an ICMP error quotes", () =>
    fc.assert(
      fc.property(pairOfPackets, fc.nat({ max: 80 }), ([from, to], keep) => {
        const original = build(from);
        const target = build(to);
        const header = read(original).headerLength;
        const size = Math.min(original.length, header + 8 + keep);
        const wrap = (quoted: Uint8Array): Uint8Array => {
          const protocol = from.family === 4 ? Protocol.Icmp : Protocol.Icmpv6;
          const bytes = build({
            family: from.family,
            protocol,
            source: from.destination,
            destination: from.source,
            ports: [0, 0],
            options: 0,
            payload: quoted.subarray(0, size),
          });
          const at = read(bytes).l4Offset;
          bytes[at] = from.family === 4 ? 3 : 1;
          setPartial(bytes, { ...from, protocol });
          completeChecksum(bytes, read(bytes));
          return bytes;
        };
        const bytes = wrap(original);
        const outer = read(bytes);
        const inner = new Decoded();
        decodeEmbedded(bytes, outer, inner);
        expect(inner.status).toBe(DecodeStatus.Ok);
        expect(rewriteEmbedded(bytes, outer, inner, endpoints(to))).toBe(true);
        expect(checksumState(bytes, read(bytes))).toBe(Csum.Right);
        const expected = wrap(target);
        // A cut SCTP checksum cannot be updated, and a cut sum of 0 may be written as 0xffff: compare all
        // else.
        const at = inner.l4Offset + checksumAt(from.protocol);
        for (const image of [bytes, expected]) {
          image.fill(
            0,
            Math.min(at, image.length),
            Math.min(at + (from.protocol === Protocol.Sctp ? 4 : 2), image.length),
          );
          image.fill(0, outer.l4Offset + 2, outer.l4Offset + 4);
        }
        expect(bytes).toEqual(expected);
      }),
      runs,
    ));
});

describe("copy key", () => {
  const keyOf = (bytes: Uint8Array): string => {
    const key = new CopyKey();
    copyKey(bytes, read(bytes), key);
    return `${key.key}/${key.check}`;
  };

  test("NAT and forwarding leave it alone; payload and length do not", () =>
    fc.assert(
      fc.property(pairOfPackets, fc.nat(), ([from, to], where) => {
        const bytes = build(from);
        const other = build(to);
        other[from.family === 4 ? 8 : 7] -= 1;
        expect(keyOf(other)).toBe(keyOf(bytes));
        expect(keyOf(build({ ...from, payload: new Uint8Array([...from.payload, 0]) }))).not.toBe(
          keyOf(bytes),
        );
        if (from.payload.length === 0) return;
        const payload = from.payload.slice();
        payload[where % payload.length] ^= 1;
        expect(keyOf(build({ ...from, payload }))).not.toBe(keyOf(bytes));
      }),
      runs,
    ));

  test("of a long payload the first and the last bytes count", () => {
    const bytes = long(0, 0);
    for (const at of [0, 90, 990, 999]) expect(keyOf(long(at, 1))).not.toBe(keyOf(bytes));
  });

  const long = (at: number, value: number): Uint8Array => {
    const payload = new Uint8Array(1000);
    payload[at] = value;
    const source = Uint8Array.of(10, 0, 0, 1);
    const ends = { source, destination: source, ports: [1, 2] as [number, number] };
    return build({ family: 4, protocol: Protocol.Udp, ...ends, options: 0, payload });
  };

  test("both hashes spread: no collision of either among 20,000 packets that differ in a counter", () => {
    const keys = new Set<number>();
    const checks = new Set<number>();
    const key = new CopyKey();
    const bytes = build({
      family: 4,
      protocol: Protocol.Udp,
      source: Uint8Array.of(10, 0, 0, 1),
      destination: Uint8Array.of(10, 0, 0, 2),
      ports: [1, 2],
      options: 0,
      payload: new Uint8Array(12),
    });
    const packet = read(bytes);
    for (let count = 0; count < 20000; count++) {
      new DataView(bytes.buffer).setUint32(32, count);
      keys.add(copyKey(bytes, packet, key));
      checks.add(key.check);
    }
    // The expected number of collisions among 20,000 random 32-bit values is 0.05.
    expect(keys.size).toBeGreaterThanOrEqual(19998);
    expect(checks.size).toBeGreaterThanOrEqual(19998);
  });

  test("hashes are MurmurHash3's but for the byte order of words", () => {
    // murmur3_x86_32 of the empty string with seed 1, and of "test" with seed 0.
    expect(hashBytes(new Uint8Array(0), 0, 0, 1) >>> 0).toBe(0x514e28b7);
    expect(hashBytes(new TextEncoder().encode("tset"), 0, 4, 0) >>> 0).toBe(0xba6bd213);
  });
});
