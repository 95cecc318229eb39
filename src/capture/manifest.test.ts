/**
 * Every capture of traces/damaged and traces/wild, read whole and in small pieces: packets, error, counters
 * and what the decoder makes of them. The tables here say what the MANIFESTs' prose asks; no row of a
 * MANIFEST may be left out.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { sharedDir } from "../../test/shared.js";
import {
  DECODE_STATUS_TEXT,
  Decoded,
  decode,
  decodeLink,
  decodeTunnel,
  ipv4ChecksumRight,
  LinkInfo,
  LinkStatus,
  TunnelInfo,
} from "../wire/index.js";
import { checksumState, Csum } from "../wire/index.js";
import { type CaptureEnd, CaptureReader, FileKind, readChunks, sniff } from "./index.js";

const shared = sharedDir();

interface Expected {
  /** Records handed out. */
  packets: number;
  error?: RegExp;
  /** Byte offset the error names. */
  at?: number;
  /** Non-zero capture counters but `records`; all others must be 0. */
  counters?: Record<string, number>;
  /** Non-zero packet counters (see `judge`); checked where given. */
  judged?: Record<string, number>;
}

const EIGHT: Record<string, number> = { ok: 6, "not IP": 2, "checksum right": 6 };
const eight = (counters: Record<string, number> = {}): Expected => ({ packets: 8, counters, judged: EIGHT });

const DAMAGED: Record<string, Expected> = {
  "empty.pcap": { packets: 0, error: /^file is empty/, at: 0 },
  "header-only.pcap": { packets: 0 },
  "header-cut-10.pcap": { packets: 0, error: /^file header cut short, 10 of 24/, at: 0 },
  "magic-only.pcap": { packets: 0, error: /^file header cut short, 4 of 24/, at: 0 },
  "cut-in-record-header.pcap": { packets: 7, error: /^record 8: header cut short, 7 of 16/, at: 640 },
  "cut-in-record-data.pcap": { packets: 7, error: /^record 8: data cut short, 247 of 252/, at: 640 },
  "caplen-4g.pcap": { packets: 1, error: /^record 2 claims 4294967295 captured bytes/, at: 82 },
  "caplen-256k-over-snap.pcap": { packets: 3, counters: { longerThanSnapLength: 1 } },
  "wirelen-lt-caplen.pcap": { packets: 2, counters: { wireShorterThanCaptured: 1 } },
  "caplen-0.pcap": { packets: 2, counters: { snapTruncated: 1 } },
  "snap-truncated-34.pcap": {
    packets: 8,
    counters: { snapTruncated: 8 },
    judged: { ok: 6, "not IP": 2, "L4 cut": 6, "checksum unknown": 6 },
  },
  // Two of the eight are shorter than the snapshot length.
  "snap-truncated-54.pcap": {
    packets: 8,
    counters: { snapTruncated: 6 },
    judged: { ok: 6, "not IP": 2, "checksum unknown": 6 },
  },
  "be-us.pcap": eight(),
  "be-ns.pcap": eight(),
  "le-us.pcap": eight(),
  "ts-backwards.pcap": eight({ timeWentBack: 7 }),
  "ts-2106.pcap": eight(),
  "ts-frac-overflow.pcap": { packets: 1, counters: { fractionCarried: 1 } },
  "ts-jump-1y.pcap": eight(),
  "version-1.2.pcap": { packets: 0, error: /pcap version 1\.2 is not supported/, at: 0 },
  "linktype-unknown-9999.pcap": { packets: 0, error: /link type 9999 is not supported/, at: 0 },
  "linktype-fcs-bits.pcap": eight(),
  "text-not-pcap.pcap": { packets: 0, error: /unknown magic: this is text/, at: 0 },
  "gzip.pcap.gz": eight(),
  "trailing-zeros.pcap": { packets: 264, counters: { empty: 256, timeWentBack: 1 } },
  "two-files-concatenated.pcap": {
    packets: 9,
    error: /^record 10 claims 1795357819 .* header was met as a record at byte 908/,
    at: 924,
    counters: { empty: 1 },
  },
  "ok.pcapng": eight(),
  "be.pcapng": eight(),
  "epb-before-idb.pcapng": {
    packets: 0,
    error: /^block 2 refers to interface 0 that is not defined/,
    at: 28,
  },
  "epb-bad-interface.pcapng": { packets: 1, error: /^block 4 refers to interface 7/, at: 136 },
  "block-len-not-multiple-4.pcapng": {
    packets: 1,
    error: /^block 4 claims 33 bytes, not a multiple of 4/,
    at: 136,
  },
  "block-len-0.pcapng": { packets: 1, error: /^block 4 claims 0 bytes/, at: 136 },
  "block-len-huge.pcapng": { packets: 1, error: /^block 4 claims 4294967280 bytes/, at: 136 },
  "trailer-mismatch.pcapng": { packets: 0, error: /^block 3 says 76 bytes in front and 99/, at: 60 },
  "epb-caplen-over-block.pcapng": {
    packets: 0,
    error: /^block 3 has a captured length past the block/,
    at: 60,
  },
  "option-overrun.pcapng": eight({ badOptions: 1 }),
  // The block's type is 0x0bad: a custom block, which the specification names.
  "unknown-block.pcapng": eight({ otherBlocks: 1 }),
  "tsresol-base2.pcapng": eight(),
  "tsresol-63.pcapng": eight(),
  "tsoffset.pcapng": eight(),
  "shb-bad-magic.pcapng": { packets: 0, error: /byte order of the section is not known/, at: 0 },
  "shb-version-2.pcapng": { packets: 0, error: /version 2\.0 is not supported/, at: 0 },
  "two-sections-new-interfaces.pcapng": { packets: 2 },
  "spb.pcapng": eight({ noTime: 8 }),
  "cut-in-block.pcapng": { packets: 7, error: /^block 10 cut short/, at: 800 },
};

