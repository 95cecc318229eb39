/**
 * The reader against a second one (pcap-parser, classic µs files), against the writers (round trips), against
 * damage (every truncation, random byte flips) and against what the damaged captures' times must be.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Readable } from "node:stream";
import fc from "fast-check";
import pcapParser from "pcap-parser";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import {
  captureProblems,
  type CaptureEnd,
  CaptureReader,
  FileKind,
  LinkType,
  PcapngWriter,
  PcapWriter,
  readChunks,
  readStream,
  SeenDirection,
  sniff,
} from "./index.js";

const shared = sharedDir();
const seed = Number(process.env.TWINPLANE_SEED ?? 20261122);
const runs = { seed, verbose: 1 } as const;

interface Row {
  sec: number;
  ns: number;
  wire: number;
  bytes: string;
  linkType: number;
  name: string;
  direction: number;
  comments: string[];
  hasTime: boolean;
}

function readAll(chunks: Iterable<Uint8Array>): { rows: Row[]; end: CaptureEnd } {
  const reader = new CaptureReader();
  const rows: Row[] = [];
  const take = (): void => {
    while (reader.next()) {
      const r = reader.record;
      rows.push({
        sec: r.timeSec,
        ns: r.timeFracNs,
        wire: r.wireLength,
        linkType: r.linkType,
        name: r.interfaceName,
        bytes: hex(r.bytes.subarray(r.offset, r.offset + r.capturedLength)),
        direction: r.direction,
        comments: r.comments(),
        hasTime: r.hasTime,
      });
    }
  };
  for (const chunk of chunks) {
    reader.push(chunk);
    take();
  }
  reader.end();
  take();
  return { rows, end: reader.finish() };
}

function* pieces(bytes: Uint8Array, sizes: readonly number[]): Generator<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const size = sizes[turn % sizes.length];
    yield bytes.slice(at, at + size);
    at += size;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

/**
 * pcap-parser's view: seconds, fraction as stored, original length, bytes. It drops a cut tail without a
 * word.
 */
function otherReader(bytes: Uint8Array): Promise<Array<[number, number, number, string]>> {
  return new Promise((resolve, reject) => {
    const rows: Array<[number, number, number, string]> = [];
    const parser = pcapParser.parse(Readable.from([Buffer.from(bytes)]));
    parser.on("packet", ({ header, data }) => {
      rows.push([header.timestampSeconds, header.timestampMicroseconds, header.originalLength, hex(data)]);
    });
    parser.on("end", () => resolve(rows));
    parser.on("error", reject);
  });
}

/**
 * The same view from our reader: fractions of a second and more are carried, lengths never below the captured
 * one.
 */
async function expectAgreement(bytes: Uint8Array): Promise<number> {
  const theirs = await otherReader(bytes);
  const ours = readAll([bytes]).rows;
  expect(ours.map((row) => [row.sec * 1e6 + row.ns / 1000, row.wire, row.bytes])).toEqual(
    theirs.map(([sec, us, wire, data]) => [sec * 1e6 + us, Math.max(wire, data.length / 2), data]),
  );
  return ours.length;
}

const US_MAGICS = ["d4c3b2a1", "a1b2c3d4"];

describe.skipIf(shared === null)(
  "agreement with pcap-parser on recorded files (needs TWINPLANE_SHARED)",
  () => {
    const files =
      shared === null
        ? []
        : readdirSync(join(shared, "traces"), { recursive: true, withFileTypes: true })
            .filter((entry) => entry.isFile() && !/\.(csv|md|json|jsonl|yaml|txt|rules)$/.test(entry.name))
            .map((entry) => join(entry.parentPath, entry.name))
            .filter((path) => US_MAGICS.includes(hex(readFileSync(path).subarray(0, 4))));
    /** Where the two may not agree, and why: ours refuses what theirs reads on. */
    const apart = /version-1\.2|linktype-unknown|CiscoHDLC|reason_code-0|nflog|frag-ppp/;

    test("there are such files", () => expect(files.length).toBeGreaterThan(30));

    test.each(
      files.filter((path) => !apart.test(path)).map((path) => path.slice((shared as string).length + 1)),
    )("%s", async (path) => {
      await expectAgreement(new Uint8Array(readFileSync(join(shared as string, path))));
    });
  },
);

