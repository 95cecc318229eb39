import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seeded } from "../seeded.fixture.js";
import { getU16, setIpv4Checksum, setU16, setU32 } from "./bytes.js";
import { Gathered, Reassembler } from "./defrag.js";
import { Fragmenter } from "./fragment.js";
import { parseHeader } from "./header.js";
import { Packet } from "./packet.js";

/** A datagram with a payload that tells every place apart. */
function datagram(family: 4 | 6, size: number, df = false): Packet {
  const header = family === 4 ? 20 : 40;
  const bytes = new Uint8Array(header + size);
  for (let index = 0; index < size; index++) bytes[header + index] = (index * 31 + (index >> 8)) & 255;
  if (family === 4) {
    bytes[0] = 0x45;
    setU16(bytes, 2, bytes.length);
    setU16(bytes, 4, 4711);
    setU16(bytes, 6, df ? 0x4000 : 0);
    bytes.set([64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2], 8);
    setIpv4Checksum(bytes, 0);
  } else {
    bytes[0] = 0x60;
    setU16(bytes, 4, size);
    bytes.set([17, 64], 6);
    bytes.set([0xfd, 1], 8);
    bytes.set([0xfd, 2], 24);
  }
  return loaded(family, bytes);
}

function loaded(family: 4 | 6, bytes: Uint8Array, timeNs = 0): Packet {
  const packet = new Packet();
  packet.load(bytes, 0, bytes.length);
  packet.family = family;
  packet.timeNs = timeNs;
  expect(parseHeader(packet, bytes.length)).toBe("");
  return packet;
}

/** Cuts at the given payload lengths, independently of Fragmenter. */
function cutAt(family: 4 | 6, whole: Packet, lengths: readonly number[]): Uint8Array[] {
  const header = family === 4 ? 20 : 40;
  let offset = 0;
  return lengths.map((length, index) => {
    const last = index === lengths.length - 1;
    const extra = family === 4 ? 0 : 8;
    const bytes = new Uint8Array(header + extra + length);
    bytes.set(whole.bytes.subarray(0, header));
    bytes.set(whole.bytes.subarray(header + offset, header + offset + length), header + extra);
    if (family === 4) {
      setU16(bytes, 2, bytes.length);
      setU16(bytes, 6, (last ? 0 : 0x2000) | (offset >> 3));
      setIpv4Checksum(bytes, 0);
    } else {
      setU16(bytes, 4, bytes.length - 40);
      bytes[6] = 44;
      bytes[40] = 17;
      setU16(bytes, 42, offset | (last ? 0 : 1));
      setU32(bytes, 44, 4711);
    }
    offset += length;
    return bytes;
  });
}

const family = fc.constantFrom<4 | 6>(4, 6);
/** Lengths of the pieces in bytes: all but the last multiples of eight. */
const pieces = fc.tuple(fc.array(fc.integer({ min: 1, max: 180 }).map((n) => n * 8), { minLength: 1, maxLength: 12 }),
  fc.integer({ min: 1, max: 1400 })).map(([heads, tail]) => [...heads, tail]);

function payload(packet: Packet): Buffer {
  return Buffer.from(packet.bytes.subarray(packet.headerLength, packet.length));
}