/** Rows that say more than "read" with the MANIFEST's own packet count. */
const WILD: Record<string, Partial<Expected>> = {
  "PcapPlusPlus__PacketppTest_PacketExamples_CiscoHDLC.pcap": {
    packets: 0,
    error: /link type C_HDLC \(104\) is not supported/,
    at: 0,
  },
  "tcpdump__tests_reason_code-0.pcap": {
    packets: 0,
    error: /link type IEEE802_11_RADIOTAP \(127\) is not supported/,
    at: 0,
  },
  "tcpdump__tests_nflog.pcap": { packets: 0, error: /link type NFLOG \(239\) is not supported/, at: 0 },
  "suricata-verify__tests_defrag_bug-6887-defrag-ppp-ipv4-tcp-syn_frag-ppp-ip-tcp-syn.pcap": {
    packets: 0,
    error: /link type PPP \(9\) is not supported/,
    at: 0,
  },
  "nDPI__fuzz-2021-10-13.pcap": {
    error: /^record 2: header cut short, 2 of 16/,
    at: 237,
    counters: { snapTruncated: 1, fractionCarried: 1 },
  },
  // The MANIFEST's count is tshark's, which takes the damaged record for one of a modified format; libpcap
  // reads one.
  "suricata-verify__tests_bug-6875-01_fuzz.pcap": {
    packets: 1,
    error: /^record 2 claims 1409179648 captured bytes/,
    at: 228,
    judged: { ok: 1, "L4 bad length": 1, "bad IPv4 checksum": 1, "checksum wrong": 1 },
  },
  "tcpdump__tests_timestamp_invalid_micro.pcap": { counters: { fractionCarried: 2 } },
  "pcapng-test-generator__output_be_basic_test012.pcapng": { counters: { noTime: 2, snapTruncated: 2 } },
  "pcapng-test-generator__output_be_difficult_test202.pcapng": {
    counters: { noTime: 2, snapTruncated: 6, timeWentBack: 1, otherBlocks: 12 },
  },
  "pcapng-test-generator__output_le_advanced_test102.pcapng": {
    counters: { noTime: 1, snapTruncated: 3, otherBlocks: 12 },
  },
  "tcpdump__tests_LINKTYPE_IPV6_invalid.pcap": { judged: { "bad IP version": 1 } },
  "suricata-verify__tests_pppoe_input.pcap": { judged: { "not IP": 37 } },
  "tcpdump__tests_heap-overflow-1.pcap": { judged: { "bad IP version": 1 } },
  "tcpdump__tests_vxlan.pcap": { judged: { ok: 10, "checksum none": 10, "tunnel 100": 10 } },
  "tcpdump__tests_geneve.pcap": { judged: { ok: 39, "checksum none": 39, "tunnel 10": 19, "tunnel 11": 20 } },
  "zeek__http_docker-http-upgrade.pcap": { judged: { ok: 200, "checksum partial": 200 } },
  "zeek__vlan-collisions.pcap": {
    judged: { ok: 42, "checksum right": 42, "1 VLAN tags": 14, "2 VLAN tags": 14 },
  },
  "zeek__http-qinq-0.pcap": { judged: { ok: 14, "checksum right": 14, "2 VLAN tags": 14 } },
  "suricata-verify__tests_ipv6-evasion_ipv6-malformed-fragments-27_frag-27.pcap": {
    judged: { ok: 10, fragment: 2, "L4 short": 1, "checksum right": 7, "checksum unknown": 3 },
  },
  "zeek__chksums_ip4-bad-chksum.pcap": { judged: { ok: 1, "bad IPv4 checksum": 1, "checksum right": 1 } },
  "zeek__chksums_ip4-tcp-bad-chksum.pcap": { judged: { ok: 1, "checksum wrong": 1 } },
  "tcpdump__tests_bad-ipv4-version-pgm-heapoverflow.pcap": { judged: { "bad IP version": 1 } },
  "tcpdump__tests_ipv6-too-long-jumbo.pcap": { judged: { jumbogram: 1 } },
  "tcpdump__tests_tcp_header_heapoverflow.pcap": {
    judged: { ok: 1, "L4 cut": 1, "bad IPv4 checksum": 1, "checksum unknown": 1 },
  },
  "PcapPlusPlus__PacketppTest_PacketExamples_IPv4-TSO.pcap": {
    judged: { ok: 1, "length from frame": 1, "bad IPv4 checksum": 1, "checksum wrong": 1 },
  },
  "suricata-verify__tests_decode-too-small_test.pcap": {
    judged: { ok: 8, "L4 short": 6, "checksum unknown": 8 },
  },
  "tcpdump__tests_ipv6-next-header-oobr-1.pcap": { judged: { "capture cut inside the IP header": 1 } },
};