const frame = fc.record({
  sec: fc.nat({ max: 0xffffffff }),
  ns: fc.nat({ max: 999_999_999 }),
  bytes: fc.uint8Array({ maxLength: 80 }),
  more: fc.oneof(fc.constant(0), fc.nat({ max: 70000 })),
});
const chunkSizes = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 5 });

describe("round trips", () => {
  test(`classic pcap, and agreement with pcap-parser (TWINPLANE_SEED=${seed})`, () =>
    fc.assert(
      fc.asyncProperty(
        fc.array(frame, { maxLength: 20 }),
        fc.boolean(),
        fc.boolean(),
        chunkSizes,
        fc.constantFrom(1, 101, 276),
        async (frames, nanoseconds, littleEndian, sizes, linkType) => {
          const writer = new PcapWriter({ linkType, nanoseconds, littleEndian });
          for (const { sec, ns, bytes, more } of frames)
            writer.write(sec, ns, bytes, 0, bytes.length, bytes.length + more);
          const file = writer.take();
          const { rows, end } = readAll(pieces(file, sizes));
          expect(end.error).toBeNull();
          expect(rows.map((row) => [row.sec, row.ns, row.wire, row.bytes, row.linkType])).toEqual(
            frames.map(({ sec, ns, bytes, more }) => [
              sec,
              nanoseconds ? ns : ns - (ns % 1000),
              bytes.length + more,
              hex(bytes),
              linkType,
            ]),
          );
          expect(end.counters.snapTruncated).toBe(frames.filter(({ more }) => more > 0).length);
          if (!nanoseconds) await expectAgreement(file);
        },
      ),
      runs,
    ));

  test(`pcapng with interfaces, directions and comments (TWINPLANE_SEED=${seed})`, () =>
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            frame,
            on: fc.nat(2),
            direction: fc.constantFrom(...Object.values(SeenDirection)),
            comments: fc.array(fc.string({ unit: "grapheme", maxLength: 20 }), { maxLength: 3 }),
          }),
          { maxLength: 12 },
        ),
        chunkSizes,
        (packets, sizes) => {
          const interfaces = [
            { linkType: LinkType.Ethernet, name: "eth0" },
            { linkType: LinkType.Raw, name: "cilium_wg0" },
            { linkType: LinkType.LinuxSll2, name: "ünïcode" },
          ];
          const writer = new PcapngWriter();
          for (const described of interfaces) writer.addInterface(described);
          for (const {
            frame: { sec, ns, bytes, more },
            on,
            direction,
            comments,
          } of packets) {
            writer.write({
              interfaceId: on,
              timeSec: sec,
              timeFracNs: ns,
              bytes,
              offset: 0,
              capturedLength: bytes.length,
              wireLength: bytes.length + more,
              direction,
              comments,
            });
          }
          const { rows, end } = readAll(pieces(writer.take(), sizes));
          expect(end.error).toBeNull();
          // An SLL2 header says the direction itself, where it is whole.
          expect(
            rows.map((row, index) => ({
              ...row,
              direction: row.linkType === 276 ? packets[index].direction : row.direction,
            })),
          ).toEqual(
            packets.map(({ frame: { sec, ns, bytes, more }, on, direction, comments }) => ({
              sec,
              ns,
              wire: bytes.length + more,
              bytes: hex(bytes),
              linkType: interfaces[on].linkType,
              name: interfaces[on].name,
              direction,
              comments,
              hasTime: true,
            })),
          );
        },
      ),
      runs,
    ));

  test("a comment longer than an option is cut between characters", () => {
    const writer = new PcapngWriter();
    writer.addInterface({ linkType: 1, name: "" });
    const bytes = new Uint8Array(0);
    writer.write({
      interfaceId: 0,
      timeSec: 1,
      timeFracNs: 2,
      bytes,
      offset: 0,
      capturedLength: 0,
      wireLength: 0,
      comments: ["é".repeat(40000)],
    });
    const { rows, end } = readAll([writer.take()]);
    expect([end.error, rows[0].comments]).toEqual([null, ["é".repeat(32767)]]);
  });
});