describe("fragments", () => {
  it("come together in any order, with duplicates, and leave with the boundaries they came with", () => {
    seeded(fc.property(family, pieces, fc.infiniteStream(fc.nat()), (ip, lengths, draws) => {
      const whole = datagram(ip, lengths.reduce((sum, length) => sum + length, 0));
      const parts = cutAt(ip, whole, lengths);
      const order = parts.map((part) => ({ part, key: draws.next().value as number })).sort((a, b) => a.key - b.key);
      const reassembler = new Reassembler(ip);
      let done: Packet | null = null;
      order.forEach(({ part }, index) => {
        const packet = loaded(ip, part, index);
        const gathered = reassembler.gather(packet, 0);
        expect(gathered).toBe(index === order.length - 1 ? Gathered.Complete : Gathered.Held);
        if (gathered === Gathered.Complete) done = packet;
        else if ((draws.next().value as number) % 3 === 0) {
          expect(reassembler.gather(loaded(ip, part, index), 0)).toBe(Gathered.Dropped);
        }
      });
      const packet = done as unknown as Packet;
      expect(payload(packet).equals(payload(whole))).toBe(true);
      expect(packet.fragMaxSize).toBe(Math.max(...parts.map((part) => part.length)));
      const fragmenter = new Fragmenter();
      expect(fragmenter.start(packet, 1500)).toBe(true);
      const sent: Uint8Array[] = [];
      while (fragmenter.next()) sent.push(fragmenter.bytes.slice(0, fragmenter.length));
      expect(sent.length).toBe(parts.length);
      sent.forEach((bytes, index) => expect(Buffer.from(bytes).equals(parts[index])).toBe(true));
    }));
  });

  it("are cut anew into a smaller MTU, and come together again", () => {
    seeded(fc.property(family, fc.integer({ min: 1281, max: 9000 }), fc.integer({ min: 1280, max: 1500 }), (ip, size, mtu) => {
      const whole = datagram(ip, size);
      const fragmenter = new Fragmenter();
      expect(fragmenter.start(whole, mtu)).toBe(true);
      const reassembler = new Reassembler(ip);
      let packet: Packet | null = null;
      while (fragmenter.next()) {
        expect(fragmenter.length).toBeLessThanOrEqual(mtu);
        packet = loaded(ip, fragmenter.bytes.slice(0, fragmenter.length));
        if ((ip === 4 ? getU16(packet.bytes, 6) & 0x3fff : packet.fragmentHeader) !== 0) reassembler.gather(packet, 0);
      }
      expect(payload(packet as unknown as Packet).equals(payload(whole))).toBe(true);
    }));
  });

  it("recut as the kernel does: 1480+1480+1048 into 1450 is 1424+1424+1160", () => {
    const reassembler = new Reassembler(4);
    let packet: Packet | null = null;
    for (const part of cutAt(4, datagram(4, 4008), [1480, 1480, 1048])) {
      packet = loaded(4, part);
      reassembler.gather(packet, 0);
    }
    const fragmenter = new Fragmenter();
    fragmenter.start(packet as unknown as Packet, 1450);
    const sizes: number[] = [];
    while (fragmenter.next()) sizes.push(fragmenter.length - 20);
    expect(sizes).toEqual([1424, 1424, 1160]);
  });

  it("that overlap end the whole datagram", () => {
    seeded(fc.property(family, fc.integer({ min: 2, max: 50 }), fc.integer({ min: 1, max: 7 }), (ip, eights, shift) => {
      const length = Math.max(eights, shift + 1) * 8;
      const whole = datagram(ip, length * 3);
      const [first, second, third] = cutAt(ip, whole, [length, length, length]);
      const overlapping = second.slice();
      if (ip === 4) {
        setU16(overlapping, 6, 0x2000 | ((length >> 3) - shift));
        setIpv4Checksum(overlapping, 0);
      } else {
        setU16(overlapping, 42, (length - shift * 8) | 1);
      }
      const reassembler = new Reassembler(ip);
      expect(reassembler.gather(loaded(ip, first), 0)).toBe(Gathered.Held);
      expect(reassembler.gather(loaded(ip, overlapping), 0)).toBe(Gathered.Dropped);
      expect(reassembler.gather(loaded(ip, second), 0)).toBe(Gathered.Held);
      expect(reassembler.gather(loaded(ip, third), 0)).toBe(Gathered.Held);
    }));
  });

  it.each([[4, 30], [6, 60]] as const)("of IPv%i are forgotten after %i s", (ip, seconds) => {
    const parts = cutAt(ip, datagram(ip, 100), [48, 52]);
    const reassembler = new Reassembler(ip);
    expect(reassembler.gather(loaded(ip, parts[0], 0), 0)).toBe(Gathered.Held);
    expect(reassembler.gather(loaded(ip, parts[1], seconds * 1e9 - 1), 0)).toBe(Gathered.Complete);
    expect(reassembler.gather(loaded(ip, parts[0], 0), 0)).toBe(Gathered.Held);
    expect(reassembler.gather(loaded(ip, parts[1], seconds * 1e9), 0)).toBe(Gathered.Held);
  });
});