describe.skipIf(shared === null)("captures with a known outcome (needs TWINPLANE_SHARED)", () => {
  const damaged = shared === null ? [] : manifest("damaged");
  const wild = shared === null ? [] : manifest("wild");

  test("the tables name the files of the manifests and no others", () => {
    expect(Object.keys(DAMAGED).sort()).toEqual(damaged.map((row) => row.file).sort());
    expect(damaged).toHaveLength(45);
    expect(wild).toHaveLength(45);
    expect(wild.map((row) => row.file)).toEqual(expect.arrayContaining(Object.keys(WILD)));
    for (const row of wild)
      if (row.expect !== "read")
        expect([row.file, WILD[row.file] !== undefined || KNOWN_PROSE.has(row.expect)]).toEqual([
          row.file,
          true,
        ]);
  });

  test.each(damaged)("damaged/$file: $expect", ({ file }) => check("damaged", file, DAMAGED[file]));

  test.each(wild)("wild/$file: $expect", (row) => {
    const expected = WILD[row.file] ?? {};
    const snapped = Number(row.snap_truncated);
    check("wild", row.file, { ...expected, packets: expected.packets ?? Number(row.packets) }, snapped);
    if (Number(row.fragments) > 0 && expected.packets !== 0)
      expect(judge(read("wild", row.file)).fragment ?? 0).toBeGreaterThan(0);
  });

  test("link types are the manifest's", () => {
    const names: Record<number, string> = { 0: "NULL", 1: "EN10MB", 12: "RAW", 101: "RAW", 113: "LINUX_SLL" };
    Object.assign(names, { 228: "IPV4", 229: "IPV6", 276: "LINUX_SLL2" });
    for (const row of wild.filter(({ file }) => WILD[file]?.packets !== 0)) {
      const seen = new Set<string>();
      readChunks([read("wild", row.file)], (record) => seen.add(names[record.linkType]));
      expect([row.file, [...seen].sort().join("/")]).toEqual([row.file, row.linktype]);
    }
  });

  test("a gzip file that was not unpacked is named", () => {
    const reader = new CaptureReader();
    reader.push(file("damaged", "gzip.pcap.gz"));
    expect(reader.finish().error?.what).toMatch(/gzip/);
  });
});

/** Prose of the wild MANIFEST that asks no more than the packet count. */
const KNOWN_PROSE: ReadonlySet<string> = new Set([
  "clear file-level error (or read)",
  "clear file-level error naming gzip, or read",
  "read; do not trust the extension",
]);