describe.skipIf(shared === null)("damage (needs TWINPLANE_SHARED)", () => {
  const load = (name: string): Uint8Array =>
    new Uint8Array(readFileSync(join(shared as string, "traces", "damaged", name)));
  const samples = [
    "le-us.pcap",
    "be-ns.pcap",
    "ok.pcapng",
    "be.pcapng",
    "spb.pcapng",
    "tsresol-base2.pcapng",
    "two-sections-new-interfaces.pcapng",
    "linktype-fcs-bits.pcap",
  ];

  test.each(samples)("every truncation of %s reads a prefix of the records", (name) => {
    const bytes = load(name);
    const whole = readAll([bytes]);
    let clean = 0;
    for (let length = 0; length < bytes.length; length++) {
      const { rows, end } = readAll([bytes.subarray(0, length)]);
      expect(rows).toEqual(whole.rows.slice(0, rows.length));
      if (end.error === null) clean++;
      else expect(end.error.byteOffset).toBeLessThanOrEqual(length);
      expect(captureProblems("x", end).length).toBe(end.error === null ? 0 : 1);
    }
    // Only a cut between two records or blocks goes unseen.
    expect(clean).toBeLessThanOrEqual(whole.rows.length + 5);
  });

  test(`flipped bytes: ends, and never hands out more than there is (TWINPLANE_SEED=${seed})`, () =>
    fc.assert(
      fc.property(
        fc.constantFrom(...samples),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }),
        chunkSizes,
        (name, flips, sizes) => {
          const bytes = load(name);
          for (const [at, value] of flips) bytes[at % bytes.length] ^= value;
          const { rows, end } = readAll(pieces(bytes, sizes));
          expect(rows.reduce((sum, row) => sum + row.bytes.length / 2, 0)).toBeLessThanOrEqual(bytes.length);
          for (const row of rows) {
            expect(row.ns).toBeGreaterThanOrEqual(0);
            expect(row.ns).toBeLessThan(1e9);
            expect(Number.isInteger(row.sec)).toBe(true);
            expect(row.wire).toBeGreaterThanOrEqual(row.bytes.length / 2);
          }
          expect(end.counters.records).toBe(rows.length + end.counters.unsupportedLinkType);
        },
      ),
      { ...runs, numRuns: 3000 },
    ));

  test("times: byte orders, resolutions and offset agree with the file they were made from", () => {
    const times = (name: string): number[][] => readAll([load(name)]).rows.map((row) => [row.sec, row.ns]);
    const base = times("be-ns.pcap");
    expect(base[0]).toEqual([0x6b02fc7b, 0x0275eeb2]);
    expect(times("ok.pcapng")).toEqual(base);
    expect(times("be.pcapng")).toEqual(base);
    expect(times("le-us.pcap")).toEqual(base.map(([sec, ns]) => [sec, ns - (ns % 1000)]));
    expect(times("tsoffset.pcapng")).toEqual(base.map(([sec, ns]) => [sec + 3600, ns]));
    expect(times("tsresol-base2.pcapng")).toEqual(
      base.map(([sec, ns]) => [sec, Math.floor((Math.floor((ns * 2 ** 20) / 1e9) * 1e9) / 2 ** 20)]),
    );
    expect(times("tsresol-63.pcapng")).toEqual(base.map(() => [0, 0]));
    expect(times("ts-2106.pcap")[0][0]).toBeGreaterThan(0x80000000);
    expect(times("ts-frac-overflow.pcap")).toEqual([[0x6b02fc7b + 4, 294967295]]);
    expect(readAll([load("spb.pcapng")]).rows.every((row) => !row.hasTime)).toBe(true);
  });
});

describe("bounds", () => {
  test("a claimed length allocates nothing", () => {
    const reader = new CaptureReader();
    reader.push(new PcapWriter({ linkType: 1 }).take());
    const header = new Uint8Array(16);
    header.set([0, 0, 4, 0], 8);
    reader.push(header);
    expect(reader.next()).toBe(false);
    reader.push(new Uint8Array(100));
    expect(reader.next()).toBe(false);
    expect(reader.finish().error).toMatchObject({ byteOffset: 24, recordNumber: 1 });
  });

  test("pushing after the end and finishing early are faults of the caller", () => {
    const writer = new PcapWriter({ linkType: 1 });
    writer.write(1, 2, new Uint8Array(4), 0, 4, 4);
    const reader = new CaptureReader();
    reader.push(writer.take());
    expect(() => reader.finish()).toThrow();
    expect(() => reader.push(new Uint8Array(1))).toThrow();
  });

  test("a captured length one past the block is damage", () => {
    const writer = new PcapngWriter();
    writer.addInterface({ linkType: 1, name: "" });
    const head = writer.take();
    const bytes = new Uint8Array(20);
    const times = { interfaceId: 0, timeSec: 0, timeFracNs: 0 };
    writer.write({ ...times, bytes, offset: 0, capturedLength: 20, wireLength: 40 });
    const block = writer.take();
    block[20] = 21;
    const { rows, end } = readAll([head, block]);
    expect(rows).toHaveLength(0);
    expect(end.error).toMatchObject({
      byteOffset: head.length,
      recordNumber: 1,
      what: "block 3 has a captured length past the block: 21 of 20 bytes",
    });
  });

  test("a frame check sequence is taken off as far as it was captured", () => {
    // Link type word: the P bit, two 16-bit words, Ethernet.
    const writer = new PcapWriter({ linkType: 0x24000001 });
    for (const captured of [20, 18, 10]) writer.write(1, 0, new Uint8Array(20), 0, captured, 20);
    const found: number[][] = [];
    const end = readChunks([writer.take()], (record) => {
      found.push([record.capturedLength, record.wireLength, record.fcsLength, record.linkType]);
    });
    expect(end.error).toBeNull();
    expect(found).toEqual([
      [16, 16, 4, 1],
      [16, 16, 2, 1],
      [10, 16, 0, 1],
    ]);
  });

  test("pcapng interfaces of another link type are counted by type, not handed out", () => {
    const writer = new PcapngWriter();
    writer.addInterface({ linkType: 9, name: "ppp0" });
    writer.addInterface({ linkType: 1, name: "eth0" });
    const bytes = new Uint8Array(20);
    for (const interfaceId of [0, 1, 0]) {
      writer.write({
        interfaceId,
        timeSec: 1,
        timeFracNs: 0,
        bytes,
        offset: 0,
        capturedLength: 20,
        wireLength: 20,
      });
    }
    const { rows, end } = readAll([writer.take()]);
    expect(rows).toHaveLength(1);
    expect(end.unsupported).toEqual([[9, 2]]);
    expect(captureProblems("a.pcapng", end)).toEqual([
      {
        where: { file: "a.pcapng", line: 0 },
        severity: "warning",
        what: "link type PPP (9) is not supported; 2 packets not read",
      },
    ]);
  });
});

test("iterators of chunks give what the reader gives, and stop at the first damage", async () => {
  const writer = new PcapWriter({ linkType: 1 });
  for (let count = 1; count <= 3; count++) writer.write(count, 0, new Uint8Array(count), 0, count, count);
  const file = Uint8Array.from([...writer.take(), ...new Uint8Array(16).fill(0xff)]);
  const seconds: number[] = [];
  let taken = 0;
  const chunks = function* (): Generator<Uint8Array> {
    for (const chunk of pieces(Uint8Array.from([...file, ...new Uint8Array(500)]), [10])) {
      taken++;
      yield chunk;
    }
  };
  const end = readChunks(chunks(), (record) => seconds.push(record.timeSec));
  expect([seconds, end.error?.recordNumber, taken]).toEqual([[1, 2, 3], 4, Math.ceil(file.length / 10)]);
  const streamed: number[] = [];
  const again = await readStream(Readable.from(chunks()), (record) => streamed.push(record.timeSec));
  expect([streamed, again]).toEqual([seconds, end]);
});

test("sniff goes by magic", () => {
  const tar = new Uint8Array(512);
  tar.set([0x75, 0x73, 0x74, 0x61, 0x72], 257);
  const cases: Array<[FileKind, Uint8Array]> = [
    [FileKind.Empty, new Uint8Array(0)],
    [FileKind.Gzip, Uint8Array.of(0x1f, 0x8b, 8, 0)],
    [FileKind.Zstd, Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd)],
    [FileKind.Pcap, new PcapWriter({ linkType: 1, littleEndian: false }).take()],
    [FileKind.Pcapng, new PcapngWriter().take()],
    [FileKind.Tar, tar],
    [FileKind.Text, new TextEncoder().encode('{"flow": {}}\n')],
    [FileKind.Unknown, Uint8Array.of(0, 1, 2, 3)],
  ];
  for (const [kind, bytes] of cases) expect(sniff(bytes)).toBe(kind);
});