function check(folder: string, name: string, expected: Expected, snapped?: number): void {
  const bytes = read(folder, name);
  const { end, packets } = walk(bytes, bytes.length);
  expect(packets).toBe(expected.packets);
  expect(end.error?.what ?? "").toMatch(expected.error ?? /^$/);
  if (expected.at !== undefined) expect(end.error?.byteOffset).toBe(expected.at);
  const counted = Object.fromEntries(
    Object.entries(end.counters).filter(([key, value]) => value !== 0 && key !== "records"),
  );
  // Where the table is silent on wild files, snapTruncated is the MANIFEST's and the rest must be what tshark
  // counts too.
  if (expected.counters !== undefined || snapped === undefined)
    expect(counted).toEqual(expected.counters ?? {});
  else if (expected.packets > 0 && expected.error === undefined)
    expect(counted.snapTruncated ?? 0).toBe(snapped);
  if (expected.judged !== undefined) expect(judge(bytes)).toEqual(expected.judged);
  for (const size of [1, 7, 64]) {
    const again = walk(bytes, size);
    expect([again.packets, again.end, again.sum]).toEqual([packets, end, walk(bytes, bytes.length).sum]);
  }
}

/** Reads in chunks of `size` bytes, each overwritten afterwards, as a caller that reuses its buffer does. */
function walk(bytes: Uint8Array, size: number): { end: CaptureEnd; packets: number; sum: number } {
  const reader = new CaptureReader();
  let packets = 0;
  let sum = 0;
  const take = (): void => {
    while (reader.next()) {
      packets++;
      const { record } = reader;
      for (let at = 0; at < record.capturedLength; at++)
        sum = (Math.imul(sum, 31) + record.bytes[record.offset + at]) | 0;
      sum = (sum + record.timeSec + record.timeFracNs + record.fileOffset + record.wireLength) | 0;
    }
  };
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.slice(at, at + size);
    reader.push(chunk);
    take();
    chunk.fill(0xa5);
  }
  reader.end();
  take();
  return { end: reader.finish(), packets, sum };
}

/** What the decoder makes of every packet of a capture, as counters. */
function judge(bytes: Uint8Array): Record<string, number> {
  const counters: Record<string, number> = {};
  const count = (name: string): void => {
    counters[name] = (counters[name] ?? 0) + 1;
  };
  const reader = new CaptureReader();
  const link = new LinkInfo();
  const packet = new Decoded();
  const tunnel = new TunnelInfo();
  reader.push(bytes);
  reader.end();
  while (reader.next()) {
    const { record } = reader;
    decodeLink(record.linkType, record.bytes, record.offset, record.capturedLength, link);
    if (link.status !== LinkStatus.Ok) {
      count(link.status === LinkStatus.Cut ? "link header cut" : "link not IP");
      continue;
    }
    decode(
      record.bytes,
      link.l3Offset,
      record.capturedLength - link.headerLength,
      record.wireLength - link.headerLength,
      link.etherType,
      packet,
    );
    count(DECODE_STATUS_TEXT[packet.status]);
    if (packet.status !== 0) continue;
    if (packet.l4Status >= 2) count(["", "", "L4 cut", "L4 short", "L4 bad length"][packet.l4Status]);
    if (packet.isFragment) count("fragment");
    if (packet.lengthFromFrame) count("length from frame");
    if (packet.family === 4 && !ipv4ChecksumRight(record.bytes, packet)) count("bad IPv4 checksum");
    const state = checksumState(record.bytes, packet);
    count(
      `checksum ${Object.entries(Csum)
        .find(([, value]) => value === state)?.[0]
        .toLowerCase()}`,
    );
    if (link.vlanTags > 0) count(`${link.vlanTags} VLAN tags`);
    if (decodeTunnel(record.bytes, packet, tunnel)) count(`tunnel ${tunnel.vni}`);
  }
  return counters;
}

function file(folder: string, name: string): Uint8Array {
  return new Uint8Array(readFileSync(join(shared as string, "traces", folder, name)));
}

function read(folder: string, name: string): Uint8Array {
  const bytes = file(folder, name);
  return sniff(bytes) === FileKind.Gzip ? new Uint8Array(gunzipSync(bytes)) : bytes;
}

function manifest(folder: string): Array<Record<string, string>> {
  const [head, ...rows] = new TextDecoder()
    .decode(file(folder, "MANIFEST.csv"))
    .trimEnd()
    .split(/\r?\n/)
    .map(csvFields);
  return rows.map((row) => Object.fromEntries(head.map((name, index) => [name, row[index]])));
}

function csvFields(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    (found) => found[1]?.replaceAll('""', '"') ?? found[2],
  );
}
